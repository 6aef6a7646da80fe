"""The best so far against a plain loop over the records, and time without pauses."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from analysis.compare import compare
from analysis.findings.findings import Findings
from analysis.findings.searches.progress import last_gain, merged, progress
from trainables.records.record import SweepFolder


def test_it_is_what_the_records_say_in_the_order_of_their_ends(searched: Path) -> None:
    found = compare(searched)
    known = [(record.result(), record) for record in SweepFolder(searched).records()]
    ended = [(result, record) for result, record in known if result and not record.train_config().is_baseline]
    ended.sort(key=lambda one: datetime.fromisoformat(one[0].ended_at or ""))
    steps = progress(found)
    assert [one.name for one in steps] == [record.config()["name"] for _, record in ended]
    assert "E" not in {one.name for one in steps}  # pending
    best, tokens = 0.0, 0
    for step, (result, record) in zip(steps, ended, strict=True):
        summary = record.summary(found.table.eval_id)
        score = summary.splits["validation"]["rougeL"] if summary else None
        best, tokens = max(best, score or 0.0), tokens + (result.tokens_trained or 0)
        assert (step.score, step.best, step.tokens) == (score, best, tokens)
    assert steps[2].name == "C"
    assert steps[2].score is None  # failed
    gain = last_gain(steps)
    assert gain
    assert gain.name == next(one.name for one in steps if one.score == best)
    lower = progress(compare(searched, "eval_loss"))
    scores = [one.score for one in lower if one.score is not None]
    assert lower[-1].best == min(scores)


def test_pauses_between_commands_are_no_time(searched: Path) -> None:
    found = compare(searched)
    steps = progress(found)
    assert [one.time_s for one in steps][:3] == pytest.approx([60, 61, 120])  # two at a time, a minute each
    rows = list(found.table.rows)
    place = next(index for index, row in enumerate(rows) if row.name == "N")
    for name in ("started_at", "ended_at"):
        moved = datetime.fromisoformat(rows[place].values[name]).replace(day=1, month=12)
        rows[place] = replace(rows[place], values={**rows[place].values, name: moved.isoformat()})
    later = progress(replace(found, table=replace(found.table, rows=tuple(rows))))
    assert later[-1].name == "N"
    assert later[-1].time_s == pytest.approx((steps[-2].time_s or 0) + 60)
    assert merged([(5, 6), (0, 2), (1, 3)]) == [(0, 3), (5, 6)]


def test_what_a_record_does_not_say_is_left_out(searched: Path) -> None:
    found = compare(searched)
    rows = [replace(row, values={**row.values, "ended_at": None, "tokens_trained": None}) for row in found.table.rows]
    steps = progress(replace(found, table=replace(found.table, rows=tuple(rows))))
    assert {(one.tokens, one.time_s) for one in steps} == {(None, None)}
    assert [one.name for one in steps] == list("ABCDFGHIJKLMN")


def test_the_search_is_told_in_a_few_sentences(searched: Path) -> None:
    said = Findings(compare(searched)).search_sentences
    assert said[0] == (
        "The search tried 14 points: 11 finished, 1 stopped early, 1 failed, 1 not done. 1 more was predicted not to "
        "fit and cost nothing. Sampler: tpe, as asked."
    )
    assert "was reached by trial" in said[1]
    assert said[2].startswith("What matters: ")
    assert "PED-ANOVA" in said[2]
    assert "tpe chose later points by earlier scores" in said[3]


def test_trials_that_ran_side_by_side_are_not_told_one_after_another(searched: Path) -> None:
    found = compare(searched)
    rows = [replace(row, values={**row.values, "started_at": "2026-01-01T00:00:00"}) for row in found.table.rows]
    at_once = replace(found, table=replace(found.table, rows=tuple(rows)))
    gain = last_gain(progress(at_once))
    assert gain
    said = Findings(at_once).search_sentences[1]
    assert said.endswith(f"was reached by {gain.name}; all 13 trials ran side by side, none after another.")
