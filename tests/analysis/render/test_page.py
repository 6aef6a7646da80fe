"""The page: opens with the answer, holds everything, loads and runs nothing, is made again only when it must be."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from sweeps_on_disk import SMALL, baseline, configuration, grid, without_schema, write_curve, write_sweep

from analysis.compare import compare
from analysis.findings.findings import Findings
from analysis.render.page import Page, write
from analysis.render.panels import baseline_grid, effect_grid
from analysis.render.web_tables import order_of
from analysis.report import write_comparison, write_page
from trainables.config import EvalConfig
from trainables.errors import UserError
from trainables.records.record import SweepFolder

Make = Callable[..., Path]
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7*7 }} $x$ \u2028 \ud800"


class Reader(HTMLParser):
    """Collects the elements of a page and the text of some."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.headings: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open and re.fullmatch("h[1-6]", self.open[-1]):
            self.headings.append((self.open[-1], data))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Page, str]:
    """A grid of eight with curves, one of them diverged, as a page."""
    folder = tmp_path_factory.mktemp("page") / "run"
    write_sweep(folder, grid(D={"state": "diverged", "cause": "the loss is not finite at step 7"}), SMALL)
    for place, name in enumerate("ABCEFGH"):
        write_curve(folder, name, [2.6, 2.3 - 0.02 * place, 2.2, 2.1])
    page = write_page(folder)
    return folder, page, page.path.read_text(encoding="utf-8")


def test_it_opens_with_the_answer_in_two_sentences(made: tuple[Path, Page, str]) -> None:
    _, page, text = made
    first, second = page.said
    assert first.startswith("Keep H (prompt v2, rank 16, rate 0.0002): ROUGE-L ")
    assert "untrained model with the same prompt" in first
    assert "runner-up" in second
    body = text[text.index("<main>") :]
    assert body.index(first.split(":")[0]) < body.index("<table")


def test_its_sections_come_in_order(made: tuple[Path, Page, str]) -> None:
    headings = Reader(made[2]).headings
    wanted = ["Answer", "Table", "Differences", "Choice", "Effects", "Behaviour", "Examples", "Curves and costs"]
    wanted.append("Provenance")
    # One configuration diverged: the grid is not full, and no effects are stated.
    assert [text for tag, text in headings if tag == "h2"] == [one for one in wanted if one != "Effects"]
    levels = [int(tag[1]) for tag, _ in headings]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert "An example is shown once, in the first group that it belongs to." in made[2]


def test_every_row_and_what_became_of_it_is_there(made: tuple[Path, Page, str]) -> None:
    text = made[2]
    for name in (*"ABCDEFGH", "zero-shot v1", "zero-shot v2", "LEAD-3", "LONGEST-3", "constant", "references"):
        assert f'<th scope="row">{name}</th>' in text
    assert "the loss is not finite at step 7" in text
    assert "D diverged" in text
    assert "By their own curves" in text


def test_it_loads_nothing_and_runs_its_own_script_alone(made: tuple[Path, Page, str]) -> None:
    text = made[2]
    tags = Reader(text).tags
    assert [tag for tag, _ in tags].count("script") == 1
    for tag, attributes in tags:
        assert not {name for name in attributes if name.startswith("on")}
        if tag not in ("svg", "use"):
            for name in ("src", "href", "action", "srcset", "data"):
                assert (attributes.get(name) or "#").startswith(("#", "data:,")), (tag, attributes)
    assert not re.search(r"@import|url\((?!#)", text)
    (policy,) = [one["content"] for tag, one in tags if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy


def test_it_is_small_and_its_ids_are_its_own(made: tuple[Path, Page, str]) -> None:
    text = made[2]
    assert len(text.encode()) < 5_000_000
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'href="#([^"]+)"', text):
        assert target in ids


def test_tables_and_figures_speak_to_a_screen_reader(made: tuple[Path, Page, str]) -> None:
    tags = Reader(made[2]).tags
    tables = [tag for tag, _ in tags].count("table")
    assert tables >= 5
    assert [tag for tag, _ in tags].count("caption") == tables
    heads = [attributes for tag, attributes in tags if tag == "th"]
    assert all(one.get("scope") in ("row", "col") for one in heads)
    drawings = [attributes for tag, attributes in tags if tag == "svg"]
    assert drawings
    assert all(one.get("role") == "img" and one.get("aria-labelledby") for one in drawings)
    for tag, attributes in tags:
        if "scroll" in (attributes.get("class") or ""):
            assert (attributes.get("tabindex"), attributes.get("role")) == ("0", "region"), tag
            assert attributes.get("aria-label")


