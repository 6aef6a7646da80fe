"""The model card of an exported adapter: what it is, how it was chosen, and how far the numbers hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis.findings.sentences import conclusions, title_of, value_of
from analysis.render.markdown import code, escaped, pipes, yaml
from analysis.render.text_grids import difference_grid
from trainables.config import Decoding, EvalConfig, TrainConfig
from trainables.data.sources import MODEL_IDS
from trainables.metric_table import METRICS
from trainables.records.lineage import sentence

if TYPE_CHECKING:
    from analysis.comparison.comparison import Comparison
    from analysis.records.table import ResultRow
    from trainables.records.manifest import DataEntry, ModelEntry, SweepManifest, SweepOrigin

OWN_IMPORT = "from trainables.pocket import model_folder  # this base comes with the project\n"

CARD = """---
base_model: {base_model_yaml}
library_name: peft
pipeline_tag: text-generation
tags:
- lora
- summarization
---

# {title}

A LoRA adapter for {base_model}, fine-tuned to summarize the {data} data: configuration {name} of the sweep
{experiment}, seed {seed}.
{banner}
## How it was chosen

{choice}

{sentences}

| score | validation (n = {n_validation}) | test (n = {n_test}) |
| :-- | --: | --: |
{scores}

{differences}

Scores: {signature}.

## How to use it

```python
{usage}```

{of_parts}Only the end of a source that is too long is cut, never the prompt (further, in the scores above, where a
reference is longer than a summary may be). Summaries were generated with {decoding},
at most {max_new_tokens} new tokens.

## Settings

| field | value |
| :-- | :-- |
{settings}

## Made with

{versions}
"""


USAGE = """from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
{own_import}
base_folder = {base_folder}
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base_folder), "PATH/OF/THIS/FOLDER")
tokenizer = AutoTokenizer.from_pretrained(base_folder)
prompt = {prompt!r}
context = getattr(model.config.get_text_config(), "max_position_embeddings", {max_length_tokens})
room = min(context, {max_length_tokens}) - {max_new_tokens}  # tokens of a prompt that leave room for its summary
start = prompt.index("{{source}}")
marks = tokenizer(prompt.replace("{{source}}", TEXT), return_offsets_mapping=True).offset_mapping
ends = [end - start for first, end in marks if start <= first and end < start + len(TEXT)]
surplus = max(0, len(marks) - room)
for end in [len(TEXT), *reversed(ends)][max(0, surplus - 8) :]:  # a source that is too long loses its end
    ids = tokenizer(prompt.replace("{{source}}", TEXT[:end]), return_tensors="pt").input_ids
    if ids.shape[1] <= room:
        break
written = model.generate(ids, attention_mask=ids.new_ones(ids.shape), max_new_tokens={max_new_tokens}, {how})
new, stops = written[0, ids.shape[1] :].tolist(), model.generation_config.eos_token_id
if new and new[-1] in (stops if isinstance(stops, list) else [stops]):
    new.pop()  # what ends a text is no part of it, also where it is a sign like any other
print(tokenizer.decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip())
"""

OF_PARTS = """Until 2026-11-30, when this was trained, instruction, source and cue were tokenized apart: the ids of the
text as a whole may be others than those it was trained on, and so may what it writes.

