"""Whether a folder holds the very weights that its configuration asks for.

What is missing is made up at random as transformers loads a model, what is left over is dropped, in its log alone.
From the headers that is told for families that people tune most; else a model without memory is loaded, which takes
the seconds that torch needs. The engine asks again as it loads the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from trainables.errors import UserError
from trainables.model_files.expected_tensors import HEAD, Shapes, expected_shapes, has_tied_head
from trainables.model_files.weight_differences import BUFFERS, prefix_problem
from trainables.model_files.weight_files import config_of, tensors_of, weight_files


def check_headers(folder: Path, trust_remote_code: bool = False, may_load_torch: bool = True) -> None:
    """Raise UserError naming the weights that are missing, unexpected or of another shape.

    A family that only the library knows is checked where torch may be loaded for it.
    """
    _check_headers(Path(folder), trust_remote_code, may_load_torch)


@lru_cache(maxsize=32)
def _check_headers(folder: Path, trust_remote_code: bool, may_load_torch: bool) -> None:
    shapes = {name: one.shape for path in weight_files(folder) for name, one in tensors_of(path).items()}
    config = config_of(folder)
    problem = prefix_problem(folder, shapes)
    if problem:
        raise UserError(problem)
    expected = expected_shapes(config)
    if expected is not None and not _differences(shapes, expected, has_tied_head(config)):
        return
    if expected is None and not may_load_torch:
        return
    from trainables.model_files.load_pretrained import load_without_memory

    load_without_memory(folder, trust_remote_code)


def _differences(shapes: Mapping[str, tuple[int, ...]], expected: Shapes, is_tied: bool) -> bool:
    """Tell whether the shapes on disk differ from those expected, so that the library has to be asked."""
    found = {name: shape for name, shape in shapes.items() if not name.endswith(BUFFERS)}
    if not any(name.startswith("transformer.") for name in found) and "wte.weight" in found:
        found = {f"transformer.{name}": shape for name, shape in found.items()}  # as the first GPT-2 was published
    if is_tied:
        found.setdefault(HEAD, expected[HEAD])
    return found != expected
