"""What is said of rows that population-based training changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from analysis.compare import compare
from analysis.findings.answer import answer
from analysis.findings.findings import Findings
from analysis.findings.sentences import conclusions
from analysis.records.load import load_table
from trainables.records.journal import append as append_line
from trainables.records.record import SweepFolder

Make = Callable[..., Path]


def change(folder: Path, name: str, donor: str, *steps: int) -> None:
    """Write that a trial took over its donor's weights at these steps."""
    records = {record.config()["name"]: record for record in SweepFolder(folder).records()}
    for number, step in enumerate(steps, start=1):
        line = {"number": number, "step": step, "donor": records[donor].folder.name, "donor_step": step - 1}
        knobs = {"old": {"learning_rate": 2e-4}, "new": {"learning_rate": 6e-4}, "time": "2026-01-01T00:00:00+00:00"}
        append_line(records[name].lineage_path, {**line, **knobs})


def test_a_changed_winner_is_no_fixed_configuration(make_sweep: Make) -> None:
    folder = make_sweep()
    change(folder, "H", "G", 5, 9, 13, 17)
    found = compare(folder)
    assert "(prompt v2, rank 16, rate 0.0002, changed in training)" in conclusions(found)[0]
    assert "changed in training" in answer(Findings(found))[0]
    first, then = [line for line in conclusions(found) if "changed 4 times" in line or "no fixed configuration" in line]
    assert first == (
        "H was changed 4 times by population-based training (step 5: weights of G at step 4, learning_rate 0.0002 to "
        "0.0006; step 9: weights of G at step 8, learning_rate 0.0002 to 0.0006; step 13: weights of G at step 12, "
        "learning_rate 0.0002 to 0.0006; 1 more)."
    )
    assert then.startswith("This row stands for no fixed configuration: its learning curve includes the donors' ")
    assert load_table(folder).set_index("name")["changes"].to_dict()["H"] == 4


def test_several_changed_rows_are_told_each_and_the_others_not(make_sweep: Make) -> None:
    folder = make_sweep()
    change(folder, "A", "B", 8)
    change(folder, "C", "D", 8)
    said = conclusions(compare(folder))
    assert [line.split(" was changed once")[0] for line in said if "was changed once" in line] == ["A", "C"]
    assert any(line.startswith("These rows stand for no fixed configuration: their learning curves") for line in said)


def test_without_changes_nothing_is_said(make_sweep: Make) -> None:
    found = compare(make_sweep())
    assert not [
        line for line in (*conclusions(found), *answer(Findings(found))) if "changed" in line or "no fixed" in line
    ]
