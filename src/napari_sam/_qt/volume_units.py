"""Distances of an image's voxels in its units, and sizes of objects in words; no Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._layers_view import ViewPlane, world_matrix
from napari_sam.review import Extent

if TYPE_CHECKING:
    from napari.layers import Image

MICROMETRES_PER_MILLIMETRE = 1000.0
TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Spacing:
    """How far voxels are apart along an axis and in its planes.

    Parameters
    ----------
    steps : (along, rows, columns)
        In micrometres if `is_length`, else in the unit of the image.
    is_length : bool
        Whether rows and columns are known in a unit of length.
    is_space : bool
        Whether the axis is of the same kind as rows and columns: not time.
    """

    steps: tuple[float, float, float]
    is_length: bool
    is_space: bool


def spacing_along(image: Image, view: ViewPlane, along: int) -> Spacing:
    """Read off an image layer how far its voxels are apart.

    Parameters
    ----------
    image : Image layer
    view : ViewPlane
    along : int
        Which of the sliced axes.

    Returns
    -------
    Spacing
    """
    axes = [view.sliced_axes[along], *view.plane_axes]
    units = (view.units or image.units)[-image.ndim :]
    matrix = world_matrix(image, view.units)[:-1, :-1]
    matrix = matrix * [[micrometres(unit)] for unit in units]
    steps = np.linalg.norm(matrix, axis=0)[axes]
    kinds = [units[axis].dimensionality for axis in axes]
    return Spacing(
        (float(steps[0]), float(steps[1]), float(steps[2])),
        is_length=all(is_length_unit(units[axis]) for axis in axes[1:]),
        is_space=kinds[0] == kinds[1] == kinds[2],
    )


def is_length_unit(unit: Any) -> bool:
    """Whether a unit of an axis measures length."""
    return dict(unit.dimensionality) == {"[length]": 1}


def micrometres(unit: Any) -> float:
    """Micrometres in a unit; 1 if it measures no length."""
    if not is_length_unit(unit):
        return 1.0
    return float((1 * unit).to("micrometer").magnitude)


def extent_text(extent: Extent, spacing: Spacing) -> str:
    """Say how large an object is.

    Parameters
    ----------
    extent : Extent
        Measured with ``spacing.steps``, or with 1 along an axis that is not space.
    spacing : Spacing

    Examples
    --------
    >>> extent = Extent(60, 1.5e9, (3, 5), (3000.0, 500.0, 1000.0))
    >>> extent_text(extent, Spacing((1000, 1, 1), is_length=True, is_space=True))
    '1.5 mm³ · 3 × 0.5 × 1 mm · planes 3 to 5'
    >>> extent_text(extent, Spacing((1, 1, 1), is_length=False, is_space=True))
    '60 voxels · planes 3 to 5'
    """
    first, last = extent.planes
    where = f"planes {first} to {last}" if last > first else f"plane {first}"
    if not spacing.is_length:
        return (
            f"{extent.voxels:,} {'voxels' if spacing.is_space else 'pixels'} · {where}"
        )
    size = extent.size if spacing.is_space else extent.size[1:]
    is_large = max(size) >= MICROMETRES_PER_MILLIMETRE
    unit, scale = ("mm", MICROMETRES_PER_MILLIMETRE) if is_large else ("µm", 1.0)
    lengths = f" {TIMES} ".join(_number(length / scale) for length in size)
    if spacing.is_space:
        amount = f"{_number(extent.volume / scale**3)} {unit}³"
    else:
        area = extent.volume / (last - first + 1) / scale**2
        amount = f"{_number(area)} {unit}² on average"
    return f"{amount} · {lengths} {unit} · {where}"


def _number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
