"""The columns of every table, declared once: title, format, importance, and whether they hold times.

Timing columns are those that differ between two runs of the same sweep on the same machine. Scores of text are
fractions in records and points (x100) in every table.
"""

from __future__ import annotations

from dataclasses import dataclass


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


BEFORE = (
    Column("mark", "", "mark", 0),
    Column("name", "name", rank=0),
)
AFTER = (
    Column("rouge1", "R-1", "points", 2),
    Column("rouge2", "R-2", "points", 5),
    Column("rougeL", "R-L", "points", 0),
    Column("chrf", "chrF", "points", 4),
    Column("bleu", "BLEU", "points", 4),
    Column("validation_rougeL", "val\nR-L", "points", 0),
    Column("eval_loss", "eval\nloss", "loss", 3),
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
    Column("rougeLsum", "R-Lsum", "points"),
    Column("rouge1_unstemmed", "R-1 unstemmed", "points"),
    Column("rouge2_unstemmed", "R-2 unstemmed", "points"),
    Column("rougeL_unstemmed", "R-L unstemmed", "points"),
    Column("rougeLsum_unstemmed", "R-Lsum unstemmed", "points"),
    Column("validation_eval_loss", "val loss", "loss"),
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
MAIN_AXES = ("prompt", "lora_rank", "learning_rate")
AXIS_TITLES = {
    "lora_rank": "rank",
    "learning_rate": "rate",
    "lora_alpha": "alpha",
    "lora_dropout": "dropout",
    "train_examples": "train\nexamples",
    "target_modules": "modules",
}
