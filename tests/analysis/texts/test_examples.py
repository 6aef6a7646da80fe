"""Examples to read: which are chosen, how they are marked, which failures are found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sweeps_on_disk import baseline, configuration, grid

from analysis.compare import compare
from analysis.texts.behaviour import panel
from analysis.texts.examples import failures, marked, pair, to_read
from analysis.texts.outputs import collect

Make = Callable[..., Path]


def test_copied_fragments_and_unstated_names_are_marked() -> None:
    source = "Karl: the rehearsal is on Saturday\nAnna: they say Olga has a fever"
    pieces = marked("Noah has a FEVER, the rehearsal is off at 5.", source)
    assert [(one.text, one.kind) for one in pieces if one.kind] == [
        ("Noah", "unsupported"),
        ("has a FEVER", "copied"),
        ("the rehearsal is", "copied"),
        ("5", "unsupported"),
    ]
    assert "".join(one.text for one in pieces) == "Noah has a FEVER, the rehearsal is off at 5."
    assert marked("", source) == ()


def test_single_common_words_are_not_marked() -> None:
    assert [one.kind for one in marked("we saw the lake", "Ben: the end")] == [""]


def test_the_examples_are_the_best_the_worst_the_median_and_the_largest_changes(make_sweep: Make) -> None:
    found = compare(make_sweep())
    read = panel(collect(found))
    chosen = pair(found, read)
    assert chosen
    best, zero_shot = chosen
    assert (best.name, zero_shot and zero_shot.name) == ("H", "zero-shot v2")
    groups = dict(to_read(read, best, zero_shot, count=2))
    assert {"Best", "Worst", "Median"} <= set(groups)
    ids = [one.example.id for shown in groups.values() for one in shown]
    assert len(ids) == len(set(ids))
    scores = sorted(best.scores.values())
    assert [one.texts[0][2] for one in groups["Best"]] == scores[::-1][:2]
    assert [one.texts[0][2] for one in groups["Worst"]] == scores[:2]


def test_failures_are_grouped_by_kind_the_most_frequent_first(make_sweep: Make) -> None:
    found = compare(make_sweep([baseline(), configuration("A", quality=0.6)]))
    read = panel(collect(found))
    best = read.outputs.named("A")
    assert best
    values = read.values["A"]
    for place, identity in enumerate(values):
        values[identity] |= {"unsupported_names": 0.0, "copied": float(place < 3), "empty": float(place == 5)}
    kinds = failures(read, best)
    assert [(one.kind, one.count, one.of) for one in kinds[:2]] == [("copied", 3, 20), ("empty", 1, 20)]
    assert len(kinds[0].shown) == 2


def test_a_sweep_without_a_finished_configuration_has_no_examples(make_sweep: Make) -> None:
    found = compare(make_sweep(grid(**{name: {"state": None} for name in "ABCDEFGH"})))
    assert pair(found, panel(collect(found))) is None
