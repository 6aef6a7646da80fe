"""Names, paths and texts that would steer a terminal or a document: every verb shows them as they are written.

One sweep, whose experiment, prompts, model, data, folders, examples, predictions and causes are all hostile; every verb
runs on it, at a terminal with colors and without, and everything that it writes is read by a parser of its format.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ended_trials import end_trials
from experiment_place import go_offline
from markdown_it import MarkdownIt
from tiny_inputs import record, write_model

from sweep import cli
from sweep.monitor.progress import ProgressDisplay
from sweep.monitor.tensorboard import TrialEvents
from sweep.request.commit import commit
from sweep.request.overrides import Changes, request
from sweep.request.prepare import prepare
from sweep.request.run_options import RunOptions
from trainables.config import EvalConfig, TrialConfig
from trainables.jobs import TrialJob
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_states import TrialState

TITLE = "\x1b]0;owned\x07"  # sets a terminal's title
CLEAR = "\x9b2J"  # clears the screen, in one byte of C1
TURN = "\u202e"  # writes the rest of the line backwards
STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u206f\ud800-\udfff]")
RICH = re.compile(r"\x1b\[[\d;]*m")  # the colors of our own
LIVE = re.compile(r"\x1b\[(?:\?25[lh]|[\d;]*[mAK])|\r")  # and the cursor of a live table
MARKED = "[/red]"  # what rich would take for the end of a style and refuse
MARKDOWN = "|a`b`*c*_d_<img src=x>![i](u)[l](http://e.example)"
NAME = f"n{MARKED}{TITLE}{TURN}"
PROMPT = f"=p{MARKED}{TITLE}{CLEAR}{TURN}{MARKDOWN}\nq"
MODEL, DATA = f"model[bold]{TITLE}", f"data[v2]{CLEAR}{TURN}"
TEXT = f" {MARKED}{TITLE}{CLEAR}{TURN}\r\x08 <script>alert(1)</script> {MARKDOWN}"
OWN = f"""
from search_spaces.experiment import Experiment
from search_spaces.grid import grid
from trainables.config import EvalConfig, TrainConfig
base = TrainConfig(model={MODEL!r}, data={DATA!r}, prompt={PROMPT!r}, train_examples=8, max_length_tokens=512)
experiment = Experiment(
    {NAME!r}, {TEXT!r}, grid(base, lora_rank=[2, 4]), EvalConfig(validation_examples=6, test_examples=10),
    prompts={{{PROMPT!r}: {f"Say it.{TITLE} {{source}} So:"!r}}},
)
"""
FAILED = f"the loss was not finite [nan]{MARKED}{TITLE}{CLEAR}{TURN}\nsweep: all is well"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the hostile experiment and its sweep, under two names."""
    root = tmp_path_factory.mktemp("hostile") / f"here{TITLE}[b]"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        go_offline(root, patch)
        cache = root / "cache"
        (cache / f"models--a--b{MARKED.replace('/', '')}{TITLE}").mkdir(parents=True)
        patch.delenv("NO_COLOR", raising=False)
        patch.setenv("COLUMNS", "600")
        write_model(root / MODEL)
        for split, count in (("train", 20), ("validation", 12), ("test", 12)):
            rows = [record(number) | {"id": f"{number}{TITLE}"} for number in range(count)]
            for row in rows:
                row["dialogue"] += TEXT + split
                row["summary"] += TITLE
            (root / DATA).mkdir(exist_ok=True)
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (root / DATA / f"{split}.jsonl").write_text(lines, encoding="utf-8")
        (root / "own.py").write_text(OWN, encoding="utf-8")
        for name in ("sweep", f"other{MARKED.replace('/', '')}{TITLE}"):
            out = root / "runs" / name
            folder = SweepFolder(out)
            planned = commit(
                prepare(request("own.py", Changes()), RunOptions(out=out, command=f"x {NAME}")), folder
            ).planned
            end_trials(folder, planned, TEXT)
            failed = TrialRecord(folder.trials_folder / planned[0].folder_name)
            result = failed.result()
            assert result is not None
            failed.write_result(result.model_copy(update={"state": TrialState.FAILED, "cause": FAILED}))
        yield root


