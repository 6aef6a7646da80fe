"""The models of a sweep are found again by what the sweep says of them, also where it was written by earlier code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_inputs import write_model

from sweep.request import found_sources
from sweep.request.overrides import Changes, request
from trainables.errors import UserError
from trainables.model_files.fingerprint import model_fingerprint
from trainables.records.manifest import SweepSources


def stored(model: Path, scheme: int, own_code: bool = False) -> SweepSources:
    """Return what sweep.json says of a sweep on this model, as the code of that scheme wrote it."""
    entry = {"requested": str(model), "label": "m", "kind": "local", "revision": None, "stood_in": False}
    entry["fingerprint"] = model_fingerprint(model, scheme, own_code)
    entry |= {"fingerprint_scheme": scheme} if scheme > 1 else {}
    entry |= {"own_code": True} if own_code else {}
    data = {**entry, "requested": "d", "label": "d", "fingerprint": "f"}
    return SweepSources.model_validate({"model": entry, "models": [entry], "data": data, "target_modules": None})


def change(path: Path, **values: Any) -> None:
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**before, **values}))


def test_an_old_sweep_is_compared_by_its_own_scheme_and_says_so(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m")
    old, new = stored(model, 1), stored(model, 2)
    found = found_sources.find_models_again(new, {})
    assert found_sources.model_notes(found, new) == []
    (said,) = found_sources.model_notes(found, old)
    assert "covered configuration, vocabulary and weights alone" in said
    change(model / "tokenizer_config.json", padding_side="left")
    assert found_sources.find_models_again(old, {}).models[0].place == str(model)
    with pytest.raises(UserError, match="what is there now is another"):
        found_sources.find_models_again(new, {})
    change(model / "config.json", n_head=4)
    with pytest.raises(UserError, match="what is there now is another"):
        found_sources.find_models_again(old, {})


def test_an_old_sweep_whose_texts_would_end_otherwise_now_is_not_continued(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m")
    change(model / "generation_config.json", eos_token_id=[0, 7])
    with pytest.raises(UserError, match=r"ended at one token alone, and m declares 2 ends of text.* another --out"):
        found_sources.find_models_again(stored(model, 1), {})
    found = found_sources.find_models_again(stored(model, 2), {})
    assert found.models[0].fingerprint_scheme == 2
    (said,) = found_sources.model_notes(found)
    assert said.startswith("model: m: summaries are trained to end with '<|endoftext|>' (0); a text also stops at ")


def test_a_sweep_keeps_whether_the_code_of_its_model_was_run(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m")
    change(model / "config.json", auto_map={"AutoModelForCausalLM": "own.Own"})
    (model / "own.py").write_text("1")
    without = stored(model, 2)
    (model / "own.py").write_text("2")  # never run
    assert not found_sources.find_models_again(without, {}, trust_remote_code=False).models[0].own_code
    with pytest.raises(
        UserError, match=r"started without --trust-remote-code.*: leave it out, or choose another --out"
    ):
        found_sources.find_models_again(without, {}, trust_remote_code=True)
    trusted = stored(model, 2, own_code=True)
    found = found_sources.find_models_again(trusted, {}, trust_remote_code=True).models[0]
    assert found.own_code
    assert found.model_entry().own_code
    assert (
        found_sources.find_models_again(trusted, {}).models[0].fingerprint == found.fingerprint
    )  # as what runs none of it does
    with pytest.raises(UserError, match=r"started with --trust-remote-code.*: give it again, or choose another --out"):
        found_sources.find_models_again(trusted, {}, trust_remote_code=False)
    wanted = request("grid_2x2x2", Changes(model=str(model), data="d"))
    found_sources.check_requested(tmp_path, trusted, wanted.experiment)
    (model / "own.py").write_text("3")
    with pytest.raises(UserError, match="what is there now is another"):
        found_sources.check_requested(tmp_path, trusted, wanted.experiment)
    with pytest.raises(UserError, match="what is there now is another"):
        found_sources.find_models_again(trusted, {}, trust_remote_code=True)


def test_a_resolved_model_is_written_with_the_scheme_of_its_fingerprint(tmp_path: Path) -> None:
    entry = found_sources.FoundSource("m", "m", "local", "/x", None, "f", fingerprint_scheme=2).model_entry()
    assert entry.model_dump(exclude_unset=True)["fingerprint_scheme"] == 2
    assert (
        "fingerprint_scheme"
        not in found_sources.FoundSource("d", "d", "local", "/x", None, "f").data_entry().model_dump()
    )
