"""The behaviour panel: what it counts, beside which rows, in which groups."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from sweeps_on_disk import NOISE, PLACES, SMALL, baseline, configuration, make_examples, write_sweep

from analysis.compare import compare
from analysis.texts import claims
from analysis.texts.behaviour import MEASURES, by_group, echoes, frame, panel, rouge, texture
from analysis.texts.copied_text import SourceTokens, tokens_of
from analysis.texts.outputs import collect
from trainables.errors import UserError
from trainables.metric_table import rouge_words
from trainables.scoring.metrics import score

Make = Callable[..., Path]
TEMPLATE = "Summarize the dialogue.\n\n{source}\n\nSummary:"


def measured(text: str, source: str, reference: str) -> dict:
    return texture(text, SourceTokens(tokens_of(source)), claims.stated(source), [rouge_words(reference)])


def test_quick_rouge_equals_rouge_score() -> None:
    draw = random.Random(1)
    pool = [*NOISE, *PLACES, "meetings", "running", "ran", "parties", "1,000", "5"]
    for _ in range(60):
        text, *references = (" ".join(draw.choices(pool, k=draw.randint(0, 14))) for _ in range(3))
        expected = score(text, references)
        found = rouge(rouge_words(text), [rouge_words(one) for one in references])
        assert found["rouge1"] == pytest.approx(expected["rouge1"], abs=1e-12)
        assert found["rougeL"] == pytest.approx(expected["rougeL"], abs=1e-12)


def test_cutting_to_the_references_length_tells_content_from_when_to_stop() -> None:
    reference = "Anna meets Ben at noon"
    runs_on = measured(f"{reference} and then many other things that nobody said", "x", reference)
    assert runs_on["rouge1_cut"] == runs_on["rougeL_cut"] == 1
    assert runs_on["rouge1"] < 0.7
    assert (runs_on["rouge1_recall"], runs_on["length_ratio"]) == (1, pytest.approx(13 / 5))
    short = measured("Anna meets", "x", reference)
    assert short["rouge1_cut"] == short["rouge1"]


def test_a_copied_text_is_told_from_a_summary() -> None:
    source = "Anna: shall we meet at the lake on Friday at noon?\nBen: yes"
    copied = measured("shall we meet at the lake on Friday", source, "They meet.")
    own = measured("Anna will see Ben by the lake.", source, "They meet.")
    assert (copied["copied"], copied["density"], own["copied"]) == (1, 8, 0)


def test_numbers_and_names_that_the_source_lacks_are_counted() -> None:
    source = "Anna: I have three tickets, 1,000 zloty each\nBen: see you at 5 in Paris"

    def lacking(text: str) -> tuple[list[str], list[str]]:
        found = claims.claims(text, claims.stated(source))
        return (
            [text[start:end] for start, end in found.unsupported_numbers],
            [text[start:end] for start, end in found.unsupported_names],
        )

    assert lacking("Anna has 3 tickets for 1000 zloty. They meet Ben at 5.") == ([], [])
    assert lacking("Ben's friend Carla pays 7.50 in Paris. The show is in Rome.") == (["7.50"], ["Carla", "Rome"])
    assert lacking("Carla and Ben agree.") == ([], ["Carla"])
    assert lacking("I'm glad that I came. Everyone is.") == ([], [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Summarize the dialogue. Anna is late.", True),
        ("Anna is late.\n\nSummary: Anna is late.", True),
        ("summarize   the dialogue", True),
        ("The summary of the dialogue", False),
        ("", False),
    ],
)
def test_an_echo_of_the_prompt_is_found(text: str, expected: bool) -> None:
    assert echoes(text, TEMPLATE) is expected


def test_sentences_first_person_and_turns_are_counted() -> None:
    assert claims.sentences("Anna is late. Ben waits! Why?") == 3
    assert claims.sentences("") == 0
    assert claims.first_person("They say I am late")
    assert not claims.first_person("Anna is in the INN")
    assert claims.speaker_turns("Anna: hi\nBen: hello\nThey meet at 5:30.") == 2


def test_the_panel_has_the_references_and_copied_turns_beside_every_system(make_sweep: Make) -> None:
    found = compare(make_sweep([baseline(), configuration("A", quality=0.9), configuration("B", state="failed")]))
    table = frame(panel(collect(found))).set_index("system")
    assert list(table.index) == ["references", "LEAD-3", "LONGEST-3", "zero-shot v1", "A"]
    assert list(table.columns) == ["kind", "texts", *(measure.name for measure in MEASURES)]
    assert set(table["texts"]) == {20}
    assert table.loc["references", "rouge1"] == table.loc["LEAD-3", "coverage"] == 1
    assert table.loc["LEAD-3", "copied"] == 1
    assert table.loc["A", "rougeL"] == pytest.approx(found.best.row.mean("test", "rougeL"))
    assert table.loc["A", "cut_off"] == 0
    assert table["cut_off"].isna()["LEAD-3"]  # nothing ended: no model wrote it


def test_scores_by_quartile_are_the_whole_mean_in_parts(make_sweep: Make) -> None:
    found = compare(make_sweep([baseline(), configuration("A")]))
    groups = by_group(collect(found))
    assert sum(groups.sizes) == 20
    whole = sum(size * mean for size, mean in zip(groups.sizes, groups.means["A"], strict=True)) / 20
    assert whole == pytest.approx(found.best.row.mean("test", "rougeL"))
    assert {"LEAD-3", "zero-shot v1", "A"} <= set(groups.means)


def test_scores_by_a_column_of_the_data(make_sweep: Make) -> None:
    folder = make_sweep([baseline(), configuration("A")])
    path = folder / "data" / "test.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**row, "topic": "ab"[place % 2]}) + "\n" for place, row in enumerate(rows)))
    outputs = collect(compare(folder))
    assert by_group(outputs, "topic").names == ("a", "b")
    with pytest.raises(UserError, match="column 'topics'; did you mean 'topic'"):
        by_group(outputs, "topics")


def test_columns_that_a_sweep_keeps_group_by_number_or_by_value(make_sweep: Make) -> None:
    folder = make_sweep([baseline(), configuration("A")])
    path = folder / "data" / "test.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for place, row in enumerate(rows):
        row["columns"] = {"year": str(2000 + place), **({"source": "ab"[place % 2]} if place else {})}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    outputs = collect(compare(folder))
    assert by_group(outputs, "year").names == ("2000 to 2004", "2005 to 2009", "2010 to 2014", "2015 to 2019")
    with pytest.raises(UserError, match=r"'topic'; known: source_words, reference_words, turns, year, source$"):
        by_group(outputs, "topic")
    assert by_group(outputs, "source").sizes == (10, 9, 1)


def test_text_that_rouge_cannot_read_is_counted_on_words_of_any_script(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "run", [baseline(), configuration("A")], SMALL)
    path = folder / "data" / "test.jsonl"
    rows = [
        {**row, "source": "Анна: привет мир", "references": ["Анна говорит привет"]}
        for row in make_examples("test", 20)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    outputs = collect(compare(folder))
    assert outputs.any_script
    assert "ROUGE sees no words in the references of 20 of 20 examples" in outputs.notes[0]
    assert panel(outputs).mean("LEAD-3", "rouge1") == pytest.approx(2 * 2 / (3 + 3))
    assert panel(outputs).mean("references", "coverage") == pytest.approx(2 / 3)
