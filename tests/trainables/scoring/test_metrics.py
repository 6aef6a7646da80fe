"""ROUGE and chrF against published answers and against rouge_score itself; how they are named and averaged."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from rouge_score import rouge_scorer

from trainables.config import DECODINGS, EvalConfig
from trainables.metric_table import FAMILIES, ROUGE_TYPES, rouge_words
from trainables.scoring.metrics import is_unseen, means, score, score_names, signature

ANSWERS = Path(__file__).resolve().parents[4] / "shared" / "real" / "known_answers"
needs_answers = pytest.mark.skipif(not ANSWERS.is_dir(), reason="the known answers are not beside the checkout")

SENTENCE = "the meetings were moved Anna's train goes tomorrow to 5.30 at running & cafés children, no"
VOCABULARY = SENTENCE.split()


def some_texts(count: int, separators: str = " ") -> list[str]:
    draw = random.Random(7)
    texts = []
    for _ in range(count):
        chosen = draw.choices(VOCABULARY, k=draw.randint(0, 30))
        texts.append("".join(word + draw.choice(separators) for word in chosen))
    return texts


@needs_answers
def test_rouge_gives_the_answers_that_its_authors_pin() -> None:
    folder = ANSWERS / "google_rouge_testdata"

    def text(part: dict) -> str:
        if "text" in part:
            return part["text"]
        whole = (folder / part["file"]).read_text(encoding="utf-8")
        return whole if part.get("line") is None else whole.split("\n")[part["line"]]

    cases = json.loads((folder / "expected.json").read_text(encoding="utf-8"))["cases"]
    checked = 0
    for case in cases:
        found = score(text(case["prediction"]), [text(case["target"])])
        name = case["metric"] + ("" if case["use_stemmer"] else "_unstemmed")
        if name in found:
            assert found[name] == pytest.approx(case["fmeasure"], abs=0.6 * 10 ** -case["decimal_places"]), case
            checked += 1
    assert checked >= 20


@needs_answers
def test_unstemmed_rouge_equals_the_original_program_on_news_summaries() -> None:
    path = ANSWERS / "xsum_hallucination" / "perl_rouge155_first300.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 300
    for row in rows:
        found = score(row["summary"], [row["gold"]], ("rouge", "rouge_pr"))
        for name, key in (("rouge1", "ROUGE-1"), ("rouge2", "ROUGE-2"), ("rougeLsum", "ROUGE-L")):
            ours = [found[f"{name}{part}_unstemmed"] for part in ("_precision", "_recall", "")]
            assert ours == pytest.approx(row["perl155_nostem"][key], abs=1.1e-5), row


def test_half_of_two_words_scores_two_thirds() -> None:
    assert score("hello goodbye", ["goodbye"])["rouge1"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("separators", [" ", "   \n"])
def test_scores_are_those_of_rouge_score_with_and_without_stemming(separators: str) -> None:
    texts = some_texts(60, separators)
    for stem, ending in ((True, ""), (False, "_unstemmed")):
        scorer = rouge_scorer.RougeScorer(list(ROUGE_TYPES), use_stemmer=stem)
        for prediction, reference in zip(texts, reversed(texts), strict=True):
            whole = scorer.score(reference, prediction)
            expected = {name + ending: value.fmeasure for name, value in whole.items()}
            assert score(prediction, [reference]).items() >= expected.items()
            parts = {f"{name}_precision{ending}": value.precision for name, value in whole.items()}
            parts |= {f"{name}_recall{ending}": value.recall for name, value in whole.items()}
            assert score(prediction, [reference], ("rouge_pr",)).items() >= parts.items()


def test_a_text_scores_one_against_itself_and_nothing_scores_zero() -> None:
    metrics = FAMILIES
    for text in ("Anna moves the meetings.\nShe is late.", "the train goes"):
        assert score(text, [text], metrics) == pytest.approx(dict.fromkeys(score_names(metrics), 1.0))
    for prediction, reference in (("", "Anna is late"), ("!?", "Anna is late"), ("", "")):
        assert set(score(prediction, [reference], metrics).values()) == {0.0}


def test_no_longest_sequence_scores_more_than_its_words() -> None:
    texts = some_texts(80, "   \n")
    for prediction, reference in pairwise(texts):
        found = score(prediction, [reference])
        for ending in ("", "_unstemmed"):
            assert found["rougeL" + ending] <= found["rouge1" + ending] + 1e-12
            assert found["rougeLsum" + ending] <= found["rouge1" + ending] + 1e-12
        assert all(0 <= value <= 1 for value in found.values())


def test_each_score_takes_its_own_best_reference() -> None:
    prediction = "b a d c"
    references = ["a b c d", "x b a y z q"]
    alone = [score(prediction, [reference]) for reference in references]
    together = score(prediction, references)
    assert together == {name: max(one[name] for one in alone) for name in together}
    assert together["rouge1"] == alone[0]["rouge1"] > alone[1]["rouge1"]
    assert together["rouge2"] == alone[1]["rouge2"] > alone[0]["rouge2"]


def test_precision_and_recall_are_those_of_the_reference_with_the_best_f() -> None:
    found = score("a b c d", ["a", "a b x y z w"], ("rouge", "rouge_pr"))
    # F is 2/5 on both references up to the last word: 2 * 1/4 * 1 / (5/4) and 2 * 2/4 * 2/6 / (5/6).
    assert (found["rouge1"], found["rouge1_precision"], found["rouge1_recall"]) == pytest.approx((0.4, 0.25, 1.0))
    found = score("a b c d", ["a", "a b x y z"], ("rouge_pr",))
    assert (found["rouge1_precision"], found["rouge1_recall"]) == pytest.approx((2 / 4, 2 / 5))


def test_scores_of_rouge_have_the_names_and_values_they_had_before_their_parts() -> None:
    assert score_names() == (*ROUGE_TYPES, *(name + "_unstemmed" for name in ROUGE_TYPES))
    alone = score("Anna moves the meeting", ["Anna moved the meetings"])
    assert tuple(alone) == score_names()
    assert score("Anna moves the meeting", ["Anna moved the meetings"], ("rouge", "rouge_pr")).items() > alone.items()
    assert not set(score_names(("rouge_pr",))) & set(alone)


def test_a_text_without_any_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="without a reference"):
        score("Anna is late", [])


def test_chrf_is_that_of_sacrebleu() -> None:
    from sacrebleu import sentence_chrf

    prediction, references = "Anna moves the meeting", ["Anna moved the meetings", "The meeting is moved"]
    expected = sentence_chrf(prediction, references).score / 100
    assert score(prediction, references, ("chrf",)) == {"chrf": pytest.approx(expected)}
    assert 0.3 < expected < 1


def test_bleu_is_that_of_sacrebleu_for_one_sentence() -> None:
    from sacrebleu import sentence_bleu

    prediction, references = "Anna moves the meeting", ["Anna moved the meeting to noon", "The meeting is moved"]
    expected = sentence_bleu(prediction, references, use_effective_order=True).score / 100
    assert score(prediction, references, ("bleu",)) == {"bleu": pytest.approx(expected)}
    assert 0.1 < expected < 1
    assert score("late", ["late"], ("bleu",)) == {"bleu": 1.0}


def test_means_are_plain_and_do_not_depend_on_the_order() -> None:
    rows = [{"rougeL": value} for value in (0.1, 0.2, 0.7, 1e-9, 0.30000001)]
    assert means(rows)["rougeL"] == pytest.approx(sum(row["rougeL"] for row in rows) / 5)
    assert means(rows) == means(rows[::-1])
    assert means([]) == {}


def test_the_signature_says_everything_that_moves_a_score() -> None:
    text = signature(("rouge", "chrf"), EvalConfig(max_new_tokens=60))
    for part in ("rouge_score 0.", "sacrebleu 2.", "F-measure", "Porter", "newline", "maximum", "mean", "60", "greedy"):
        assert part in text
    more = signature(("rouge_pr", "bleu"))
    for part in ("recall on the reference with the highest F", "effective order", "divided by 100", "13a"):
        assert part in more
    sampled = signature(("rouge",), EvalConfig(decoding=DECODINGS["original"]))
    for part in ("0.7", "40", "0.9", "1.1"):
        assert part in sampled
    assert signature(("rouge",)) != text


def test_words_are_those_that_rouge_compares() -> None:
    assert rouge_words("Anna's Meetings!", stem=False) == ["anna", "s", "meetings"]
    assert rouge_words("Anna's Meetings!") == ["anna", "s", "meet"]


def test_importing_the_module_is_light() -> None:
    check = (
        "import sys, trainables.scoring.metrics as m; m.signature(('rouge', 'rouge_pr', 'chrf', 'bleu'));"
        "print(sorted({'torch', 'nltk', 'pandas', 'rouge_score', 'sacrebleu', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("text", "unseen"),
    [
        ("Павел и Денис встретятся в пекарне в 7:00.", True),
        ("Павел позвонит в Zoom в 17:30.", True),
        ("他们下午3点见面。", True),
        ("👍", True),
        ("42", False),
        ("", True),
        ("Zoë grüßt Jörg über Öl und Übermaß.", False),
        ("Chúng tôi sẽ gặp nhau ở tiệm bánh lúc bảy giờ tối.", False),
        ("Łódź i Gdańsk są piękne, żółć też.", False),
        ("They meet Павел at 7.", False),
    ],
)
def test_a_text_is_unseen_by_rouge_where_most_of_its_letters_are(text: str, unseen: bool) -> None:
    assert is_unseen([text]) is unseen
