"""What Ray's processes inherit: what they need, and no secret."""

from __future__ import annotations

import pytest

from sweep.environment import Hidden, is_secret
from sweep.provenance import without_secrets


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
        *(("HF_HUB_OFFLINE", "1"), ("PYTHONPATH", "/src"), ("SLURM_JOB_ID", "17"), ("KEYMAP", "de"), ("NOTE", "a@b")),
    ],
)
def test_what_processes_need_is_left(name: str, value: str) -> None:
    assert not is_secret(name, value)


def test_hidden_secrets_come_back_unless_set_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("ONE_TOKEN", "first")
    monkeypatch.setenv("OTHER_TOKEN", "second")
    hidden = Hidden()
    hidden.hide()
    assert "ONE_TOKEN" not in os.environ
    os.environ["OTHER_TOKEN"] = "new"
    hidden.put_back()
    hidden.put_back()
    assert (os.environ["ONE_TOKEN"], os.environ["OTHER_TOKEN"]) == ("first", "new")


def test_messages_hide_the_value_of_every_variable_that_is_kept_from_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYSQL_PWD", "swordfish")
    assert without_secrets("could not log in with swordfish") == "could not log in with ***"
