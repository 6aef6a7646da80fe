"""What is loaded is what was meant: weights that are missing, left over or misshapen are refused by name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_inputs import REAL, trial, write_model
from model_folders import CASES, an_adapter, copy_of, in_shards, shared_cases, with_json, with_weights
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PhiConfig,
    Qwen2Config,
    Qwen3Config,
)

from trainables.bases.load import load_base
from trainables.data.sources import resolve_model
from trainables.errors import UserError
from trainables.model_files.completeness import check_headers
from trainables.model_files.expected_tensors import expected_shapes
from trainables.model_files.load_pretrained import load_without_memory
from trainables.pocket import model_folder

LAYER = "model.layers.1."


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("m") / "llama", "llama")


def without(part: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda weights: {name: value for name, value in weights.items() if part not in name}


def named(prefix: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda weights: {prefix + name: value for name, value in weights.items()}


CHANGES = [
    (without(LAYER), "9 missing, which would be random: model.layers.1.input_layernorm.weight, .* and 6 more"),
    (without("model.norm"), "1 missing, which would be random: model.norm.weight$"),
    (without("lm_head"), "1 missing, which would be random: lm_head.weight$"),
    (lambda w: {**w, f"{LAYER}self_attn.q_proj.bias": torch.ones(32)}, "1 that no layer takes: .*q_proj.bias$"),
    (lambda w: {**w, "model.norm.weight": torch.ones(5)}, "model.norm.weight is 5 in place of 32$"),
    (
        lambda w: {**w, "model.embed_tokens.weight": torch.ones(300, 32)},
        r"embed_tokens.weight is 300 x 32 in place of 257 x 32 \(vocab_size 257\)$",
    ),
    (named("_orig_mod."), "saved with the prefix '_orig_mod.' .*torch.compile"),
    (named("module."), "saved with the prefix 'module.' .*a parallel wrapper"),
    (named("base_model.model."), r"saved with the prefix 'base_model.model.' .*merge_and_unload\(\)"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES)
def test_weights_other_than_the_configuration_asks_for_are_refused_by_name_before_and_while_they_are_loaded(
    tmp_path: Path, llama: Path, change: Callable[[dict[str, Any]], dict[str, Any]], said: str
) -> None:
    folder = with_weights(copy_of(llama, tmp_path / "m"), change)
    with pytest.raises(UserError, match=said):
        check_headers(folder)
    with pytest.raises(UserError, match=said):
        load_base(folder, trial().train, "cpu")


def test_a_whole_model_of_a_common_family_is_known_without_torch(tmp_path: Path, llama: Path) -> None:
    folders = [llama, in_shards(copy_of(llama, tmp_path / "s"))]
    folders += [write_model(tmp_path / family, family) for family in ("gpt2", "phi", "mistral", "qwen2")]
    folders += [model_folder()]
    if REAL.is_dir():
        folders += sorted(path for path in (REAL / "models").iterdir() if path.is_dir())
    code = (
        "import sys; from pathlib import Path; from trainables.model_files.completeness import check_headers\n"
        "for name in sys.argv[1:]: check_headers(Path(name)); assert 'torch' not in sys.modules, name\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *map(str, folders)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


SMALL = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**SMALL, num_key_value_heads=2, head_dim=16),
        MistralConfig(**SMALL, num_key_value_heads=1),
        Qwen2Config(**SMALL, num_key_value_heads=2),
        Qwen3Config(**SMALL, num_key_value_heads=2, head_dim=16),
        PhiConfig(**SMALL, num_key_value_heads=2),
        GPT2Config(vocab_size=96, n_embd=32, n_layer=2, n_head=2, n_positions=64, n_inner=40),
    ],
    ids=lambda config: str(config.model_type),
)
def test_the_table_of_families_holds_the_librarys_own_names_and_shapes(config: Any) -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert expected_shapes(config.to_dict()) == wanted


def old_gpt2(folder: Path) -> Path:
    """Write weights as GPT-2's were published first: no prefix, no head, masks saved."""

    def change(weights: dict[str, Any]) -> dict[str, Any]:
        found = {name.removeprefix("transformer."): value for name, value in weights.items()}
        masks = {f"h.{layer}.attn.bias": torch.ones(1, 1, 256, 256) for layer in range(2)}
        return {**found, **masks, **{f"h.{layer}.attn.masked_bias": torch.tensor(-1e4) for layer in range(2)}}

    return with_weights(folder, change)


def test_what_older_versions_saved_and_newer_compute_is_no_difference(tmp_path: Path, llama: Path) -> None:
    rotary = {f"model.layers.{layer}.self_attn.rotary_emb.inv_freq": torch.ones(8) for layer in range(2)}
    folders = {
        old_gpt2(write_model(tmp_path / "gpt2")): write_model(tmp_path / "new"),
        with_weights(copy_of(llama, tmp_path / "old"), lambda w: {**w, **rotary}): llama,
    }
    ids = torch.arange(20)[None]
    for old, new in folders.items():
        check_headers(old)
        wanted = AutoModelForCausalLM.from_pretrained(new)(ids).logits
        assert torch.allclose(load_base(old, trial().train, "cpu").model(ids).logits, wanted, atol=1e-5)


