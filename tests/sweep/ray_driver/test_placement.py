"""Where engines run on a cluster, who takes over from a lost one, and whether all see the same folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from small_sweep import BASE, EVALUATION

from sweep.environment.shared_folder import FolderProbe, mount_of, remedy
from sweep.ray_driver.node_failure import pass_on
from sweep.ray_driver.placement import EnginePlace, Node, here, node_of, placement_sentences, places
from trainables.config import TrainConfig, TrialConfig
from trainables.errors import UserError
from trainables.jobs import TrialJob

SMALL, LARGE, BARE = Node("", "small", 4), Node("", "large", 16), Node("", "bare", 0)
ONE_GPU, TWO_GPUS = Node("", "one", 8, 1, "T4"), Node("", "two", 8, 2, "A100")
MOUNTS = "/dev/sda1 / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0\n/dev/sdb1 /home/my\\040disk xfs rw 0 0\n"


def shares_of(placed: list[EnginePlace]) -> list[tuple[str, float]]:
    return [(place.node.name, place.gpu_share) for place in placed]


def test_engines_of_this_machine_share_its_cores() -> None:
    one, two = here(1), here(2)
    assert len(two) == 2
    assert two[0].cores == max(1, one[0].cores // 2)


def test_without_gpus_every_node_that_gives_a_core_has_an_engine() -> None:
    placed = places([SMALL, BARE, LARGE], "cpu", jobs=8)
    assert [(place.node.name, place.cores, place.speed) for place in placed] == [("small", 4, 4.0), ("large", 16, 16.0)]
    assert [place.node.name for place in places([SMALL, LARGE], "cpu", jobs=1)] == ["small"]
    with pytest.raises(UserError, match="no CPU to give"):
        places([BARE], "cpu", jobs=1)


def test_every_gpu_of_every_node_has_an_engine_or_several() -> None:
    nodes = [SMALL, ONE_GPU, TWO_GPUS]
    assert shares_of(places(nodes, "cuda", jobs=8)) == [("one", 1.0), ("two", 1.0), ("two", 1.0)]
    assert [place.speed for place in places(nodes, "cuda", jobs=8)] == [1.0, 1.0, 1.0]
    assert shares_of(places(nodes, "cuda", jobs=2)) == [("one", 1.0), ("two", 1.0)]
    several = shares_of(places(nodes, "cuda", jobs=99, per_gpu=2))
    assert sorted(several) == [("one", 0.5)] * 2 + [("two", 0.5)] * 4
    assert sorted(shares_of(places(nodes, "cuda", jobs=3, per_gpu=2)))[-1] == ("two", 1.0)
    with pytest.raises(UserError, match="Ray finds none"):
        places([SMALL], "cuda", jobs=1)


def test_the_nodes_are_named_and_what_differs_is_said() -> None:
    placed = places([SMALL, BARE, LARGE], "cpu", jobs=8)
    said = placement_sentences(placed, [SMALL, BARE, LARGE, ONE_GPU], "cpu")
    assert said[0] == "Ray cluster: 2 engines on 2 nodes: small with 4 cores, large with 16 cores"
    assert said[1].startswith("the nodes have different numbers of cores: faster ones are given more trials")
    assert said[2] == "without an engine: bare, one (no CPU to give)"
    assert said[3].startswith("the cluster's GPUs are not used")
    on_gpus = placement_sentences(places([ONE_GPU, TWO_GPUS], "cuda", jobs=9), [ONE_GPU, TWO_GPUS], "cuda")
    assert on_gpus[0] == "Ray cluster: 3 engines on 2 nodes: one with 1 T4 GPU, two with 2 A100 GPUs, 2 engines"
    assert on_gpus[1].startswith("the nodes have different GPUs")
    assert len(placement_sentences(places([SMALL], "cpu", 1), [SMALL], "cpu")) == 1


def test_a_node_is_read_as_ray_describes_it() -> None:
    resources = {"CPU": 6.0, "GPU": 2.0, "accelerator_type:T4": 1.0, "memory": 1.0}
    entry = {"NodeID": "ab", "NodeManagerAddress": "10.0.0.2", "NodeManagerHostname": "host", "Resources": resources}
    assert node_of(entry) == Node("ab", "host (10.0.0.2)", 6, 2, "T4")


def job(name: str, **fields: Any) -> TrialJob:
    return TrialJob(name, TrialConfig(train=TrainConfig(**{**BASE, **fields}), evaluation=EVALUATION))


def test_what_a_lost_engine_has_not_finished_is_passed_on_and_nothing_else_moves() -> None:
    jobs = {name: job(name) for name in "abcdefgh"}
    shares = {"one": ("a", "b", "c"), "two": ("d", "e", "f"), "three": ("g", "h")}
    where = {"one": EnginePlace(SMALL, 4), "two": EnginePlace(SMALL, 4), "three": EnginePlace(SMALL, 4)}
    open_jobs = {name: jobs[name] for name in "abcefgh"}  # d is finished
    after = pass_on(shares, {"two"}, open_jobs, where)
    assert after == {"one": ("a", "b", "c", "e"), "three": ("g", "h", "f")}
    assert pass_on(after, {"one"}, open_jobs, where) == {"three": ("g", "h", "f", "a", "b", "c", "e")}
    assert pass_on(after, {"one", "three"}, open_jobs, where) == {}


# --- the probe ------------------------------------------------------------------------------------------------------


def test_a_folder_that_both_see_passes_and_nothing_is_left(tmp_path: Path) -> None:
    probe = FolderProbe(str(tmp_path), "owner", (str(tmp_path),))
    probe.leave()
    seen = probe.answer("engine-0")
    assert (seen.sees_driver, seen.wrote, seen.missing_folders) == (True, True, ())
    assert probe.complaint({"engine-0": ("node-0", seen)}) is None
    probe.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_copy_at_the_same_path_and_an_absent_model_are_found_out(tmp_path: Path) -> None:
    path = tmp_path / "sweep"
    probe = FolderProbe(str(path), "owner", (str(tmp_path / "model"),))
    probe.leave()
    lacks_model = probe.answer("engine-0")
    shutil.copytree(path, tmp_path / "copy")
    shutil.rmtree(path)
    absent = probe.answer("engine-1", patience_s=0.0)
    assert not path.exists(), "an engine that does not see the folder makes none"
    (tmp_path / "copy").rename(path)
    complaint = probe.complaint({"engine-0": ("node-0", lacks_model), "engine-1": ("node-1", absent)})
    assert complaint is not None
    assert complaint.startswith(f"{path} is not there on node node-1, or is another folder there: ")
    probe.path("engine-0").unlink()
    assert "what node node-0 writes" in (probe.complaint({"engine-0": ("node-0", lacks_model)}, 0.0) or "")
    probe.answer("engine-0")
    assert f"node node-0 has no {tmp_path / 'model'}" in (probe.complaint({"engine-0": ("node-0", lacks_model)}) or "")


def test_what_to_mount_is_said(tmp_path: Path) -> None:
    table = tmp_path / "mounts"
    table.write_text(MOUNTS)
    assert mount_of(Path("/home/ann/runs"), table) == ("server:/home", "/home", "nfs4")
    assert mount_of(Path("/home/my disk/runs"), table)[2] == "xfs"
    assert mount_of(Path("/var"), table)[0] == "/dev/sda1"
    assert remedy(str(tmp_path)).endswith(("that all nodes mount at the same path", "there too"))
