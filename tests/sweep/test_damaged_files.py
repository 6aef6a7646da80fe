"""Damaged files of a finished sweep: no reading verb changes anything, and none gives another answer without a word."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
from pathlib import Path

import pytest
from finished_sweep import make_finished_place

from sweep.cli import main
from sweep.environment import lease
from sweep.request.trials import known_trials
from trainables.records import atomic_files, journal
from trainables.records.record import SweepFolder, TrialRecord

OUT = Path("runs/own")
WORD = re.compile(r"damaged|is gone|cut back")
VERBS = {
    "list": ["list"],
    "status": ["status", "own", "--json"],
    "plan": ["plan", "own.py", "--json"],
    "show": ["show", "own", "-n", "8"],
    "best": ["best", "own", "--json"],
    "compare": ["compare", "runs/own", "twin", "--json"],
    "report": ["report", "own", "--json", "--no-page"],  # the last: it writes to report/ alone
}
KINDS = {
    "sweep.json": "sweep.json",
    "config": "trials/*-B-*/config.json",
    "result": "trials/*-B-*/result.json",
    "curves": "trials/*-B-*/metrics.jsonl",
    "changes": "trials/*-B-*/lineage.jsonl",
    "adapter": "trials/*-B-*/adapter/adapter_config.json",
    "weights": "trials/*-B-*/adapter/adapter_model.safetensors",
    "summary": "trials/*-B-*/evals/*/summary.json",
    "validation texts": "trials/*-B-*/evals/*/predictions-validation.jsonl",
    "test texts": "trials/*-B-*/evals/*/predictions-test.jsonl",
    "a baseline": "trials/*-zero-shot-*/result.json",
    "training data": "data/train-seed42.jsonl",
    "test data": "data/test.jsonl",
    "lease": "lease.json",
    "launches": "launches.jsonl",
    "references": "report/references-*.json",
    "page": "report/page.json",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a finished sweep of two configurations, B the better one."""
    return make_finished_place(tmp_path, monkeypatch)


def record_of(name: str) -> TrialRecord:
    (path,) = (OUT / "trials").glob(f"*-{name}-*")
    return TrialRecord(path.absolute())


def flip(path: Path, place: int, bit: int = 1) -> None:
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= bit
    path.write_bytes(content)


def tree(folder: Path, without: str = "") -> str:
    """Return a digest of every name and byte below a folder."""
    paths = sorted(path for path in folder.rglob("*") if not (without and path.is_relative_to(folder / without)))
    found = hashlib.sha256()
    for path in paths:
        found.update(f"{path.relative_to(folder)}\0".encode() + (path.read_bytes() if path.is_file() else b""))
    return found.hexdigest()


