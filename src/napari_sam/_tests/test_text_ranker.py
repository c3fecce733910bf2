"""How well words fit masks."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_sam import (
    AutomaticOptions,
    Session,
    TextRanker,
    TextRanking,
    load_ranker,
    model_folders,
    read_image,
    write_labels,
)
from napari_sam._cli import app
from napari_sam._series_work import AutomaticWork, WordFilter
from napari_sam._tests.tiny_hub import offline
from napari_sam._tests.tiny_rankers import RANKERS, save_ranker
from napari_sam.text_ranker import KINDS
from napari_sam.text_ranker import RANKERS as KNOWN

PLANE = np.random.default_rng(0).integers(0, 255, (60, 90), dtype=np.uint8)
BOXES = [[0, 0, 20, 20], [30.5, 40, 60, 90], [10, 10, 12, 11]]
PHRASES = ["nucleus", "cell"]


@pytest.fixture(scope="module", params=RANKERS)
def folder(request, tmp_path_factory):
    """Save a model of each kind."""
    return save_ranker(request.param, tmp_path_factory.mktemp(request.param))


def test_a_folder_ranks_boxes(folder):
    """Cosines and scores of each box and phrase; for grey and colour alike."""
    ranker = load_ranker(folder, device="cpu")
    assert folder.name in repr(ranker)
    found = ranker.rank(PLANE, BOXES, PHRASES)
    assert found.phrases == tuple(PHRASES)
    assert found.similarities.shape == found.scores.shape == (3, 2)
    assert (np.abs(found.similarities) <= 1 + 1e-6).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert len(np.unique(found.similarities)) == 6
    colour = ranker.rank(np.stack([PLANE] * 3, axis=-1), BOXES, PHRASES)
    np.testing.assert_array_equal(colour.scores, found.scores)
    none = ranker.rank(PLANE, np.zeros((0, 4)), PHRASES)
    assert none.scores.shape == (0, 2)
    assert none.passing(0.5).shape == none.order().shape == (0,)


def test_it_is_asked_as_the_library_asks(folder):
    """A square that fits is shown as it is; logits are those of the library's model."""
    ranker = load_ranker(folder, device="cpu")
    plane = np.zeros((100, 100, 3), np.uint8)
    square = np.random.default_rng(1).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    plane[30:62, 30:62] = square
    box = [[33, 33, 60, 60]]  # 27 pixels, with their surroundings 32
    kind, sentences = ranker.kind, ["a photo of nucleus", "a photo of cell"]
    mean, std = (torch.tensor(one)[:, None, None] for one in kind.standard)
    shown = torch.from_numpy(square).permute(2, 0, 1)[None] / 255
    words = ranker.tokenizer(
        sentences, padding="max_length", max_length=8, return_tensors="pt"
    )
    asked = {"input_ids": words["input_ids"], "pixel_values": (shown - mean) / std}
    if not kind.is_sigmoid:
        asked["attention_mask"] = words["attention_mask"]
    with torch.inference_mode():
        logits = ranker.model(**asked).logits_per_image
    expected = logits.sigmoid() if kind.is_sigmoid else logits.softmax(dim=1)
    found = ranker.rank(plane, box, PHRASES, against=())
    np.testing.assert_allclose(found.scores, expected.numpy(), rtol=1e-4, atol=1e-6)


def test_phrases_compete_with_what_else_is_there(tmp_path):
    """More rivals, less for each phrase; SigLIP judges each by itself."""
    clip = load_ranker(save_ranker("clip", tmp_path / "clip"), "cpu")
    alone = clip.rank(PLANE, BOXES, ["cell"], against=())
    np.testing.assert_allclose(alone.scores, 1, rtol=1e-6)
    rivals = clip.rank(PLANE, BOXES, ["cell"])
    assert (rivals.scores < 1).all()
    np.testing.assert_allclose(rivals.similarities, alone.similarities, rtol=1e-4)
    siglip = load_ranker(save_ranker("siglip", tmp_path / "siglip"), "cpu")
    one = siglip.rank(PLANE, BOXES, ["cell"])
    two = siglip.rank(PLANE, BOXES, PHRASES)
    np.testing.assert_allclose(one.scores[:, 0], two.scores[:, 1], rtol=1e-5)
    with pytest.raises(ValueError, match="shorter"):
        clip.rank(PLANE, BOXES, ["cell " * 9])


def test_order_and_what_passes():
    """By one phrase, or by the best of each box."""
    scores = np.float32([[0.2, 0.7], [0.9, 0.0], [0.3, 0.3]])
    ranking = TextRanking(("cell", "debris"), scores, scores)
    assert ranking.best.tolist() == [1, 0, 0]
    assert ranking.order().tolist() == [1, 0, 2]
    assert ranking.order("debris").tolist() == [0, 2, 1]
    assert ranking.passing(0.7).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="phrase must be one of"):
        ranking.order("x")
    for wrong in (-0.1, 2, float("nan")):
        with pytest.raises(ValueError, match="min_score"):
            ranking.passing(wrong)


