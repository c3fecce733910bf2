"""Objects of a label image, plane by plane, as exchange formats want them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sam._io_image import LABEL_AXES, ImageFile, checked_labels, replacing
from napari_sam._label_regions import LabelRegions

if TYPE_CHECKING:
    from pathlib import Path

Features: TypeAlias = Mapping[int, Mapping[str, Any]]
"""What is known of each label besides its pixels, such as ``{3: {"score": 0.9}}``."""

# What this package adds to the objects of other formats, under the same names in all.
IMAGE, LABEL, PLANE = "label_image", "label", "plane"
# More pixels than any machine holds are a damaged file, not an image.
_MOST_PIXELS = 1 << 42


@dataclass(frozen=True, eq=False)
class PlaneObject:
    """One label in one plane.

    Parameters
    ----------
    label : int
    plane : tuple of int
        Index along each axis but rows and columns; () in 2D.
    at : (row, column)
        First pixel of its box.
    mask : ndarray of shape (h, w), bool
        Its pixels within the box.
    """

    label: int
    plane: tuple[int, ...]
    at: tuple[int, int]
    mask: NDArray[np.bool_]


def label_image(labels: ArrayLike | ImageFile) -> ImageFile:
    """Return labels with axes and spacing; ValueError as `checked_labels`."""
    array = checked_labels(labels)
    if isinstance(labels, ImageFile):
        if labels.axes.endswith("C"):
            raise ValueError("labels must have one value a pixel, they are a picture.")
        same = labels.axes, labels.spacing, labels.origin, labels.direction
        return ImageFile(array, *same, labels.units)
    return ImageFile(array, LABEL_AXES[array.ndim], (1.0,) * array.ndim)


def plane_objects(labels: NDArray[Any]) -> Iterator[PlaneObject]:
    """Yield every label of every plane, in the order of planes and labels."""
    for plane in product(*map(range, labels.shape[:-2])):
        pixels = labels[plane]
        for label, box in LabelRegions.read(pixels, None, None).objects:
            at = (box[0].start, box[1].start)
            yield PlaneObject(label, plane, at, pixels[box] == label)


def check_features(features: Features | None) -> dict[int, dict[str, Any]]:
    """Return features as plain values; ValueError if they are not by label."""
    if features is None:
        return {}
    try:
        rows = {int(label): dict(row) for label, row in features.items()}
    except (AttributeError, TypeError, ValueError):
        raise ValueError(
            "features must be a dict of label to a dict of values, "
            f"got {type(features).__name__}."
        ) from None
    return {
        label: {str(name): _plain(name, value) for name, value in row.items()}
        for label, row in rows.items()
    }


def _plain(name: str, value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    if not isinstance(plain, (str, int, float)) or plain in (np.inf, -np.inf):
        raise ValueError(f"features must be numbers or words, {name} is {value!r}.")
    # NaN is how tables say that there is no value.
    return plain if plain == plain else None


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one step, in UTF-8."""
    with replacing(path) as part:
        part.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def read_json(path: Path, kind: str) -> dict[str, Any]:
    """Read a JSON object; ValueError in a sentence if the file holds none."""
    if not path.is_file():
        raise ValueError(f"path must be an existing file, got {path}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be a JSON file of {kind} ({error}).") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must be a JSON file of {kind}, it is something else.")
    return content


def described(image: ImageFile) -> dict[str, Any]:
    """Describe what makes the labels the same when they are read back."""
    return {
        "shape": list(image.shape),
        "axes": image.axes,
        "dtype": image.dtype.name,
        "spacing": list(image.spacing),
        "units": list(image.units or ()),
    }


@dataclass(frozen=True)
class Description:
    """What a file says of the label image that it was made from.

    Parameters
    ----------
    shape : tuple of int
    axes : str
    spacing : tuple of float
    units : tuple of str, optional
    dtype : str, optional
        The smallest that holds the labels if unknown.
    """

    shape: tuple[int, ...]
    axes: str
    spacing: tuple[float, ...]
    units: tuple[str, ...] | None = None
    dtype: str | None = None

    @classmethod
    def of_shape(cls, shape: Iterable[Any]) -> Description:
        """Describe an image of which the size alone is known."""
        size = check_shape(shape)
        return cls(size, LABEL_AXES[len(size)], (1.0,) * len(size))

    @classmethod
    def read(cls, values: Any) -> Description:
        """Read what `described` wrote; ValueError if it is something else."""
        try:
            shape = check_shape(values["shape"])
            spacing = tuple(float(x) for x in values["spacing"])
            units = tuple(str(x) for x in values["units"]) or None
            dtype = np.dtype(values["dtype"])
            axes = str(values["axes"])
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"the image must be described in full ({error})."
            ) from None
        if dtype.kind not in "iu":
            raise ValueError(f"dtype must be an integer type, got {dtype}.")
        return cls(shape, axes, spacing, units, dtype.name)

    def empty(self, labels: Iterable[int]) -> ImageFile:
        """Make an image of zeros that holds labels."""
        span = [0, *labels]
        need = np.promote_types(*map(np.min_scalar_type, (min(span), max(span))))
        if need.kind not in "iu":
            raise ValueError(
                f"labels must fit 64 bits, got {min(span)} to {max(span)}."
            )
        known = need if self.dtype is None else np.dtype(self.dtype)
        info = np.iinfo(known)
        dtype = known if info.min <= min(span) and max(span) <= info.max else need
        data = np.zeros(self.shape, dtype)
        return ImageFile(data, self.axes, self.spacing, units=self.units)


def check_shape(shape: Iterable[Any]) -> tuple[int, ...]:
    """Return the shape of a label image; ValueError if it is none."""
    try:
        size = tuple(int(n) for n in shape)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"shape must be whole numbers, got {shape!r}.") from None
    is_sane = all(n > 0 for n in size) and np.prod(size, dtype=float) < _MOST_PIXELS
    if len(size) not in LABEL_AXES or not is_sane:
        raise ValueError(
            f"shape must be 2 to 5 positive numbers, below 2**42 pixels, got {size}."
        )
    return size
