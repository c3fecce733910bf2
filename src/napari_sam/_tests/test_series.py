"""Series of images: found, resumed, never stopped by a bad one, alike on a cluster."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import napari_sam as ns
from napari_sam import series as series_module
from napari_sam._series_cluster import connected, run_series_on
from napari_sam._tests.series_work import TinyWork
from napari_sam.series import STATE_FILE, ImageSeries, find_images, run_series

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write four small stacks, and a file that is none."""
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b", "broken", "c", "d"):
        stack = rng.integers(0, 255, (3, 20, 24), dtype=np.uint8)
        ns.write_labels(images / f"{name}.tif", stack, spacing=(2, 0.5, 0.5))
    (images / "e.tif").write_bytes(b"no image")
    (images / "notes.txt").write_text("hello")
    return images


def to_the_end(work: Any) -> Any:
    """Run a generator; what it yielded, and what it returned."""
    seen = []
    while True:
        try:
            seen.append(next(work))
        except StopIteration as end:
            return seen, end.value


def states(series: ImageSeries) -> dict[str, str]:
    """State of each image by name."""
    return {image.name: image.state for image in series}


def test_images_are_found(folder: Path) -> None:
    """A folder or a pattern; labels beside their images are none."""
    ns.write_labels(folder / "a_labels.tif", np.eye(4, dtype="u1"))
    names = ["a", "b", "broken", "c", "d", "e"]
    assert [path.stem for path in find_images(folder)] == names
    assert [path.stem for path in find_images(f"{folder}/[ab].tif")] == ["a", "b"]
    assert len(find_images(f"{folder.parent}/**/*.tif")) == 6
    for nothing in (folder / "none", f"{folder}/*.png", folder.parent):
        with pytest.raises(ValueError, match="folder or pattern"):
            find_images(nothing)


def test_labels_get_names_of_their_own(tmp_path: Path) -> None:
    """Also images of one name, in other folders or of other kinds."""
    names = ["x/a.tif", "x/a.png", "y/a.tif", "y/b.nii.gz", "y/c.ome.tif"]
    series = ImageSeries([tmp_path / name for name in names], tmp_path / "out")
    assert [image.name for image in series] == names
    assert [
        image.labels.relative_to(tmp_path / "out").as_posix() for image in series
    ] == [
        *("x/a.tif_labels.tif", "x/a.png_labels.tif", "y/a_labels.tif"),
        *("y/b_labels.nii.gz", "y/c_labels.tif"),
    ]
    with pytest.raises(ValueError, match="each file once"):
        ImageSeries(["a.tif", "./a.tif"], tmp_path)
    with pytest.raises(ValueError, match="at least one"):
        ImageSeries([], tmp_path)


def test_states_are_kept(folder: Path, tmp_path: Path) -> None:
    """Saved at once, found again; done without its labels is not done."""
    out = tmp_path / "out"
    series = ImageSeries(find_images(folder), out, {"sizes": (1, 2)})
    assert not out.exists()
    series.mark("a.tif", "done")
    series.mark("b.tif", "failed", "too dark")
    series.mark("c.tif", "done")
    labels = np.eye(4, dtype="u2")
    assert series.read_labels("a.tif") is None
    series.save_labels("a.tif", labels)
    np.testing.assert_array_equal(series.read_labels("a.tif"), labels)
    again = ImageSeries(find_images(folder), out, {"sizes": [1, 2]})
    assert (again["a.tif"].state, again["c.tif"].state) == ("done", "untouched")
    assert again["b.tif"].message == "too dark"
    assert "a.tif" not in {image.name for image in again.unfinished}
    assert ImageSeries(find_images(folder), out).settings == {"sizes": [1, 2]}
    with pytest.raises(ValueError, match="made with other settings"):
        ImageSeries(find_images(folder), out, {"sizes": [3]})
    with pytest.raises(ValueError, match="state must be one of"):
        series.mark("a.tif", "good")
    with pytest.raises(ValueError, match="image of the series"):
        series.mark("z.tif", "done")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema_version": 9, "images": {}, "settings": {}}']
)
def test_damaged_states(tmp_path: Path, text: str) -> None:
    """Said in a sentence, not overwritten."""
    (tmp_path / STATE_FILE).write_text(text)
    with pytest.raises(ValueError, match=r"series.json is (damaged|of version)"):
        ImageSeries(["a.tif"], tmp_path)


