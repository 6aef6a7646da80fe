"""Which GPUs CUDA_VISIBLE_DEVICES leaves, as CUDA reads it."""

from __future__ import annotations

import pytest

from sweep.environment import devices
from sweep.environment.devices import Gpu, usable_gpus

FIRST, SECOND = Gpu("First", (8, 0), 2**34), Gpu("Second", (9, 0), 2**36)


@pytest.mark.parametrize(
    ("visible", "left"),
    [
        ("0,1", (FIRST, SECOND)),
        ("1", (SECOND,)),
        (" 1 , 0 ", (SECOND, FIRST)),
        ("GPU-1a2b", (FIRST,)),
        ("1,-1,0", (SECOND,)),
        ("", ()),
        ("-1", ()),
        ("2", ()),
        ("NoDevFiles", ()),
    ],
)
def test_an_entry_that_names_no_gpu_hides_all_behind_it(
    monkeypatch: pytest.MonkeyPatch, visible: str, left: tuple[Gpu, ...]
) -> None:
    monkeypatch.setattr(devices, "find_gpus", lambda: (FIRST, SECOND))
    monkeypatch.setattr(devices, "torch_has_cuda", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found, reason = usable_gpus()
    assert found == left
    assert repr(visible) in reason
