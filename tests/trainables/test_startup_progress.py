"""What a process is busy with, as others see it."""

from __future__ import annotations

import pytest

from trainables.startup_progress import Stage, current, sentence, stage


def test_the_innermost_stage_is_told_with_its_count_and_none_is_left() -> None:
    assert current() is None
    with stage("loading tiny"):
        with stage("measuring", of=4) as advance:
            advance()
            advance()
            told = current()
            assert told is not None
            assert (told.name, told.done, told.of) == ("measuring", 2, 4)
        told = current()
        assert told is not None
        assert (told.name, told.of) == ("loading tiny", None)
    assert current() is None


def test_a_stage_that_fails_ends_too() -> None:
    with pytest.raises(ValueError, match="no"), stage("reading"):
        raise ValueError("no")
    assert current() is None


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (Stage("measuring", 2, 4, 12.4), "measuring, 2 of 4 (12 s)"),
        (Stage("loading tiny", 0, None, 151.0), "loading tiny (2 min 31 s)"),
    ],
)
def test_a_stage_is_said_with_its_count_and_its_seconds(told: Stage, said: str) -> None:
    assert sentence(told) == said
