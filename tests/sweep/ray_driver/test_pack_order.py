"""Packs: who shares one, in what order they come, and how trials are spread over engines."""

from __future__ import annotations

from typing import Any

from small_sweep import BASE, EVALUATION

from sweep.ray_driver.pack_order import by_pack, describe, of_bases, sentence, spread_jobs
from trainables.config import TrainConfig, TrialConfig
from trainables.jobs import TrialJob, key_of

NF4 = {"quantization": "nf4"}


def job(name: str, **fields: Any) -> TrialJob:
    return TrialJob(name, TrialConfig(train=TrainConfig(**{**BASE, **fields}), evaluation=EVALUATION))


def names(jobs: list[TrialJob]) -> str:
    return "".join(one.folder for one in jobs)


def test_base_quantization_and_precision_part_packs_and_nothing_else_does() -> None:
    plain = key_of(job("a").trial.train)
    for fields in ({"model": "other"}, NF4, {"precision": "bf16"}):
        assert key_of(job("b", **fields).trial.train) != plain
    shared = {"max_length_tokens": 64, "lora_rank": 2, "batch_size": 1, "seed": 1, "optimizer": "paged_adamw_8bit"}
    assert key_of(job("c", **shared).trial.train) == plain


def test_jobs_come_pack_by_pack_and_keep_their_order_within_one() -> None:
    interleaved = [job("z", max_steps=0), job("y", max_steps=0, **NF4), job("a"), job("b", **NF4), job("c")]
    assert names(by_pack(interleaved)) == "zacyb"


def test_the_sentence_names_every_pack_and_is_absent_where_there_is_one() -> None:
    trains = [one.trial.train for one in (job("a"), job("b", **NF4), job("c", max_length_tokens=96))]
    assert sentence(trains) == "2 packs: tiny fp32 96 to 512 tokens: 2 trials; tiny nf4 fp32 512 tokens: 1 trial"
    assert sentence(trains[::2]) is None
    assert describe(trains[::2]) == ["tiny fp32 96 to 512 tokens: 2 trials"]


def test_engines_have_whole_packs_where_these_are_about_equal() -> None:
    jobs = [job(name, **(NF4 if name in "xyz" else {})) for name in "axbycz"]
    assert [names(part) for part in spread_jobs(jobs, [1, 1])] == ["abc", "xyz"]
    assert [names(part) for part in spread_jobs(jobs, [1])] == ["abcxyz"]


def test_a_large_pack_is_split_before_an_engine_idles() -> None:
    jobs = [*(job(name) for name in "abcdefg"), job("x", **NF4)]
    assert [names(part) for part in spread_jobs(jobs, [1, 1])] == ["abcd", "efgx"]


def test_faster_engines_have_more_to_do() -> None:
    assert [names(part) for part in spread_jobs([job(name) for name in "abcdefgh"], [3, 1])] == ["abcdef", "gh"]


def test_every_engine_has_a_job_where_there_are_enough() -> None:
    long = [job("a", max_steps=10_000), *(job(name) for name in "bc")]
    assert [names(part) for part in spread_jobs(long, [1, 1, 1])] == ["a", "b", "c"]
    assert [names(part) for part in spread_jobs(long[:1], [1, 1])] == ["a", ""]


def test_the_bases_of_a_search_are_named_where_there_is_more_than_one() -> None:
    trains = [one.trial.train for one in (job("a"), job("b", **NF4), job("c", lora_rank=2))]
    assert of_bases(trains) == (
        "2 bases: tiny fp32; tiny nf4 fp32; points of different ones cannot share a pack, which is less full"
    )
    assert of_bases(trains[::2]) is None
