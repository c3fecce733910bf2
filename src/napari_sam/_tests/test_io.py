"""Files: what is written comes back, with its place; bad files are told apart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_sam import io
from napari_sam._tests._image_files import (
    INTEGERS,
    MEDICAL,
    SAGITTAL,
    TIFFS,
    some_labels,
)
from napari_sam.io import ImageFile, read_image, read_labels, write_labels

SPACING = {2: (0.3, 0.7), 3: (2.5, 0.3, 0.7), 4: (3.0, 2.5, 0.3, 0.7)}


@pytest.mark.parametrize("ndim", [2, 3, 4])
@pytest.mark.parametrize(
    ("extension", "dtype"),
    [
        (extension, dtype)
        for extension in (*TIFFS, *MEDICAL)
        for dtype in ("bool", *INTEGERS)
        # OME has no 64-bit integers: refused in test_bad_labels.
        if extension != "ome.tif" or "64" not in dtype
    ],
)
def test_labels_come_back_with_type_and_spacing(
    tmp_path: Path, dtype: str, extension: str, ndim: int
) -> None:
    """Each format keeps each integer type and an anisotropic spacing exactly."""
    labels = some_labels((2, 4, 5, 6)[-ndim:], dtype)
    path = tmp_path / f"a.{extension}"
    write_labels(path, labels, SPACING[ndim])
    back = read_labels(path)
    assert back.dtype == ("uint8" if dtype == "bool" else dtype)
    np.testing.assert_array_equal(back, labels)
    # Time has a unit of its own, and in TIFF only seconds are stored.
    spatial = slice(-3, None) if extension in TIFFS else slice(None)
    assert back.spacing[spatial] == SPACING[ndim][spatial]
    unit = "micrometer" if extension in TIFFS else "millimeter"
    assert set(back.units[-3:]) == {unit}
    assert back.axes == "TZYX"[-ndim:]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    spacing=st.tuples(*[st.floats(1e-3, 1e3)] * 3),
    extension=st.sampled_from([*TIFFS, *MEDICAL]),
    shape=st.tuples(*[st.integers(1, 4)] * 2),
)
def test_any_spacing_comes_back(
    tmp_path: Path, spacing: Any, extension: str, shape: tuple[int, int]
) -> None:
    """Spacing is kept to single precision or better, planes of one pixel too."""
    path = tmp_path / f"a.{extension}"
    write_labels(path, np.ones((2, *shape), "uint8"), spacing)
    back = read_image(path)
    assert back.shape == (2, *shape)
    np.testing.assert_allclose(back.spacing, spacing, rtol=1e-6)


def test_units_are_converted_for_formats_in_millimetres(tmp_path: Path) -> None:
    """Half a micrometre becomes 0.0005 mm in a medical file, and stays in TIFF."""
    like = ImageFile(
        np.zeros((3, 4)), "YX", (0.5, 0.25), (2, 4), units=("micrometer",) * 2
    )
    for name in ("a.mha", "a.tif", "a.ome.tif"):
        write_labels(tmp_path / name, np.zeros((3, 4), "u1"), like=like)
    medical, imagej, ome = (
        read_image(tmp_path / name) for name in ("a.mha", "a.tif", "a.ome.tif")
    )
    assert medical.spacing == (0.0005, 0.00025)
    assert medical.origin == (0.002, 0.004)
    assert imagej.spacing == ome.spacing == (0.5, 0.25)
    assert imagej.units == ome.units == ("micrometer", "micrometer")


@pytest.mark.parametrize(("extension", "exact"), [("png", True), ("jpg", False)])
@pytest.mark.parametrize("shape", [(12, 16), (12, 16, 3)])
def test_pictures(
    tmp_path: Path, shape: tuple[int, ...], extension: str, exact: bool
) -> None:
    """PNG and JPEG are 2D images without a spacing."""
    from skimage.io import imsave

    data = np.full(shape, 200, "u1")
    imsave(tmp_path / f"a.{extension}", data, check_contrast=False)
    image = read_image(tmp_path / f"a.{extension}")
    assert (image.axes, image.spacing) == ("YXC"[: len(shape)], (1, 1))
    np.testing.assert_allclose(image, data, atol=0 if exact else 3)


def test_whole_numbers_become_integers(tmp_path: Path) -> None:
    """Labels stored as floats are integers again; other floats are refused."""
    for value, kind in ((3.0, np.int32), (2.0**40, np.int64)):
        tifffile.imwrite(tmp_path / "a.tif", np.full((4, 5), value, "f8"))
        assert read_labels(tmp_path / "a.tif").dtype == kind
        assert np.asarray(read_labels(tmp_path / "a.tif")).max() == value
    for bad in (0.5, np.nan, 2.0**60):
        tifffile.imwrite(tmp_path / "a.tif", np.full((4, 5), bad, "f8"))
        with pytest.raises(ValueError, match="must hold"):
            read_labels(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5, 3), "u1"))
    with pytest.raises(ValueError, match="colour"):
        read_labels(tmp_path / "a.tif")


@pytest.mark.parametrize("part", [0, 100, 0.5, 0.95])
@pytest.mark.parametrize("extension", ["tif", "ome.tif", *MEDICAL, "png"])
def test_truncated_files_are_refused(
    tmp_path: Path, extension: str, part: float
) -> None:
    """A file cut short is never read as one with some zeros in it."""
    path = tmp_path / f"a.{extension}"
    labels = np.random.default_rng(0).integers(0, 255, (20, 30, 40)).astype("u1")
    if extension == "png":
        from skimage.io import imsave

        imsave(path, labels[0], check_contrast=False)
    else:
        write_labels(path, labels)
    size = path.stat().st_size
    os.truncate(path, int(part * size) if part < 1 else int(part))
    with pytest.raises(ValueError, match="could not be read as"):
        read_image(path)


BAD_FILES = {
    "missing.tif": "existing file",
    "text.xyz": "must end in",
    "text.tif": "could not be read as TIFF",
    "text.nii": "could not be read as NIfTI",
    "text.nii.gz": "could not be read as NIfTI",
    "text.nrrd": "could not be read as a medical image",
    "text.png": "could not be read as a picture",
    "folder": "directory with DICOM files",
}


@pytest.mark.parametrize("name", BAD_FILES)
@pytest.mark.parametrize("read", [read_image, read_labels])
def test_bad_files(tmp_path: Path, name: str, read: Any) -> None:
    """What cannot be read is refused in one sentence that names it."""
    if name == "folder":
        (tmp_path / name).mkdir()
    elif not name.startswith("missing"):
        (tmp_path / name).write_text("hello " * 100)
    with pytest.raises(ValueError, match=BAD_FILES[name]) as caught:
        read(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", [None, 3, []])
def test_bad_paths(path: Any) -> None:
    """What is no path is refused."""
    for call in (
        read_image,
        read_labels,
        lambda p: write_labels(p, np.eye(3, dtype=int)),
    ):
        with pytest.raises(ValueError, match="path must be"):
            call(path)


LIKE = ImageFile(np.zeros((2, 3, 4)), "ZYX", (1, 1, 1))


@pytest.mark.parametrize(
    ("name", "labels", "options", "message"),
    [
        ("a.tif", np.zeros((3, 4)), {}, "integers"),
        ("a.tif", np.zeros((3, 4), complex), {}, "integers"),
        ("a.tif", [["a"]], {}, "integers"),
        ("a.tif", np.zeros(4, int), {}, "2 to 5 axes"),
        ("a.tif", np.zeros((0, 4), int), {}, "2 to 5 axes"),
        ("a.tif", np.zeros((1,) * 6, int), {}, "2 to 5 axes"),
        ("a.nii", np.zeros((1,) * 5, int), {}, "2 to 4 axes"),
        ("a.tif", np.zeros((3, 4), int), {"spacing": (1, 1, 1)}, "each of the 2 axes"),
        ("a.tif", np.zeros((3, 4), int), {"spacing": 1}, "each of the 2 axes"),
        ("a.tif", np.zeros((3, 4), int), {"spacing": (1, 0)}, "positive"),
        ("a.tif", np.zeros((3, 4), int), {"spacing": (1, -2)}, "positive"),
        ("a.tif", np.zeros((3, 4), int), {"spacing": (1, np.nan)}, "positive"),
        ("a.tif", np.zeros((3, 4), int), {"spacing": ("x", 1)}, "numbers"),
        ("a.tif", np.zeros((4, 3), int), {"like": LIKE}, "shape of like"),
        ("a.tif", np.zeros((1, 2, 3, 4), int), {"like": LIKE}, "shape of like"),
        ("a.ome.tif", np.zeros((3, 4), "u8"), {}, "at most 32 bits"),
        ("a.xyz", np.zeros((3, 4), int), {}, "must end in"),
        ("a.mhd", np.zeros((3, 4), int), {}, "must end in"),
        ("a", np.zeros((3, 4), int), {}, "must end in"),
    ],
)
def test_bad_labels(
    tmp_path: Path, name: str, labels: Any, options: dict[str, Any], message: str
) -> None:
    """What cannot be written is refused, and a file of that name is left alone."""
    (tmp_path / name).write_text("precious")
    with pytest.raises(ValueError, match=message):
        write_labels(tmp_path / name, labels, **options)
    assert (tmp_path / name).read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1


def test_directory_as_target(tmp_path: Path) -> None:
    """A directory is never replaced by a file."""
    (tmp_path / "a.tif").mkdir()
    with pytest.raises(ValueError, match="directory"):
        write_labels(tmp_path / "a.tif", np.zeros((3, 4), int))


def test_missing_folder(tmp_path: Path) -> None:
    """A folder that does not exist is said to be the trouble."""
    with pytest.raises(OSError, match="No such file or directory"):
        write_labels(tmp_path / "none" / "a.tif", np.zeros((3, 4), int))


@pytest.mark.parametrize("where", ["tifffile.imwrite", "os.replace"])
def test_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """An existing file survives, and nothing half-written remains."""
    old = np.full((3, 4), 5, "u1")
    write_labels(tmp_path / "a.tif", old)

    def full(*arguments: Any, **options: Any) -> None:
        Path(arguments[0]).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(where, full)
    with pytest.raises(OSError, match="No space left on device"):
        write_labels(tmp_path / "a.tif", np.zeros((3, 4), "u1"))
    monkeypatch.undo()
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), old)
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits file sizes with POSIX")
def test_full_disk(tmp_path: Path) -> None:
    """Each writer notices that its file does not fit; nothing is left behind.

    The kernel refuses bytes beyond a limit, as it does on a full disk. In a process
    of its own, since the limit holds for all files of a process.
    """
    script = """
