"""`python -m benchmarks.roofline`: how near the packed engine comes to what the device can do, and where the rest goes.

Training: the operations that the steps need (see `flops`) per second, over the best matrix product measured in the same
run at the same precision. Decoding: the bytes that must be read over the measured memory bandwidth; where many rows
decode together it is products that bound it, so their share stands beside.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import flops, output
from benchmarks.work import EVALUATION_EXAMPLES, NEW_TOKENS, Work, make_work
from sweep.cli_support import command
from sweep.cli_support.options import DeviceOption, JsonOption
from trainables.config import Decoding, TrainConfig, TrialConfig
from trainables.errors import one_of
from trainables.jobs import go_on

WARM_STEPS, SHORT_TOKENS = 1, 4
MANY_STEPS = 10_000  # more than are ever measured: the trials are interrupted


def roofline(
    size: output.SizeOption = "pocket",
    precision: output.PrecisionOption = "fp32,bf16",
    steps: Annotated[int, typer.Option("--steps", help="Measured steps of every trial, after a warm one.")] = 3,
    trials: Annotated[int, typer.Option("--trials", help="Trials in the pack.")] = 8,
    parts: Annotated[
        str, typer.Option("--parts", help="What to measure: train, decode, profile.")
    ] = "train,decode,profile",
    device: DeviceOption = "auto",
    real: output.RealOption = None,
    results: output.ResultsOption = output.RESULTS,
    as_json: JsonOption = False,
) -> int:
    """Measure training and decoding of the packed engine against this device's limits."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # the profiler's own messages; read when torch is imported
    output.positive("--steps", steps)
    output.positive("--trials", trials)
    wanted = [one_of("--parts", part, ("train", "decode", "profile")) for part in parts.split(",")]
    found = output.device_of(device, size)
    measured: dict[str, dict[str, Any]] = {}
    for one in output.precisions(precision):
        work = make_work(size, one, trials, MANY_STEPS, real)
        command.note(f"roofline: {size}, {one}")
        measured[one] = measure(work, found.kind, steps, wanted)
    best = max(measured, key=lambda one: measured[one].get("train_flop_per_s", 0.0))
    facts: dict[str, Any] = {"size": size, "precision": best, "by_precision": measured}
    facts |= {key: measured[best].get(key) for key in ("train_fraction_of_gemm", "decode_fraction_of_bandwidth")}
    name = f"roofline --size {size}"
    output.publish(output.Findings(name, _parts(work, measured), facts), found, results, as_json)
    return command.DONE


def measure(work: Work, device: str, steps: int, wanted: Sequence[str]) -> dict[str, Any]:
    """Return all figures of one precision."""
    import torch

    from benchmarks import rates

    threads = torch.get_num_threads()
    shape = flops.shape_of(work.base.model_folder)
    precision = work.first.precision
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(work, Path(folder), device, shape)
        shapes = bench.product_shapes()
        products = _aside(lambda: rates.gemm_rates(precision, device, shapes), threads)
        streams = _aside(lambda: rates.bandwidth(device), threads)
        found: dict[str, Any] = {}
        if "train" in wanted:
            found |= bench.train(steps)
        if "profile" in wanted:
            found |= bench.profile(steps)
        if "decode" in wanted:
            found |= bench.decode()
        # A second time, so that a disturbance of the first does not pass for the device's limit.
        again = _aside(lambda: rates.gemm_rates(precision, device, shapes), threads)
        products = {name: max(rate, again[name]) for name, rate in products.items()}
    best = max(products, key=lambda name: products[name])
    stream = max(streams.values())
    found |= {"gemm_flop_per_s": products, "gemm_best": best, "bandwidth_bytes_per_s": streams}
    if "train" in wanted:
        found["train_fraction_of_gemm"] = found["train_flop_per_s"] / products[best]
    for one in found.get("decode", []):
        one["fraction_of_bandwidth"] = one["bytes_per_s"] / stream
        one["fraction_of_gemm"] = one["flop_per_s"] / products[best]
    if "decode" in wanted:
        found["decode_fraction_of_bandwidth"] = found["decode"][-1]["fraction_of_bandwidth"]
    return found


def _aside(measured: Callable[[], dict[str, float]], threads: int) -> dict[str, float]:
    """Measure on all cores in a thread that ends: its team, beside the engine's, would else outnumber the cores."""
    from trainables.hardware.cpu_threads import compute_on

    with ThreadPoolExecutor(1, initializer=compute_on, initargs=(threads,)) as thread:
        return thread.submit(measured).result()


