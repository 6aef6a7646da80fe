"""The table of architectures is what trying all of them gives."""

from __future__ import annotations

import pytest

from benchmarks.architectures import PAGE, table
from benchmarks.families import FAMILIES


def test_the_page_has_a_line_for_every_family() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines if line.startswith("| ")][2:] == list(FAMILIES)


@pytest.mark.slow
def test_every_family_trains_packed_as_alone_or_is_refused_as_the_page_says() -> None:
    page, wrong = table()
    assert wrong == []
    assert page == PAGE.read_text(encoding="utf-8")
