"""Bad input: one sentence with key, value, rule and nearest name; exit 2; quick; nothing written, nothing heavy loaded.

All cases run in one process that has never seen torch or ray, each in a fresh folder, and that reports on each.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tiny_inputs import record, write_data, write_model

ROOT = Path(__file__).resolve().parents[2]

PHASE = re.compile(r": [\d,]+ of [\d,]+$|\(\d+ s\)$")
RUNNER = """
import contextlib, importlib, io, json, os, sys
HEAVY = {"torch", "ray", "transformers", "datasets", "optuna"}
from sweep import cli
def tree(folder):
    return sorted((str(path.relative_to(folder)), path.stat().st_size) for path in folder.rglob("*") if path.is_file())
from pathlib import Path
for line in sys.stdin:
    case = json.loads(line)
    os.chdir(case["folder"])
    before, out, err = tree(Path(".")), io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(case["arguments"])
    print(json.dumps({"code": code, "out": out.getvalue(), "err": err.getvalue(),
        "written": tree(Path(".")) != before, "heavy": sorted(HEAVY & set(sys.modules))}), flush=True)
"""

OWN = """
from search_spaces.experiment import Experiment
from search_spaces.grid import grid
from trainables.config import EvalConfig, TrainConfig
base = TrainConfig(model="model", data="data", prompt={prompt!r})
experiment = Experiment(name="own", description="", grid=grid(base, {axes}), prompts={prompts}{more})
"""


def own(axes: str = "lora_rank=[4]", prompt: str = "v1", prompts: str = "{}", more: str = "") -> dict[str, str]:
    """Return a user's own experiment as a file."""
    return {"own.py": OWN.format(axes=axes, prompt=prompt, prompts=prompts, more=more)}


@dataclass(frozen=True)
class Case:
    """A wrong command line, beside `model/` and `data/`, with further `files`, and what its answer must name."""

    name: str
    arguments: str
    answers: tuple[str, ...]
    files: dict[str, str] = field(default_factory=dict)


LOCAL = "run grid_2x2x2 --model model --data data learning_rate=5e-3"
LENGTHY = own(prompt="p", prompts="{'p': 'x' * 600 + '{source}'}")
TWO_SPLITS = own() | {f"two/{split}.jsonl": json.dumps(record(number)) for number, split in enumerate(("train", "dev"))}
LONG = {"own.py": own()["own.py"].replace("prompt=", "max_length_tokens=1024, prompt=")}
EMPTY = json.dumps({"dialogue": "", "summary": ""})
DAMAGED = own() | {"bare/config.json": "{", "bare/model.safetensors": "", "bare/tokenizer.json": "{}"}
SEARCHED = LOCAL.replace("learning_rate=5e-3", "--search tpe --trials 4")
OWN_SEARCH = """
from search_spaces.experiment import Experiment
from search_spaces.search import integer, log_uniform, ratio, search, uniform, when
from trainables.config import TrainConfig
base = TrainConfig(model="model", data="data")
experiment = Experiment(name="own", description="", search=search(base, {axes}))
"""


def own_search(axes: str) -> dict[str, str]:
    """Return a user's own search as a file."""
    return {"own.py": OWN_SEARCH.format(axes=axes)}


SWEEP = '{"experiment": "grid_2x2x2", "sha256": "0"}'