def test_a_family_that_only_the_library_knows_is_checked_without_reading_its_weights(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", "opt")
    assert expected_shapes(AutoConfig.from_pretrained(folder).to_dict()) is None
    check_headers(folder)
    assert {one.device.type for one in load_without_memory(folder, False).parameters()} == {"meta"}
    with_weights(folder, without("layers.1.fc1"))
    with pytest.raises(UserError, match=r"2 missing, which would be random: model.decoder.layers.1.fc1.bias"):
        check_headers(copy_of(folder, tmp_path / "other"))


# --- adapters and files ----------------------------------------------------------------------------------------------


def test_an_adapter_beside_the_weights_is_refused_in_place_of_being_applied(tmp_path: Path, llama: Path) -> None:
    folder = an_adapter(copy_of(llama, tmp_path / "m"))
    for refuse in (lambda: resolve_model(str(folder)), lambda: load_base(folder, trial().train, "cpu")):
        with pytest.raises(UserError, match=r"holds an adapter beside its weights.*move adapter_config.json .*merge"):
            refuse()


@pytest.mark.parametrize("has_config", [True, False])
@pytest.mark.parametrize(("base", "said"), [("lab/base", "give 'lab/base' as the model"), (None, "does not name the")])
def test_an_adapter_given_as_the_model_says_which_base_to_give(
    tmp_path: Path, llama: Path, has_config: bool, base: str | None, said: str
) -> None:
    folder = an_adapter(copy_of(llama, tmp_path / "m"), base)
    (folder / "model.safetensors").unlink()
    if not has_config:
        (folder / "config.json").unlink()
    with pytest.raises(UserError, match=rf"is an adapter, not a model: .*{said}"):
        resolve_model(str(folder))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["model.fp16.safetensors"], "the variant model.fp16.safetensors: rename it to model.safetensors"),
        (["model-00001-of-00002.safetensors"], "without model.safetensors.index.json"),
        (["consolidated.safetensors"], "consolidated.safetensors, whose layout is not that of transformers"),
        (["weights.safetensors"], "found weights.safetensors, which transformers does not read by that name"),
        (["model-q4_k_m.gguf"], "found model-q4_k_m.gguf: take the model that it was made from"),
    ],
)
def test_weights_that_the_library_does_not_read_are_named(
    tmp_path: Path, llama: Path, names: list[str], said: str
) -> None:
    folder = copy_of(llama, tmp_path / "m")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    for name in names:
        (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        resolve_model(str(folder))


def test_two_sets_of_weights_are_refused_unless_they_are_the_same(tmp_path: Path, llama: Path) -> None:
    folder = in_shards(copy_of(llama, tmp_path / "m"))
    (folder / "model.safetensors").write_bytes((llama / "model.safetensors").read_bytes())
    resolve_model(str(folder))
    with_weights(folder, lambda weights: {name: value * 0 for name, value in weights.items()})
    with pytest.raises(UserError, match=r"two different sets of weights: model.safetensors, which would be loaded"):
        resolve_model(str(folder))


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("name", ["model.norm.weight", f"{LAYER}self_attn.q_proj.weight"])
def test_weights_that_are_nan_are_called_that(tmp_path: Path, llama: Path, quantization: str, name: str) -> None:
    def spoil(weights: dict[str, Any]) -> dict[str, Any]:
        weights[name].view(-1)[3] = torch.nan
        return weights

    folder = with_weights(copy_of(llama, tmp_path / "m"), spoil)
    with pytest.raises(UserError, match=f"weights that are no numbers: NaN in {name}$"):
        load_base(folder, trial(quantization=quantization).train, "cpu")


# --- the cases that are shared ---------------------------------------------------------------------------------------


def used(folder: Path) -> Any:
    """Take a folder all the way that a sweep takes it."""
    resolve_model(str(folder))
    check_headers(folder)
    return load_base(folder, trial().train, "cpu").model


@pytest.mark.skipif(not CASES.is_file(), reason="../shared/cases is absent")
def test_the_folders_of_the_shared_cases_are_loaded_as_meant_or_refused(tmp_path: Path) -> None:
    found = shared_cases(tmp_path)
    refused = {
        "missing-layer": "9 missing, which would be random: model.layers.4.input_layernorm.weight",
        "orig-mod": "prefix '_orig_mod.'",
        "peft-wrapped": "prefix 'base_model.model.'",
        "adapter-inside": "an adapter beside its weights",
        "adapter-only": "give 'some-lab/private-base'",
        "adapter-only-config": "give 'some-lab/private-base'",
        "bin": "found pytorch_model.bin, which can run code",
        "gguf": "found model-q4_k_m.gguf",
        "variant": "rename it to model.safetensors",
        "sharded-no-index": "without model.safetensors.index.json",
        "sharded-and-stale": "two different sets of weights",
        "nan": "NaN in model.norm.weight",
    }
    ids = torch.arange(3, 30)[None]
    plain = AutoModelForCausalLM.from_pretrained(found / "plain")(ids).logits
    for folder in sorted(found.iterdir()):
        if folder.name in refused:
            with pytest.raises(UserError, match=refused[folder.name]):
                used(folder)
        else:
            logits = used(folder)(ids).logits[..., :512]
            assert torch.allclose(logits, plain, atol=1e-4), folder.name


def test_a_head_of_other_rows_than_the_vocabulary_is_found_in_the_headers(tmp_path: Path, llama: Path) -> None:
    folder = with_json(copy_of(llama, tmp_path / "m"), "config.json", vocab_size=300)
    with pytest.raises(UserError, match=r"257 x 32 in place of 300 x 32 \(vocab_size 300\)"):
        check_headers(folder)
