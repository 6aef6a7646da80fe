"""From a request to a folder: what is resolved is kept, what is comparable extends it, all else is refused."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from experiment_place import make_place
from safetensors.numpy import save_file
from tiny_inputs import record, write_data, write_model

from sweep.environment import lease
from sweep.environment.provenance import command_line, typed
from sweep.request import estimates, output_folder
from sweep.request.commit import commit
from sweep.request.existing_sweep import sweep_to_extend
from sweep.request.overrides import Changes, request
from sweep.request.prepare import PreparedSweep, prepare
from sweep.request.run_options import RunOptions
from sweep.request.trials import PlannedTrial
from trainables import pocket
from trainables.errors import UserError
from trainables.jobs import TrialJob
from trainables.model_files.expected_tensors import expected_shapes
from trainables.records import atomic_files
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_result import TrialResult

needs_pocket_model = pytest.mark.skipif(not pocket.model_folder().is_dir(), reason="the pocket model is not built")
OWN = """
from search_spaces.experiment import Experiment
from search_spaces.grid import grid
from trainables.config import EvalConfig, TrainConfig
base = TrainConfig(model="model", data="data", train_examples=8)
experiment = Experiment("own", "", grid(base, lora_rank=[2, 4]), EvalConfig(validation_examples=6, test_examples=900))
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, data and an experiment, without a hub."""
    return make_place(tmp_path, monkeypatch, OWN)


Written = tuple[PreparedSweep, list[PlannedTrial], list[TrialJob]]


def write(name: str = "own.py", out: str = "run", changes: Changes | None = None, **options: object) -> Written:
    """Do all that a run does before it launches."""
    wanted = request(name, changes or Changes())
    how = replace(RunOptions(out=Path(out).absolute()), **options)  # type: ignore[arg-type]
    prepared = prepare(wanted, how, sweep_to_extend(wanted, how))
    written = commit(prepared, SweepFolder(how.out))
    return prepared, list(written.planned), list(written.left)


def rows(path: str) -> list[str]:
    return [row["id"] for row in atomic_files.read_lines(Path("run/data") / path)]


def names(planned: list[PlannedTrial]) -> set[str]:
    return {trial.folder_name for trial in planned}


def test_a_new_sweep_is_written_whole() -> None:
    prepared, planned, left = write()
    sweep = SweepFolder(Path("run")).manifest()
    assert sweep.experiment == "own"
    assert sweep.requested == {"model": "model", "data": "data", "source": "auto"}
    assert sweep.resolved.model.kind == "local"
    assert (sweep.resolved.precision, sweep.resolved.device) == ("fp32", "cpu")
    assert sweep.resolved.data.sizes == {"train": 80, "validation": 12, "test": 12}
    assert sweep.banner is None
    assert len(sweep.provenance.packages["torch"] or "") > 2
    assert names(planned) == {path.name for path in Path("run/trials").iterdir()}
    assert [Path(job.folder).name[:4] for job in left] == ["003-", "001-", "002-"]
    assert {trial.trial.train.precision for trial in planned} == {"fp32"}
    assert prepared.setup.model_folders == {"model": str(Path("model").absolute())}
    assert (len(rows("train-seed42.jsonl")), len(rows("test.jsonl"))) == (64, 12)


def test_a_default_evaluation_is_cut_to_the_split_and_says_so() -> None:
    prepared, planned, _ = write()
    assert planned[0].trial.evaluation.examples == {"validation": 6, "test": 12}
    assert "the test split has 12 examples: all are evaluated instead of 900" in prepared.notes


def test_the_same_request_again_changes_nothing() -> None:
    write()
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    write()
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before


def test_asking_for_more_extends_the_sweep() -> None:
    _, first, _ = write()
    _, more, left = write(changes=Changes(overrides=("lora_rank=2,4,8",)), seeds=2)
    assert names(first) < names(more)
    assert len(more) == len(left) == 3 * 2 + 1
    assert SweepFolder(Path("run")).manifest().seeds == 2


def test_a_larger_training_set_extends_the_kept_examples_in_their_order() -> None:
    write()
    before = rows("train-seed42.jsonl")
    write(changes=Changes(overrides=("train_examples=8,70",)))
    assert rows("train-seed42.jsonl")[:64] == before
    assert len(rows("train-seed42.jsonl")) == 70


def test_a_damaged_example_file_is_set_aside_and_made_anew() -> None:
    write()
    path = Path("run/data/test.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    write()
    assert path.read_bytes() == whole
    assert Path("run/data/test.jsonl.damaged").exists()


def test_a_smaller_request_makes_a_damaged_file_anew_for_all_trials_of_the_sweep() -> None:
    write(changes=Changes(overrides=("train_examples=70", "data_seed=42,43")))
    whole = {path: path.read_bytes() for path in Path("run/data").iterdir()}
    for path, content in whole.items():
        path.write_bytes(content[:-30])
    write()
    assert {path: path.read_bytes() for path in whole} == whole


def test_a_damaged_adapter_is_set_aside_with_all_that_came_of_it() -> None:
    _, planned, left = write()
    record = TrialRecord(Path(left[-1].folder))
    atomic_files.write_bytes(record.weights_path, b"damaged")
    record.write_result(TrialResult(state="done", adapter_sha256="0" * 64, adapter_bytes=7))
    record.write_evaluation(planned[0].trial.evaluation, {"test": []}, EvaluationSummary(splits={}))
    _, _, left = write()
    assert str(record.folder) in {job.folder for job in left}
    assert {path.name for path in record.folder.iterdir()} == {
        *("config.json", "adapter.damaged", "result.json.damaged", "evals.damaged")
    }


def test_a_sweep_continues_without_its_source_from_the_examples_that_it_keeps() -> None:
    _, first, _ = write()
    shutil.rmtree("data")
    _, again, left = write(seeds=2)
    assert names(first) < names(again)
    assert len(left) == 5


def test_data_that_were_merely_copied_are_the_same() -> None:
    _, first, _ = write()
    shutil.copytree("data", "elsewhere")
    shutil.rmtree("data")
    shutil.move("elsewhere", "data")
    _, again, left = write()
    assert names(again) == names(first)
    assert len(left) == len(first)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (Changes(model="other"), "started with the model model"),
        (Changes(model="gpt2"), "holds a sweep of the model 'model', not 'gpt2'"),
        (Changes(data="samsum"), "holds a sweep of the data 'data', not 'samsum'"),
        (Changes(data="more"), "started with the data data"),
        (Changes(fields="source=summary,target=dialogue"), "source_field='dialogue', got 'summary'"),
        (Changes(keep_leaked=True), "keep_leaked=False, got True"),
    ],
)
def test_another_base_is_refused_naming_out(changes: Changes, message: str) -> None:
    write()
    write_model(Path("other"), context=256)
    write_data(Path("more"), test=13)
    before = Path("run/sweep.json").read_bytes()
    with pytest.raises(UserError, match="--out") as caught:
        write(changes=changes)
    assert message in str(caught.value)
    assert Path("run/sweep.json").read_bytes() == before


def test_the_same_base_by_another_path_extends() -> None:
    write()
    shutil.copytree("model", "copies/model")
    shutil.copytree("data", "copies/data")
    _, _, left = write(changes=Changes(model="copies/model", data="copies/data"))
    assert len(left) == 3


def test_data_that_changed_in_place_are_refused() -> None:
    write()
    with Path("data/test.jsonl").open("a", encoding="utf-8") as file:
        file.write("\n" + json.dumps(record(150)))
    with pytest.raises(UserError, match="what is there now is another"):
        write()


def test_a_sweep_of_another_experiment_is_refused() -> None:
    write()
    Path("two.py").write_text(OWN.replace('"own"', '"two"'), encoding="utf-8")
    with pytest.raises(UserError, match="holds a sweep of 'own', not 'two'; choose another --out"):
        write("two.py")


def test_precision_is_resolved_once() -> None:
    write()
    sweep = atomic_files.read_json(Path("run/sweep.json"))
    sweep["resolved"]["precision"] = "bf16"  # as a GPU would have had it
    atomic_files.write_json(Path("run/sweep.json"), sweep)
    prepared, planned, _ = write()
    assert {trial.trial.train.precision for trial in planned} == {"bf16"}
    assert prepared.device.kind == "cpu"


def test_a_failed_trial_starts_over_only_where_asked() -> None:
    _, planned, _ = write()
    failed = TrialRecord(Path("run/trials").absolute() / planned[0].folder_name)
    failed.write_result(TrialResult(state="failed", cause="x"))
    failed.checkpoint_folder.mkdir()
    _, _, left = write()
    assert str(failed.folder) not in {job.folder for job in left}
    _, _, left = write(retry_failed=True)
    assert str(failed.folder) in {job.folder for job in left}
    assert not failed.result_path.exists()
    assert not failed.checkpoint_folder.exists()


def test_secrets_of_the_environment_reach_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "HF_TOKEN": "hf_abcdefghij",
        "WANDB_API_KEY": "0123456789abcdef",
        "AWS_SECRET_ACCESS_KEY": "s3cr3ts3cr3t",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    line = ["own.py", "--address", "ray://user:hunter22@host:10001", "--out", "s3cr3ts3cr3t"]
    write(command=command_line("run", line))
    texts = "".join(path.read_text(encoding="utf-8") for path in Path("run").rglob("*") if path.is_file())
    for value in (*secrets.values(), "hunter22"):
        assert value not in texts
    assert "ray://host:10001" in texts


def test_a_command_is_printed_as_it_can_be_typed_and_stored_for_any_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "my house" / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(Path(sys.executable).resolve())
    monkeypatch.setattr(sys, "executable", str(python))
    stored = command_line("run", ["own.py", "--data", "it's mine.csv", "prompt=v1,v2"])
    assert stored == """python -m sweep.run own.py --data 'it'"'"'s mine.csv' prompt=v1,v2"""
    rest = stored.removeprefix("python")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir("data")
    assert typed(stored) == f"'{python}'{rest}"
    monkeypatch.chdir(python.parent)
    assert typed(stored) == f"./python{rest}"
    monkeypatch.chdir(python.parents[2])
    assert typed(stored) == f".venv/bin/python{rest}"
    monkeypatch.setenv("PATH", str(python.parent))
    assert typed(stored) == stored


def test_fresh_sets_the_old_sweep_aside_and_deletes_nothing() -> None:
    for number in (1, 2):
        write()
        before = sorted(path.name for path in Path("run").rglob("*"))
        target = output_folder.set_aside(Path("run"))
        assert target == Path(f"run.old-{number}")
        assert sorted(path.name for path in target.rglob("*")) == before
    assert not Path("run").exists()


def test_fresh_waits_for_a_run_that_is_writing() -> None:
    write()
    held = lease.acquire(Path("run"))
    try:
        with pytest.raises(UserError, match="is being written by another run"):
            output_folder.set_aside(Path("run"))
    finally:
        held.release()


def test_what_a_killed_start_left_is_no_foreign_folder() -> None:
    lease.acquire(Path("run")).release()
    _, planned, left = write()
    assert len(planned) == len(left) == 3
    assert SweepFolder(Path("run")).manifest().experiment == "own"


def test_why_an_engine_could_not_start_is_no_foreign_file() -> None:
    atomic_files.write_text(SweepFolder(Path("run")).engine_error_path, "the library is too old")
    _, planned, _ = write()
    assert len(planned) == 3


def test_a_users_own_data_folder_is_foreign() -> None:
    Path("run/data").mkdir(parents=True)
    Path("run/data/test.jsonl").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"holds no sweep \(data, "):
        write()


def test_a_plan_larger_than_the_disk_is_refused() -> None:
    with pytest.raises(UserError, match=r"this sweep needs about 1024\.0 TiB"):
        estimates.check_disk(Path("run").absolute(), 2**50)


# --- stand-ins -------------------------------------------------------------------------------------------------------


@needs_pocket_model
def test_stand_ins_run_under_a_banner_with_their_own_rates_and_the_same_letters() -> None:
    prepared, planned, _ = write("grid_2x2x2", source="bundled")
    banner = SweepFolder(Path("run")).manifest().banner or ""
    assert "pocket-gpt2 for gpt2 and pocket-chats for samsum" in banner
    assert "learning_rate 0.01, 0.004" in banner
    assert [trial.name for trial in planned] == [*"ABCDEFGH", "zero-shot v1", "zero-shot v2"]
    assert [trial.trial.train.learning_rate for trial in planned[:2]] == [0.01, 0.004]
    assert {(trial.trial.train.model, trial.trial.train.data) for trial in planned} == {("pocket-gpt2", "pocket-chats")}
    assert prepared.bases.models[0].stood_in


@needs_pocket_model
def test_a_users_rate_wins_over_the_stand_ins() -> None:
    changes = Changes(overrides=("learning_rate=1e-3",))
    _, planned, _ = write("grid_2x2x2", changes=changes, source="bundled")
    assert {trial.trial.train.learning_rate for trial in planned if not trial.is_baseline} == {1e-3}


@needs_pocket_model
@pytest.mark.parametrize(
    ("changes", "named", "missing"),
    [(Changes(model="model"), "pocket-chats", "pocket-gpt2"), (Changes(data="data"), "pocket-gpt2", "pocket-chats")],
)
def test_model_and_data_are_stood_in_for_each_alone(changes: Changes, named: str, missing: str) -> None:
    prepared, planned, _ = write("grid_2x2x2", changes=replace(changes, eval_examples="6,6"))
    banner = prepared.manifest.banner or ""
    assert named in banner
    assert missing not in banner
    rates = {trial.trial.train.learning_rate for trial in planned if not trial.is_baseline}
    assert rates == ({5e-4, 2e-4} if changes.model else {1e-2, 4e-3})


@needs_pocket_model
def test_a_sweep_never_switches_its_sources() -> None:
    write("grid_2x2x2")
    with pytest.raises(UserError, match="--source hub needs another --out"):
        write("grid_2x2x2", source="hub")
    _, planned, _ = write("grid_2x2x2")
    assert {trial.trial.train.model for trial in planned} == {"pocket-gpt2"}


def test_a_name_that_the_user_gave_is_never_stood_in_for() -> None:
    with pytest.raises(UserError, match="model 'gpt3' was not found"):
        write("grid_2x2x2", changes=Changes(model="gpt3", data="data"))


# --- another family of models ----------------------------------------------------------------------------------------


def as_llama(folder: Path) -> Path:
    """Write a Llama, whose attention has q_proj, k_proj and v_proj in place of c_attn."""
    write_model(folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "max_position_embeddings": 512}
    config |= {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    (folder / "config.json").write_text(json.dumps(config))
    weights = {name: np.ones(shape, np.float32) for name, shape in (expected_shapes(config) or {}).items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_users_model_of_another_family_is_adapted_where_its_attention_reads(place: Path) -> None:
    as_llama(place / "other")
    for _ in range(2):
        _, planned, _ = write("grid_2x2x2", changes=Changes(model="other", data="data"))
        assert {trial.trial.train.target_modules for trial in planned[:8]} == {("q_proj", "k_proj", "v_proj")}
    _, planned, _ = write("grid_2x2x2", "new", Changes(model="model", data="data"))
    assert {trial.trial.train.target_modules for trial in planned[:8]} == {("c_attn",)}


def test_layers_that_the_user_names_are_never_replaced(place: Path) -> None:
    as_llama(place / "other")
    with pytest.raises(UserError, match="target_modules: 'c_attn' is no linear layer"):
        write("grid_2x2x2", changes=Changes(("target_modules=c_attn",), model="other", data="data"))