def test_its_figures_and_its_behaviour_panel_stand_beside_it(made: tuple[Path, Page, str]) -> None:
    folder, page, _ = made
    named = {path.name for path in page.others}
    figures = {f"figure-{name}{ending}" for name in ("forest", "curves", "costs") for ending in (".svg", ".png")}
    assert {"behaviour.md", *figures} <= named
    assert named <= {path.name for path in (folder / "report").iterdir()}
    assert "| texts of | R-1 P |" in (folder / "report" / "behaviour.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_file_beside_it_that_is_gone_is_made_again_and_one_of_what_is_no_more_goes(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "run", [baseline(), configuration("A")], SMALL)
    write_curve(folder, "A", [2.6, 2.3, 2.2])
    write(Findings(compare(folder)))
    (folder / "report" / "figure-forest.png").unlink()
    assert write(Findings(compare(folder))).is_new
    assert (folder / "report" / "figure-forest.png").exists()
    for record in SweepFolder(folder).records():
        record.metrics_path.unlink(missing_ok=True)
    write(Findings(compare(folder)))
    assert not list((folder / "report").glob("figure-curves*"))
    assert not write(Findings(compare(folder))).is_new


def test_tables_have_the_legends_of_a_terminal(made: tuple[Path, Page, str]) -> None:
    folder, _, text = made
    found = Findings(compare(folder))
    for grid_of in (baseline_grid, effect_grid):
        if legend := grid_of(found).legend:
            assert html.escape(legend, quote=False).replace("'", "&#39;") in text
    assert "d_z: mean over SD of the differences per example" in text
    named = {attributes["aria-describedby"] for tag, attributes in Reader(text).tags if tag == "table"
             and "aria-describedby" in attributes}  # fmt: skip
    assert {"legend-baselines", "legend-verdicts"} <= named
    assert named <= {attributes.get("id") for _, attributes in Reader(text).tags}


@pytest.mark.slow
def test_it_is_made_again_only_when_what_it_shows_has_changed(made: tuple[Path, Page, str]) -> None:
    folder, page, _ = made
    before = page.path.stat().st_mtime_ns
    again = write(Findings(compare(folder)))
    assert (again.is_new, again.said, page.path.stat().st_mtime_ns) == (False, page.said, before)
    write_curve(folder, "A", [2.0])
    assert write(Findings(compare(folder))).is_new
    page.path.write_text("torn")
    assert write(Findings(compare(folder))).is_new
    assert page.path.read_text().endswith("</html>")


def test_the_note_of_an_earlier_version_is_read(made: tuple[Path, Page, str]) -> None:
    folder, page, _ = made
    write(Findings(compare(folder)))
    without_schema(page.path.with_name("page.json"))
    again = write(Findings(compare(folder)))
    assert (again.is_new, again.said) == (False, page.said)


@pytest.mark.slow
def test_an_unchanged_page_costs_no_heavy_import(made: tuple[Path, Page, str]) -> None:
    write(Findings(compare(made[0])))
    code = (
        "import sys; from pathlib import Path; from analysis.report import write_page\n"
        f"assert not write_page(Path({str(made[0])!r})).is_new\n"
        "heavy = {'matplotlib', 'jinja2', 'pandas', 'statsmodels', 'torch', 'ray'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_text_with_markup_is_shown_and_never_run(tmp_path: Path) -> None:
    trials = [baseline(), configuration("A"), configuration("B", state="failed", cause=HOSTILE[:60])]
    folder = write_sweep(tmp_path / "run", trials, SMALL, banner=HOSTILE[:60])
    path = folder / "data" / "test.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row["source"] += HOSTILE
        row["references"] = [HOSTILE + row["references"][0]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = write(Findings(compare(folder))).path.read_text(encoding="utf-8")
    tags = Reader(text).tags
    assert [tag for tag, _ in tags].count("script") == 1
    assert "img" not in {tag for tag, _ in tags}
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "{{ 7*7 }}" in text
    assert "49" not in re.findall(r"&#39;&amp;(.*?) \$x", text)


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        ([], "No configuration has finished"),
        ([baseline(state=None), configuration("A", state=None)], "No configuration has finished"),
        ([baseline(), configuration("A", state="failed", cause="boom")], "No configuration has finished"),
        ([configuration("A")], "with no finished baseline to compare it with"),
        ([baseline(), configuration("A"), configuration("B", state=None)], "B is not done under evaluation"),
    ],
)
def test_a_sweep_without_much_has_a_page_that_says_so(make_sweep: Make, trials: list, said: str) -> None:
    page = write(Findings(compare(make_sweep(trials))))
    assert said in page.path.read_text(encoding="utf-8")


def test_one_example_and_no_variance_make_a_page(make_sweep: Make) -> None:
    one = EvalConfig(validation_examples=1, test_examples=1)
    write(Findings(compare(make_sweep([baseline(), configuration("A"), configuration("B")], one))))
    same = [baseline(quality=1.0), configuration("A", quality=1.0), configuration("B", quality=1.0)]
    assert (
        write(Findings(compare(make_sweep(same))))
        .said[0]
        .endswith("on 20 test examples, as the untrained model on each of them.")
    )


def test_a_broken_evaluation_is_the_first_sentence(make_sweep: Make) -> None:
    trials = [baseline(quality=0), configuration("A", quality=0), configuration("B", quality=0)]
    found = compare(make_sweep(trials, EvalConfig(validation_examples=10, test_examples=40)))
    findings = Findings(found)
    page = write(findings)
    assert page.alarm.startswith("The evaluation is probably broken: ")
    assert page.said[0] == page.alarm
    body = page.path.read_text(encoding="utf-8").split("<main>")[1]
    assert body.index("The evaluation is probably broken") < body.index('<p class="said">')
    write_comparison(findings)
    markdown = (page.path.parent / "comparison.md").read_text()
    assert markdown.splitlines()[2].startswith("**The evaluation is probably broken")


def test_another_metric_has_a_page_of_its_own(make_sweep: Make) -> None:
    folder = make_sweep([baseline(), configuration("A"), configuration("B")])
    assert write_page(folder, metric="eval_loss").path.name == "index-eval_loss.html"
    assert not (folder / "report" / "index.html").exists()
    with pytest.raises(UserError, match="column 'nothing'"):
        write_page(folder, by="nothing")


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("1.5 GiB", 1.5 * 2**30),
        ("927 MiB", 927 * 2**20),
        ("12 B", 12),
        ("8.1 s", 8.1),
        ("2 min 05 s", 125),
        ("3 h 12 min", 11520),
    ],
)
def test_sizes_and_times_sort_by_what_they_are(text: str, order: float) -> None:
    assert float(order_of(text)) == pytest.approx(order)


