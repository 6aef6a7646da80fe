"""The columns of every table, declared once: title, format, importance, and whether they hold times.

Timing columns are those that differ between two runs of the same sweep on the same machine. Scores of text are
fractions in records and points (x100) in every table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from trainables.metric_table import DEFAULT, LOSS, METRICS, Metric, metric_of


@dataclass(frozen=True)
class Column:
    """A column; `style` is a format of `analysis.format.cells`.

    A narrow terminal leaves out the highest `rank` first, and never rank 0; None is for programs: CSV and JSON alone.
    """

    name: str
    title: str
    style: str = "text"
    rank: int | None = None
    is_timing: bool = False


def of_metric(metric: Metric, split: str = "", rank: int | None = None) -> Column:
    """Return the column of a score: on the reported split, or on the split that the choice is made on."""
    title = metric.short.replace(" ", "\n")
    if split:
        return Column(f"{split}_{metric.name}", f"{split[:3]}\n{title}", metric.style, rank)
    return Column(metric.name, title, metric.style, metric.column_rank if rank is None else rank)


BEFORE = (
    Column("mark", "", "mark", 0),
    Column("name", "name", rank=0),
)
AFTER = (
    *(of_metric(one) for one in METRICS if one.kind == "text" and one.column_rank is not None),
    of_metric(metric_of(DEFAULT), "validation", 0),
    replace(of_metric(metric_of(LOSS)), title="eval\nloss"),
    Column("perplexity", "ppl", "perplexity", 6),
    Column("train_loss", "train\nloss", "loss", 7),
    Column("generated_tokens", "new\ntok.", "tenths", 8),
    Column("trainable_share", "train\nshare", "percent", 12),
    Column("adapter_bytes", "adapt-\ner", "bytes", 13),
    Column("peak_memory_bytes", "peak\nmem.", "bytes", 11, is_timing=True),
    Column("seconds_per_step", "s /\nstep", "seconds", 10, is_timing=True),
    Column("wall_s", "run-\ntime", "duration", 9, is_timing=True),
    Column("state", "state", rank=0),
)
# For programs: in the CSV and in JSON alone.
MORE = (
    *(of_metric(one) for one in METRICS if one.column_rank is None and one.family == "rouge"),
    Column(f"validation_{LOSS}", "val loss", "loss"),
    Column("examples", "examples", "count"),
    Column("failed", "failed", "count"),
    Column("sources_cut", "sources cut", "count"),
    Column("empty_rate", "empty", "percent"),
    Column("limit_rate", "hit the limit", "percent"),
    Column("success_rate", "success", "percent"),
    Column("steps", "steps", "count"),
    Column("skipped_steps", "skipped by fp16", "count"),
    Column("changes", "changed by pbt", "count"),
    Column("trainable_parameters", "trainable parameters", "count"),
    Column("total_parameters", "total parameters", "count"),
    Column("kind", "kind"),
    Column("label", "label"),
    Column("train_id", "train id"),
    Column("eval_id", "eval id"),
    Column("model", "model"),
    Column("data", "data"),
    Column("split", "split"),
    Column("signature", "signature"),
    Column("cause", "cause", is_timing=True),  # an error's text may hold sizes and times
)
COLUMNS = (*BEFORE, *AFTER, *MORE)
CHOICE_EXAMPLES = Column("choice_examples", "choice\nex.", "count", 0)  # of a race, where they differ
MAIN_AXES = ("prompt", "lora_rank", "learning_rate")
AXIS_TITLES = {
    "lora_rank": "rank",
    "learning_rate": "rate",
    "lora_alpha": "alpha",
    "lora_dropout": "dropout",
    "train_examples": "train\nexamples",
    "target_modules": "modules",
}
