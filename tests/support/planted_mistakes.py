"""Mistakes planted into a sound plan: into its records, its settings or its model folder, and what is said of each."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search_spaces.experiment import Experiment
from search_spaces.grid import grid
from sweep.request import sanity_report
from sweep.request.found_sources import FoundSource, FoundSources
from sweep.request.trials import plan_trials
from trainables.config import Decoding, EvalConfig, TrainConfig
from trainables.data.load_corpus import load_corpus
from trainables.data.sources import DataSource

Records = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Mistake:
    """One planted mistake and words of the sentence that must name it."""

    name: str
    said: str
    records: Callable[[Records], Records] = lambda records: records
    base: Mapping[str, Any] = field(default_factory=dict)
    axes: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    prompt: str = "Summarize the dialogue.\n\n{source}\n\nSummary:"
    folder: Callable[[Path], None] = lambda folder: None
    keep_leaked: bool = False


def each(change: Callable[[dict[str, Any], int], dict[str, Any]], *splits: str) -> Callable[[Records], Records]:
    """Return a planting that changes every record of these splits (or of all)."""
    return lambda records: {
        split: [{**row, **change(row, number)} for number, row in enumerate(rows)]
        if split in splits or not splits
        else rows
        for split, rows in records.items()
    }


def german(number: int) -> str:
    name, thing = ("Anna", "Uwe", "Jens", "Ilse")[number % 4], ("den Hut", "das Buch", "die Jacke")[number % 3]
    return (
        f"{name}: Ich habe {thing} nicht gefunden, und du?\nKai: Nein, aber ich habe auch nicht gesucht. Wo war das?\n"
        f"{name}: Es war in der Küche, oder es ist auf dem Tisch. Kannst du mit mir nach {number + 2} Uhr suchen?\n"
        "Kai: Ja, das ist gut. Ich komme mit dem Rad zu dir, wenn ich die Arbeit gemacht habe."
    )


def nearly_train(records: Records) -> Records:
    """Put training dialogues with one word more into the test split."""
    copies = [{**row, "id": f"copy{number}", "dialogue": f"{row['dialogue']} Bye!"}
              for number, row in enumerate(records["train"][:12])]  # fmt: skip
    return {**records, "test": [*records["test"], *copies]}


def zero_end_of_text(folder: Path) -> None:
    """Overwrite the embedding of the end of text, as a token that was added and never trained may have it."""
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    (entry,) = [entry for name, entry in header.items() if name.endswith("wte.weight")]
    begin, end = entry["data_offsets"]
    row = (end - begin) // entry["shape"][0]
    token = json.loads((folder / "config.json").read_text(encoding="utf-8"))["eos_token_id"]
    at = 8 + length + begin + token * row
    content[at : at + row] = bytes(row)
    path.write_bytes(content)


def chat_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{% for m in messages %}<|user|>{{ m.content }}{% endfor %}")


LONG = " ".join(f"and then they spoke of number {number}" for number in range(60))

MISTAKES = (
    Mistake("the source as target", "are the same text", each(lambda row, _: {"summary": row["dialogue"]})),
    Mistake("source and target swapped", "look swapped",
            each(lambda row, _: {"dialogue": row["summary"], "summary": row["dialogue"]})),
    Mistake("the reference inside the source", "word for word inside the source",
            each(lambda row, _: {"dialogue": f"{row['dialogue']}\nTL;DR {row['summary']}"})),
    Mistake("near duplicates across splits", "nearly a training text", nearly_train),
    Mistake("a constant target", "one and the same summary",
            each(lambda row, _: {"summary": "They talk to each other."})),
    Mistake("half of the targets empty", "is empty or a word for nothing",
            each(lambda row, number: {"summary": row["summary"] if number % 2 else ""})),
    Mistake("half of the targets a word for nothing", "is empty or a word for nothing",
            each(lambda row, number: {"summary": row["summary"] if number % 2 else "nan"})),
    Mistake("another language in test", "look like another language",
            each(lambda row, number: {"dialogue": german(number)}, "test")),
    Mistake("a learning rate far too high", "learning_rate 2 is 30 times or more above", base={"learning_rate": 2.0}),
    Mistake("a learning rate far too low", "times or more below", base={"learning_rate": 2e-8}),
    Mistake("an 8-bit rate far too high", "take with paged_adamw_8bit",
            base={"learning_rate": 0.2, "optimizer": "paged_adamw_8bit"}),
    Mistake("an adapter that drowns the base", "lora_alpha / lora_rank is 32 (256 / 8)", base={"lora_alpha": 256.0}),
    Mistake("an adapter that hardly acts", "lora_alpha / lora_rank is 0.125 (1 / 8)", base={"lora_alpha": 1.0}),
    Mistake("new tokens below the references", "cannot hold", evaluation={"max_new_tokens": 4}),
    Mistake("sources cut", "the source is cut in 64 of 64 train",
            each(lambda row, _: {"dialogue": f"{row['dialogue']} {LONG}"}),
            base={"max_length_tokens": 128}, evaluation={"max_new_tokens": 40}),
    Mistake("few evaluated", "only 8 test examples are evaluated", evaluation={"test_examples": 8}),
    Mistake("a prompt that ends in a space", "ends in a space: its tokens end in",
            prompt="Summarize.\n{source}\nSummary: "),
    Mistake("a prompt without a cue", "has nothing after {source}", prompt="Summarize the dialogue.\n\n{source}"),
    Mistake("an instruct model under a plain prompt", "comes with a chat template", folder=chat_template),
    Mistake("an end of text without a vector", "so the base never learnt it", folder=zero_end_of_text),
    Mistake("targets cut", "ends without a full stop",
            each(lambda row, _: {"summary": row["summary"][:19] + "e"})),
    Mistake("targets without end", "ends without a full stop",
            each(lambda row, _: {"summary": row["summary"].rstrip(".!?")})),
    Mistake("validation equal to test", "are also in validation",
            lambda records: {**records, "test": records["validation"]}, keep_leaked=True),
    Mistake("fewer examples than a step", "fewer than the 16 rows", base={"train_examples": 8, "batch_size": 8}),
    Mistake("many epochs over few examples", "16 times over", base={"train_examples": 16, "max_steps": 64}),
    Mistake("hardly any example read", "of 250 training examples", base={"train_examples": 250, "max_steps": 2}),
    Mistake("warm-up for most steps", "warm-up takes", base={"warmup_ratio": 0.8}),
    Mistake("an axis with one value twice", "has 0.001 twice", axes={"learning_rate": [1e-3, 5e-4, 1e-3]}),
    Mistake("as much adapter as layer", "as large as the layer itself", base={"lora_rank": 192, "lora_alpha": 192.0}),
    Mistake("best of one evaluation", "one evaluation to choose from",
            base={"keep_checkpoint": "best", "eval_every_steps": 0}),
    Mistake("most of the input dropped", "lora_dropout is 0.9", base={"lora_dropout": 0.9}),
    Mistake("a decay that undoes the training", "weight_decay is 10", base={"weight_decay": 10.0}),
    Mistake("a temperature under greedy", "temperature changes nothing",
            evaluation={"decoding": Decoding(temperature=0.7)}),
    Mistake("a beam search without beams", "num_beams 1 is greedy", evaluation={"decoding": Decoding(strategy="beam")}),
    Mistake("HTML debris", "HTML is left", each(lambda row, _: {"dialogue": row["dialogue"].replace("\n", "<br>")})),
    Mistake("Latin-1 for UTF-8", "wrongly decoded",
            each(lambda row, _: {"dialogue": f"{row['dialogue']} It was \u00c2\u00a35."})),
    Mistake("a label before the summary", "begins with a label",
            each(lambda row, _: {"summary": f"Summary: {row['summary']}"})),
    Mistake("an instruction in the source", "begins with an instruction",
            each(lambda row, _: {"dialogue": f"Summarize this: {row['dialogue']}"})),
    Mistake("labels as targets", "they look like labels",
            each(lambda row, number: {"summary": f"Class {'ABC'[number % 3]}."})),
    Mistake("ids as sources", "the source has no letter",
            each(lambda row, _: {"dialogue": f"{zlib.crc32(row['id'].encode()):010d}"})),
    Mistake("one id for many", "an earlier record has", each(lambda row, number: {"id": f"x{number // 5}"})),
)  # fmt: skip


def named(mistake: Mistake, records: Records, model: Path, place: Path, **base: Any) -> list[str]:
    """Plant a mistake and return what is said of the plan."""
    data = place / "data"
    data.mkdir(parents=True)
    for split, rows in mistake.records(records).items():
        (data / f"{split}.json").write_text(json.dumps(rows), encoding="utf-8")
    if mistake.folder is not Mistake.folder:
        model = Path(shutil.copytree(model, place / "model"))
        mistake.folder(model)
    values = {"model": "model", "data": "data", "prompt": "own", "learning_rate": 1e-3, **base, **mistake.base}
    experiment = Experiment(
        name="own",
        description="",
        grid=grid(TrainConfig(**values), **mistake.axes),
        evaluation=EvalConfig(**{"validation_examples": 32, "test_examples": 32, **mistake.evaluation}),
        prompts={"own": mistake.prompt},
    )
    corpus = load_corpus(DataSource("data", str(data), "local"), "dialogue", "summary", mistake.keep_leaked)
    bases = FoundSources(
        (FoundSource("model", "model", "local", str(model), None),),
        FoundSource("data", "data", "local", str(data), None),
    )
    return sanity_report.in_plan_of(plan_trials(experiment), experiment, bases, corpus, sanity_report.in_data(corpus))
