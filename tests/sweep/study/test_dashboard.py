"""optuna-dashboard opens the study file of a search that runs, and shows what the records say."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import searched

pytest.importorskip("optuna_dashboard")
pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[searched.SearchStudy, str]]:
    """A search that goes on, and the address of a dashboard on its file."""
    study = searched.opened(
        tmp_path / "sweep",
        searched.experiment(20),
        infeasible=lambda train: "needs 9 GB of 8" if train.lora_rank > 16 else None,
    )
    searched.run(study, 2)
    port = free_port()
    program = [Path(sys.executable).with_name("optuna-dashboard"), "--host", "127.0.0.1", "--port", str(port)]
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen([*program, f"sqlite:///{study.folder.study_path}"], stdout=log, stderr=log)
    yield study, f"http://127.0.0.1:{port}/api/studies"
    process.kill()
    process.wait()
    log.close()


def get(address: str) -> dict[str, Any]:
    """Return the JSON of an address; a dashboard takes seconds to start."""
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return dict(json.load(answer))
        except OSError:
            assert time.monotonic() < until, address
            time.sleep(0.3)


def test_the_dashboard_shows_a_search_while_it_runs(served: tuple[searched.SearchStudy, str]) -> None:
    study, address = served
    (listed,) = get(address)["study_summaries"]
    assert (listed["study_name"], listed["directions"]) == ("searched", ["maximize"])
    searched.run(study, 6)
    job = study.ask()
    assert job is not None
    study.report(Path(job.folder).name, 4, 2.5)

    shown = get(f"{address}/{listed['study_id']}?after=0")
    assert shown["objective_names"] == ["rougeL"]
    assert study.infeasible > 0
    for trial, told in zip(shown["trials"], study.told, strict=True):
        values = {one["name"]: one["param_external_value"] for one in trial["params"]}
        assert values == {name: str(value) for name, value in told.parameters.items()}
        attributes = {one["key"]: one["value"] for one in trial["user_attrs"]}
        assert (attributes["record"], attributes["train_id"]) == (told.key, told.train_id)
        is_infeasible = told.attributes["state"] == "infeasible"
        assert trial["constraints"] == ([1.0] if is_infeasible else [])
        assert trial["state"] == ("Pruned" if is_infeasible else told.state.capitalize())
        assert [(one["step"], one["value"]) for one in trial["intermediate_values"]] == [
            (step, -loss) for step, loss in told.curve
        ]
        if told.values:
            assert trial["values"] == pytest.approx(told.values)
    assert shown["trials"][-1]["intermediate_values"] == [{"step": 4, "value": -2.5}]
