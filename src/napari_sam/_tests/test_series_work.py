"""``napari-sam auto``: a folder of images in, a folder of labels out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

import napari_sam as ns
from napari_sam import _series_work
from napari_sam._cli import app
from napari_sam._series_work import AutomaticWork
from napari_sam._tests.tiny_models import tiny_predictor
from napari_sam.io import ImageFile, read_labels
from napari_sam.session import Session

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = ns.AutomaticOptions(
    points_per_side=2, pred_iou_thresh=-10, stability_score_thresh=0
)
SURE_OF_ALL = ["--points-per-side", 2, "--pred-iou", -10, "--stability", 0]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every command load a model of few weights."""
    monkeypatch.setattr(_series_work, "load_model", lambda **_: tiny_predictor())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a plane in colour, a stack, a stack in time, and a damaged file."""
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    ns.write_labels(images / "a.tif", rng.integers(0, 255, (20, 24), "u1"))
    stack = ImageFile(
        rng.integers(0, 255, (4, 20, 24), "u1"), "ZYX", (2, 0.5, 0.5), (1, 2, 3)
    )
    ns.write_labels(images / "b.nii.gz", stack)
    ns.write_labels(images / "c.tif", rng.integers(0, 255, (2, 3, 20, 24), "u1"))
    (images / "d.tif").write_bytes(b"no image")
    return images


def run(*arguments: Any) -> Any:
    """Run a command in this process."""
    return CliRunner().invoke(app, ["auto", *map(str, arguments)])


def test_everything_in_a_folder(folder: Path, tmp_path: Path) -> None:
    """Labels as a session makes them; what failed is said; the rest is done once."""
    out = tmp_path / "out"
    done = run(folder, "--out", out, *SURE_OF_ALL)
    assert done.exit_code == 1
    assert "3 of 4 images done" in done.stdout
    assert "Failed: d.tif" in done.stderr
    plane = np.asarray(ns.read_image(folder / "a.tif"))
    expected = Session(plane, tiny_predictor()).generate_masks(options=OPTIONS)
    assert expected.any()
    np.testing.assert_array_equal(read_labels(out / "a_labels.tif"), expected)
    stack = read_labels(out / "b_labels.nii.gz")
    assert (stack.shape, stack.spacing) == ((4, 20, 24), (2, 0.5, 0.5))
    assert stack.origin == (1, 2, 3)
    volume = np.asarray(ns.read_image(folder / "b.nii.gz"))
    linked = Session(volume, tiny_predictor()).generate_masks_volume(options=OPTIONS)
    np.testing.assert_array_equal(stack, linked)
    times = read_labels(out / "c_labels.tif")
    assert times.shape == (2, 3, 20, 24)
    assert not {*times.data[0].flat} & {*times.data[1].flat} - {0}
    again = run(folder, "--out", out, *SURE_OF_ALL)
    assert "a.tif: done" not in again.stderr
    refused = run(folder, "--out", out)
    assert refused.exit_code == 2
    assert "other settings" in refused.stderr
    assert run(folder, "--out", out, *SURE_OF_ALL, "--restart").exit_code == 1


def test_prompts_for_each_image(folder: Path, tmp_path: Path) -> None:
    """A file for all images, or one for each; no file is a failure of that image."""
    one = {"id": 7, "plane": 2, "box": [2, 3, 12, 15]}
    content = {"schema_version": 1, "objects": [one]}
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    (prompts / "b.json").write_text(json.dumps(content))
    done = run(folder / "[ab]*", "--out", tmp_path / "out", "--prompts", prompts)
    assert "a.tif: failed" in done.stderr
    assert "must hold a.json" in done.stderr
    labels = np.asarray(read_labels(tmp_path / "out" / "b_labels.nii.gz"))
    session = Session(np.asarray(ns.read_image(folder / "b.nii.gz")), tiny_predictor())
    expected = session.segment(ns.Prompts(box=one["box"]), 2)
    np.testing.assert_array_equal(labels[2] == 7, expected.best)
    assert not labels[[0, 1, 3]].any()
    done = run(
        folder / "b*", "--out", tmp_path / "all", "--prompts", prompts / "b.json"
    )
    assert done.exit_code == 0, done.stderr


def test_refusals(folder: Path, tmp_path: Path) -> None:
    """In a sentence, before a model is loaded."""
    for arguments, words in (
        ((tmp_path / "none", "--out", tmp_path), "folder or pattern"),
        ((folder, "--out", tmp_path, "--prompts", tmp_path / "x"), "--prompts must be"),
        ((folder, "--out", tmp_path, "--points-per-side", 0), "points_per_side"),
        ((folder, "--out", tmp_path, "--scheduler", "local:0"), "local:N"),
    ):
        refused = run(*arguments)
        assert refused.exit_code == 2, refused.output
        assert words in refused.stderr


def test_channels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five channels at the end are neither grey nor colour."""
    five = ImageFile(np.zeros((20, 24, 5), "u1"), "YXC", (1, 1))
    monkeypatch.setattr(_series_work, "read_image", lambda path: five)
    with pytest.raises(ValueError, match="neither grey nor colour"):
        AutomaticWork({}).planes(tmp_path / "a.tif")


def test_planes_too_large_to_be_seen_are_tiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `label_tiles` labels them; words would need the whole plane."""
    monkeypatch.setattr("napari_sam.session.LARGE_PLANE", 1 << 20)
    plane = np.random.default_rng(1).integers(0, 255, (1024, 1100), "u1")
    ns.write_labels(tmp_path / "slide.tif", plane)
    labels = AutomaticWork({}, None, OPTIONS).segment(tmp_path / "slide.tif", 0)
    expected = np.zeros(plane.shape, np.uint32)
    for _ in Session(plane, tiny_predictor()).label_tiles(expected, options=OPTIONS):
        pass
    np.testing.assert_array_equal(labels, expected)
    assert labels.any()
    work = AutomaticWork({}, None, OPTIONS)
    work.words = _series_work.WordFilter(("cell",))
    with pytest.raises(ValueError, match="words need planes"):
        work.segment(tmp_path / "slide.tif", 0)
