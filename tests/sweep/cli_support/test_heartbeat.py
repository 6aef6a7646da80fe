"""Work in one piece is said while it takes long."""

from __future__ import annotations

import re

import pytest
from waiting import assert_stays, wait_until

from sweep.cli_support.heartbeat import telling
from trainables.startup_progress import stage

SENTENCE = r"reading the data, 1 of 3 \(\d+ s\)"


def test_a_long_stage_is_said_again_and_again_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    with telling(silent_s=0.05, look_s=0.01):
        assert_stays(lambda: capsys.readouterr().err == "", 0.1)
        with stage("reading the data", of=3) as advance:
            advance()
            said: list[str] = []
            wait_until(
                lambda: said.append(capsys.readouterr().err) or len(re.findall(SENTENCE, "".join(said))) >= 2, 20
            )
