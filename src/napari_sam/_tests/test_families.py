"""Models of the transformers library: opening them, and what they answer."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import transformers

from napari_sam import Prompts, load_model, model_folders
from napari_sam._square_frame import answer_to_square, square_to_answer, stretch_pixels
from napari_sam._tests.tiny_families import FAMILIES, save_tiny
from napari_sam._tests.tiny_hub import offline, serving
from napari_sam.registry import (
    MODELS,
    checkpoint_path,
    download,
    is_available,
    missing_extra,
)

SPEC = MODELS["sam2.1_hiera_tiny"]
SQUARE = np.random.default_rng(1).integers(0, 255, (1024, 1024, 3), dtype=np.uint8)
MASK = np.where(np.hypot(*np.indices((256, 256)) - 80) < 40, 5.0, -5.0)


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory):
    """Save a tiny model of each family."""
    return save_tiny(request.param, tmp_path_factory.mktemp(request.param) / "v2.1")


@pytest.fixture
def copy(folder, tmp_path):
    """Return a copy of a model's folder, to be damaged."""
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """Keep downloads in an empty folder."""
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("multimask", [True, False])
def test_answers_are_those_of_the_library(folder, multimask):
    """Its own way from pixels to masks, for a plane that needs no resizing."""
    predictor = load_model(checkpoint=folder, device="cpu", precision="float32")
    assert predictor.name == "v2.1"
    prompts = Prompts([[400, 300], [90, 80]], [1, 0], [100, 200, 700, 600], MASK)
    found = predictor.predict(predictor.embed(SQUARE), prompts, multimask)
    network, side = predictor.model, predictor.side
    family = predictor.family
    if family.remembers:  # a model for videos answers images as its counterpart does
        counterpart = getattr(transformers, family.class_name.replace("Video", ""))
        network = counterpart.from_pretrained(folder)
    # SAM 3's answers are 288 wide, and those of the small models 64.
    cells = {1008: 288, 256: 64, 224: 64}.get(side)
    pixels = stretch_pixels(torch.from_numpy(SQUARE).permute(2, 0, 1), side)[None] / 255
    mean, std = (torch.tensor(v)[None, :, None, None] for v in family.standard)
    masks = torch.from_numpy(MASK)[None, None].float()
    scale = side / 1024
    seen = (pixels - mean) / std
    with torch.inference_mode():
        shown = {"pixel_values": seen}
        if family.remembers:
            shown = {"image_embeddings": predictor.model.get_image_embeddings(seen)}
        expected = network(
            **shown,
            input_points=scale * torch.tensor([[[[300.0, 400.0], [80.0, 90.0]]]]),
            input_labels=torch.tensor([[[1, 0]]]),
            input_boxes=scale * torch.tensor([[[200.0, 100.0, 600.0, 700.0]]]),
            input_masks=answer_to_square(masks, SQUARE.shape[:2], cells)
            if cells
            else masks,
            multimask_output=multimask,
        )
    logits = square_to_answer(expected.pred_masks[0], SQUARE.shape[:2], 256)
    np.testing.assert_allclose(found.logits, logits[0], atol=1e-3, rtol=1e-3)
    np.testing.assert_allclose(found.scores, expected.iou_scores[0, 0], atol=1e-3)


@pytest.mark.parametrize("size", [(100, 100), (100, 50), (33, 100)])
def test_square_and_answer_frames_are_inverse(size):
    """Smooth values come back where the plane is."""
    rows, columns = np.indices((288, 288)) / 288
    values = torch.from_numpy(np.sin(3 * rows) + columns)[None, None].float()
    there = square_to_answer(values, size, 256)
    back = answer_to_square(there, size, 288)
    torch.testing.assert_close(back, values, atol=0.03, rtol=0)