def test_a_failed_save_changes_nothing(
    folder: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """What is not on disk is not in memory either."""
    series = ImageSeries(find_images(folder), tmp_path / "out")
    series.mark("a.tif", "in work")

    def full(*_: Any) -> Any:
        raise OSError("disk full")

    monkeypatch.setattr(series_module, "replacing", full)
    with pytest.raises(OSError, match="disk full"):
        series.mark("a.tif", "failed")
    assert series["a.tif"].state == "in work"


def test_run_resumes_and_lists_failures(folder: Path, tmp_path: Path) -> None:
    """Stopped within an image, gone on with later; bad images do not stop it."""
    out = tmp_path / "out"
    make = partial(TinyWork, tmp_path)
    series = ImageSeries(find_images(folder), out)
    work = run_series(series, make)
    for _ in range(6):  # three planes of a, a, two planes of b
        step = next(work)
    assert (step.image.name, step.done, step.total) == ("b.tif", 2, 3)
    work.close()
    assert (series["a.tif"].state, series["b.tif"].state) == ("done", "in work")
    series = ImageSeries(find_images(folder), out)
    seen, failed = to_the_end(run_series(series, make))
    assert seen[0].image.name == "b.tif"
    assert [image.name for image in failed] == ["broken.tif", "e.tif"]
    assert failed[0].message == "KeyError: 'no good'"
    assert "could not be read" in failed[1].message
    done = [name for name, state in states(series).items() if state == "done"]
    assert done == ["a.tif", "b.tif", "c.tif", "d.tif"]
    labels = series.read_labels("d.tif")
    assert labels is not None
    assert (labels.shape, labels.spacing) == ((3, 20, 24), (2, 0.5, 0.5))
    content = json.loads((out / STATE_FILE).read_text())
    assert content["images"]["e.tif"]["state"] == "failed"


@pytest.mark.filterwarnings("default")
def test_a_cluster_does_the_same_though_a_worker_dies(
    folder: Path, tmp_path: Path
) -> None:
    """Two processes, one killed in the middle; every label as in one process."""
    alone = ImageSeries(find_images(folder), tmp_path / "alone")
    to_the_end(run_series(alone, partial(TinyWork, tmp_path / "one")))
    many = ImageSeries(find_images(folder), tmp_path / "many")
    shared = tmp_path / "two"
    with connected("local:2") as client:
        work = run_series_on(client, many, partial(TinyWork, shared, pause=0.2))
        while not next(work).total:
            pass  # until a plane is done, others being on their way
        victims = [int(file.stem) for file in shared.glob("*.pid")]
        assert len(victims) == 2
        os.kill(victims[0], signal.SIGKILL)
        _, failed = to_the_end(work)
    assert sorted(image.name for image in failed) == ["broken.tif", "e.tif"]
    assert states(many) == states(alone)
    for image in alone:
        assert many[image.name].message == image.message
        if image.state == "done":
            got, expected = many.read_labels(image.name), alone.read_labels(image.name)
            np.testing.assert_array_equal(got, expected)
    # All embeddings of both processes are in the one directory.
    assert len([*(shared / "embeddings").glob("*.npz")]) == len(
        [*(tmp_path / "one" / "embeddings").glob("*.npz")]
    )


@pytest.mark.parametrize("scheduler", ["local:0", "local:x", "local:-1"])
def test_bad_schedulers(scheduler: str) -> None:
    """Refused before any process is started."""
    with pytest.raises(ValueError, match="local:N"), connected(scheduler):
        pass