CASES = [
    Case("unknown verb", "rnu grid_2x2x2", ("verb 'rnu'", "did you mean 'run'?")),
    Case("unknown option", "run grid_2x2x2 --sed 3", ("--sed", "--seeds")),
    Case("missing experiment", "run", ("EXPERIMENT",)),
    Case("unknown experiment", "run grid_2x2x3", ("experiment 'grid_2x2x3'", "did you mean 'grid_2x2x2'?")),
    Case("absent file", "run oen.py", ("'oen.py'", "did you mean 'own.py'?"), own()),
    Case("unknown axis", f"{LOCAL} lora_rnk=8", ("axis 'lora_rnk'", "did you mean 'lora_rank'?")),
    Case("no override", f"{LOCAL} lora_rank", ("'lora_rank' is not an override", "FIELD=VALUE")),
    Case("unknown prompt", f"{LOCAL} prompt=v3", ("prompt 'v3'", "known: v1, v2")),
    Case("rank 0", f"{LOCAL} lora_rank=8,0", ("lora_rank", "greater than or equal to 1", "got 0")),
    Case("rank as text", f"{LOCAL} lora_rank=eight", ("lora_rank must be a whole number", "'eight'")),
    Case("rate as text", "run own.py", ("own.py, line 6", "learning_rate", "'2e-4'"), own("learning_rate=['2e-4']")),
    Case("quoted rate", f'{LOCAL.replace("5e-3", "")}"2e-4"', ("learning_rate", "without quotes")),
    Case("negative rate", f"{LOCAL} lora_dropout=-0.1", ("lora_dropout", "greater than or equal to 0", "got -0.1")),
    Case(
        "negative learning rate", "run own.py", ("learning_rate", "greater than 0", "-0.1"), own("learning_rate=[-0.1]")
    ),
    Case("scalar axis", "run own.py", ("axis lora_rank must be a list", "[8]"), own("lora_rank=8")),
    Case("unknown optimizer", f"{LOCAL} optimizer=adamw", ("optimizer", "did you mean 'adamw_torch'?")),
    Case("warm-up above steps", f"{LOCAL} warmup_steps=40", ("warmup_steps must be below max_steps=32", "40")),
    Case(
        "prompt without source",
        "run own.py",
        ("{source} exactly once", "0 times"),
        own(prompt="p", prompts="{'p': 'x'}"),
    ),
    Case("file without experiment", "run own.py", ("must define `experiment = Experiment(...)`",), {"own.py": "x = 1"}),
    Case("file with an error", "run own.py", ("own.py, line 2", "ZeroDivisionError"), {"own.py": "x = 1\nx / 0"}),
    Case("file with a syntax error", "run own.py", ("own.py, line 1",), {"own.py": "x = ("}),
    Case("unknown data", "run grid_2x2x2 --model model --data samsm", ("'samsm'", "did you mean 'samsum'?")),
    Case("unknown data path", "run grid_2x2x2 --model model --data ./dta", ("dta does not exist", "'data'")),
    Case("unknown model path", "run grid_2x2x2 --model ./modl --data data", ("modl does not exist", "'model'")),
    Case(
        "model without weights", "run own.py --model bare", ("bare", "safetensors"), own() | {"bare/config.json": "{}"}
    ),
    Case(
        "model with a damaged configuration", "run own.py --model bare", ("config.json is not a valid JSON",), DAMAGED
    ),
    Case("model without end-of-text", "run own.py --model endless", ("endless has no end-of-text token",), own()),
    Case("fp16 on a CPU", f"{LOCAL} precision=fp16", ("precision must be fp32 or bf16 on a CPU", "'fp16'")),
    Case("unknown field", f"{LOCAL} --fields source=dialog", ("field 'dialog'", "did you mean 'dialogue'?")),
    Case("malformed fields", f"{LOCAL} --fields dialogue", ("--fields must be like source=", "'dialogue'")),
    Case(
        "data without test",
        "run own.py --data two",
        ("no test split",),
        TWO_SPLITS,
    ),
    Case(
        "empty validation",
        "run own.py",
        ("the validation split", "no usable record"),
        own() | {"data/validation.jsonl": EMPTY},
    ),
    Case("an empty list", "run own.py --data mine.json", ("mine.json holds no records",), own() | {"mine.json": "[]"}),
    Case(
        "a header alone",
        "run own.py --data mine.csv",
        ("mine.csv holds no records",),
        own() | {"mine.csv": "dialogue,summary\n"},
    ),
    Case("empty files", "run own.py --data none", ("none holds no records",), own() | {"none/train.jsonl": ""}),
    Case("more than there is", f"{LOCAL} --eval-examples 8,900", ("test_examples must be at most 12", "got 900")),
    Case("too few for training", f"{LOCAL} train_examples=900", ("train_examples must be at most 80", "got 900")),
    Case("prompt too long", "run own.py", ("does not fit", "instruction 600", "512"), LENGTHY),
    Case("targets too long", f"{LOCAL} --max-new-tokens 500", ("does not fit", "max_new_tokens 500")),
    Case("unknown module", f"{LOCAL} target_modules=q_proj", ("target_modules: 'q_proj'", "c_attn")),
    Case("a range of a grid", f"{LOCAL} lora_rank=1..8", ("lora_rank is given as a range", "add --search auto")),
    Case("a range upside down", f"{SEARCHED} learning_rate=log:1e-2..1e-3", ("low must be below high", "0.01")),
    Case("a logarithm of zero", f"{SEARCHED} lora_dropout=log:0..0.2", ("must begin above 0", "lora_dropout=log:0")),
    Case("a low end that is refused", f"{SEARCHED} lora_rank=0..8", ("lora_rank", "greater than or equal to 1")),
    Case("a high end above the width", f"{SEARCHED} lora_rank=1..64", ("lora_rank must be at most 32", "got 64")),
    Case("no end of a range", f"{SEARCHED} learning_rate=log:1e-3", ("LOW..HIGH", "learning_rate=log:1e-3")),
    Case("a range of no field", f"{SEARCHED} lora_rnk=1..8", ("axis 'lora_rnk'", "did you mean 'lora_rank'?")),
    Case("no trials", f"{LOCAL} --search tpe", ("--search tpe needs --trials N",)),
    Case("zero trials", f"{LOCAL} --search tpe --trials 0", ("--trials must be at least 1, got 0",)),
    Case("trials of a grid", f"{LOCAL} --trials 8", ("--trials 8 is for a search", "add --search auto")),
    Case("unknown sampler", f"{LOCAL} --search tpee --trials 8", ("--search 'tpee'", "did you mean 'tpe'?")),
    Case("gp and a choice", f"{LOCAL} --search gp --trials 8", ("sampler gp needs ranges", "prompt", "take tpe or")),
    Case("no direction", f"{SEARCHED} --objectives rougeL,runtime_s", ("'runtime_s'", "small", "'-runtime_s'")),
    Case("an objective it lacks", f"{SEARCHED} --objectives rougeL,-meteor", ("'-meteor' is unknown",)),
    Case("replicates of a search", f"{SEARCHED} --seeds 3", ("--seeds 3 and a search exclude each other",)),
    Case("a population of a search", f"{SEARCHED} --scheduler pbt", ("--scheduler pbt changes what a search",)),
    Case("a warm start from nothing", f"{SEARCHED} --warm-start there", ("there is no sweep 'there'",)),
    Case("a warm start of a grid", f"{LOCAL} --warm-start there", ("--warm-start there is for a search",)),
    Case("no bounds", "run own.py", ("own.py, line 6", "a search needs at least one axis"), own_search("trials=4")),
    Case("an empty choice", "run own.py", ("axis lora_rank", "at least one"), own_search("lora_rank=[], trials=4")),
    Case(
        "a declared search of another kind",
        "run own.py --search tpe",
        ("--search tpe and the sampler random", "exclude each other"),
        own_search("lora_dropout=uniform(0, 0.1), sampler='random', trials=4"),
    ),
    Case(
        "a condition that no axis has",
        "run own.py",
        ("optimizer[quantization=nf4]", "is no axis with a list of values"),
        own_search("when(quantization='nf4', optimizer=['adamw_torch']), lora_rank=[4, 8], trials=4"),
    ),
    Case("rank above width", f"{LOCAL} lora_rank=64", ("lora_rank must be at most 32", "got 64")),
    Case(
        "length above context", f"{LOCAL} max_length_tokens=1024", ("max_length_tokens must be at most 512", "got 1024")
    ),
    Case(
        "length above context as an axis of the file",
        "run own.py",
        ("max_length_tokens must be at most 512, the context of model, got 1024",),
        own("max_length_tokens=[256, 1024]"),
    ),
    Case("length above context in the file", "run own.py", ("max_length_tokens must be at most 512",), LONG),
    Case("length above context in a plan", "plan own.py", ("max_length_tokens must be at most 512",), LONG),
    Case("unknown metric", f"{LOCAL} --metric rouge-l", ("metric 'rouge-l'", "did you mean 'rougeL'?")),
    Case("unknown decoding", f"{LOCAL} --decoding beam", ("--decoding 'beam'", "did you mean 'beam4'?")),
    Case(
        "unknown scheduler", f"{LOCAL} --scheduler hyperband", ("--scheduler 'hyperband'", "known: none, asha, median")
    ),
    Case("pbt by itself", f"{LOCAL} --scheduler pbt --engine solo", ("--scheduler pbt", "add --engine packed")),
    Case(
        "quantized base",
        LOCAL.replace("--model model", "--model quantized"),
        ("quantized already (gptq)", "quantization=nf4"),
    ),
    Case("pbt of few", f"{LOCAL} --scheduler pbt --engine packed", ("at least 4 configurations", "lora_rank has 2")),
    Case(
        "pbt in turn",
        f"{LOCAL},1e-3 --scheduler pbt --engine packed --max-concurrent 1",
        ("--max-concurrent must be at least 8", "got 1"),
    ),
    Case("unknown source", f"{LOCAL} --source local", ("--source 'local'", "known: auto, hub, bundled")),
    Case("unknown device", f"{LOCAL} --device gpu", ("--device 'gpu'", "cuda")),
    Case("unknown engine", f"{LOCAL} --engine packd", ("--engine 'packd'", "did you mean 'packed'?")),
    Case("unknown checkpoint", f"{LOCAL} --keep bst", ("keep_checkpoint", "did you mean 'best'?")),
    Case("malformed sizes", f"{LOCAL} --eval-examples 64", ("--eval-examples must be VALIDATION,TEST", "'64'")),
    Case("no evaluation", f"{LOCAL} --eval-examples 0,0", ("must not both be 0",)),
    Case("malformed budget", f"{LOCAL} --time-budget 2", ("--time-budget must be like 2h", "'2'")),
    Case("no seeds", f"{LOCAL} --seeds 0", ("--seeds must be at least 1", "got 0")),
    Case("seeds twice", f"{LOCAL} --seeds 2 seed=1,2", ("--seeds 2", "axis seed")),
    Case("axis twice", f"{LOCAL} lora_rank=8 lora_rank=16", ("lora_rank is given twice",)),
    Case("no GPU", f"{LOCAL} --device cuda", ("--device 'cuda'", "no NVIDIA GPU")),
    Case("GPU needed", "run phi2_qlora", ("'phi2_qlora' needs a GPU", "--device cpu")),
    Case("no stand-in", "run own.py --source bundled --model gpt2", ("bundled", "'gpt2'"), own()),
    Case("folder is a file", f"{LOCAL} --out data/test.jsonl", ("--out", "is a file")),
    Case("unwritable folder", f"{LOCAL} --out /proc/runs", ("--out /proc/runs", "cannot be written")),
    Case("foreign folder", f"{LOCAL} --out data", ("holds no sweep", "--out")),
    Case("damaged sweep", f"{LOCAL} --out old", ("sweep.json is damaged", "--out"), {"old/sweep.json": SWEEP}),
    Case("torn sweep", f"{LOCAL} --out old", ("sweep.json is damaged",), {"old/sweep.json": SWEEP[:20]}),
    Case("fresh over foreign", f"{LOCAL} --out data --fresh", ("holds no sweep", "--out")),
    Case("status of nothing", "status rus", ("there is no sweep 'rus'",)),
    Case("best of no sweep", "best data", ("data holds no sweep",)),
    Case("best of a damaged sweep", "best old", ("sweep.json is damaged",), {"old/sweep.json": SWEEP}),
    Case("eval of nothing", "eval nothing --decoding beam4", ("there is no sweep 'nothing'",)),
    Case("rows below one", "show grid_2x2x2 -n 0", ("-n", "greater than or equal to 1")),
    Case("plan of an unknown axis", "plan grid_2x2x2 lora_rnk=8", ("axis 'lora_rnk'", "did you mean 'lora_rank'?")),
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Run every case and return its answer by name."""
    root = tmp_path_factory.mktemp("bad")
    model = write_model(root / "model")
    quantized = write_model(root / "quantized")
    config = json.loads((quantized / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (quantized / "config.json").write_text(json.dumps(config), encoding="utf-8")
    endless = write_model(root / "endless")
    (endless / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    config = json.loads((endless / "config.json").read_text(encoding="utf-8"))
    (endless / "config.json").write_text(json.dumps({**config, "eos_token_id": None}), encoding="utf-8")
    lines = []
    for number, case in enumerate(CASES):
        folder = root / f"case-{number}"
        write_data(folder / "data")
        (folder / "model").symlink_to(model, target_is_directory=True)
        (folder / "quantized").symlink_to(quantized, target_is_directory=True)
        (folder / "endless").symlink_to(endless, target_is_directory=True)
        for name, text in case.files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        lines.append(json.dumps({"folder": str(folder), "arguments": case.arguments.split()}))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "HF_HOME": str(root / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(RUNNER)],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {case.name: answer for case, answer in zip(CASES, found, strict=True)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_is_one_sentence_and_exit_2(case: Case, answers: dict[str, dict[str, Any]]) -> None:
    answer = answers[case.name]
    assert (answer["code"], answer["out"]) == (2, ""), answer
    # A slow machine has phases that are told.
    [said] = [line for line in answer["err"].splitlines() if not PHASE.search(line)]
    assert said.startswith("sweep: ")
    for part in case.answers:
        assert part in said


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_is_found_without_writing_or_loading_anything(case: Case, answers: dict[str, dict[str, Any]]) -> None:
    answer = answers[case.name]
    assert not answer["written"]
    assert answer["heavy"] == []


def test_the_records_of_the_small_data_set_differ() -> None:
    assert len({record(number)["dialogue"] for number in range(104)}) == 104
