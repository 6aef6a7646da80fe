"""The compiled part of decoding: what torch computes, built once, and done without where it cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from engine_inputs import engine_of, evaluation_of, record_of, trial, write_model, write_sweep
from torch.nn.functional import scaled_dot_product_attention

from trainables.hardware import machine
from trainables.jobs import go_on, no_report
from trainables.kv_cache import cpu_kernel
from trainables.kv_cache.ragged import RaggedLayer, Segment

needs_compiler = pytest.mark.skipif(machine.c_compiler() is None, reason="needs a C compiler")


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")  # building takes seconds: once for all tests that only compute


@pytest.fixture(autouse=True)
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder of these tests' own."""
    monkeypatch.setenv("PACKSWEEP_CACHE", str(shared_cache))
    cpu_kernel.library.cache_clear()
    yield shared_cache
    cpu_kernel.library.cache_clear()


def layer(dtype: torch.dtype, groups: int = 2, width: int = 32, room: int = 4) -> RaggedLayer:
    """Return five rows of three lengths, not in order."""
    chance = torch.Generator().manual_seed(1)

    def states(rows: int, length: int) -> torch.Tensor:
        return torch.randn(rows, groups, length + room, width, generator=chance).to(dtype)

    places = (([3, 0], 7), ([1], 1), ([4, 2], 130))
    return RaggedLayer([Segment(rows, states(len(rows), n), states(len(rows), n), n) for rows, n in places], 130)


def token(seed: int, heads: int, dtype: torch.dtype, width: int = 32) -> torch.Tensor:
    return torch.randn(5, heads, 1, width, generator=torch.Generator().manual_seed(seed)).to(dtype)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("queries", [1, 3])
def test_compiled_attention_is_torch_s(dtype: torch.dtype, queries: int) -> None:
    compiled = layer(dtype)
    assert compiled.table is not None
    plain = layer(dtype)
    plain.table = None
    for step in range(3):
        keys, values, query = token(step, 2, dtype), token(9 + step, 2, dtype), token(20 + step, 2 * queries, dtype)
        answers = []
        for one in (compiled, plain):
            one.update(keys, values)
            answers.append(one.attend(query, 0.3))
        torch.testing.assert_close(*answers, rtol=1e-5 if dtype == torch.float32 else 1e-2, atol=1e-5)
        if step == 1:
            for one in (compiled, plain):
                one.batch_select_indices(torch.tensor([0, 1, 2, 3, 4]))
            plain.table = None
    assert [segment.length for segment in compiled.segments] == [segment.length for segment in plain.segments]
    for ours, theirs in zip(compiled.segments, plain.segments, strict=True):
        assert torch.equal(ours.keys[:, :, : ours.length], theirs.keys[:, :, : theirs.length])


@needs_compiler
def test_rows_that_go_on_after_others_have_ended_are_still_their_own() -> None:
    whole, fewer = layer(torch.float32), layer(torch.float32)
    fewer.batch_select_indices(torch.tensor([4, 0]))
    query, keys, values = (token(seed, 2, torch.float32) for seed in range(3))
    whole.update(keys, values)
    fewer.update(keys[[4, 0]], values[[4, 0]])
    assert torch.equal(whole.attend(query, 0.2)[[4, 0]], fewer.attend(query[[4, 0]], 0.2))


@needs_compiler
def test_a_row_that_is_not_finite_stays_alone_with_it() -> None:
    clean, spoiled = layer(torch.float32), layer(torch.float32)
    query, keys, values = (token(seed, 2, torch.float32) for seed in range(3))
    clean.update(keys, values)
    bad = keys.clone()
    bad[3] = torch.nan
    spoiled.update(bad, values)
    found, wanted = spoiled.attend(query, 0.2), clean.attend(query, 0.2)
    assert found[3].isnan().all()
    others = [0, 1, 2, 4]
    assert torch.equal(found[others], wanted[others])


