"""Metrics of the `evaluate` library: from a script on disk, offline, stored beside our own, refused in a sentence."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweep.environment.ray_variables import HiddenSecrets
from trainables.config import EvalConfig, configured, eval_id, external_of, generation_id
from trainables.data.corpus import Example
from trainables.errors import UserError
from trainables.metric_table import names_of
from trainables.scoring import evaluate_library
from trainables.scoring.evaluate_library import entry_of, scored
from trainables.scoring.metrics import score_names, signature
from trainables.secret_variables import without_passed

SCRIPT = """
import datasets
import evaluate
{imports}

TEXT = datasets.Value("string")


class SameLength(evaluate.Metric):
    def _info(self):
        features = datasets.Features({{"predictions": TEXT, "references": {references}}})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references, most=1.0):
        print("what a metric prints is no answer")
        (text,), (known,) = predictions, references
        texts = [known] if isinstance(known, str) else known
        same = any(len(text.split()) == len(one.split()) for one in texts)
        return {{"same": most * same, "percent": 100.0 * same, "sizes": [1, 2]}}
"""
SEVERAL = "datasets.Sequence(TEXT)"
EXAMPLES = {
    "test": [
        Example("a", "source", ("one two three", "one")),
        Example("b", "source", ("one two",)),
        Example("c", "source", ("one",)),
    ]
}
PREDICTIONS = {
    "test": [
        {"id": "a", "text": "x", "scores": {"rougeL": 0.0}},
        {"id": "b", "text": "x", "scores": {"rougeL": 0.1}},
        {"id": "c", "text": "", "scores": {"rougeL": 0.0}},
    ]
}


@pytest.fixture(autouse=True, scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One process scores for the whole module, with a cache of its own: it takes seconds to import the library."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))
        evaluate_library._worker.cache_clear()
        yield
        evaluate_library._worker.cache_clear()


def script(folder: Path, references: str = SEVERAL, imports: str = "") -> Path:
    path = folder / "same_length" / "same_length.py"
    path.parent.mkdir()
    path.write_text(SCRIPT.format(references=references, imports=imports), encoding="utf-8")
    return path.parent


@pytest.mark.slow
@pytest.mark.parametrize("references", [SEVERAL, "TEXT"])
def test_each_text_is_scored_by_a_script_on_disk_and_stored_beside_our_own_scores(
    tmp_path: Path, references: str
) -> None:
    entry = f"evaluate:{script(tmp_path, references)}#same"
    found = scored(("rouge", entry), PREDICTIONS, EXAMPLES)["test"]
    # a: as long as its second reference; b: not; c: an empty text has 0 whatever the metric would say.
    assert [row["scores"]["evaluate_same_length_same"] for row in found] == [1.0, 0.0, 0.0]
    assert [row["scores"]["rougeL"] for row in found] == [0.0, 0.1, 0.0]
    assert "evaluate_same_length_same" not in PREDICTIONS["test"][0]["scores"]
    entries = (f"{entry}?most=0.5", f"evaluate:{tmp_path}/same_length#percent/100")
    parts = scored(("rouge", entries[0]), PREDICTIONS, EXAMPLES)["test"][0]["scores"]
    assert parts["evaluate_same_length_same"] == 0.5
    if references == SEVERAL:
        whole = scored(("rouge", entries[1]), PREDICTIONS, EXAMPLES)["test"][0]["scores"]
        assert whole["evaluate_same_length_percent"] == 1.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "words"),
    [
        ("", ("has no number 'same_length'", "same, percent", "#KEY")),
        ("#f1", ("has no number 'f1'", "same, percent")),
        ("#percent", ("from 0 to 1", "got 100", "#percent/100")),
        ("#same?least=1", ("failed: TypeError", "least")),
    ],
)
def test_a_metric_that_cannot_be_used_is_a_sentence(tmp_path: Path, ending: str, words: tuple[str, ...]) -> None:
    """Each takes a process that imports the library, seconds."""
    with pytest.raises(UserError, match="metric 'evaluate:") as caught:
        scored((f"evaluate:{script(tmp_path)}{ending}",), PREDICTIONS, EXAMPLES)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("imports", "words"),
    [
        (None, ["cannot be loaded", "offline a metric must be in the cache"]),
        ("import a_scorer_that_is_not_installed", ["cannot be loaded", "a_scorer_that_is_not_installed"]),
        ("import os\nos._exit(3)", ["ended its process (exit code 3)"]),
    ],
)
def test_a_metric_that_cannot_be_loaded_is_a_sentence(tmp_path: Path, imports: str | None, words: list[str]) -> None:
    location = "no_such_metric" if imports is None else script(tmp_path, imports=imports)
    with pytest.raises(UserError) as caught:
        scored((f"evaluate:{location}",), PREDICTIONS, EXAMPLES)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_metric_that_lacks_a_variable_names_what_was_withheld_and_it_can_be_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = script(tmp_path, imports="import os\nKEY = os.environ['JUDGE_API_KEY']")
    entry = f"evaluate:{folder}#same"
    hidden = HiddenSecrets()
    for passed in ("OTHER_KEY", "OTHER_KEY,JUDGE_API_KEY"):
        monkeypatch.setenv("PACKSWEEP_PASS_ENV", passed)
        for name in ("JUDGE_API_KEY", "OTHER_KEY", "A_TOKEN"):
            monkeypatch.setenv(name, "swordfish")
        hidden.hide()
        evaluate_library._worker.cache_clear()
        try:
            if "JUDGE" in passed:
                assert (
                    scored(("rouge", entry), PREDICTIONS, EXAMPLES)["test"][0]["scores"]["evaluate_same_length_same"]
                    == 1
                )
            else:
                with pytest.raises(UserError) as caught:
                    scored((entry,), PREDICTIONS, EXAMPLES)
                assert "withheld from it, since they may hold secrets: JUDGE_API_KEY, A_TOKEN" in str(caught.value)
                assert "; PACKSWEEP_PASS_ENV=JUDGE_API_KEY in the environment passes" in str(caught.value)
        finally:
            hidden.put_back()
            evaluate_library._worker.cache_clear()


def test_a_passed_value_that_a_metric_spells_in_its_error_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSWEEP_PASS_ENV", "JUDGE_API_KEY")
    monkeypatch.setenv("JUDGE_API_KEY", "swordfish")
    assert without_passed("failed: HTTPError: 401 for ?key=swordfish") == "failed: HTTPError: 401 for ?key=***"


def test_an_evaluation_names_them_beside_our_own_metrics() -> None:
    evaluation = EvalConfig(metrics=("rouge", "evaluate:/m/same_length#same/100?lang=en"))
    assert generation_id(evaluation) == generation_id(EvalConfig())
    assert eval_id(evaluation) != eval_id(EvalConfig())
    assert score_names(evaluation.metrics) == (*names_of(("rouge",)), "evaluate_same_length_same")
    text = signature(evaluation.metrics)
    assert "evaluate_same_length_same divided by 100" in text
    assert "/m/" not in text
    one = external_of("evaluate:/m/same_length#same/100?lang=en&layers=5")
    assert one
    assert (one.location, one.key, one.divisor, one.options) == (
        "/m/same_length",
        "same",
        100,
        {"lang": "en", "layers": 5},
    )


def test_a_changed_script_or_option_is_another_signature(tmp_path: Path) -> None:
    folder = script(tmp_path)
    entry = f"evaluate:{folder}#same/100"
    first = signature(("rouge", entry))
    assert re.search(r"evaluate_same_length_same divided by 100 \(script [0-9a-f]{8}\);", first)
    assert "with most=0.5" in signature(("rouge", f"{entry}?most=0.5"))
    copy = tmp_path / "elsewhere" / "same_length"
    shutil.copytree(folder, copy)
    assert signature(("rouge", f"evaluate:{copy}#same/100")) == first
    path = folder / "same_length.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    assert signature(("rouge", entry)) != first
    assert signature(("rouge", f"evaluate:{path}#same/100")) == signature(("rouge", entry))


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        (("evaluate:accuracy",), "beside a metric of evaluate"),
        (("rouge", "evaluate:a/m", "evaluate:b/m"), "the same name"),
        (("rouge", "evaluate:"), "'evaluate:' is unknown"),
        (("rouge", "evaluate:m#a/0"), "is unknown"),
        (("rogue",), "did you mean 'rouge'"),
    ],
)
def test_a_wrong_entry_is_refused(metrics: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError, match="metrics:") as caught:
        configured(EvalConfig, {"metrics": metrics})
    assert words in str(caught.value)


def test_a_path_on_the_command_line_is_made_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = script(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert entry_of("./same_length#same/100") == f"evaluate:{folder}#same/100"
    assert entry_of("evaluate:same_length") == f"evaluate:{folder}"
    assert entry_of("evaluate:accuracy") == "evaluate:accuracy"
    assert entry_of("chrf") is None


def test_nothing_heavy_is_imported_here() -> None:
    check = "import sys, trainables.scoring.evaluate_library; "
    check += "print(sorted({'torch', 'evaluate', 'datasets'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout == "[]\n"