def test_answers_lie_where_the_plane_is():
    """What is stretched over the square is the plane's part of the answer frame."""
    half = torch.full((1, 1, 256, 256), -1.0)
    half[..., :128] = 1  # the plane's left half
    answer = square_to_answer(half, (100, 50), 256)[0, 0]
    assert (answer[:, :63] > 0).all()
    assert (answer[:, 65:] < 0).all()
    assert square_to_answer(half, (70, 70), 256) is half


def test_wrong_folders_are_refused(tmp_path, copy):
    """What is missing or damaged is said, and which model it is not."""
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        load_model(checkpoint=tmp_path)
    weights, config = copy / "model.safetensors", copy / "config.json"
    content = config.read_text(encoding="utf-8")
    for text, message in (
        ('{"model_type": "bert"}', "got 'bert'"),
        ("{", "does not say"),
        ("[]", "does not say"),
    ):
        config.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            load_model(checkpoint=copy)
    config.write_text(content, encoding="utf-8")
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ValueError, match="cannot be opened"):
        load_model(checkpoint=copy)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match="safetensors"):
        load_model(checkpoint=copy)
    with pytest.raises(FileNotFoundError):
        load_model(checkpoint=copy / "nothing")


def test_missing_weights_are_refused(copy):
    """They would be random numbers."""
    from safetensors.torch import load_file, save_file

    state = load_file(copy / "model.safetensors")
    (name,) = (name for name in state if name.endswith("iou_token.weight"))
    del state[name]
    save_file(state, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 .*iou_token"):
        load_model(checkpoint=copy)


def test_other_weights_have_another_checksum(tmp_path):
    """So that embeddings never mix; the same folder has always the same."""
    one, other = (save_tiny("sam2", tmp_path / str(seed), seed) for seed in (0, 1))
    sums = [model_folders.folder_checksum(path) for path in (one, one, other)]
    assert sums[0] == sums[1] != sums[2]


def test_a_model_in_its_place_opens_by_name(cache):
    """Nothing is downloaded then."""
    assert not is_available(SPEC)
    save_tiny("sam2", checkpoint_path(SPEC))
    assert is_available(SPEC)
    predictor = load_model(SPEC.name, device="cpu", precision="float32")
    assert predictor.name == SPEC.name


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Serve a tiny model, and what else lies about in such places."""
    folder = save_tiny("sam2", tmp_path / "page")
    for name in ("pytorch_model.bin", "README.md", "tokenizer.json"):
        (folder / name).write_bytes(b"x")
    with serving(folder, monkeypatch) as made:
        yield made


def test_download_fetches_no_pickles(cache, hub):
    """Configuration, the last, and safetensors only, once."""
    assert download(SPEC) == download(SPEC) == checkpoint_path(SPEC)
    assert "/api/models/facebook/sam2.1-hiera-tiny" in hub.asked
    assert hub.fetched == ["model.safetensors", "config.json"]
    assert sorted(file.name for file in checkpoint_path(SPEC).iterdir()) == sorted(
        hub.fetched
    )
    assert load_model(SPEC.name, device="cpu").name == SPEC.name


def test_a_download_is_followed_and_can_be_stopped(cache, hub, monkeypatch):
    """Midway; half a model is not taken for one, and what is whole is kept."""
    monkeypatch.setattr(model_folders, "_CHUNK", 1024)

    class Stopped(Exception):
        pass

    class Bar:
        total = done = 0
        is_impatient = True

        def update(self, count):
            self.done += count
            if self.is_impatient and self.done > self.total // 2:
                raise Stopped

        def reset(self):
            self.done = 0

        def close(self):
            pass

    bar = Bar()
    with pytest.raises(Stopped):
        download(SPEC, bar)
    assert hub.fetched == ["model.safetensors"]
    assert 0 < bar.done < bar.total
    assert not list(checkpoint_path(SPEC).iterdir())
    bar.is_impatient = False
    (hub.folder / "config.json").rename(hub.folder / "away")
    with pytest.raises(OSError, match=r"its page lacks config\.json"):
        download(SPEC, bar)
    assert not is_available(SPEC)
    (hub.folder / "away").rename(hub.folder / "config.json")
    download(SPEC, bar)
    assert hub.fetched == ["model.safetensors"] * 2 + ["config.json"]
    assert is_available(SPEC)


def test_what_is_damaged_on_the_way_is_refused(cache, hub):
    """By the checksum that the page gives."""
    about = hub.about()
    weights = hub.folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    hub.about = lambda: about
    with pytest.raises(OSError, match="could not download"):
        download(SPEC)
    assert not is_available(SPEC)


def test_who_has_no_access_is_told_how_to_get_it(cache, hub):
    """The page describes itself to all, but hands out nothing."""
    hub.is_gated = True
    with pytest.raises(OSError, match=r"accept its licence on its page.*hf auth"):
        load_model("sam3_tracker")


def test_a_failed_download_says_what_to_put_where(cache, monkeypatch):
    """Which files, from which page, into which folder."""
    offline(monkeypatch)
    with pytest.raises(OSError, match="no route to host") as caught:
        load_model(SPEC.name)
    for part in ("model.safetensors", SPEC.url, str(cache / SPEC.name)):
        assert part in str(caught.value)
    assert "Details" not in str(caught.value)


@pytest.mark.parametrize("family", ["sam2"])
def test_without_the_library(family, cache, tmp_path, monkeypatch):
    """One sentence says what to install; other models are as before."""
    folder = save_tiny(family, tmp_path / family)
    assert missing_extra(SPEC) is None
    monkeypatch.setattr(model_folders, "find_spec", lambda name: None)
    assert "pip install" in missing_extra(SPEC)
    assert missing_extra(MODELS["sam_vit_b"]) is None
    for options in ({"checkpoint": folder}, {"name": SPEC.name}):
        with pytest.raises(ImportError, match=r"napari-sam-stacks\[transformers\]"):
            load_model(**options)


def test_what_a_model_needs_beside_the_library(cache, tmp_path, monkeypatch):
    """EdgeTAM's encoder comes from timm: the row says so, and so does a folder."""
    spec = MODELS["edgetam"]
    there = model_folders.find_spec
    monkeypatch.setattr(
        model_folders, "find_spec", lambda name: None if name == "timm" else there(name)
    )
    assert missing_extra(spec) == "needs the package timm: pip install timm"
    assert missing_extra(SPEC) is None
    with pytest.raises(ImportError, match="this model needs the package timm"):
        load_model("edgetam")
    folder = save_tiny("edgetam_video", tmp_path / "mobile")

    def refuse(*_, **__):
        raise ImportError("\nTimmWrapperModel requires the timm library.\nDo so.")

    monkeypatch.setattr("transformers.EdgeTamVideoModel.from_pretrained", refuse)
    with pytest.raises(ImportError, match=r"mobile cannot be opened: Timm.* Do so"):
        load_model(checkpoint=folder)


def test_sam3_as_its_page_has_it(tmp_path):
    """One folder for words and for clicks: the tracker's part of it is opened."""
    folder = save_tiny("sam3_video", tmp_path / "sam3")
    tracker = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    whole = {"model_type": "sam3_video", "tracker_config": tracker}
    (folder / "config.json").write_text(json.dumps(whole), encoding="utf-8")
    predictor = load_model(checkpoint=folder, device="cpu", precision="float32")
    assert predictor.family is model_folders.FAMILIES["sam3_tracker_video"]
    assert predictor.new_memory(3) is not None


@pytest.mark.parametrize("spec", model_folders.SPECS, ids=lambda spec: spec.name)
def test_rows(spec):
    """A page, a licence, a size, and a family that there is."""
    assert spec.url == f"https://huggingface.co/{spec.repository}"
    assert spec.license
    assert spec.size
    assert spec.encoder in FAMILIES
    assert json.dumps(spec.description)
