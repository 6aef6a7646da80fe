"""Which GPUs CUDA_VISIBLE_DEVICES leaves, as CUDA reads it."""

from __future__ import annotations

import pytest

from sweep.environment import devices
from sweep.environment.devices import Gpu, usable_gpus

FIRST = Gpu("First", (8, 0), 2**34, ("GPU-1a2b-77",))
SLICES = tuple(Gpu("Part", (9, 0), 2**33, (f"MIG-{n}c", f"MIG-GPU-1a3d-88/{n}/0")) for n in (1, 2))
SECOND = Gpu("Second", (9, 0), 2**36, ("GPU-1a3d-88",), SLICES)


@pytest.mark.parametrize(
    ("visible", "left"),
    [
        ("0,1", (FIRST, SECOND)),
        ("1", (SECOND,)),
        (" 1 , 0 ", (SECOND, FIRST)),
        ("GPU-1a2b-77", (FIRST,)),
        ("GPU-1a3d-88,GPU-1a2b-77", (SECOND, FIRST)),
        ("GPU-1a3", (SECOND,)),
        ("GPU-1a", ()),  # which of the two?
        ("0,GPU-ffff,1", (FIRST,)),
        ("GPU-1a3d-88x", ()),
        ("1,GPU-1a3d", ()),  # one that is named twice
        ("0,0", ()),
        ("MIG-2c", (SLICES[1],)),
        ("MIG-GPU-1a3d-88/1/0", (SLICES[0],)),
        ("0,MIG-1c,MIG-2c", (SLICES[0],)),  # a process sees one instance and no GPU beside it
        ("MIG-2", ()),
        ("MIG-3c,0", ()),
        ("1,-1,0", (SECOND,)),
        ("", ()),
        ("-1", ()),
        ("2", ()),
        ("NoDevFiles", ()),
    ],
)
def test_an_entry_names_one_gpu_or_hides_itself_and_all_behind_it(
    monkeypatch: pytest.MonkeyPatch, visible: str, left: tuple[Gpu, ...]
) -> None:
    monkeypatch.setattr(devices, "find_gpus", lambda: (FIRST, SECOND))
    monkeypatch.setattr(devices, "torch_has_cuda", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found, reason = usable_gpus()
    assert found == left
    assert repr(visible) in reason
