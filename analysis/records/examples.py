"""The examples that an evaluation is over, read once: their sources, references and columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.records.table import ResultTable
from trainables.data.corpus import Example
from trainables.records import atomic_files
from trainables.records.record import SweepFolder

OWN = ("id", "source", "references", "columns")


def evaluation_examples(table: ResultTable) -> dict[str, tuple[Example, ...]]:
    """Return the examples of an evaluation by split, in order; none of a split whose file is not there.

    Raises:
        UserError: a file of the sweep's examples is damaged, named.
    """
    folder = SweepFolder(table.folder)
    folder.check_examples()
    return {
        split: tuple(map(_example, atomic_files.read_lines(folder.evaluation_examples_path(split))[:count]))
        for split, count in table.evaluation.examples.items()
    }


def _example(row: Mapping[str, Any]) -> Example:
    columns = {**{name: value for name, value in row.items() if name not in OWN}, **row.get("columns", {})}
    return Example(str(row["id"]), str(row["source"]), tuple(map(str, row["references"])), tuple(columns.items()))