import resource, signal, sys
import numpy as np
from napari_sam.io import write_labels
labels = np.random.default_rng(0).integers(0, 60000, (40, 50, 60)).astype("u2")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
for extension in sys.argv[2:]:
    try:
        write_labels(f"{sys.argv[1]}/a.{extension}", labels)
    except OSError as error:
        sys.stdout.write(f"{extension}: {error}\\n")
"""
    extensions = (*TIFFS, *MEDICAL)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), *extensions],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == list(extensions)
    assert all("could not be written" in line for line in lines)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_are_followed(tmp_path: Path) -> None:
    """Writing to a link replaces the file it points to, not the link."""
    (tmp_path / "link.tif").symlink_to(tmp_path / "file.tif")
    write_labels(tmp_path / "link.tif", np.ones((3, 4), "u1"))
    assert (tmp_path / "link.tif").is_symlink()
    assert read_image(tmp_path / "file.tif").shape == (3, 4)


def test_labels_of_one_plane_or_one_time() -> None:
    """Geometry of the axes that remain, unless they are oblique to the others."""
    straight = ImageFile(LIKE.data, "ZYX", (3, 2, 1), (30, 20, 10))
    plane = io._placed_like(np.zeros((3, 4), int), straight)
    assert (plane.spacing, plane.origin) == ((2, 1), (20, 10))
    oblique = ImageFile(LIKE.data, "ZYX", (3, 2, 1), (30, 20, 10), SAGITTAL)
    plane = io._placed_like(np.zeros((3, 4), int), oblique)
    assert (plane.spacing, plane.origin) == ((2, 1), (0, 0))
    np.testing.assert_array_equal(plane.direction, np.eye(2))
    channels = ImageFile(np.zeros((5, 9, 3, 4)), "ZCYX", (3, 1, 2, 1.5))
    volume = io._placed_like(np.zeros((5, 3, 4), int), channels)
    assert (volume.axes, volume.spacing) == ("ZYX", (3, 2, 1.5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axes": "YX"}, "axes must have one letter"),
        ({"spacing": (1, 1)}, "each of the 3 axes"),
        ({"spacing": (1, 1, np.inf)}, "positive"),
        ({"origin": (0, 0)}, "origin must have length 3"),
        ({"units": ("pixel",)}, "units must have length 3"),
        ({"direction": np.eye(2)}, "direction must have length 3"),
        ({"direction": np.zeros((3, 2))}, "direction must have shape"),
    ],
)
def test_image_file_is_checked(change: dict[str, Any], message: str) -> None:
    """An image whose parts do not fit together cannot be made."""
    values = {"data": LIKE.data, "axes": "ZYX", "spacing": (1, 1, 1)}
    with pytest.raises(ValueError, match=message):
        ImageFile(**{**values, **change})


def test_image_file_is_an_array() -> None:
    """Numpy takes an image for its data, and copies when asked."""
    assert np.asarray(LIKE) is LIKE.data
    assert np.array(LIKE) is not LIKE.data
    assert np.asarray(LIKE, "f4").dtype == np.float32
    assert (LIKE.shape, LIKE.ndim, LIKE.dtype) == ((2, 3, 4), 3, np.float64)


def test_units_are_spelt_out() -> None:
    """Abbreviations of units are understood, unknown ones are pixels."""
    image = ImageFile(LIKE.data, "ZYX", (1, 1, 1), units=("um", "MM", "furlong"))
    assert image.units == ("micrometer", "millimeter", "pixel")


def test_unknown_sample() -> None:
    """The samples are named when another one is asked for."""
    with pytest.raises(ValueError, match=r"brain_t1_1\.5mm\.nii\.gz, nuclei_2d\.tif"):
        io.sample_path("../io.py")


def test_import_is_cheap() -> None:
    """Importing io loads none of the libraries it reads with."""
    script = (
        "import sys, napari_sam.io; "
        "print({'SimpleITK', 'tifffile', 'zarr', 'skimage', 'torch', 'napari', 'dask'}"
        " & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
