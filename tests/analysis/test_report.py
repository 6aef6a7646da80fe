"""The command: what it prints, writes, imports and refuses."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from rich.console import Console
from sweeps_on_disk import SMALL, baseline, configuration, grid
from typer.testing import CliRunner

from analysis.compare import compare
from analysis.findings.findings import Findings
from analysis.findings.sentences import conclusions
from analysis.render import behaviour_tables, csv_tables, json_report, latex, markdown
from analysis.render.page import alarm_of
from analysis.report import print_table, report, write
from trainables.config import DECODINGS, EvalConfig, eval_id

Make = Callable[..., Path]


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "analysis.report", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)


@pytest.mark.slow
def test_the_command_prints_plain_text_and_writes_the_report(make_sweep: Make) -> None:
    folder = make_sweep()
    done = run(folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "Best: H (prompt v2, rank 16, rate 0.0002)" in done.stdout
    names = {path.name for path in (folder / "report").iterdir()}
    expected = {"comparison.md", "comparison.tex", "comparison.csv", "comparison-without-timing.csv"}
    expected |= {"comparison-tests.csv"}
    expected |= {f"references-{eval_id(SMALL)}.json", "index.html", "page.json", "behaviour.md"}
    figures = {"figure-forest", "figure-effects", "figure-half-normal", "figure-costs"}
    expected |= {f"{name}{ending}" for name in figures for ending in (".svg", ".png")}
    assert names == expected
    assert run(folder).stdout == done.stdout


@pytest.mark.slow
def test_behaviour_and_scores_by_a_column_are_printed_where_asked(make_sweep: Make) -> None:
    folder = make_sweep([baseline(), configuration("A")])
    done = run(folder, "--behaviour", "--by", "turns", "--no-page")
    assert (done.returncode, done.stderr) == (0, "")
    assert "How the texts are made: means over 20 test examples" in done.stdout
    assert "coverage: share of the text's words in fragments copied from the source" in done.stdout
    assert "Not shown for want of width: " in done.stdout
    assert "ROUGE-L by turns" in done.stdout
    assert "How the texts are made" not in run(folder, "--no-page").stdout
    wrong = run(folder, "--by", "turnz", "--no-page", "--behaviour")
    assert wrong.returncode == 2
    assert "no example has the column 'turnz'; did you mean 'turns'" in wrong.stderr


def test_a_second_report_changes_no_byte(make_sweep: Make) -> None:
    folder = make_sweep(grid(B={"state": None}))
    first = {path: path.read_bytes() for path in write(folder)}
    assert first == {path: path.read_bytes() for path in write(folder)}
    assert all(content.endswith(b"\n") for content in first.values())


def test_another_evaluation_or_metric_overwrites_nothing(make_sweep: Make) -> None:
    other = SMALL.model_copy(update={"decoding": DECODINGS["beam4"]})
    folder = make_sweep([baseline(), configuration("A", evaluations=(SMALL, other))])
    main = write(folder)
    before = [path.read_bytes() for path in main]
    added = [*write(folder, eval_id=eval_id(other)), *write(folder, metric="eval_loss")]
    assert not set(main) & set(added)
    assert [path.name for path in added if path.suffix == ".md"] == [
        f"comparison-{eval_id(other)}.md",
        "comparison-eval_loss.md",
    ]
    assert before == [path.read_bytes() for path in main]


@pytest.mark.slow
def test_json_alone_is_printed_on_request(make_sweep: Make) -> None:
    done = run(make_sweep([baseline(), configuration("A")]), "--json", "--metric", "rouge2", "--no-page")
    document = json.loads(done.stdout)
    assert (document["metric"], document["best"]["name"]) == ("rouge2", "A")


def test_every_table_that_is_written_has_the_signature_of_its_scores(make_sweep: Make) -> None:
    found = compare(make_sweep())
    findings = Findings(found)
    assert len(found.table.signatures) == 1
    made = found.table.signatures[0]
    tables = [
        csv_tables.to_csv(found),
        csv_tables.tests_to_csv(findings),
        json.dumps(json_report.report_of(findings).document()),
    ]
    assert all(made in text for text in tables)
    assert latex.escaped(made) in latex.to_latex(findings)
    for text in (markdown.to_markdown(findings), behaviour_tables.behaviour_to_markdown(findings, "source_words")):
        assert markdown.escaped(made) in text


def test_the_alarm_comes_first_in_json_and_without_a_page_too(make_sweep: Make) -> None:
    evaluation, sentence = EvalConfig(validation_examples=10, test_examples=40), "The evaluation is probably broken"
    folder = make_sweep([baseline(quality=0.0), configuration("A", quality=0.0)], evaluation)
    app = typer.Typer()
    app.command()(report)
    assert CliRunner().invoke(app, [str(folder), "--no-page"]).stdout.startswith(sentence)
    assert f"**{sentence}" in (folder / "report/comparison.md").read_text(encoding="utf-8")
    key, alarm = next(iter(json.loads(CliRunner().invoke(app, [str(folder), "--json"]).stdout).items()))
    assert (key, alarm[: len(sentence)]) == ("alarm", sentence)
    sound = make_sweep([baseline(quality=0.6), configuration("A", quality=0.6)], evaluation)
    assert alarm_of(Findings(compare(sound))) == ""


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--metric", "rogue1"], "did you mean 'rouge1'?"),
        (["--correction", "hom"], "did you mean 'holm'?"),
        (["--margin", "0"], "--margin must be above 0"),
        (["--eval", "ffffffff"], "no trial has the evaluation 'ffffffff'"),
    ],
)
def test_a_wrong_name_is_a_sentence_and_exit_2(make_sweep: Make, options: list[str], sentence: str) -> None:
    folder = make_sweep([])
    done = run(folder, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert sentence in done.stderr
    assert not (folder / "report").exists()


def test_a_folder_that_is_no_sweep_is_left_alone(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 2
    assert "is no sweep" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("correction", "p", "said"),
    [
        ("maxt", "p_max_t", "after max-T correction for 2 comparisons"),
        ("bh", "p_bh", "after Benjamini-Hochberg correction for 2 comparisons"),
        ("holm", "p_holm", "after Holm's correction for 2 comparisons"),
    ],
)
def test_another_correction_decides_and_is_named_and_overwrites_nothing(
    make_sweep: Make, correction: str, p: str, said: str
) -> None:
    folder = make_sweep(
        [baseline(quality=0.4), configuration("A", quality=0.55), configuration("B", rank=16, quality=0.45)]
    )
    done = run(folder, "--correction", correction, "--no-page")
    assert (done.returncode, done.stderr) == (0, "")
    assert said in " ".join(done.stdout.split())
    ending = "" if correction == "holm" else f"-{correction}"
    rows = list(csv.DictReader(io.StringIO((folder / f"report/comparison{ending}-tests.csv").read_text())))
    assert [row["has_star"] for row in rows] == [str(float(row[p]) < 0.05) for row in rows]
    assert (folder / "report/comparison.md").exists() == (correction == "holm")


@pytest.mark.slow
def test_another_margin_is_that_of_the_equivalence(make_sweep: Make) -> None:
    folder = make_sweep([baseline(quality=0.5), configuration("A", quality=0.5)])
    done = run(folder, "--margin", "60", "--no-page")
    assert "Equivalent to the untrained model within 60 points" in " ".join(done.stdout.split())
    assert (folder / "report/comparison-margin60.md").exists()
    assert "Equivalent" not in run(folder, "--no-page").stdout


def test_printing_again_is_light(make_sweep: Make) -> None:
    folder = make_sweep()
    write(folder)
    check = (
        "import sys; from pathlib import Path; from rich.console import Console; from analysis import report;"
        f"report.print_table(Console(), Path({str(folder)!r})); report.write(Path({str(folder)!r}));"
        "heavy = {'torch', 'ray', 'pandas', 'nltk', 'scipy.stats', 'statsmodels', 'transformers', 'matplotlib'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout
    assert out.endswith("[]\n")


def test_print_table_returns_what_it_printed(make_sweep: Make) -> None:
    out = io.StringIO()
    found = print_table(Console(file=out, width=120), make_sweep([baseline(), configuration("A")]))
    assert found.best
    assert conclusions(found)[0] in out.getvalue()
