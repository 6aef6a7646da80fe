"""Scores of an `evaluate` metric in the report: stored by a rescoring, compared and able to decide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sweeps_on_disk import SMALL, baseline, configuration

from analysis.compare import compare
from analysis.findings.findings import Findings
from analysis.findings.sentences import conclusions
from analysis.report import write, write_page
from trainables.config import eval_id
from trainables.data.corpus import example_of
from trainables.records import atomic_files
from trainables.records.record import SweepFolder
from trainables.scoring.rescore import rescore

METRIC = """
import datasets
import evaluate
class Even(evaluate.Metric):
    def _info(self):
        texts = datasets.Features({name: datasets.Value("string") for name in ("predictions", "references")})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=texts)
    def _compute(self, predictions, references):
        same = sum(one == other for one, other in zip(predictions[0].split(), references[0].split()))
        return {"kept": 100 * same / max(1, len(references[0].split()))}
"""


@pytest.mark.slow
def test_a_metric_of_a_script_is_compared_like_any_other(
    make_sweep: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    (tmp_path / "even").mkdir()
    (tmp_path / "even/even.py").write_text(METRIC, encoding="utf-8")
    folder = make_sweep([baseline(), configuration("A", quality=0.4), configuration("B", rank=16, quality=0.8)])
    sweep = SweepFolder(folder)
    evaluation = SMALL.model_copy(update={"metrics": ("rouge", f"evaluate:{tmp_path}/even#kept/100")})
    examples = {
        split: [example_of(row) for row in atomic_files.read_lines(sweep.evaluation_examples_path(split))]
        for split in SMALL.examples
    }
    for record in sweep.records():
        assert rescore(record, evaluation, examples)
    found = compare(folder, "evaluate_even_kept", eval_id(evaluation))
    findings = Findings(found)
    assert found.best
    assert found.best.name == "B"
    assert "chosen by even_kept (evaluate)" in conclusions(found)[0]
    assert "evaluate_even_kept divided by 100" in found.table.signatures[0]
    # Texts that no model made are not given to the metric: a score of our own compares them.
    assert {one.metric for one in found.differences if one.role in ("constant", "shuffled")} == {"rougeL"}
    assert {one.metric for one in findings.tests} == {"evaluate_even_kept"}
    assert "evaluate_even_kept" in write(folder, "evaluate_even_kept", eval_id(evaluation))[2].read_text()
    assert "even_kept (evaluate)" in write_page(folder, findings=findings).path.read_text(encoding="utf-8")
