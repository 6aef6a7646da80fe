"""The comparison on terminals of every width, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from sweeps_on_disk import baseline, configuration, grid

from analysis.compare import compare
from analysis.comparison.comparison import Comparison
from analysis.findings.findings import Findings
from analysis.findings.sentences import conclusions
from analysis.render.csv_tables import to_csv
from analysis.render.json_report import REPORT_SCHEMA_VERSION, report_of
from analysis.render.markdown import to_markdown
from analysis.render.panels import baseline_grid
from analysis.render.terminal_tables import to_terminal
from analysis.render.text_grids import fit_to_width, main_grid, one_line

Make = Callable[..., Path]
BANNER = "STAND-IN: pocket-gpt2 in place of gpt2 [neither local nor reachable]"
MIXED = {
    "B": {"state": None},
    "D": {"state": "diverged", "cause": "the loss was not finite at step 7 [nan]"},
    "F": {"state": "oom", "cause": "12 GB | 8 GB"},
}


def printed(found: Comparison, width: int, **options: bool) -> str:
    out = io.StringIO()
    to_terminal(Console(file=out, width=width, highlight=False, **options), Findings(found))
    return out.getvalue()


@pytest.fixture
def mixed(make_sweep: Make) -> Comparison:
    return compare(make_sweep(grid(**MIXED), banner=BANNER))


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_cut(mixed: Comparison, width: int) -> None:
    text = printed(mixed, width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "…" not in text
    for row in mixed.table.rows:
        line = next(line for line in text.splitlines() if re.match(rf"[*+ ] +{row.name} +[v–]", line))
        assert row.state in line
        if row.values.get("rougeL") is not None:
            assert f"{100 * row.values['rougeL']:.2f}" in line


def test_a_finished_grid_shows_every_column_at_120_columns(make_sweep: Make) -> None:
    found = compare(make_sweep())
    assert fit_to_width(main_grid(found), 120)[1] == []
    text = printed(found, 120)
    for name in ("R-1", "R-2", "val", "ppl", "train", "tok.", "share", "mem.", "step", "time", "state"):
        assert name in text
    assert "Not shown" not in text


def test_a_narrow_terminal_names_what_it_does_not_show(mixed: Comparison) -> None:
    text = " ".join(printed(mixed, 80).split())
    assert "Not shown for want of width:" in text
    for name in ("train loss", "runtime", "s / step", "peak mem.", "train share", "adapter"):
        assert name in text
    grid_, dropped = fit_to_width(main_grid(mixed), 40)
    assert {"name", "R-L", "state"} <= {head.title for head in grid_.heads}
    assert "rate" in dropped


def test_banner_causes_and_signature_are_printed_as_they_are(mixed: Comparison) -> None:
    text = " ".join(printed(mixed, 120).split())
    assert BANNER in text
    assert "D diverged: the loss was not finite at step 7 [nan]." in text
    assert "rouge_score 0." in text
    assert "pocket-gpt2 on pocket-chats" in text


def test_colors_are_for_terminals_without_no_color(mixed: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[" not in printed(mixed, 120)
    assert "\x1b[1;32m" in printed(mixed, 120, force_terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "32m" not in printed(mixed, 120, force_terminal=True)


def test_markdown_has_a_cell_for_every_head(mixed: Comparison) -> None:
    text = to_markdown(Findings(mixed))
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    assert len(tables) == 6  # rows, differences, baselines, the choice, axes, metrics: no effects of a broken grid
    for lines in tables:
        bars = {line.replace("\\|", "").count("|") for line in lines}
        assert len(bars) == 1
    assert len(tables[0]) == 2 + len(mixed.table.rows)
    assert f"> **{BANNER}**" in text
    assert "- F did not fit in memory: 12 GB \\| 8 GB." in text
    assert "Scores: ROUGE: rouge_score" in text


def test_csv_holds_every_row_and_reads_back(mixed: Comparison) -> None:
    frame = pd.read_csv(io.StringIO(to_csv(mixed)))
    assert list(frame["name"]) == [row.name for row in mixed.table.rows]
    assert frame["rougeL"].dropna().tolist() == pytest.approx(
        [100 * row.values["rougeL"] for row in mixed.table.rows if row.values.get("rougeL") is not None], abs=1e-4
    )
    assert set(frame["model"]) == {"pocket-gpt2"}
    assert frame.loc[frame["name"] == "F", "cause"].tolist() == ["12 GB | 8 GB"]
    assert (frame["mark"] == "best").sum() == 1


def test_csv_without_timing_is_the_same_for_runs_that_took_other_times(make_sweep: Make, tmp_path: Path) -> None:
    trials = grid(D=MIXED["D"])
    slow = {"wall_s": 99.5, "seconds_per_step": 3.25, "peak_memory_bytes": 123, "restarts": 2}
    slower = grid(**{name: {"result": slow} for name in "ABCEFGH"}, D={**MIXED["D"], "cause": "after 3.2 s"})
    texts, timed = [], []
    for one in (trials, slower):
        found = compare(make_sweep(one))
        texts.append(to_csv(found, timing=False))
        timed.append(to_csv(found))
    assert texts[0] == texts[1]
    assert timed[0] != timed[1]
    heads = next(csv.reader(io.StringIO(texts[0])))
    assert not {"wall_s", "seconds_per_step", "peak_memory_bytes", "cause"} & set(heads)
    assert {"rougeL", "validation_rougeL", "eval_loss", "adapter_bytes", "state", "signature"} <= set(heads)


def test_another_metric_has_its_own_validation_column(make_sweep: Make) -> None:
    found = compare(make_sweep([configuration("A"), configuration("B", rank=16)]), "eval_loss")
    titles = [head.title for head in main_grid(found).heads]
    assert titles.index("val\nloss") == titles.index("val\nR-L") + 1
    heads = next(csv.reader(io.StringIO(to_csv(found))))
    assert heads.count("validation_eval_loss") == 1


def test_seeds_are_ranked_in_a_table_of_their_own(make_sweep: Make) -> None:
    trials = [configuration(name, rank=rank, seed=seed) for name, rank in (("A", 8), ("B", 16)) for seed in (42, 43)]
    text = printed(compare(make_sweep(trials)), 120)
    assert "SD over seeds" in text
    assert "2 of 2" in text
    assert "SD over seeds" not in printed(compare(make_sweep([configuration("A")])), 120)


def test_json_is_strict_and_says_the_same(make_sweep: Make) -> None:
    found = compare(make_sweep([baseline(), configuration("A"), configuration("B", rank=16, state=None)]))
    findings = Findings(found)
    document = json.loads(json.dumps(report_of(findings).document(), allow_nan=False))
    assert document["schema"] == REPORT_SCHEMA_VERSION
    assert document["best"]["trial"] == "A-v1-r8-lr0.0005-s42"
    assert document["differences"][0]["verdict"] == found.differences[0].verdict
    assert document["sentences"] == conclusions(found)
    assert document["findings"]["winner"]["name"] == "A"
    assert document["findings"]["against_baselines"][0]["verdict"] == findings.tests[0].verdict
    assert [row["state"] for row in document["rows"]] == ["done", *[""] * 4, "done", "pending"]


def test_a_sweep_without_rows_prints(make_sweep: Make) -> None:
    assert "No configuration has finished" in printed(compare(make_sweep([])), 80)
    assert "No configuration has finished" in to_markdown(Findings(compare(make_sweep([]))))


@pytest.mark.parametrize("width", [60, 120])
def test_no_line_of_a_pipe_ends_in_blanks(mixed: Comparison, width: int) -> None:
    lines = printed(mixed, width).splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    on_a_terminal = printed(mixed, width, force_terminal=True, color_system=None).splitlines()
    assert [line.rstrip() for line in on_a_terminal] == lines


def test_every_word_of_a_table_that_does_not_say_itself_is_explained_below_it(make_sweep: Make) -> None:
    found = compare(make_sweep())
    findings = Findings(found)
    for text in (" ".join(printed(found, 200).split()), to_markdown(findings)):
        for said in (
            "detects from: the smallest true difference found with 80% power.",
            "Holm p: of random signs, corrected for 8 comparisons; †: that p is below 0.05; d_z: mean over SD",
            "Holm p: of t over examples, corrected for 7 effects; †: that p is below 0.05; share: of the sum",
        ):
            assert said in text
    narrow = fit_to_width(baseline_grid(findings), 60)[0]
    assert "d_z" in baseline_grid(findings).legend
    assert "d_z" not in narrow.legend


def test_the_metric_that_decides_is_shown_even_where_it_is_for_programs_otherwise(make_sweep: Make) -> None:
    folder = make_sweep([baseline(), configuration("A")])
    heads = [one_line(head.title) for head in main_grid(compare(folder, "rouge1_unstemmed")).heads]
    place = heads.index("unstemmed ROUGE-1")
    assert heads[place + 1 : place + 3] == ["val R-L", "val unstemmed ROUGE-1"]
    assert "unstemmed ROUGE-1" not in [one_line(head.title) for head in main_grid(compare(folder)).heads]
