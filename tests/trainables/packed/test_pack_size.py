"""The choice of a pack's widths, and the cache of what was measured, without torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainables.errors import UserError
from trainables.packed import pack_size
from trainables.packed.pack_size import (
    Measurement,
    MeasurementKey,
    PackLimits,
    PackSize,
    WidthCost,
    Workload,
    choose,
    need_bytes,
)

PLACE = MeasurementKey("a processor", 2, "2.13", "abc", "fp32", "none", False, 2, 128)
TRAIN = (WidthCost(1, 1.0, 100), WidthCost(2, 0.99, 200), WidthCost(4, 0.8, 400))
DECODE = (WidthCost(16, 2.0, 50), WidthCost(32, 1.0, 100), WidthCost(64, 0.99, 200))
FOUND = Measurement(TRAIN, DECODE, 1000, "2026-11-20", 3.0)
LOAD = Workload(trials=12, adapter_bytes=10, request_rows=10, least_adapter_bytes=10)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PACKSWEEP_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_wider_one_is_chosen_where_it_is_clearly_faster_and_trials_fill_what_decodes_together() -> None:
    assert choose(FOUND, LOAD, "cpu") == PackSize(slots=8, together=4, rows=32)
    few_rows = Workload(trials=100, adapter_bytes=10, request_rows=2)
    assert choose(FOUND, few_rows, "cpu").slots == 16  # of two rows each fill a batch of 32
    assert choose(FOUND, Workload(3, 10, 2), "cpu").slots == 3
    assert choose(FOUND, LOAD, "cpu", asked=2) == PackSize(2, 2, 32)


def test_without_a_comparison_the_widths_are_those_that_suit_most_machines() -> None:
    alone = Measurement(TRAIN[:1], DECODE[:1], 1000, "", 1.0)
    assert choose(None, LOAD, "cpu") == choose(alone, LOAD, "cpu") == pack_size.UNMEASURED["cpu"]
    gaining = Measurement(TRAIN, DECODE[:2], 1000, "", 1.0)
    assert choose(gaining, LOAD, "cpu").rows == 128


def test_memory_narrows_what_shares_a_batch_before_who_shares_the_pack() -> None:
    assert need_bytes(FOUND, LOAD, PackSize(8, 4, 32)) == 1000 + 80 + 400
    assert choose(FOUND, LOAD, "cpu", cap_bytes=1480) == PackSize(8, 4, 32)
    assert choose(FOUND, LOAD, "cpu", cap_bytes=1479) == PackSize(8, 2, 32)
    assert choose(FOUND, LOAD, "cpu", cap_bytes=1185) == PackSize(8, 1, 32)
    narrow = choose(FOUND, LOAD, "cpu", cap_bytes=1120)
    assert narrow.together == 1
    assert narrow.slots < 8
    assert need_bytes(FOUND, LOAD, narrow) <= 1120


def test_where_not_even_one_trial_fits_need_and_cap_are_named() -> None:
    with pytest.raises(UserError, match=r"not even one trial fits: it needs about 1\.1 KiB .* 1000 B may be used"):
        choose(FOUND, LOAD, "cpu", cap_bytes=1000)


def test_a_trial_too_large_refuses_nothing_while_another_fits() -> None:
    load = Workload(trials=2, adapter_bytes=10_000, request_rows=10, least_adapter_bytes=10)
    assert choose(FOUND, load, "cpu", cap_bytes=1200) == PackSize(1, 1, 32)


def test_measurements_are_kept_under_the_users_cache_folder_by_what_they_are_of(tmp_path: Path) -> None:
    assert pack_size.recall(PLACE) is None
    pack_size.remember(PLACE, FOUND)
    other = MeasurementKey(**{**vars(PLACE), "threads": 4})
    pack_size.remember(other, Measurement((), (), 5, "", 0.0))
    assert pack_size.recall(PLACE) == FOUND
    assert pack_size.recall(other) != FOUND
    assert pack_size.cache_path() == tmp_path / "cache" / "packsweep" / "widths.json"
    assert len(pack_size.read_all()) == 2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"measured": []}', '{"measured": [{}], "sha256": "no"}'])
def test_a_damaged_cache_is_ignored_and_replaced(content: str) -> None:
    path = pack_size.cache_path()
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert pack_size.recall(PLACE) is None
    pack_size.remember(PLACE, FOUND)
    assert pack_size.recall(PLACE) == FOUND


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    pack_size.remember(PLACE, FOUND)
    assert pack_size.recall(PLACE) is None


def test_a_room_narrows_and_says_to_what() -> None:
    room = PackLimits(PackSize(8, 4, 64), 2048)
    assert room.narrowed_to is None
    room.narrow(rows=32)
    room.narrow(rows=48)
    room.narrow_losses(512)
    assert room.now == PackSize(8, 4, 32)
    assert room.narrowed_to == {"rows": 32, "loss_tokens": 512}
    room.narrow_slots(3)
    assert room.narrowed_to == {"slots": 3, "together": 3}
    assert room.chosen == PackSize(8, 4, 64)