def say(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> tuple[int, str]:
    capsys.readouterr()
    code = main(arguments)
    said = capsys.readouterr()
    # How much memory is free changes from one look to the next, and a slow verb says how far it is.
    return code, re.sub(r'"memory_bytes": \d+|(?m:^.*: \d+ of \d+\n)', "", said.out + said.err)


@pytest.mark.slow
def test_a_flipped_byte_in_any_file_changes_no_answer_without_a_word_and_no_verb_changes_the_folder(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["run", "own.py"])
    main(["report", "own"])
    lease.acquire(OUT).release()
    lineage = {"number": 1, "step": 2, "donor": "001-A-x", "donor_step": 2, "old": {}, "new": {}}
    journal.append(record_of("B").lineage_path, lineage)
    result = record_of("B").result()
    assert result is not None
    record_of("B").write_result(result)
    atomic_files.append_line(SweepFolder(OUT).launches_path, {"engine": "packed"})
    shutil.copytree(OUT, "twin")
    shutil.move(OUT, "whole")
    shutil.copytree("whole", OUT)
    right = {verb: say(capsys, arguments) for verb, arguments in VERBS.items()}
    assert {code for code, _ in right.values()} == {0}
    assert not any(WORD.search(text) for _, text in right.values())
    draw = random.Random(6)
    for kind, pattern in KINDS.items():
        for _ in range(3):
            shutil.rmtree(OUT)
            shutil.copytree("whole", OUT)
            (path,) = OUT.glob(pattern)
            at, bit = draw.randrange(path.stat().st_size), 1 << draw.randrange(8)
            flip(path, at, bit)
            for verb, arguments in VERBS.items():
                where = f"{verb} after bit {bit} of byte {at} of the {kind}"
                kept = "report" if verb == "report" else ""
                before = tree(OUT, kept)
                code, said = say(capsys, arguments)
                assert tree(OUT, kept) == before, where
                assert code in (0, 1, 2), where
                if code == 0 and not WORD.search(said):
                    assert said == right[verb][1], where


@pytest.mark.parametrize("damage", ["flipped", "edited", "set aside", "gone"])
def test_a_configuration_that_cannot_be_read_is_read_from_the_plan_until_a_run_writes_it_anew(
    place: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    path = record_of("B").config_path
    whole, weights = path.read_bytes(), record_of("B").weights_path.stat().st_mtime_ns
    if damage == "flipped":
        flip(path, 5)
    elif damage == "edited":
        path.write_bytes(whole.replace(b'"lora_rank": 4', b'"lora_rank": 8'))
    elif damage == "set aside":  # as earlier versions did
        atomic_files.set_aside(path)
    else:
        path.unlink()
    before = tree(OUT)
    code, said = say(capsys, ["best", "own"])
    assert (code, "Best: B" in said) == (0, True)
    assert re.search(r"B: config\.json is (damaged: .*|gone); it is read from the plan in sweep\.json\.", said)
    code, said = say(capsys, ["plan", "own.py"])
    assert (code, "0 to run" in said) == (0, True)
    code, said = say(capsys, ["status", "own"])
    assert (code, "3 done" in said, "config.json is" in said) == (0, True, True)
    assert tree(OUT) == before
    code, said = say(capsys, ["run", "own.py"])
    assert (code, "config.json was damaged and is written anew" in said.replace("\n", " ")) == (0, True)
    assert json.loads(path.read_bytes()) == json.loads(whole)
    assert record_of("B").weights_path.stat().st_mtime_ns == weights
    assert "damaged" not in say(capsys, ["best", "own"])[1]


def test_an_old_sweeps_damaged_configuration_hides_the_winner_until_a_run_mends_it(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = SweepFolder(OUT.absolute())
    sweep = atomic_files.read_json(folder.sweep_path)
    atomic_files.write_json(folder.sweep_path, {key: value for key, value in sweep.items() if key != "trials"})
    path = record_of("B").config_path
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    code, said = say(capsys, ["best", "own", "--export", "out"])
    assert (code, "No best can be named: B may be better" in said, Path("out").exists()) == (1, True, False)
    assert "config.json is damaged" in said
    assert "No best can be named" in say(capsys, ["report", "own", "--no-page"])[1]
    assert "1 damaged" in say(capsys, ["status", "own"])[1]
    assert "0 to run" in say(capsys, ["plan", "own.py"])[1]
    assert main(["run", "own.py"]) == 0
    assert json.loads(path.read_bytes()) == json.loads(whole)
    assert all(one.train for one in known_trials(folder))
    assert main(["best", "own"]) == 0


@pytest.mark.parametrize("pattern", ["result.json", "evals/*/summary.json", "evals/*/predictions-validation.jsonl"])
def test_no_winner_is_named_while_damage_may_hide_a_better_one(
    place: Path, capsys: pytest.CaptureFixture[str], pattern: str
) -> None:
    (path,) = record_of("B").folder.glob(pattern)
    flip(path, 40)
    before = tree(OUT)
    code, said = say(capsys, ["best", "own"])
    assert (code, f"{path.name} is damaged" in said) == (1, True)
    assert "No best can be named: B may be better; of what can be read A is the best" in said
    found = say(capsys, ["status", "own", "--json"])[1]
    evaluated = {trial["label"][0]: trial["evaluated"] for trial in json.loads(found)["trials"]}
    assert evaluated == {"A": True, "B": path.name == "result.json", "z": True}
    assert tree(OUT) == before


def test_a_worse_configurations_curves_hide_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = record_of("A").metrics_path
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:3], lines[3].replace(b"3.0", b"2.0"), *lines[4:]]))
    assert b'"eval_loss": 2.0' in path.read_bytes()
    code, said = say(capsys, ["best", "own"])
    said = " ".join(said.split())  # in lines of any length
    why = "metrics.jsonl is damaged: line 4: its checksum is not the one of its text and the lines before it"
    assert (code, "Best: B" in said, f"A: {why}; 3 of its lines are read." in said) == (0, True, True)
    assert main(["run", "own.py"]) == 0
    assert [row["step"] for row in record_of("A").metrics()] == [1, 1, 2]
    assert "metrics.jsonl was cut back where it was damaged" in say(capsys, ["best", "own"])[1]


def test_an_adapter_of_another_scale_is_not_exported(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = record_of("B").adapter_folder / "adapter_config.json"
    atomic_files.write_text(path, path.read_text().replace("model", "modes"))
    code, said = say(capsys, ["best", "own", "--export", "out"])
    assert (code, "adapter/adapter_config.json is damaged" in said, Path("out").exists()) == (2, True, False)
    assert "adapter/adapter_config.json is damaged" in say(capsys, ["status", "own"])[1]
    assert "1 to run" in say(capsys, ["plan", "own.py"])[1]


def test_a_sweep_from_before_these_checksums_is_read_as_it_was(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = SweepFolder(OUT.absolute())
    sweep = atomic_files.read_json(folder.sweep_path)
    atomic_files.write_json(folder.sweep_path, {key: value for key, value in sweep.items() if key != "trials"})
    for record in folder.records():
        result = atomic_files.read_json(record.result_path)
        atomic_files.write_json(
            record.result_path, {key: result[key] for key in result if key not in ("journals", "adapter_files")}
        )
        if record.metrics_path.exists():
            atomic_files.write_lines(record.metrics_path, record.metrics())
    for arguments in VERBS.values():
        if "twin" not in arguments:
            code, said = say(capsys, arguments)
            assert (code, WORD.search(said)) == (0, None)
    assert main(["best", "own", "--export", "out"]) == 0