@pytest.mark.parametrize("text", ["", "–", "+1.05", "[-0.80, +1.42]", "zero-shot v1", "h", "12%"])
def test_other_cells_sort_by_their_number_or_text(text: str) -> None:
    assert order_of(text) == ""


def test_seeds_have_rows_and_curves_of_their_own(make_sweep: Make) -> None:
    trials = [baseline(), *(configuration(name, seed=seed) for name in "AB" for seed in (1, 2, 3))]
    folder = make_sweep(trials)
    write_curve(folder, "A", [2.6, 2.4, 2.2, 2.0])
    text = write(Findings(compare(folder))).path.read_text(encoding="utf-8")
    for label in ("A-v1-r8-lr0.0005-s1", "B-v1-r8-lr0.0005-s3"):
        assert f'<th scope="row">{label}</th>' in text


def test_texts_that_are_lost_or_of_no_number_are_said_and_left_out(make_sweep: Make) -> None:
    folder = make_sweep([baseline(), configuration("A"), configuration("B")])
    sweep = SweepFolder(folder)
    record = next(one for one in sweep.records() if one.config()["name"] == "B")
    identity = sweep.manifest().eval_id
    summary = record.summary(identity)
    assert summary
    rows = {split: record.predictions(identity, split) for split in ("validation", "test")}
    rows["test"][0]["scores"] = dict.fromkeys(rows["test"][0]["scores"], float("nan"))
    del rows["test"][5:8]
    record.write_evaluation(SMALL, rows, summary)
    text = write(Findings(compare(folder))).path.read_text(encoding="utf-8")
    assert "B has no text for 3 of the 20 test examples." in text
    assert not re.search(r"\bnan\b", text.lower())


def test_a_sweep_whose_examples_are_gone_has_a_page_that_says_so(make_sweep: Make) -> None:
    folder = make_sweep([baseline(), configuration("A"), configuration("B")])
    SweepFolder(folder).evaluation_examples_path("test").unlink()
    page = write(Findings(compare(folder)))
    assert "The sweep has no file of its test examples" in page.path.read_text(encoding="utf-8")
    assert page.said[0].startswith("Keep ")


def test_words_that_rouge_does_not_see_are_said(make_sweep: Make) -> None:
    folder = make_sweep([baseline(), configuration("A")])
    path = folder / "data" / "test.jsonl"
    rows = [{**json.loads(line), "references": ["Анна и Бен"]} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "ROUGE sees no words in the references of 20 of 20" in write(Findings(compare(folder))).path.read_text(
        encoding="utf-8"
    )
