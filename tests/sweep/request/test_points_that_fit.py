"""Which points of a search are said not to fit: those whose predicted peak is above the memory that may be used."""

from __future__ import annotations

from pathlib import Path

from tiny_inputs import write_model

from sweep.environment.devices import resolve_device
from sweep.request import estimates
from sweep.request.pack_memory import PROCESS_BYTES, refusing
from trainables.config import EvalConfig, TrainConfig


def test_the_predicted_peak_decides_unless_it_is_above_for_all(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    folders, device = {"model": str(tmp_path / "model")}, resolve_device("cpu", False, "e")
    small = TrainConfig(model="model", data="d", precision="fp32", batch_size=1)
    large = small.model_copy(update={"batch_size": 64})
    evaluation = EvalConfig()
    peaks = [estimates.needs_of(one, evaluation, folders["model"]).memory_bytes for one in (small, large)]
    assert peaks[0] < peaks[1]
    cause = refusing([small, large], evaluation, folders, device, PROCESS_BYTES + peaks[0])
    assert cause(small) is None
    assert "of memory, and" in (cause(large) or "")
    weights = estimates.least_bytes(small, folders["model"])
    by_weights = refusing([small, large], evaluation, folders, device, PROCESS_BYTES + weights)
    assert by_weights(large) is None  # the peak of neither fits: a prediction that says too much
