"""Sizes and times in one style, and what is read in place of them."""

from __future__ import annotations

import pytest

from trainables.errors import UserError
from trainables.units import bytes_in, duration, parse_bytes, parse_seconds, seconds_in, size

MIB, GIB = 2**20, 2**30


@pytest.mark.parametrize(
    ("count", "text"),
    [
        *(
            (0, "0 B"),
            (999, "999 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (99_784, "97 KiB"),
            (1023.7 * 1024, "1.0 MiB"),
        ),
        *((682 * MIB, "682 MiB"), (14.7 * GIB, "14.7 GiB"), (80 * GIB, "80.0 GiB")),
        *((2048 * GIB, "2.0 TiB"), (2**60, "1048576.0 TiB")),
    ],
)
def test_a_size_has_a_binary_unit_at_every_scale(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *(
            (0.04, "0 s"),
            (0.4, "0.4 s"),
            (5, "5 s"),
            (8.12, "8.1 s"),
            (9.96, "10 s"),
            (39.2, "39 s"),
            (59.6, "1 min 00 s"),
        ),
        *((62, "1 min 02 s"), (103.4, "1 min 43 s"), (3599.7, "1 h 00 min"), (11_520, "3 h 12 min")),
    ],
)
def test_a_time_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("value", [1, 900, 10 * MIB, 14.7 * GIB])
def test_a_written_size_is_read_as_what_it_was(value: float) -> None:
    assert bytes_in(size(value)) == pytest.approx(value, rel=0.05)


@pytest.mark.parametrize("value", [0.4, 39, 103, 11_520])
def test_a_written_time_is_read_as_what_it_was(value: float) -> None:
    assert seconds_in(duration(value)) == value


@pytest.mark.parametrize(
    ("text", "count"), [("5.6GiB", int(5.6 * GIB)), ("800MiB", 800 * MIB), ("12GB", 12 * 10**9), (" 1 tib ", 2**40)]
)
def test_a_size_of_an_option_is_read(text: str, count: int) -> None:
    assert parse_bytes("--memory", text) == count


@pytest.mark.parametrize("text", ["5.6", "GiB", "-1GiB", "0MiB", "5,6GiB", "12 GBs", "12 iB", ""])
def test_a_size_that_is_none_is_refused_with_the_rule(text: str) -> None:
    with pytest.raises(UserError, match=r"--memory must be a size above zero like 5.6GiB, 800MiB or 12GB, got"):
        parse_bytes("--memory", text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90m", 5400), ("45s", 45), ("1h30m", 5400), ("1.5h", 5400)]
)
def test_a_time_of_an_option_is_read(text: str, seconds: float) -> None:
    assert parse_seconds("--time-budget", text) == seconds


@pytest.mark.parametrize("text", ["2", "h", "-5m", "1:30", "0s", "90m or so", "1h,30m", ""])
def test_a_time_that_is_none_is_refused_with_the_rule(text: str) -> None:
    with pytest.raises(UserError, match="--time-budget must be like 2h, 90m or 1h30m, got"):
        parse_seconds("--time-budget", text)