OTHER = f"runs/other{MARKED.replace('/', '')}{TITLE}"
VERBS = [
    ("list", [], "Sweeps:", "[v2]"),
    ("status", [], "trials ended", "[v2]"),
    ("status", ["sweep"], r"zero-shot =p[/red]\x1b]0;owned\x07\x9b2J\u202e", r"not finite [nan][/red]\x1b]0;owned"),
    ("plan", ["own.py", "--out", "runs/sweep"], r"n[/red]\x1b]0;owned\x07\u202e", r"=p[/red]\x1b]0;owned\x07"),
    ("plan", ["own.py", "--out", "runs/new"], r"model[bold]\x1b]0;owned\x07", r"data[v2]\x9b2J\u202e"),
    ("run", ["own.py", "--out", "runs/sweep"], r"n[/red]\x1b]0;owned\x07\u202e", "written:"),
    ("best", ["sweep"], "zero-shot =p[/red]", "adapter:"),
    ("report", ["runs/sweep", "--behaviour"], "zero-shot =p[/red]", "index.html"),
    ("report", ["runs/sweep", "--no-page", "--annotate", "2"], "raters", "annotate-"),
    ("compare", ["runs/sweep", OTHER], "zero-shot =p[/red]", r"other[red]\x1b]0;owned\x07"),
    ("eval", ["sweep", "--metrics", "rouge,chrf"], "zero-shot =p[/red]", "chrF"),
    ("show", ["own.py", "-n", "2"], r"Say it.\x1b]0;owned\x07", r"[/red]\x1b]0;owned\x07\x9b2J\u202e"),
    ("show", ["sweep", "-n", "2"], r"prompt =p[/red]\x1b]0;owned\x07\x9b2J\u202e|a`b`", "<img src=x>"),
    ("doctor", [], r"a/b[red]\x1b]0;owned\x07", "cache"),
    ("status", [NAME], r"there is no sweep 'n[/red]\x1b]0;owned\x07\u202e'", "did you mean"),
    ("best", ["sweep", "--metric", NAME], r"n[/red]\x1b]0;owned\x07", "not in this evaluation"),
    ("run", ["own.py", f"lora_rank={TITLE}"], "lora_rank must be a whole number", "x1b]0;owned"),
    ("run", [f"own{TITLE}.py"], "is not there", "x1b]0;owned"),
    ("run", ["own.py", f"--{TITLE}"], "x1b]0;owned", "o such option"),
    (f"verb{TITLE}{TURN}", [], "is unknown", "x1b]0;owned"),
]


def test_every_verb_is_among_them() -> None:
    assert set(cli.VERBS) <= {verb for verb, *_ in VERBS}


