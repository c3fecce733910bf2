"""Images and labels on disk, with the spacing and place they have in the world.

Axes are in the order of numpy arrays, (plane,) row, column(, colour), in every
format. TIFF goes through tifffile, medical formats through SimpleITK; both, like
zarr, are imported on first use.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._io_coco import (
    is_coco,
    read_coco,
    read_coco_images,
    write_coco,
    write_sa1b,
)
from napari_sam._io_geojson import knows_its_size, read_geojson, write_geojson
from napari_sam._io_image import (
    LABEL_AXES,
    ImageFile,
    PathLike,
    checked_labels,
    checked_spacing,
    explained,
    replacing,
)
from napari_sam._io_medical import (
    has_dicom,
    read_dicom_folder,
    read_medical,
    write_medical,
)
from napari_sam._io_objects import read_json
from napari_sam._io_table import ObjectMeasurement, measure_objects, write_table
from napari_sam._io_tiff import read_tiff, write_tiff
from napari_sam._io_zarr import is_zarr, read_zarr

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ImageFile",
    "ObjectMeasurement",
    "has_annotations",
    "has_dicom",
    "measure_objects",
    "read_coco",
    "read_coco_images",
    "read_geojson",
    "read_image",
    "read_labels",
    "sample_path",
    "write_coco",
    "write_geojson",
    "write_labels",
    "write_sa1b",
    "write_table",
]


def _read_picture(path: Path) -> ImageFile:
    from skimage.io import imread

    with explained(path, "a picture"):
        data = np.asarray(imread(path))
        return ImageFile(data, "YXC"[: data.ndim], (1.0, 1.0))


_MEDICAL = (".nii.gz", ".nii", ".nrrd", ".mha")
_READERS: dict[str, Callable[[Path], ImageFile]] = {
    **dict.fromkeys((".tif", ".tiff"), read_tiff),
    **dict.fromkeys((*_MEDICAL, ".nhdr", ".mhd", ".dcm"), read_medical),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp"), _read_picture),
}
_ANNOTATIONS: dict[str, Callable[[PathLike], ImageFile]] = {
    ".json": read_coco,
    ".geojson": read_geojson,
}
# Headers with a separate data file (.nhdr, .mhd) are read only: two files cannot be
# replaced in one step.
_WRITERS: dict[str, tuple[Callable[[Path, ImageFile], None], str]] = {
    **dict.fromkeys((".tif", ".tiff"), (write_tiff, "micrometer")),
    **dict.fromkeys(_MEDICAL, (write_medical, "millimeter")),
}


def read_image(path: PathLike) -> ImageFile:
    """Read an image or a volume, with its spacing, origin, direction and units.

    Parameters
    ----------
    path : str or path-like
        TIFF, OME-TIFF, ImageJ TIFF; NIfTI, NRRD, MHA, MHD, DICOM file; PNG, JPEG,
        BMP; a directory with a DICOM series; a zarr array or OME-Zarr image.

    Returns
    -------
    ImageFile
        Its `data` is (plane,) row, column(, colour), in the type of the file. zarr
        data is not loaded.

    Raises
    ------
    ValueError
        If there is no such file, its kind is unknown, or it is damaged.

    Warns
    -----
    UserWarning
        If a directory holds several DICOM series; the longest one is read.

    Examples
    --------
    >>> from napari_sam.io import read_image, sample_path
    >>> image = read_image(sample_path("brain_t1_1.5mm.nii.gz"))
    >>> image.axes, image.shape, image.spacing, image.units[0]
    ('ZYX', (126, 155, 131), (1.5, 1.5, 1.5), 'millimeter')
    """
    file = _as_path(path)
    if not file.exists():
        raise ValueError(f"path must be an existing file or directory, got {file}.")
    if file.is_dir():
        return read_zarr(file) if is_zarr(file) else read_dicom_folder(file)
    read: Callable[[Path], ImageFile] = _by_extension(file, _READERS, "read")
    return read(file)


def read_labels(path: PathLike) -> ImageFile:
    """Read a label image: as `read_image`, with integer pixels.

    Floating-point files that hold whole numbers become int32 (int64 if they must),
    and masks of bool become uint8.

    Parameters
    ----------
    path : str or path-like
        Any file `read_image` takes; or annotations, .json of COCO for one image or
        stack, or .geojson that knows its size (see `read_coco`, `read_geojson`).

    Returns
    -------
    ImageFile
        Its `data` is (plane,) row, column, of an integer type.

    Raises
    ------
    ValueError
        As `read_image`, or if the file is a colour image or holds fractions.

    Examples
    --------
    >>> from napari_sam.io import read_labels, sample_path
    >>> nuclei = read_labels(sample_path("nuclei_2d_labels.tif"))
    >>> len(np.unique(nuclei)) - 1
    125
    """
    image = _ANNOTATIONS.get(_as_path(path).suffix.lower(), read_image)(path)
    if image.axes.endswith("C"):
        raise ValueError(f"{path} must hold one label a pixel, it is a colour image.")
    if image.dtype.kind in "iu":
        return image
    return replace(image, data=_whole_numbers(path, np.asarray(image.data)))


def has_annotations(path: PathLike) -> bool:
    """Whether a file holds annotations that make a label image by themselves.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    bool
        True for COCO, SA-1B, and GeoJSON that says how large the image is.
    """
    try:
        content = read_json(_as_path(path), "annotations")
    except (OSError, ValueError):
        return False
    return is_coco(content) or knows_its_size(content)


def _whole_numbers(path: PathLike, values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    whole = values.dtype.kind == "f" and np.isfinite(values).all()
    if not whole or (values != np.rint(values)).any():
        raise ValueError(f"{path} must hold integers, it holds other {values.dtype}.")
    largest = np.abs(values).max(initial=0)
    # float64 above 2**53 skips integers: such numbers are no labels any more.
    if largest > 2**53:
        raise ValueError(f"{path} must hold labels up to 2**53, it holds {largest}.")
    return values.astype(np.int32 if largest < 2**31 else np.int64)


def write_labels(
    path: PathLike,
    labels: ArrayLike | ImageFile,
    spacing: Sequence[float] | None = None,
    *,
    like: ImageFile | None = None,
) -> None:
    """Write a label image, losslessly compressed, its type and spacing kept.

    Parameters
    ----------
    path : str or path-like
        .tif, .tiff (as ImageJ TIFF where its format can hold the type, else
        OME-TIFF; 64-bit integers as TIFF with tifffile's own metadata), .ome.tif,
        .ome.tiff (up to 32 bits), .nii, .nii.gz, .nrrd or .mha. An existing file is
        replaced, in one step, once the new one is complete.
    labels : array_like of shape ((time, (channel,)) (plane,) row, column)
        Integers of any type, or bool, which is written as uint8. 2 to 5 axes, in
        the medical formats 2 to 4.
    spacing : sequence of float, optional
        One number for each axis of `labels`, in the units of `like`; without
        `like` in micrometres for TIFF and millimetres for the medical formats.
    like : ImageFile, optional
        The image the labels belong to (or the labels themselves, if read from a
        file): its spacing, origin, direction and units are written. For one plane,
        or one time, those of the axes that remain.

    Raises
    ------
    ValueError
        If the extension is unknown, or `labels` are no integers, have too few or
        too many axes, or do not fit `spacing` or `like`.
    OSError
        If the file cannot be written. What was there before is still there.

    Notes
    -----
    TIFF has no place for origin and direction; the other formats keep them.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_labels(f"{folder}/a.tif", np.eye(64, dtype="i4"), spacing=(2, 0.3))
    ...     read_labels(f"{folder}/a.tif").spacing
    (2.0, 0.3)
    """
    target = _as_path(path)
    if target.is_dir():
        raise ValueError(f"path must be a file, got the directory {target}.")
    write, unit = _by_extension(target, _WRITERS, "write")
    image = _placed(labels, spacing, like, unit)
    try:
        with replacing(target) as part:
            write(part, image)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(
            f"{target} could not be written ({reason}); what was there is unchanged."
        ) from error


def _placed(
    labels: ArrayLike | ImageFile,
    spacing: Sequence[float] | None,
    like: ImageFile | None,
    unit: str,
) -> ImageFile:
    """Give `labels` the geometry of `like`, or `spacing` in `unit`, or none."""
    array = checked_labels(labels)
    if like is None and isinstance(labels, ImageFile):
        like = labels
    if like is not None:
        image = _placed_like(array, like)
    else:
        units = (unit,) * array.ndim if spacing is not None else None
        ones = (1.0,) * array.ndim
        image = ImageFile(array, LABEL_AXES[array.ndim], ones, units=units)
    if spacing is None:
        return image
    return replace(image, spacing=checked_spacing(spacing, array.ndim))


def _placed_like(labels: NDArray[Any], like: ImageFile) -> ImageFile:
    """Give `labels` the geometry of the axes they share with `like`."""
    kept = [*range(len(like.spacing))]
    if labels.ndim != len(kept):
        kept = [axis for axis in kept if like.axes[axis] != "C"][-labels.ndim :]
    if labels.shape != tuple(like.shape[axis] for axis in kept):
        raise ValueError(
            f"labels must have the shape of like, {like.shape}, or of its last axes, "
            f"got {labels.shape}."
        )
    origin, units = like.origin or (), like.units or ()
    direction = np.asarray(like.direction)[np.ix_(kept, kept)]
    # Where a plane lies is not known if its axes are oblique to those left out.
    alone = np.allclose(direction @ direction.T, np.eye(len(kept)), atol=1e-3)
    axes = "".join(like.axes[axis] for axis in kept)
    if not axes.endswith("YX") or len({*axes} & {*"TCZYX"}) < len(axes):
        axes = LABEL_AXES[labels.ndim]
    return ImageFile(
        labels,
        axes,
        tuple(like.spacing[axis] for axis in kept),
        tuple(origin[axis] for axis in kept) if alone else None,
        direction if alone else None,
        tuple(units[axis] for axis in kept),
    )


def _as_path(path: PathLike) -> Path:
    try:
        return Path(path)
    except TypeError:
        raise ValueError(f"path must be a str or a path, got {path!r}.") from None


def _by_extension(path: Path, known: dict[str, Any], action: str) -> Any:
    # Of .nii.gz and .gz the longer one counts: the table is searched, not the name.
    name = path.name.lower()
    for extension, handler in known.items():
        if name.endswith(extension):
            return handler
    raise ValueError(
        f"path must end in {', '.join(known)} to {action} it, got {path.name!r}."
    )


def sample_path(name: str) -> Path:
    """Path of a sample image that comes with the package.

    Parameters
    ----------
    name : str
        Name of a file, such as "nuclei_2d.tif".

    Raises
    ------
    ValueError
        If there is no such sample.

    Examples
    --------
    >>> from napari_sam.io import sample_path
    >>> sample_path("spine_ct.nii.gz").name
    'spine_ct.nii.gz'
    """
    folder = Path(str(files("napari_sam") / "sample_data"))
    names = sorted(
        file.name for file in folder.iterdir() if file.suffix in (".tif", ".gz")
    )
    if name not in names:
        raise ValueError(f"name must be one of {', '.join(names)}, got {name!r}.")
    return folder / name
