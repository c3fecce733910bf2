"""Objects of a label image as a table: size, place, brightness."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sam._io_image import ImageFile, PathLike, replacing
from napari_sam._io_objects import Features, check_features, label_image
from napari_sam._label_regions import LabelRegions

_NAMES = {"T": "time", "C": "channel", "Z": "plane", "Y": "row", "X": "column"}


@dataclass(frozen=True)
class ObjectMeasurement:
    """Size, place and brightness of one object.

    Parameters
    ----------
    label : int
    index : tuple of int
        Time and channel, if the image has them.
    pixel_count : int
    size : float
        Area in 2D, volume in 3D, in the unit of the spacing.
    box : tuple of int
        (plane_min,) row_min, column_min, (plane_max,) row_max, column_max; pixel
        edges, half-open.
    centroid : tuple of float
        (plane,) row, column, in pixels, pixel centres at integers.
    mean_intensity : float, optional
        Of the image; of a colour image the mean of its colours.
    features : dict, optional
        What else is known, such as its score.
    """

    label: int
    index: tuple[int, ...]
    pixel_count: int
    size: float
    box: tuple[int, ...]
    centroid: tuple[float, ...]
    mean_intensity: float | None = None
    features: dict[str, Any] = field(default_factory=dict)


def measure_objects(
    labels: ArrayLike | ImageFile,
    image: ArrayLike | ImageFile | None = None,
    features: Features | None = None,
) -> list[ObjectMeasurement]:
    """Measure every object of a label image.

    Parameters
    ----------
    labels : array_like of shape ((time, (channel,)) (plane,) row, column)
        Integers or bool. Sizes are in units of the spacing if it is an ImageFile, as
        `read_image` returns it, else in pixels.
    image : array_like of the shape of `labels`, optional
        Where to measure brightness; with or without a last axis of colour.
    features : dict of int to dict, optional
        What else is known of each label.

    Returns
    -------
    list of ObjectMeasurement
        In the order of time, channel and label.

    Raises
    ------
    ValueError
        If labels, image or features are not as above.

    Examples
    --------
    >>> (one,) = measure_objects(np.array([[0, 4, 4]]), np.array([[9, 1, 2]]))
    >>> one.label, one.size, one.centroid, one.mean_intensity
    (4, 2.0, (0.0, 1.5), 1.5)
    """
    known = label_image(labels)
    rows = check_features(features)
    pixels = None if image is None else _matching(image, known)
    apart = len(_apart(known))
    return [
        one
        for index in np.ndindex(known.shape[:apart])
        for one in _measured(known, index, pixels, rows)
    ]


def _apart(labels: ImageFile) -> str:
    """First axes that are no space: objects are measured in each time by itself."""
    space = labels.axes[:-2].lstrip("TC")
    return labels.axes[: labels.ndim - 2 - len(space)]


def _matching(image: ArrayLike | ImageFile, labels: ImageFile) -> NDArray[Any]:
    pixels = np.asarray(image)
    if pixels.dtype.kind not in "buif":
        raise ValueError(f"image must be real numbers, got {pixels.dtype}.")
    if pixels.shape[: labels.ndim] != labels.shape or pixels.ndim > labels.ndim + 1:
        raise ValueError(
            f"image must have the shape of labels, {labels.shape}, got {pixels.shape}."
        )
    return pixels


def _measured(
    labels: ImageFile,
    index: tuple[int, ...],
    pixels: NDArray[Any] | None,
    features: dict[int, dict[str, Any]],
) -> Iterator[ObjectMeasurement]:
    part = labels.data[index]
    pixel_size = prod(labels.spacing[len(index) :])
    for label, box in LabelRegions.read(part, None, None).objects:
        mask = part[box] == label
        count = int(np.count_nonzero(mask))
        first = [side.start for side in box]
        places = [values.mean() for values in np.nonzero(mask)]
        centroid = tuple(float(a + b) for a, b in zip(first, places, strict=True))
        mean = None
        if pixels is not None:
            mean = float(pixels[index][box][mask].mean(dtype=np.float64))
        yield ObjectMeasurement(
            label,
            index,
            count,
            count * pixel_size,
            (*first, *(side.stop for side in box)),
            centroid,
            mean,
            features.get(label, {}),
        )


def write_table(
    path: PathLike,
    labels: ArrayLike | ImageFile,
    image: ArrayLike | ImageFile | None = None,
    features: Features | None = None,
) -> None:
    """Write a row for every object of a label image: comma-separated values.

    Parameters
    ----------
    path : str or path-like
        Usually .csv. An existing file is replaced in one step.
    labels, image, features
        As `measure_objects` takes them. Features are the last columns.

    Raises
    ------
    ValueError
        As `measure_objects`.
    OSError
        If the file cannot be written.

    Notes
    -----
    Columns: label; time, channel where the image has them; pixel_count; area or
    volume, and unit; the centroid in pixels; the box in pixel edges, half-open;
    mean_intensity; features.
    """
    known = label_image(labels)
    objects = measure_objects(known, image, features)
    apart = [_NAMES[axis] for axis in _apart(known)]
    space = [_NAMES.get(axis, axis) for axis in known.axes[len(apart) :]]
    unit = _unit(known, len(apart))
    size = "area" if len(space) == 2 else "volume"
    more = list(dict.fromkeys(name for one in objects for name in one.features))
    header = ["label", *apart, "pixel_count", size, "unit"]
    header += [f"centroid_{axis}" for axis in space]
    header += [f"{axis}_{end}" for end in ("min", "max") for axis in space]
    header += ["mean_intensity"] * (image is not None)
    with (
        replacing(Path(path)) as part,
        part.open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.writer(file)
        table.writerow([*header, *more])
        for one in objects:
            values = [one.label, *one.index, one.pixel_count, one.size, unit]
            values += [*one.centroid, *one.box]
            values += [one.mean_intensity] * (image is not None)
            table.writerow([*values, *(one.features.get(name) for name in more)])


def _unit(labels: ImageFile, apart: int) -> str:
    """Name the unit of a size: micrometer^2, or of unequal units their product."""
    units = (labels.units or ())[apart:]
    if len(set(units)) == 1:
        return f"{units[0]}^{len(units)}"
    return " ".join(units)
