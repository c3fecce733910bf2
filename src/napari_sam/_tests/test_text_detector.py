"""Words to boxes, to masks, to labels."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from transformers import BatchEncoding
from typer.testing import CliRunner

from napari_sam import (
    Session,
    TextDetector,
    TextOptions,
    load_detector,
    model_folders,
    read_image,
    write_labels,
)
from napari_sam._cli import app
from napari_sam._detections import TextBox, check_phrases
from napari_sam._session_text import link_objects
from napari_sam._tests.tiny_detectors import DETECTORS, save_detector
from napari_sam._tests.tiny_hub import offline, serving
from napari_sam.text_detector import (
    DETECTORS as KNOWN,
)
from napari_sam.text_detector import (
    KINDS,
    DetectorKind,
)

if TYPE_CHECKING:
    from pathlib import Path

PLANE = np.random.default_rng(0).integers(0, 255, (60, 90), dtype=np.uint8)
PHRASES = ["nucleus", "cell wall"]
ALL = TextOptions(min_score=0)


@pytest.fixture(scope="module", params=DETECTORS)
def folder(request, tmp_path_factory):
    """Save a detector of each kind."""
    return save_detector(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """Keep downloads in an empty folder."""
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def detector_of(
    scores: list[list[float]], boxes: list[list[float]], seen: list[Any] | None = None
) -> TextDetector:
    """Make a detector that always answers the same: (x, y, width, height)."""

    def look(model, tokenizer, pixels, phrases):
        if seen is not None:
            seen.append(pixels)
        return torch.tensor(scores), torch.tensor(boxes)

    kind = DetectorKind("", look)
    return TextDetector(torch.nn.Identity(), None, kind, "fixed", "cpu")


def test_a_folder_finds_boxes(folder):
    """Best first, within the plane, always the same, for grey and colour."""
    detector = load_detector(folder, device="cpu")
    assert folder.name in repr(detector)
    found = detector.detect(PLANE, PHRASES, ALL)
    assert found
    assert found == detector.detect(PLANE, PHRASES, ALL)
    assert found == detector.detect(np.stack([PLANE] * 3, axis=-1), PHRASES, ALL)
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)
    for one in found:
        assert one.phrase in PHRASES
        assert 0 <= one.score <= 1
        assert 0 <= one.box[0] < one.box[2] <= 60
        assert 0 <= one.box[1] < one.box[3] <= 90


def test_owlv2_is_asked_as_the_library_asks(tmp_path):
    """A plane that fits its square needs no resizing, and words no cutting."""
    detector = load_detector(save_detector("owlv2", tmp_path), device="cpu")
    plane = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    pixels = torch.from_numpy(plane).permute(2, 0, 1)[None] / 255
    look = KINDS["owlv2"].look
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    with torch.inference_mode():
        scores, boxes = look(detector.model, detector.tokenizer, pixels, PHRASES)
        expected = detector.model(
            # [START] nucleus [END], [START] cell wall [END], filled up
            input_ids=torch.tensor([[2, 6, 3, 0, 0, 0], [2, 4, 5, 3, 0, 0]]),
            attention_mask=torch.tensor([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0]]),
            pixel_values=(pixels - mean) / std,
        )
    torch.testing.assert_close(scores, expected.logits[0].sigmoid())
    torch.testing.assert_close(boxes, expected.pred_boxes[0] * 64)
    with pytest.raises(ValueError, match="shorter"):
        detector.detect(plane, ["dark " * 9])


def test_grounding_dino_scores_a_phrase_by_its_best_token(tmp_path):
    """Tokens of all phrases are in one text, each between points."""
    tokenizer = load_detector(save_detector("grounding-dino", tmp_path)).tokenizer
    asked = []

    class Model:
        config = SimpleNamespace(max_text_len=12)

        def __call__(self, pixel_values, input_ids, **more):
            asked.append((pixel_values.shape, input_ids))
            logits = torch.arange(12.0)[None, None].expand(1, 2, 12)
            return SimpleNamespace(logits=logits, pred_boxes=torch.ones(1, 2, 4) / 2)

    look = KINDS["grounding-dino"].look
    pixels = torch.rand(1, 3, 60, 90)
    scores, boxes = look(Model(), tokenizer, pixels, ["Nucleus", "cell wall", "dark"])
    # [CLS] nucleus . cell wall . dark . [SEP]
    assert asked[0][1].tolist() == [[101, 202, 1012, 200, 201, 1012, 204, 1012, 102]]
    expected = torch.tensor([1.0, 4.0, 6.0]).sigmoid()
    torch.testing.assert_close(scores, expected.expand(2, 3))
    assert asked[0][0] == (1, 3, 800, 1200)
    assert boxes.tolist() == [[45.0, 30.0, 45.0, 30.0]] * 2
    with pytest.raises(ValueError, match="fewer"):
        look(Model(), tokenizer, pixels, ["cell wall"] * 6)
    assert isinstance(tokenizer("dark"), BatchEncoding)


def test_thresholds_overlaps_and_edges():
    """Low scores and the worse of two boxes go; boxes end with the plane."""
    seen: list[Any] = []
    scores = [[0.9, 0.1], [0.3, 0.8], [0.3, 0.1], [0.5, 0.6], [0.9, 0.9]]
    boxes = [
        [10.0, 20, 10, 8],
        [11, 20, 10, 8],  # nearly the first
        [50, 50, 10, 10],
        [85, 10, 20, 10],  # over the right edge
        [200, 10, 10, 10],  # outside
    ]
    detector = detector_of(scores, boxes, seen)
    found = detector.detect(PLANE, PHRASES)
    assert [(one.phrase, one.box) for one in found[:1]] == [
        ("nucleus", (16.0, 5.0, 24.0, 15.0))
    ]
    assert [one.phrase for one in found] == ["nucleus", "cell wall", "nucleus"]
    assert found[1].box == (5.0, 75.0, 15.0, 90.0)
    few = detector.detect(PLANE, PHRASES, TextOptions(min_score=0.5))
    assert len(few) == 2
    both = detector.detect(PLANE, PHRASES, TextOptions(max_overlap=1))
    assert len(both) == 4
    torch.testing.assert_close(seen[0][0, 1], torch.from_numpy(PLANE) / 255)


def test_masks_and_labels(tiny_predictor):
    """Each box is an object, each phrase a class; the best is in front."""
    detector = detector_of(
        [[0.3, 0.8], [0.9, 0.1]], [[20.0, 30, 20, 20], [70, 30, 9, 9]]
    )
    session = Session(np.stack([PLANE, PLANE[::-1]]), tiny_predictor)
    found = session.segment_text(PHRASES, 1, detector)
    assert len(found) == 2
    assert found.phrases == tuple(PHRASES)
    assert [one.plane for one in found.predictions] == [1, 1]
    labels, classes = found.labels(), found.classes()
    first, second = (one.best for one in found.predictions)
    np.testing.assert_array_equal(labels, np.where(first, 1, np.where(second, 2, 0)))
    np.testing.assert_array_equal(classes, labels)  # the best is a nucleus
    nothing = session.segment_text(["x"], 0, detector_of([[0.0]], [[9.0, 9, 9, 9]]))
    assert len(nothing) == 0
    assert not nothing.labels().any()


def test_a_choice_looks_at_nothing_anew(tiny_predictor):
    """Detections hold all boxes; choosing among them is what `detect` does."""
    seen: list[Any] = []
    scores = [[0.3, 0.8], [0.9, 0.1], [0.05, 0.02]]
    boxes = [[20.0, 30, 20, 20], [70, 30, 9, 9], [50, 50, 6, 6]]
    detector = detector_of(scores, boxes, seen)
    found = Session(PLANE, tiny_predictor).find_text(PHRASES, detector=detector)
    assert len(found) == 3
    for options in (None, ALL, TextOptions(0.85)):
        assert found.select(options) == detector.detect(PLANE, PHRASES, options)
        assert [found.box(i) for i in found.choose(options)] == found.select(options)
    assert len(seen) == 4  # once for all choices, and once for each `detect`
    assert found.choose(TextOptions(1)).tolist() == []


def test_through_a_stack(tiny_predictor):
    """Objects that overlap are one, of the phrase with most score; gaps are filled."""
    names = ["nucleus", "cell wall"]
    square, other = np.zeros((2, 30, 30), np.int32)
    square[5:15, 5:15] = 1
    other[20:25, 20:25] = 1
    both = np.where(other, 2, square)
    low, high = (TextBox(names[1], s, (5, 5, 15, 15)) for s in (0.4, 0.5))
    mid = TextBox(names[0], 0.7, (5, 5, 15, 15))
    far = TextBox(names[0], 0.6, (20, 20, 25, 25))
    empty = np.zeros_like(square)
    linked, objects = link_objects(
        [square, empty, both, square], [[low], [], [mid, far], [high]]
    )
    assert [(one.label, one.phrase, one.score) for one in objects] == [
        (1, names[1], 0.7),
        (2, names[0], 0.6),
    ]
    np.testing.assert_array_equal(linked[2], both)
    for plane in (0, 1, 3):
        np.testing.assert_array_equal(linked[plane], square)
    detector = detector_of([[0.3, 0.8]], [[20.0, 30, 20, 20]])
    session = Session(np.stack([PLANE] * 3), tiny_predictor)
    found = session.segment_text_volume(names, detector=detector)
    assert found.labels.shape == (3, 60, 90)
    assert [one.phrase for one in found.objects] == ["cell wall"]
    np.testing.assert_array_equal(found.labels[0], found.labels[2])
    assert set(np.unique(found.labels)) == {0, 1}
    none = session.segment_text_volume(names, [1], detector, TextOptions(0.9))
    assert none.objects == ()
    assert not none.labels.any()
    with pytest.raises(ValueError, match="plane must"):
        session.segment_text_planes(names, [1, 3], detector)
    with pytest.raises(ValueError, match="phrases must"):
        session.segment_text_planes([], [1], detector)


@pytest.mark.parametrize("phrases", [[], "nucleus", [""], ["a", " a."], [3], None, 5])
def test_bad_phrases(phrases, tiny_predictor):
    """Refused before anything is loaded."""
    with pytest.raises(ValueError, match="phrases must be"):
        Session(PLANE, tiny_predictor).segment_text(phrases)


def test_phrases_are_trimmed():
    """A point at the end would split them."""
    assert check_phrases([" cell wall. ", "Dark"]) == ("cell wall", "Dark")


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), "0.5", True, None])
def test_bad_options(value):
    """Scores and overlaps are between 0 and 1."""
    for name in ("min_score", "max_overlap"):
        with pytest.raises(ValueError, match=f"{name} must be between 0 and 1"):
            TextOptions(**{name: value})


def test_bad_planes(tiny_predictor):
    """No such plane, or no plane at all."""
    detector = detector_of([[0.9]], [[9.0, 9, 9, 9]])
    with pytest.raises(ValueError, match="plane must"):
        Session(PLANE, tiny_predictor).segment_text(["a"], 3, detector)
    with pytest.raises(ValueError, match="plane must"):
        detector.detect(np.zeros(4), ["a"])


def test_wrong_folders(tmp_path, folder):
    """Another model, no tokenizer, nothing there."""
    with pytest.raises(ValueError, match="detector must be owlv2_base"):
        load_detector("nothing")
    with pytest.raises(ValueError, match="detector must be"):
        load_detector(None)
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        load_detector(tmp_path)
    for path in folder.iterdir():
        if not path.name.startswith(("tokenizer", "special")):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="no tokenizer"):
        load_detector(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "sam2"}', encoding="utf-8")
    with pytest.raises(ValueError, match="got 'sam2'"):
        load_detector(tmp_path)


def test_offline_or_without_the_library(cache, monkeypatch, tiny_predictor):
    """One sentence says what to put where, or what to install."""
    offline(monkeypatch)
    session = Session(PLANE, tiny_predictor)
    with pytest.raises(OSError, match="tokenizer") as caught:
        session.segment_text(PHRASES)
    assert str(cache / "owlv2_base") in str(caught.value)
    assert KNOWN["owlv2_base"].url in str(caught.value)
    monkeypatch.setattr(model_folders, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install"):
        session.segment_text(PHRASES)


def test_by_name(cache, monkeypatch, tiny_predictor, tmp_path):
    """Downloaded once, with its tokenizer; a session keeps it."""
    page = save_detector("owlv2", tmp_path / "page")
    session = Session(PLANE, tiny_predictor)
    with serving(page, monkeypatch) as hub:
        first = session.segment_text(PHRASES, options=ALL)
        again = session.segment_text(PHRASES, options=ALL)
    assert first.boxes == again.boxes
    assert "/api/models/google/owlv2-base-patch16-ensemble" in hub.asked
    assert sorted(hub.fetched) == sorted(file.name for file in page.iterdir())


def test_a_command_fetches_by_name(cache, monkeypatch, tmp_path):
    """What, under which licence, and from where is said first."""
    image = tmp_path / "image.tif"
    write_labels(image, PLANE)
    call = ["text", str(image), "cell", "--device", "cpu", "--min-score", "0"]
    with serving(save_detector("owlv2", tmp_path / "page"), monkeypatch):
        done = CliRunner().invoke(app, [*call, "--out", str(tmp_path / "out.tif")])
    assert done.exit_code == 0, done.output
    assert "Licence: Apache-2.0" in done.output
    assert KNOWN["owlv2_base"].url in done.output


def test_command(tmp_path: Path) -> None:
    """Objects of all planes have different numbers; classes are those of the words."""
    image, folder = tmp_path / "image.tif", save_detector("owlv2", tmp_path / "words")
    write_labels(image, np.stack([PLANE, PLANE[::-1]]))
    call = ["text", str(image), *PHRASES, "--detector", str(folder), "--min-score", "0"]
    call += ["--device", "cpu"]
    runner = CliRunner()
    objects, classes = tmp_path / "objects.tif", tmp_path / "classes.tif"
    done = runner.invoke(app, [*call, "--out", str(objects)])
    assert done.exit_code == 0, done.output
    assert "in 2 planes" in done.output
    one, two = read_image(objects).data
    assert not np.intersect1d(one[one > 0], two[two > 0]).size
    more = ["--classes", "--plane", "1", "--out", str(classes)]
    assert runner.invoke(app, [*call, *more]).exit_code == 0
    empty, labels = read_image(classes).data
    assert not empty.any()
    assert set(np.unique(labels)) <= {0, 1, 2}
    linked, table = tmp_path / "linked.tif", tmp_path / "objects.csv"
    more = ["--link", "--table", str(table), "--out", str(linked)]
    done = runner.invoke(app, [*call, *more])
    assert done.exit_code == 0, done.output
    header, *rows = table.read_text(encoding="utf-8").splitlines()
    assert header == "label,phrase,score"
    labels = np.unique(read_image(linked).data)
    assert [int(row.split(",")[0]) for row in rows] == labels[labels > 0].tolist()
    assert {row.split(",")[1] for row in rows} <= set(PHRASES)
    for wrong in (["--link", "--plane", "1"], ["--table", "t.csv", "--classes"]):
        done = runner.invoke(app, [*call, *wrong, "--out", str(tmp_path / "no.tif")])
        assert done.exit_code == 2
    wrong = [*call, "--max-overlap", "2", "--out", str(tmp_path / "no.tif")]
    assert runner.invoke(app, wrong).exit_code == 2
