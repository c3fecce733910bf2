"""What an image file holds: pixels, and where they lie in the world."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

PathLike: TypeAlias = str | os.PathLike[str]

METRES = {
    "angstrom": 1e-10,
    "nanometer": 1e-9,
    "micrometer": 1e-6,
    "millimeter": 1e-3,
    "centimeter": 1e-2,
    "inch": 0.0254,
    "meter": 1.0,
}
"""Length of each unit of length, in metres; the names are those of pint."""

# Spellings found in OME-XML, ImageJ, NRRD and OME-Zarr. ImageJ writes the micro
# sign as an escape sequence because its headers are ASCII.
_SPELLINGS = {
    "angstrom": ("å", "a", "ångström"),
    "nanometer": ("nm", "nanometre", "nanometers"),
    "micrometer": (
        *("µm", "μm", "um", "\\u00b5m", "micron", "microns"),
        *("micrometre", "micrometers"),
    ),
    "millimeter": ("mm", "millimetre", "millimeters"),
    "centimeter": ("cm", "centimetre", "centimeters"),
    "inch": ("in", "inches"),
    "meter": ("m", "metre", "meters"),
    "second": ("s", "sec", "seconds"),
    "millisecond": ("ms", "msec", "milliseconds"),
    "minute": ("min", "minutes"),
    "hour": ("h", "hours"),
    "day": ("d", "days"),
}
_UNITS = {
    spelling: name
    for name, spellings in _SPELLINGS.items()
    for spelling in (name, *spellings)
}


LABEL_AXES = {2: "YX", 3: "ZYX", 4: "TZYX", 5: "TCZYX"}
"""Axes of a label image by their number, where nothing says which they are."""


def unit_name(text: object) -> str:
    """Name of a unit as pint and napari spell it; "pixel" where it is unknown."""
    return _UNITS.get(str(text).strip().lower(), "pixel")


def converted(value: float, unit: str, to: str) -> float:
    """Length in another unit; the number itself if either unit is no length."""
    if unit == to or unit not in METRES or to not in METRES:
        return value
    # Rounding to 15 digits undoes the 1e-16 noise of the factor (0.3 stays 0.3).
    return float(f"{value * METRES[unit] / METRES[to]:.15g}")


@dataclass(frozen=True, eq=False)
class ImageFile:
    """Pixels of an image file and where they lie in the world.

    Usable as an array: ``np.asarray(image)``, ``image.shape``, ``image.dtype``.

    Parameters
    ----------
    data : ndarray, or zarr.Array (not loaded)
        ((time,) (channel,) plane,) row, column(, colour); any dtype.
    axes : str
        One letter for each axis of `data`, such as "YX", "ZYX", "CZYX", or "YXC"
        for a colour image. A "C" at the end is a colour axis.
    spacing : tuple of float
        Distance between pixel centres along each axis of `data`, the colour axis
        left out, in `units`; 1 where the file does not say.
    origin : tuple of float, optional
        World position of the centre of the first pixel, in the order of `spacing`.
    direction : ndarray of shape (N, N), float64, optional
        Column i is the direction of axis i in the world, whose axes are in the
        order of `spacing` too. Medical files: (z, y, x) of the patient, growing to
        superior, posterior and left, as in DICOM. Identity if omitted.
    units : tuple of str, optional
        Unit of each number in `spacing`, "pixel" where the file does not say; "um",
        "mm" and the like are spelt out.

    Raises
    ------
    ValueError
        If the number of axes, spacings, origins, units and directions differ, or
        a spacing is not a positive number.

    Notes
    -----
    The world position of pixel i is ``origin + direction @ (spacing * i)``.
    """

    data: Any
    axes: str
    spacing: tuple[float, ...]
    origin: tuple[float, ...] | None = None
    direction: NDArray[np.float64] | None = None
    units: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.axes) != self.data.ndim:
            raise ValueError(
                f"axes must have one letter for each of the {self.data.ndim} axes "
                f"of data, got {self.axes!r}."
            )
        count = len(self.axes) - self.axes.endswith("C")
        direction = np.eye(count) if self.direction is None else self.direction
        values: dict[str, Any] = {
            "spacing": checked_spacing(self.spacing, count),
            "origin": tuple(float(x) for x in self.origin or (0.0,) * count),
            "direction": np.array(direction, dtype=np.float64),
            "units": tuple(unit_name(unit) for unit in self.units or ("",) * count),
        }
        values["direction"].setflags(write=False)
        for name, value in values.items():
            if len(value) != count:
                raise ValueError(
                    f"{name} must have length {count} for axes {self.axes!r}, "
                    f"got length {len(value)}."
                )
            object.__setattr__(self, name, value)
        if values["direction"].shape != (count, count):
            raise ValueError(
                f"direction must have shape ({count}, {count}), "
                f"got {values['direction'].shape}."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis of `data`."""
        return tuple(self.data.shape)

    @property
    def ndim(self) -> int:
        """Number of axes of `data`."""
        return int(self.data.ndim)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""
        dtype: np.dtype[Any] = np.dtype(self.data.dtype)
        return dtype

    @property
    def is_rgb(self) -> bool:
        """Whether the last axis is colour: red, green, blue (and alpha)."""
        return self.axes.endswith("C") and self.shape[-1] in (3, 4)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return `data`, loaded if it was not."""
        array: NDArray[Any] = np.asarray(self.data, dtype=dtype)
        return array.copy() if copy and array is self.data else array


def checked_labels(labels: ArrayLike | ImageFile) -> NDArray[Any]:
    """`labels` as a contiguous array of integers, bool as uint8.

    Raises
    ------
    ValueError
        If they are of another type, have too few or many axes, or no pixels.
    """
    array = np.asarray(labels)
    if array.dtype.kind not in "iub":
        raise ValueError(f"labels must be integers or bool, got {array.dtype}.")
    if array.ndim not in LABEL_AXES or array.size == 0:
        raise ValueError(
            f"labels must have 2 to 5 axes, none of them empty, got {array.shape}."
        )
    kind = np.uint8 if array.dtype.kind == "b" else array.dtype.newbyteorder("=")
    return np.ascontiguousarray(array, dtype=kind)


def checked_spacing(spacing: Sequence[float], count: int) -> tuple[float, ...]:
    """`spacing` as a tuple of `count` positive numbers.

    Raises
    ------
    ValueError
        If the length is wrong or a number is not positive and finite.
    """
    try:
        numbers = np.asarray(spacing, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"spacing must be numbers, got {spacing!r}.") from None
    if numbers.shape != (count,):
        raise ValueError(
            f"spacing must have one number for each of the {count} axes, "
            f"got {spacing!r}."
        )
    if not (np.isfinite(numbers) & (numbers > 0)).all():
        raise ValueError(f"spacing must be positive and finite, got {spacing!r}.")
    return tuple(numbers.tolist())


@contextmanager
def explained(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a reading library raises into one sentence about the file."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        # SimpleITK's reason stands in the last line of a long message.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise ValueError(
            f"{path} could not be read as {kind} ({reason.strip().rstrip('.')}); "
            "it may be damaged or incomplete."
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Path to write to; moved to `path` in one step once the block has succeeded.

    The new file lies in a directory of its own beside `path`: the move stays on one
    disk, libraries that look at neighbouring files find none, and a failed write
    takes everything with it.
    """
    target = path.resolve()
    with TemporaryDirectory(
        prefix=".napari-sam-", dir=target.parent, ignore_cleanup_errors=True
    ) as folder:
        part = Path(folder) / target.name
        yield part
        os.replace(part, target)
