"""Every file of predictions is read once a report; which texts are kept of what was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sweeps_on_disk import baseline, configuration, grid

from analysis.compare import compare
from analysis.comparison import comparison
from analysis.report import write_page
from analysis.texts.outputs import collect
from trainables.config import EvalConfig

Make = Callable[..., Path]


def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[Path]:
    """Count from now on how often each file of predictions is opened as text; checksums are of its bytes."""
    opened: Counter[Path] = Counter()
    real = Path.open

    def counting(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        if path.name.startswith("predictions-") and "b" not in mode:
            opened[path] += 1
        return real(path, mode, *args, **options)

    monkeypatch.setattr(Path, "open", counting)
    return opened


def test_a_report_reads_every_file_of_predictions_once(make_sweep: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_sweep(grid())
    opened = counted(monkeypatch)
    write_page(folder)
    assert opened == dict.fromkeys(folder.rglob("predictions-*.jsonl"), 1)


def test_texts_of_the_best_alone_are_kept_and_others_are_read_when_asked_for(
    make_sweep: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "MOST_TEXTS", 2)
    qualities = {"A": 0.2, "B": 0.9, "C": 0.5, "D": 0.8}
    trials = [
        configuration(name, rank=8 + place, quality=quality) for place, (name, quality) in enumerate(qualities.items())
    ]
    found = compare(make_sweep([baseline(), *trials], EvalConfig(validation_examples=12, test_examples=4)))
    scores = found.scores["test"]
    assert {label.split("-")[0] for label in scores.texts} == {"zero", "B", "D"}
    assert {label.split("-")[0] for label in found.scores["validation"].texts} == {"B"}
    opened = counted(monkeypatch)
    names = [one.name for one in collect(found, most=4).systems if one.is_model]
    assert names == ["zero-shot v1", "A", "B", "C", "D"]
    assert sorted(path.parts[-4].split("-")[1] for path in opened) == ["A", "C"]
    outputs = collect(found, most=2)
    assert "Texts are shown for the 2 best of 4 finished trials." in outputs.notes
    assert [one.name for one in outputs.systems if one.is_model] == ["zero-shot v1", "B", "D"]