@pytest.mark.parametrize(
    ("boxes", "match"),
    [
        ([[0, 0, 0, 9]], "pixels within the plane"),
        ([[70, 0, 80, 9]], "pixels within the plane"),
        ([[0, 0, np.nan, 9]], "finite"),
    ],
)
def test_bad_boxes(boxes, match, tmp_path):
    """Empty, outside, or no numbers."""
    model = torch.nn.Identity()
    ranker = TextRanker(model, None, KINDS["clip"], device="cpu")
    with pytest.raises(ValueError, match=match):
        ranker.rank(PLANE, boxes, PHRASES)
    with pytest.raises(ValueError, match="phrases must be"):
        ranker.rank(PLANE, BOXES, [])


def test_wrong_folders_and_offline(tmp_path, monkeypatch, folder):
    """Another model, no tokenizer, no network, no library."""
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ValueError, match="ranker must be clip_base"):
        load_ranker("nothing")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ValueError, match="no tokenizer"):
        load_ranker(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "owlv2"}', encoding="utf-8")
    with pytest.raises(ValueError, match="must be a model of clip, siglip"):
        load_ranker(tmp_path)
    offline(monkeypatch)
    with pytest.raises(OSError, match="tokenizer") as caught:
        load_ranker()
    assert KNOWN["clip_base"].url in str(caught.value)
    monkeypatch.setattr(model_folders, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install"):
        load_ranker()


def test_candidates_are_filtered(tiny_predictor, tmp_path):
    """A session ranks what it found; others are refused."""
    session = Session(np.stack([PLANE, PLANE]), tiny_predictor)
    options = AutomaticOptions(
        points_per_side=3, pred_iou_thresh=-10, stability_score_thresh=0
    )
    found = session.find_candidates(1, options).select()
    assert len(found)
    ranker = load_ranker(save_ranker("clip", tmp_path), "cpu")
    ranking = session.rank_by_text(found, ["cell"], 1, ranker, ["background"])
    assert ranking.scores.shape == (len(found), 1)
    best = found.take(ranking.order()[:1])
    assert best.label_image().max() == 1
    other = Session(PLANE[:30], tiny_predictor)
    with pytest.raises(ValueError, match="candidates must be"):
        other.rank_by_text(found, ["cell"], ranker=ranker)
    with pytest.raises(ValueError, match="plane must"):
        session.rank_by_text(found, ["cell"], 7, ranker)


def test_of_a_folder_of_images_only_what_fits(tiny_predictor, tmp_path, monkeypatch):
    """Words are a part of the work, and of its settings."""
    monkeypatch.setattr(
        "napari_sam._series_work.load_model", lambda **_: tiny_predictor
    )
    image = tmp_path / "image.tif"
    write_labels(image, PLANE)
    options = AutomaticOptions(
        points_per_side=3, pred_iou_thresh=-10, stability_score_thresh=0
    )
    folder = str(save_ranker("clip", tmp_path / "clip"))
    counts = []
    for score in (0.0, 0.4, 1.0):
        words = WordFilter(("cell",), score, folder)
        work = AutomaticWork({}, None, options, words)
        counts.append(int(work.segment(image, 0).max()))
    every = AutomaticWork({}, None, options).segment(image, 0).max()
    assert counts[0] == every > 0
    assert counts[0] >= counts[1] >= counts[2] == 0
    with pytest.raises(ValueError, match="min_score"):
        WordFilter(("cell",), 2)
    with pytest.raises(ValueError, match="phrases must be"):
        WordFilter(("background",))


def test_command(tmp_path, monkeypatch, tiny_predictor):
    """`napari-sam auto --word` keeps what fits; not together with prompts."""
    from typer.testing import CliRunner

    monkeypatch.setattr(
        "napari_sam._series_work.load_model", lambda **_: tiny_predictor
    )
    monkeypatch.setattr("napari_sam._cli.auto.fetch", lambda _: SimpleNamespace())
    images = tmp_path / "images"
    images.mkdir()
    write_labels(images / "one.tif", PLANE)
    folder = str(save_ranker("clip", tmp_path / "clip"))
    call = ["auto", str(images), "--word", "cell", "--ranker", folder]
    call += ["--points-per-side", "2", "--pred-iou", "-10", "--stability", "0"]
    runner = CliRunner()
    none = [*call, "--min-word-score", "1", "--out", str(tmp_path / "none")]
    done = runner.invoke(app, none)
    assert done.exit_code == 0, done.output
    written = [f for f in (tmp_path / "none").iterdir() if f.suffix == ".tif"]
    assert not read_image(written[0]).data.any()
    wrong = [*call, "--prompts", "x.json", "--out", str(tmp_path / "no")]
    assert runner.invoke(app, wrong).exit_code == 2
