"""What Ray's processes inherit: what they need, and no secret."""

from __future__ import annotations

import os

import pytest

from sweep.environment.ray_variables import HiddenSecrets, strip
from sweep.environment.secrets import is_secret, without_secrets
from trainables import secret_variables

LIKE_A_TOKEN = "sk-finetune-llama3-summaries-2026"


@pytest.mark.parametrize(
    "name",
    [
        *("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "WANDB_API_KEY", "OPENAI_KEYS", "PGPASSWORD"),
        *("MYSQL_PWD", "DbPassword", "GOOGLE_APPLICATION_CREDENTIALS", "AZURE_STORAGE_CONNECTION_STRING"),
        *("GITHUB_PAT", "SENTRY_DSN", "SLACK_WEBHOOK", "RAY_AUTH_TOKEN", "SSH_AUTH_SOCK", "github.token"),
    ],
)
def test_a_name_that_speaks_of_a_secret_is_one(name: str) -> None:
    assert is_secret(name, "x")


@pytest.mark.parametrize(
    "value",
    [
        *("http://me:pass@proxy:3128", "postgres://u:p@host/db", "hf_0123456789abcdef", "ghp_" + "a" * 36),
        *("AKIA" + "A" * 16, "-----BEGIN OPENSSH PRIVATE KEY-----\nabc", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.x"),
        *(
            f"sk-{'a' * 40}",
            f"--key=sk-{'a' * 40}",
            f"Bearer sk-{'a' * 40}",
            f'"sk-{"a" * 40}"',
            "key:hf_0123456789abcdef",
        ),
        *(
            "https://hf_0123456789abcdef@huggingface.co/x",
            "https://me:hf_0123456789abcdef@host/x",
            "a?token=hf_012345678",
        ),
    ],
)
def test_a_value_that_looks_like_a_secret_is_one_whatever_its_name(value: str) -> None:
    assert is_secret("SETTING", value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("PATH", "/usr/bin:/bin"), ("PWD", "/home/me"), ("OLDPWD", "/tmp"), ("HF_HOME", "/data/hf")),
        *(("HTTPS_PROXY", "http://proxy:3128"), ("NO_PROXY", "localhost,::1"), ("CUDA_VISIBLE_DEVICES", "0,1")),
        *(("TOKENIZERS_PARALLELISM", "false"), ("LD_LIBRARY_PATH", "/opt/cuda/lib64"), ("OMP_NUM_THREADS", "2")),
        *(("RAY_AUTH_MODE", "token"), ("RAY_AUTH_TOKEN_PATH", "/tmp/sw-1/auth_token"), ("XAUTHORITY", "/run/x")),
        *(("PATH", f"/opt/envs/{LIKE_A_TOKEN}/bin:/bin"), ("PATH", f"/bin:{LIKE_A_TOKEN}"), ("HOME", LIKE_A_TOKEN)),
        *(("PYTHONPATH", f"{LIKE_A_TOKEN}:hf_experiments1/src"), ("LD_LIBRARY_PATH", f"lib:{LIKE_A_TOKEN}")),
        *(
            ("VIRTUAL_ENV", f"/opt/envs/{LIKE_A_TOKEN}"),
            ("CONDA_PREFIX", f"/opt/{LIKE_A_TOKEN}"),
            ("TMPDIR", LIKE_A_TOKEN),
        ),
        *(
            ("MODEL", f"{LIKE_A_TOKEN}/best"),
            ("MODEL", f"/models/my-{LIKE_A_TOKEN}"),
            ("DATA", "s3://hf_summaries2026/x"),
        ),
        *(
            ("PACKSWEEP_PASS_ENV", "JUDGE_API_KEY"),
            ("PACKSWEEP_WITHHELD", "JUDGE_API_KEY"),
            ("MODEL", r"C:\hf_models1\a"),
        ),
        *(("HF_HUB_OFFLINE", "1"), ("PYTHONPATH", "/src"), ("SLURM_JOB_ID", "17"), ("KEYMAP", "de"), ("NOTE", "a@b")),
    ],
)
def test_what_processes_need_is_left(name: str, value: str) -> None:
    assert not is_secret(name, value)


def test_hidden_secrets_come_back_unless_set_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE_TOKEN", "first")
    monkeypatch.setenv("OTHER_TOKEN", "second")
    hidden = HiddenSecrets()
    hidden.hide()
    assert "ONE_TOKEN" not in os.environ
    os.environ["OTHER_TOKEN"] = "new"
    hidden.put_back()
    hidden.put_back()
    assert (os.environ["ONE_TOKEN"], os.environ["OTHER_TOKEN"]) == ("first", "new")


def test_messages_hide_the_value_of_every_variable_that_is_kept_from_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYSQL_PWD", "swordfish")
    assert without_secrets("could not log in with swordfish") == "could not log in with ***"


def test_messages_keep_paths_that_look_like_tokens() -> None:
    command = f"python -m sweep.run x.py --model /models/hf_summaries2026/{LIKE_A_TOKEN} --data hf_corpus2026/a"
    assert without_secrets(command) == command
    assert without_secrets("--token hf_0123456789abcdef") == "--token ***"


def test_what_joins_a_cluster_keeps_the_token_that_opens_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
    monkeypatch.setenv("ONE_TOKEN", "x")
    hidden = HiddenSecrets()
    hidden.hide(joining=True)
    assert os.environ["RAY_AUTH_TOKEN"] == "a" * 64
    assert "ONE_TOKEN" not in os.environ
    hidden.put_back()
    hidden.hide()
    assert "RAY_AUTH_TOKEN" not in os.environ
    hidden.put_back()
    assert os.environ["RAY_AUTH_TOKEN"] == "a" * 64


def test_what_a_user_passes_stays_and_the_names_of_the_others_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(strip(dict(os.environ))):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PACKSWEEP_PASS_ENV", "JUDGE_API_KEY, OTHER_KEY")
    for name in ("JUDGE_API_KEY", "ONE_TOKEN", "TWO_TOKEN"):
        monkeypatch.setenv(name, "swordfish")
    hidden = HiddenSecrets()
    hidden.hide()
    assert os.environ["JUDGE_API_KEY"] == "swordfish"
    assert secret_variables.withheld() == {"ONE_TOKEN", "TWO_TOKEN"}
    assert without_secrets("it said swordfish") == "it said ***"
    hidden.put_back()
    assert secret_variables.withheld() == set()
    assert os.environ["TWO_TOKEN"] == "swordfish"