class _Bench:
    """One pack's measurements, each with an engine of its own, through the engine's public way alone."""

    def __init__(self, work: Work, folder: Path, device: str, shape: flops.Shape) -> None:
        self.work, self.folder, self.device, self.shape = work, folder, device, shape
        self.adapters = [flops.adapter_weights(work.base.model_folder, one.train) for one in work.trials]

    def _engine(self, name: str, **changes: Any) -> tuple[Any, list[Any], Work]:
        from benchmarks.in_process import engine_for, jobs_of

        gc.unfreeze()  # an engine that loaded a base has made itself and it exempt from collection
        gc.collect()
        trials = [
            TrialConfig(train=_changed(one.train, changes), evaluation=one.evaluation) for one in self.work.trials
        ]
        work = Work(self.work.size, self.work.base, tuple(trials))
        sweep = work.write_examples(self.folder / name)
        return engine_for(work, sweep, self.device), jobs_of(work, sweep), work

    def product_shapes(self) -> list[tuple[int, int, int]]:
        """Return (tokens, inputs, outputs) of the model's own products, for a micro-batch of usual length."""
        engine, _, work = self._engine("shapes")
        rows = [row for row in engine.tokenized.train_rows(work.first) if row.fits]
        train = work.first
        tokens = round(train.batch_size * sum(len(one.prompt_ids) + len(one.target_ids) for one in rows) / len(rows))
        completion = round(train.batch_size * sum(len(one.target_ids) for one in rows) / len(rows))
        sides = sorted(set(self.shape.linear.values()))
        return [*((tokens, *side) for side in sides), (completion, *self.shape.head)]

    def train(self, steps: int) -> dict[str, Any]:
        """Measure steps of all trials at once, by the clock of the wall."""
        from benchmarks.in_process import train_for

        engine, jobs, work = self._engine("train", eval_every_steps=0, generate_every_steps=0)
        window = train_for(engine, jobs, WARM_STEPS, steps, lambda: None)
        flop = sum(self._step_flop(engine, work.trials[trial].train, trial, step) for trial, step in window.steps)
        return {
            "train_flop_per_s": flop / window.seconds,
            "train_s_per_step": window.seconds / len(window.steps),
            "train_steps": len(window.steps),
            "train_gflop_per_step": flop / len(window.steps) / 1e9,
        }

    def _step_flop(self, engine: Any, train: TrainConfig, trial: int, step: int) -> int:
        from trainables.data.corpus import epoch_order

        rows = [row for row in engine.tokenized.train_rows(train) if row.fits]
        size = train.batch_size * train.gradient_accumulation_steps
        places = range(step * size, (step + 1) * size)
        chosen = [rows[epoch_order(len(rows), train.data_seed, at // len(rows))[at % len(rows)]] for at in places]
        return flops.training_flop(self.shape, self.adapters[trial], chosen)

    def profile(self, steps: int) -> dict[str, Any]:
        """Profile steps as they are measured by `train`; the profiler itself slows them."""
        from benchmarks.breakdown import profiled
        from benchmarks.in_process import train_for

        engine, jobs, _ = self._engine("profile", eval_every_steps=0, generate_every_steps=0)
        ranks = {one.train.lora_rank for one in self.work.trials}
        warm, done = threading.Event(), threading.Event()

        def train() -> None:
            try:
                train_for(engine, jobs, WARM_STEPS, max(1, steps // 2), warm.set)
            finally:
                warm.set()
                done.set()

        with ThreadPoolExecutor(1) as threads:
            trained = threads.submit(train)
            warm.wait()
            with profiled(self.device, ranks, self.shape.head[1]) as found:
                done.wait()
            trained.result()
        return {"breakdown": found.shares(), "largest": found.largest}

    def decode(self) -> dict[str, Any]:
        """Measure the decoding of one trial's texts alone, and of all trials' together."""
        engine, _, work = self._engine("decode")
        return {"decode": [self._decode(engine, work, count) for count in sorted({1, len(work.trials)})]}

    def _decode(self, engine: Any, work: Work, count: int) -> dict[str, Any]:
        configurations = [one.train for one in work.trials[:count]]
        handles = [engine.open_trial(one, True, go_on, f"decode-{number}") for number, one in enumerate(configurations)]
        try:
            rows = [
                engine.tokenized.evaluation_rows(one, "validation", EVALUATION_EXAMPLES, NEW_TOKENS)
                for one in configurations
            ]
            times, texts = [], []
            for tokens in (SHORT_TOKENS, SHORT_TOKENS, NEW_TOKENS):  # the first warms
                began = time.perf_counter()
                with ThreadPoolExecutor(count) as threads:
                    written = [
                        threads.submit(handle.reader(go_on).texts, some, Decoding(), tokens)
                        for handle, some in zip(handles, rows, strict=True)
                    ]
                    texts = [one.result() for one in written]
                times.append(time.perf_counter() - began)
        finally:
            for handle in handles:
                handle.leave()
        from trainables.modeling.dequantize import four_bit_layers

        prompts = [len(row.prompt_ids) for some in rows for row in some]
        new = [len(one.ids) + (one.ended == "eos") for some in texts for one in some]
        precision, adapters = work.first.precision, self.adapters[:count]
        is_packed = work.first.quantization == "nf4" and bool(four_bit_layers(engine.pack.base.model))
        short, long = (
            flops.decoding(self.shape, precision, adapters, prompts, [min(one, most) for one in new], is_packed)
            for most in (SHORT_TOKENS, NEW_TOKENS)
        )
        seconds = times[2] - times[1]
        return {
            "trials": count,
            "rows": len(prompts),
            "tokens_per_s": (long.tokens - short.tokens) / seconds,
            "seconds_per_position": seconds / (max(new) - SHORT_TOKENS),
            "bytes_per_s": (long.bytes - short.bytes) / seconds,
            "flop_per_s": (long.flop - short.flop) / seconds,
        }


def _changed(train: TrainConfig, changes: dict[str, Any]) -> TrainConfig:
    return train.model_copy(update=changes)


def _parts(work: Work, measured: dict[str, dict[str, Any]]) -> list[Any]:
    parts: list[Any] = []
    notes = "; ".join(work.base.notes)
    columns = ["", *measured]

    def row(name: str, text: Any) -> list[str]:
        return [name, *(text(one) for one in measured.values())]

    giga = 1e9
    if all("train_flop_per_s" in one for one in measured.values()):
        rows = [
            row("operations per second", lambda one: f"{one['train_flop_per_s'] / giga:.1f} GFLOP/s"),
            row("best product", lambda one: f"{max(one['gemm_flop_per_s'].values()) / giga:.1f} GFLOP/s"),
            row("its shape", lambda one: one["gemm_best"]),
            row("fraction of it", lambda one: f"{one['train_fraction_of_gemm']:.1%}"),
            row("one step of one trial", lambda one: f"{one['train_s_per_step'] * 1000:.1f} ms"),
            row("operations of it", lambda one: f"{one['train_gflop_per_step']:.1f} GFLOP"),
            row("steps measured", lambda one: str(one["train_steps"])),
        ]
        parts.append(output.table(f"Training, {len(work.trials)} trials packed ({notes})", columns, rows))
    if all("decode" in one for one in measured.values()):
        heads = [
            "decoding",
            "trials",
            "rows",
            "new tokens/s",
            "ms/position",
            "GB/s",
            "of bandwidth",
            "GFLOP/s",
            "of product",
        ]
        rows = [_decode_row(name, entry) for name, one in measured.items() for entry in one["decode"]]
        parts.append(
            output.table("Decoding after the prefill, greedy, 10 texts of up to 60 tokens a trial", heads, rows)
        )
    rates = {name: one["gemm_flop_per_s"] for name, one in measured.items()}
    shapes = list(dict.fromkeys(shape for one in rates.values() for shape in one))
    rows = [[shape, *(f"{one[shape] / giga:.1f}" for one in rates.values())] for shape in shapes]
    parts.append(output.table("Products, GFLOP/s (tokens x inputs x outputs)", columns, rows))
    streams = next(iter(measured.values()))["bandwidth_bytes_per_s"]
    parts.append("Memory: " + ", ".join(f"{name} {rate / giga:.1f} GB/s" for name, rate in streams.items()))
    if all("breakdown" in one for one in measured.values()):
        kinds = list(dict.fromkeys(kind for one in measured.values() for kind in one["breakdown"]))
        rows = [row(kind, lambda one, kind=kind: f"{one['breakdown'].get(kind, 0):.1%}") for kind in kinds]
        parts.append(
            output.table("Where the time of training goes (torch.profiler, which itself slows it)", columns, rows)
        )
    return parts


def _decode_row(precision: str, one: dict[str, Any]) -> list[str]:
    return [
        precision,
        str(one["trials"]),
        str(one["rows"]),
        f"{one['tokens_per_s']:.0f}",
        f"{one['seconds_per_position'] * 1000:.1f}",
        f"{one['bytes_per_s'] / 1e9:.2f}",
        f"{one['fraction_of_bandwidth']:.1%}",
        f"{one['flop_per_s'] / 1e9:.1f}",
        f"{one['fraction_of_gemm']:.1%}",
    ]


app = command.app(roofline)

if __name__ == "__main__":
    sys.exit(command.execute(app, "benchmarks.roofline"))