"""


def model_card(found: Comparison, trial: ResultRow, sweep: SweepManifest) -> str:
    """Return the card of `trial`, the best of `found`, as Markdown with a YAML head."""
    table, train = found.table, trial.train
    assert train is not None
    sizes = table.evaluation.examples
    model, data = sweep.resolved.model, sweep.resolved.data
    place = f"first of {len(found.tied) + 1} that tie as best" if found.tied else "best"
    rank = f"{place} of {len(found.ranking)} configurations by {title_of(found.metric)} on {table.selection_split}"
    return CARD.format(
        base_model_yaml=yaml(base_name(model)),
        base_model=code(base_name(model)),
        usage=usage(train, table.evaluation, _base_folder(model), OWN_IMPORT if model.kind == "bundled" else ""),
        title=escaped(f"{table.experiment}: {train.model} on {table.data}"),
        data=code(table.data),
        name=escaped(trial.name),
        experiment=code(table.experiment),
        seed=train.seed,
        banner=f"\n> **{escaped(table.banner)}**\n" if table.banner else "",
        choice=f"It is the {rank}; the scores below on {table.split} played no part in the choice."
        if len(sizes) > 1
        else f"It is the {rank}, which is also what is reported.",
        sentences="\n".join(f"- {escaped(sentence)}" for sentence in conclusions(found)),
        n_validation=sizes.get("validation", 0),
        n_test=sizes.get("test", 0),
        scores="\n".join(_score(trial, name) for name in _scores(found) if trial.mean(table.split, name) is not None),
        differences=pipes(difference_grid(found)) if found.differences else "",
        signature=escaped("; ".join(table.signatures)),
        of_parts=OF_PARTS if train.tokenization == "parts" else "",
        decoding=_decoding(table.evaluation.decoding.model_dump()),
        max_new_tokens=table.evaluation.max_new_tokens,
        settings="\n".join(f"| {escaped(name)} | {_cell(value)} |" for name, value in _settings(trial).items()),
        versions="\n".join(_made_with(sweep.provenance, model, data)),
    )


def _settings(trial: ResultRow) -> dict[str, Any]:
    """Return every field as the trial began with it, and what was changed in training, in order."""
    assert trial.train is not None
    changes = trial.record.lineage() if trial.record is not None else []
    return {**trial.train.model_dump(), **{f"change {line['number']}": sentence(line) for line in changes}}


def base_name(model: ModelEntry) -> str:
    """Return the base model's name on the hub, or its label where it did not come from there."""
    return str(MODEL_IDS.get(model.label, (model.label,))[0])


def _base_folder(model: ModelEntry) -> str:
    if model.kind == "bundled":
        return "str(model_folder())"
    return repr(base_name(model) if model.kind != "local" else f"PATH/OF/{model.label}")


def _scores(found: Comparison) -> list[str]:
    """Return the scores that the card tells, what chose among them."""
    names = [one.name for one in METRICS if one.on_card]
    return names if found.metric in names else [*names, found.metric]


def _score(trial: ResultRow, name: str) -> str:
    values = [trial.mean(split, name) for split in ("validation", "test")]
    return f"| {title_of(name)} | {' | '.join('–' if v is None else value_of(name, v) for v in values)} |"


def usage(train: TrainConfig, evaluation: EvalConfig, base_folder: str, own_import: str = "") -> str:
    """Return a program that writes the summary of TEXT in plain transformers and PEFT, as the sweep wrote it."""
    return USAGE.format(
        own_import=own_import,
        base_folder=base_folder,
        prompt=train.prompt_template,
        max_length_tokens=train.max_length_tokens,
        max_new_tokens=evaluation.max_new_tokens,
        how=_arguments(evaluation.decoding),
    )


def _arguments(decoding: Decoding) -> str:
    """Return how `generate` is to decode; a folder's generation_config.json must not decide it."""
    if decoding.strategy == "greedy":
        chosen: dict[str, Any] = {"do_sample": False, "num_beams": 1}
    elif decoding.strategy == "beam":
        chosen = {"do_sample": False, "num_beams": decoding.num_beams}
    else:
        names = ("temperature", "top_k", "top_p")
        chosen = {"do_sample": True, **{name: getattr(decoding, name) for name in names}}
    chosen["repetition_penalty"] = decoding.repetition_penalty
    return ", ".join(f"{name}={value}" for name, value in chosen.items())


def _decoding(decoding: dict[str, Any]) -> str:
    strategy = decoding.pop("strategy")
    if strategy == "greedy":
        return "greedy decoding"
    return f"{strategy} decoding ({', '.join(f'{name} {value}' for name, value in decoding.items())})"


def _cell(value: Any) -> str:
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    return code(text, in_cell=True)


def _made_with(origin: SweepOrigin, model: ModelEntry, data: DataEntry) -> list[str]:
    packages = ", ".join(f"{name} {version}" for name, version in origin.packages.items() if version)
    hardware = ", ".join(origin.gpus) or f"{origin.processor}, {origin.cores} cores"
    return [
        f"- base: {escaped(model.label)} ({model.kind}, revision {model.revision or 'none'}, "
        f"fingerprint {(model.fingerprint or '')[:16]})",
        f"- data: {escaped(data.label)} ({data.kind}, fingerprint {(data.fingerprint or '')[:16]})",
        f"- code: {origin.commit or 'an installed package'}",
        f"- hardware: {escaped(hardware)}",
        f"- packages: {packages}; Python {origin.python}",
    ]