@pytest.mark.parametrize("colors", [True, False], ids=["colors", "plain"])
@pytest.mark.parametrize(("verb", "arguments", "first", "second"), VERBS)
def test_every_verb_shows_what_data_say_as_it_is_written(
    place: Path, verb: str, arguments: list[str], first: str, second: str, colors: bool,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if colors:
        monkeypatch.setenv("FORCE_COLOR", "1")
    cli.main([verb, *arguments])
    caught = capsys.readouterr()
    shown = RICH.sub("", caught.out + caught.err) if colors else caught.out + caught.err
    assert not STEERS.search(shown), STEERS.findall(shown)
    for part in (first, second):
        assert part in shown, shown


@pytest.mark.parametrize("verb", ["status", "best", "report", "list"])
def test_json_has_the_very_values_and_steers_nothing(
    place: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main([verb, *([] if verb == "list" else ["runs/sweep"]), "--json"])
    text = capsys.readouterr().out
    assert not STEERS.search(text)
    found = json.dumps(json.loads(text), ensure_ascii=False)
    assert json.dumps(DATA, ensure_ascii=False)[1:-1] in found


def test_a_launch_shows_its_trials_as_they_are_called(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = SweepFolder(place / "runs" / "sweep")
    evaluation = EvalConfig.model_validate(folder.manifest().evaluation)
    jobs = [
        TrialJob(str(one.folder), TrialConfig(train=one.train_config(), evaluation=evaluation))
        for one in folder.records()
    ]
    for colors in (True, False):
        if colors:
            monkeypatch.setenv("FORCE_COLOR", "1")
        with ProgressDisplay(folder, jobs, f"{MARKED} {TITLE}") as display:
            display.update([])
            display.say(f"an engine died: {FAILED}")
            display.say_how_to_continue(f"cause {FAILED}")
        caught = capsys.readouterr()
        shown = LIVE.sub("", caught.out + caught.err)
        assert not STEERS.search(shown)
        assert r"not finite [nan][/red]\x1b]0;owned\x07\x9b2J\u202e" in shown
        assert r"zero-shot =p[/red]" in shown
        monkeypatch.delenv("FORCE_COLOR", raising=False)


# --- documents -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(place: Path) -> Path:
    """The folder of reports, with the card of the best adapter."""
    assert cli.main(["report", "runs/sweep"]) == 0
    assert cli.main(["best", "sweep", "--export", "card"]) == 0
    return place / "runs" / "sweep" / "report"


class Tags(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.sources: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources |= {str(value) for name, value in attrs if name in ("src", "href") or name.startswith("on")}

    def handle_data(self, data: str) -> None:
        self.text += data


SHOWN_PROMPT = r"=p[/red]\x1b]0;owned\x07\x9b2J\u202e|a`b`*c*_d_<img src=x>![i](u)[l](http://e.example)\nq"


def test_markdown_is_rendered_to_the_names_themselves(written: Path) -> None:
    for path in (*written.glob("*.md"), written.parents[2] / "card" / "README.md"):
        text = path.read_text(encoding="utf-8")
        assert not STEERS.search(text), path
        text = text.split("\n---\n", 1)[-1]  # of a card, what is no YAML
        page = Tags()
        page.feed(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))
        wanted = {
            "h1",
            "h2",
            "p",
            "strong",
            "em",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "ul",
            "li",
            "blockquote",
        }
        assert page.tags <= wanted | ({"pre", "code"} if path.name == "README.md" else set()), path
        assert page.sources == set(), path
        assert SHOWN_PROMPT in page.text, path


def test_every_row_of_a_markdown_table_has_its_columns(written: Path) -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse((written / "comparison.md").read_text(encoding="utf-8"))
    rows: list[int] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append(0)
        elif token.type in ("th_open", "td_open"):
            rows[-1] += 1
        elif token.type == "table_close":
            assert len(set(rows)) == 1
            rows = []


def test_a_card_has_yaml_of_its_own_alone(written: Path) -> None:
    import yaml

    head = (written.parents[2] / "card" / "README.md").read_text(encoding="utf-8").split("---\n")[1]
    found = yaml.safe_load(head)
    assert set(found) == {"base_model", "library_name", "pipeline_tag", "tags"}
    assert found["base_model"].startswith("model[bold]")


def test_the_page_runs_nothing_and_shows_every_control_character(written: Path) -> None:
    text = (written / "index.html").read_text(encoding="utf-8")
    assert not STEERS.search(text)
    page = Tags()
    page.feed(text)
    assert {"img", "iframe"} & page.tags == set()
    assert not any("e.example" in source or "alert" in source for source in page.sources)
    assert SHOWN_PROMPT.replace(r"\n", "\n") in page.text


def test_figures_are_well_formed(written: Path) -> None:
    figures = sorted(written.glob("*.svg"))
    assert figures
    for path in figures:
        text = path.read_bytes()
        ElementTree.fromstring(text)
        assert not STEERS.search(text.decode("utf-8")), path


def test_csv_has_every_name_and_no_formula_and_numbers_stay_numbers(written: Path) -> None:
    for path in written.glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            head, *rows = csv.reader(file)
        assert all(len(row) == len(head) for row in rows)
        for value in (cell for row in rows for cell in row):
            assert not STEERS.search(value)
            assert not value.startswith(("=", "+", "@", "\t")) or _is_number(value)
            assert not value.startswith("-") or _is_number(value), value
    with (written / "comparison.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert "zero-shot " + SHOWN_PROMPT.replace(r"\nq", "\nq") in {row["name"] for row in found}
    assert all(_is_number(row["rougeL"]) for row in found if row["state"] == "done")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_latex_has_balanced_groups_and_no_command_of_the_data(written: Path) -> None:
    text = (written / "comparison.tex").read_text(encoding="utf-8")
    assert not STEERS.search(text)
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    known = {"begin", "end", "centering", "toprule", "midrule", "bottomrule", "caption", "textbf", "dagger"}
    known |= {"textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar", "times"}
    assert set(re.findall(r"\\([a-zA-Z]+)", text.replace(r"\\", " "))) <= known | {"rightarrow"}
    assert r"\textbackslash{}x1b]0;owned" in text


def test_tensorboard_reads_names_and_texts(place: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = SweepFolder(place / "runs" / "sweep")
    first = folder.records()[0]
    events = TrialEvents(first, place / "events")
    events.update()
    events.close()
    found = EventAccumulator(str(place / "events"))
    found.Reload()
    assert found.Tags()["scalars"]
    assert not any(STEERS.search(tag) for kind in found.Tags().values() if isinstance(kind, list) for tag in kind)


def test_folders_and_labels_are_safe_names(place: Path) -> None:
    folder = SweepFolder(place / "runs" / "sweep")
    for one in folder.records():
        assert re.fullmatch(r"[A-Za-z0-9._+-]{1,120}", one.folder.name)
        assert re.fullmatch(r"[A-Za-z0-9._+-]{1,100}", one.config()["label"])
    wanted = request("own.py", Changes())
    assert re.fullmatch(r"[A-Za-z0-9._+-]{1,100}", wanted.folder_name)
