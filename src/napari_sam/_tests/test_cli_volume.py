"""``napari-sam volume``: prompts on a few planes in, whole objects out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from napari_sam import registry
from napari_sam._cli import app
from napari_sam._tests.seeing_predictor import SeeingPredictor
from napari_sam.io import read_labels, write_labels

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (9, 40, 48)
BOX = (slice(10, 26), slice(12, 30))
MARK = {"id": 7, "plane": 4, "box": [10, 12, 26, 30]}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command in this process, without a network."""
    monkeypatch.setattr(registry, "load_model", lambda *_: SeeingPredictor())
    return lambda *given: CliRunner().invoke(app, ["volume", *map(str, given)])


def bar() -> np.ndarray:
    """Make a bright bar in noise, through all planes."""
    volume = np.random.default_rng(0).normal(40, 6, SHAPE)
    volume[:, *BOX] += 150
    return np.clip(volume, 0, 255).astype(np.uint8)


def prompts_file(folder: Path, *objects: dict[str, Any]) -> Path:
    """Write a file of prompts."""
    path = folder / "prompts.json"
    path.write_text(json.dumps({"schema_version": 1, "objects": objects}))
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Write the bar as a NIfTI file of unequal spacing."""
    path = tmp_path / "bar.nii.gz"
    write_labels(path, bar(), (2.0, 1.0, 1.0))
    return path


def test_one_box_gives_the_whole_object(run: Any, image: Path, tmp_path: Path) -> None:
    """The file has the image's shape and spacing, and the object its id."""
    out = tmp_path / "labels.nii.gz"
    result = run(image, "--prompts", prompts_file(tmp_path, MARK), "--out", out)
    assert result.exit_code == 0, result.output
    assert "1 object from prompts in 1 plane" in result.stdout
    labels = read_labels(out)
    assert labels.data.shape == SHAPE
    assert tuple(labels.spacing) == (2.0, 1.0, 1.0)
    assert set(np.unique(labels.data)) == {0, 7}
    assert ((labels.data == 7).sum(axis=(1, 2)) > 0.9 * 16 * 18).all()


def test_a_negative_point_alone_ends_the_object(
    run: Any, image: Path, tmp_path: Path
) -> None:
    """Neither in its plane nor beyond it; and a second entry of an id is one object."""
    stop = {"id": 7, "plane": 6, "points": [[20, 20]], "point_labels": [0]}
    out = tmp_path / "labels.tif"
    given = prompts_file(tmp_path, MARK, stop)
    result = run(image, "--prompts", given, "--out", out, "--smooth", 0.5)
    assert result.exit_code == 0, result.output
    assert "1 object from prompts in 2 planes" in result.stdout
    found = (read_labels(out).data == 7).sum(axis=(1, 2)) > 100
    assert found[1:5].all()
    assert not found[6:].any()


def test_time_points_are_volumes_of_their_own(run: Any, tmp_path: Path) -> None:
    """Of (t, z, y, x) z is followed; with --along 0 it is time."""
    path = tmp_path / "time.tif"
    write_labels(path, np.stack([bar()[:5]] * 3), (1.0, 1.0, 1.0, 1.0))
    marks = [{**MARK, "plane": [0, 2]}, {**MARK, "plane": [2, 1], "id": 9}]
    given = prompts_file(tmp_path, *marks)
    out = tmp_path / "labels.tif"
    result = run(path, "--prompts", given, "--out", out)
    assert result.exit_code == 0, result.output
    labels = read_labels(out).data
    assert [np.unique(one).tolist() for one in labels] == [[0, 7], [0], [0, 9]]
    assert (labels[0] == 7).any(axis=(1, 2)).all()
    result = run(path, "--prompts", given, "--out", out, "--along", 0, "--force")
    assert result.exit_code == 0, result.output
    labels = read_labels(out).data
    assert (labels[:, 2] == 7).any(axis=(1, 2)).all()
    assert (labels[:, 1] == 9).any(axis=(1, 2)).all()
    assert not labels[:, [0, 3, 4]].any()


def test_three_axes_agree(run: Any, tmp_path: Path) -> None:
    """The same bar, with the planes of all axes looked at; not along time."""
    path, out = tmp_path / "bar.nii.gz", tmp_path / "labels.nii.gz"
    truth = np.zeros(SHAPE, bool)
    truth[2:7, 12:17, 14:19] = True
    write_labels(path, np.where(truth, 200, 40).astype(np.uint8), (1.0, 1.0, 1.0))
    given = prompts_file(tmp_path, {**MARK, "box": [12, 14, 17, 19]})
    result = run(path, "--prompts", given, "--out", out, "--consensus")
    assert result.exit_code == 0, result.output
    found = read_labels(out).data
    assert (found[truth] == 7).mean() > 0.9
    assert (found[~truth] == 0).all()
    path, out = tmp_path / "time.tif", tmp_path / "labels.tif"
    write_labels(path, np.stack([bar()] * 2), (1.0, 1.0, 1.0, 1.0))
    given = prompts_file(tmp_path, {**MARK, "plane": [0, 4]})
    asked = ("--prompts", given, "--out", out, "--along", 0, "--consensus")
    result = run(path, *asked)
    assert result.exit_code == 2
    assert "--consensus must be left out along time" in result.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("mark", "options", "words"),
    [
        ({**MARK, "plane": 9}, [], "0 to 8"),
        ({**MARK, "box": [90, 90, 99, 99]}, [], "box must overlap"),
        (MARK, ["--along", "1"], "--along must be 0 to 0"),
        (MARK, ["--axes", "0"], "plane_axes must be two"),
        (MARK, ["--min-size", "-1"], "--min-size must be 0 or more"),
        (
            {"id": 1, "plane": 2, "points": [[3, 3]], "point_labels": [0]},
            [],
            "show the object in at least one plane",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    run: Any, image: Path, tmp_path: Path, mark: Any, options: list[str], words: str
) -> None:
    """In one sentence, and nothing is written."""
    out = tmp_path / "labels.tif"
    given = prompts_file(tmp_path, mark)
    result = run(image, "--prompts", given, "--out", out, *options)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
    assert not out.exists()


def test_a_single_plane_is_no_volume(run: Any, tmp_path: Path) -> None:
    """The sentence names the command that takes it."""
    path = tmp_path / "plane.tif"
    write_labels(path, bar()[0], (1.0, 1.0))
    mark = {key: value for key, value in MARK.items() if key != "plane"}
    given = prompts_file(tmp_path, mark)
    result = run(path, "--prompts", given, "--out", tmp_path / "labels.tif")
    assert result.exit_code == 2
    assert "see `segment`" in result.stderr
