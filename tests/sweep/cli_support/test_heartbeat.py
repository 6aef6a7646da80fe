"""Work in one piece is said while it takes long."""

from __future__ import annotations

import re
import time

import pytest

from sweep.cli_support.heartbeat import telling
from trainables.startup_progress import stage

SENTENCE = r"reading the data, 1 of 3 \(\d+ s\)"


def test_a_long_stage_is_said_again_and_again_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    with telling(silent_s=0.05, look_s=0.01):
        time.sleep(0.1)
        assert capsys.readouterr().err == ""
        with stage("reading the data", of=3) as advance:
            advance()
            until = time.monotonic() + 20
            said = ""
            while len(re.findall(SENTENCE, said)) < 2 and time.monotonic() < until:
                time.sleep(0.01)
                said += capsys.readouterr().err
    assert len(re.findall(SENTENCE, said)) >= 2
