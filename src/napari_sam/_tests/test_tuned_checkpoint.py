"""The file of a fine-tuned model: small, complete, and refused on another base."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from napari_sam import registry
from napari_sam._lora import DOWN, UP
from napari_sam._tests.golden import checkpoint_shapes
from napari_sam._tuned_checkpoint import (
    FORMAT,
    TunedAbout,
    changed_tensors,
    write_tuned,
)
from napari_sam.finetuning import export_official
from napari_sam.registry import load_model, open_base, read_state
from napari_sam.types import Prompts

MOBILE_SAM = registry.MODELS["mobile_sam"]
ABOUT = TunedAbout(
    "mobile_sam",
    MOBILE_SAM.checksum,
    "vit_t",
    "decoder",
    "2026-01-31",
    {"train_objects": 12},
    {"before": {"click1": 0.4}},
    "Apache-2.0",
    "0",
)
NAME = "mask_decoder.iou_token.weight"
LAYER = "image_encoder.layers.1.blocks.0.attn.qkv.weight"


@pytest.fixture(scope="module")
def base():
    """Read the state dict that comes with the package."""
    return read_state(registry.checkpoint_path(MOBILE_SAM))


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Use a directory of the user's models of its own."""
    monkeypatch.setenv(registry.MODELS_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def tuned(models, base):
    """Write a file with one changed tensor and one adapter."""
    out, width = base[LAYER].shape
    tensors = {
        NAME: base[NAME] + 1,
        LAYER + DOWN: torch.ones(4, width),
        LAYER + UP: torch.full((out, 4), 0.01),
    }
    write_tuned(models / "cells.pt", ABOUT, tensors)
    return models / "cells.pt"


def test_only_what_changed_is_kept(base):
    """Compared exactly."""
    state = {**base, NAME: base[NAME] + 1e-3}
    assert list(changed_tensors(state, base)) == [NAME]


def test_it_is_small_and_opens_as_a_model(tuned, base):
    """Its base comes with the package; adapters are added to their weights."""
    assert tuned.stat().st_size < 1e5
    opened = open_base(tuned)
    torch.testing.assert_close(opened.state[NAME], base[NAME] + 1)
    torch.testing.assert_close(opened.state[LAYER], base[LAYER] + 2 * 4 * 0.01)
    assert opened.state.keys() == base.keys()
    predictor = load_model(checkpoint=tuned, precision="float32")
    token = predictor.model.mask_decoder.iou_token.weight
    torch.testing.assert_close(token, base[NAME] + 1)
    assert predictor.name == "cells"
    assert predictor.checksum not in (MOBILE_SAM.checksum, "")


def test_it_is_listed_and_found_by_name(tuned):
    """After the models that everybody has."""
    spec = registry.list_models()[-1]
    assert (spec.name, spec.encoder, spec.license) == ("cells", "vit_t", "Apache-2.0")
    assert spec.description == "fine-tuned from mobile_sam: 12 objects of yours"
    assert registry.is_available(spec)
    assert registry.download(spec) == tuned
    assert load_model("cells").name == "cells"


def test_other_files_are_not_listed(tuned, models):
    """Nor one that would pass for a model that everybody has."""
    (models / "notes.pt").write_bytes(b"nothing")
    torch.save({"a": torch.ones(2)}, models / "plain.pt")
    (models / "mobile_sam.pt").write_bytes(tuned.read_bytes())
    own = [one.name for one in registry.list_models()][len(registry.MODELS) :]
    assert own == ["cells"]


def test_the_users_directory_can_be_moved(models, monkeypatch):
    """By the environment; without it, it is where the user's data are."""
    assert registry.models_directory() == models
    monkeypatch.delenv(registry.MODELS_VARIABLE)
    assert registry.models_directory().name == "models"
    assert registry.models_directory() != models


def rewritten(path, **changes):
    """Write a file again with other content."""
    content = torch.load(path, weights_only=True)
    torch.save({**content, **changes}, path)


def about(path, **changes):
    """Write a file that says something else about itself."""
    content = torch.load(path, weights_only=True)
    write_tuned(path, replace(ABOUT, **changes), content["tensors"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:-99]), "truncated"),
        (lambda p: rewritten(p, format_version=2), "version 2"),
        (lambda p: rewritten(p, about="{"), "damaged"),
        (lambda p: rewritten(p, about='{"base": 3}'), "damaged"),
        (lambda p: rewritten(p, tensors={}), "damaged"),
        (lambda p: rewritten(p, tensors=[1]), "damaged"),
        (
            lambda p: rewritten(p, tensors={NAME: torch.ones(2)}),
            "another architecture: .* another shape",
        ),
        (
            lambda p: rewritten(p, tensors={"a.weight": torch.ones(2)}),
            r"another architecture: the base has no a\.weight",
        ),
        (
            lambda p: rewritten(p, tensors={LAYER + DOWN: torch.ones(4, 3)}),
            "another architecture: its adapters do not fit",
        ),
        (
            lambda p: rewritten(
                p,
                tensors={
                    LAYER + DOWN: torch.ones(4, 3),
                    LAYER + UP: torch.ones(5, 4),
                },
            ),
            "another architecture: its adapters do not fit",
        ),
        (
            lambda p: rewritten(p, tensors={NAME: torch.full((1, 256), torch.nan)}),
            "NaN",
        ),
        (
            lambda p: about(p, base_checksum="sha256:0"),
            "another version of mobile_sam",
        ),
        (lambda p: about(p, base="gone.pt"), r"needs the checkpoint .*gone\.pt"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(tuned, spoil, message):
    """And it names the file."""
    spoil(tuned)
    with pytest.raises(ValueError, match=message) as caught:
        load_model(checkpoint=tuned)
    assert str(tuned) in str(caught.value)
    assert re.fullmatch(r"[^\n]+[^.\n]\.", str(caught.value))


def test_a_base_of_the_users_own_must_be_the_same(tuned, base, models):
    """It is found where it was, or beside the file; never another one."""
    path = models / "own.pth"
    torch.save(base, path)
    checksum = open_base(path).checksum
    about(tuned, base=str(path), base_checksum=checksum)
    assert load_model(checkpoint=tuned).name == "cells"
    about(tuned, base="/nowhere/own.pth", base_checksum=checksum)
    assert load_model(checkpoint=tuned).name == "cells"
    torch.save({**base, NAME: base[NAME] + 2}, path)
    with pytest.raises(ValueError, match="another file now"):
        load_model(checkpoint=tuned)


def test_the_export_is_a_complete_official_checkpoint(tuned, base, tmp_path):
    """The same names and shapes in the same order; no trace of our format."""
    export_official(tuned, tmp_path / "official.pt")
    state = torch.load(tmp_path / "official.pt", weights_only=True)
    assert FORMAT not in state
    assert {k: tuple(v.shape) for k, v in state.items()} == checkpoint_shapes("vit_t")
    assert [*state] == [*base]
    assert all(state[k].dtype == base[k].dtype for k in base)
    torch.testing.assert_close(state[NAME], base[NAME] + 1)


def test_the_export_answers_like_the_model(tuned, tmp_path, golden_embedding):
    """Loaded as a checkpoint of one's own."""
    export_official(tuned, tmp_path / "official.pt")
    answers = []
    for path in (tuned, tmp_path / "official.pt"):
        predictor = load_model(checkpoint=path, precision="float32")
        embedding = replace(
            golden_embedding("coins"), model_checksum=predictor.checksum
        )
        answers.append(predictor.predict(embedding, Prompts(points=[[50, 50]])))
    assert (answers[0].logits == answers[1].logits).all()