@needs_compiler
def test_large_scores_do_not_overflow() -> None:
    compiled, plain = layer(torch.float32), layer(torch.float32)
    plain.table = None
    query = 1e3 * token(3, 2, torch.float32)
    torch.testing.assert_close(compiled.attend(query, 1.0), plain.attend(query, 1.0), rtol=1e-4, atol=1e-4)


@needs_compiler
def test_a_cache_that_is_full_is_not_written_beyond_its_end() -> None:
    full = layer(torch.float32, room=1)
    full.update(token(0, 2, torch.float32), token(1, 2, torch.float32))
    with pytest.raises(ValueError, match="room"):
        full.update(token(0, 2, torch.float32), token(1, 2, torch.float32))


def test_keys_and_values_of_different_widths_are_attended_to_by_torch() -> None:
    # As in DeepSeek's latent attention: the width of the keys was once taken for the values, which corrupted the heap.
    chance = torch.Generator().manual_seed(1)
    keys, values = torch.randn(2, 3, 9, 48, generator=chance), torch.randn(2, 3, 9, 32, generator=chance)
    wide = RaggedLayer([Segment([1, 0], keys.clone(), values.clone(), 7)], 7)
    assert wide.table is None
    new = torch.randn(2, 3, 1, 48, generator=chance), torch.randn(2, 3, 1, 32, generator=chance)
    query = torch.randn(2, 6, 1, 48, generator=chance)
    wide.update(*new)
    found = wide.attend(query, 0.2)
    for row, place in ((0, 1), (1, 0)):
        both = [
            torch.cat([old[place, :, :7], one[row]], 1).repeat_interleave(2, 0)
            for old, one in zip((keys, values), new, strict=True)
        ]
        wanted = scaled_dot_product_attention(query[row], *both, scale=0.2)
        torch.testing.assert_close(found[row, 0], wanted[:, 0], rtol=1e-5, atol=1e-6)


@needs_compiler
def test_it_is_built_once_a_machine(cache: Path) -> None:
    assert cpu_kernel.library() is not None
    (built,) = cache.glob("rows-*.so")
    before = built.stat().st_mtime_ns
    cpu_kernel.library.cache_clear()
    assert cpu_kernel.library() is not None
    assert built.stat().st_mtime_ns == before
    assert list(cache.iterdir()) == [built]


@pytest.mark.slow
@needs_compiler
def test_a_damaged_library_is_built_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cpu_kernel.library() is not None
    (built,) = cache.glob("rows-*.so")
    damaged = cache.parent / "damaged" / built.name
    damaged.parent.mkdir()
    damaged.write_bytes(built.read_bytes()[:400])
    monkeypatch.setenv("PACKSWEEP_CACHE", str(damaged.parent))
    cpu_kernel.library.cache_clear()
    assert cpu_kernel.library() is not None
    assert damaged.stat().st_size == built.stat().st_size


@pytest.mark.slow
@needs_compiler
def test_a_library_whose_results_are_not_torch_s_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.c"
    other.write_text(
        cpu_kernel.SOURCE.read_text(encoding="utf-8").replace("sums[b] / total", "sums[b]"), encoding="utf-8"
    )
    monkeypatch.setattr(cpu_kernel, "SOURCE", other)
    assert cpu_kernel.library() is None


@pytest.mark.slow
def test_without_a_compiler_texts_and_losses_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, found = write_model(tmp_path / "m"), []
    for name, path in (("with", None), ("without", str(tmp_path))):
        if path is not None:
            monkeypatch.setenv("PATH", path)
            monkeypatch.delenv("CC", raising=False)
            cpu_kernel.library.cache_clear()
            assert cpu_kernel.library() is None
        sweep = write_sweep(tmp_path / name)
        record, job = record_of(sweep, trial(evaluation_of(24), max_steps=2))
        result = engine_of(sweep, model).run(job, no_report, go_on)
        assert result.state == "done"
        rows = record.predictions(job.trial.eval_id, "test")
        found.append([(row["text"], round(row["nll"], 4)) for row in rows])
    assert found[0] == found[1]
    assert len({text for text, _ in found[0]}) > 1
