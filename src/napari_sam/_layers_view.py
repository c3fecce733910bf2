"""Where the viewer is in an image, and coordinates of one layer in those of another.

napari lines layers up at their last axes: a (row, column) layer lies in every plane of
a (plane, row, column) layer. Coordinates here are data coordinates, pixel centres at
integers, unless they are called world.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.transforms import Affine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import Dims
    from napari.layers import Image, Layer
    from numpy.typing import NDArray

    from napari_sam.types import Plane

# In voxels, over the whole extent of an image: two grids that differ by less are one.
# Headers of files hold directions and spacings in float32.
GRID_TOLERANCE = 0.01


@dataclass(frozen=True)
class ViewPlane:
    """The plane of an image that a viewer shows.

    Parameters
    ----------
    plane_axes : (int, int)
        Data axis of the image shown as rows, and that shown as columns, counted
        without colour: (1, 2) is XY of a (z, y, x) image, (0, 2) XZ, (0, 1) YZ.
    index : tuple of int
        Index of the plane along each other axis, in the order of the axes; () in 2D.
    point : tuple of float
        Where the viewer is in the world, along each axis of the viewer.
    units : tuple of pint.Unit, optional
        Units of the world; None if the layers' units cannot be compared, so that napari
        takes their numbers as they are.
    """

    plane_axes: tuple[int, int]
    index: tuple[int, ...]
    point: tuple[float, ...]
    units: tuple[Any, ...] | None = None

    @property
    def sliced_axes(self) -> tuple[int, ...]:
        """Data axes of the image that are not shown, in order."""
        every = range(len(self.index) + 2)
        return tuple(axis for axis in every if axis not in self.plane_axes)

    @property
    def plane(self) -> Plane:
        """Name of the plane as `Session.segment` takes it."""
        return plane_name(self.index)

    def at(self, index: tuple[int, ...]) -> tuple[int | slice, ...]:
        """Index that cuts a plane out of an array with the axes of the image.

        Parameters
        ----------
        index : tuple of int
            Along each of `sliced_axes`.
        """
        where: list[int | slice] = [slice(None)] * (len(self.index) + 2)
        for axis, position in zip(self.sliced_axes, index, strict=True):
            where[axis] = position
        return tuple(where)

    def read(self, data: Any, index: tuple[int, ...]) -> NDArray[Any]:
        """Read one plane (H, W) of an array with the axes of the image, no more."""
        pixels = np.asarray(data[self.at(index)])
        rows, columns = self.plane_axes
        return pixels.T if rows > columns else pixels


def plane_name(index: tuple[int, ...]) -> Plane:
    """Name a plane as short as possible: an int unless several axes are sliced."""
    return (index or (0,))[0] if len(index) <= 1 else index


def view_plane(dims: Dims, image_layer: Image) -> ViewPlane:
    """Find the plane of an image that a viewer shows.

    Parameters
    ----------
    dims : napari.components.Dims
        ``viewer.dims``; of any order, also with more axes than the image.
    image_layer : napari.layers.Image
        With any scale, translation, rotation, shear and affine that keep its planes
        parallel to the displayed ones.

    Returns
    -------
    ViewPlane

    Raises
    ------
    ValueError
        If the viewer shows a volume, the image is rotated or sheared out of the
        displayed plane, or the viewer is before its first or behind its last plane.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.components import ViewerModel
    >>> viewer = ViewerModel()
    >>> image = viewer.add_image(np.zeros((9, 64, 64)), scale=(2, 1, 1))
    >>> viewer.dims.set_point(0, 10)  # in the world
    >>> view_plane(viewer.dims, image).plane
    5
    >>> viewer.dims.order = (1, 0, 2)
    >>> view_plane(viewer.dims, image).plane_axes
    (0, 2)
    """
    if dims.ndisplay != 2:
        raise ValueError(
            f"dims must show 2 axes, got {dims.ndisplay}: switch the viewer to 2D."
        )
    # As napari does it: of the viewer's axes the last ones are the layer's.
    extra = dims.ndim - image_layer.ndim
    order = [*range(-extra), *(axis - extra for axis in dims.order if axis >= extra)]
    rows, columns = order[-2:]
    units = getattr(dims, "units", None)
    _check_parallel(image_layer, (rows, columns), units)
    view = ViewPlane((rows, columns), (0,) * (len(order) - 2), tuple(dims.point), units)
    here = _to_data(image_layer, _world_of(view, 1, image_layer.ndim), units)[0]
    index = _nearest(here[list(view.sliced_axes)])
    shape = image_shape(image_layer)
    for axis, position in zip(view.sliced_axes, index, strict=True):
        if not 0 <= position < shape[axis]:
            raise ValueError(
                f"the viewer shows no plane of {image_layer.name!r}: axis {axis} has "
                f"planes 0 to {shape[axis] - 1}, and the viewer is at {position}."
            )
    return ViewPlane(view.plane_axes, index, view.point, units)


def _nearest(position: NDArray[np.float64]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.rint(np.nan_to_num(position)))


def image_shape(image_layer: Layer) -> tuple[int, ...]:
    """Shape of a layer's full-resolution data without colour."""
    data = image_layer.data[0] if image_layer.multiscale else image_layer.data
    return tuple(int(n) for n in data.shape[: image_layer.ndim])


def _check_parallel(
    image_layer: Image, plane_axes: tuple[int, int], units: Sequence[Any] | None
) -> None:
    """Refuse an image whose planes are not those that napari cuts out of the world."""
    linear = world_matrix(image_layer, units)[:-1, :-1]
    is_shown = np.isin(np.arange(len(linear)), plane_axes)
    kept = np.where(is_shown[:, None] == is_shown, linear, 0)
    try:
        # How far voxels move, in voxels, if displayed and sliced axes are not mixed.
        drift = np.abs(np.linalg.solve(kept, linear - kept)) @ image_shape(image_layer)
    except np.linalg.LinAlgError:
        drift = np.array([np.inf])
    if not drift.max() < GRID_TOLERANCE:
        raise ValueError(
            f"image {image_layer.name!r} is rotated or sheared out of the displayed "
            "plane: choose other axes to display, or reset its rotation and affine."
        )


def world_matrix(layer: Layer, units: Sequence[Any] | None) -> NDArray[np.float64]:
    """Affine matrix (D + 1, D + 1) from a layer's data to the world.

    Parameters
    ----------
    layer : napari.layers.Layer
        Its scale, shear, rotation and translation are applied first, then its affine.
    units : sequence of pint.Unit, optional
        Units of the world, along the last axes; the layer's own ones by default.
    """
    own = Affine(
        scale=layer.scale,
        translate=layer.translate,
        rotate=layer.rotate,
        shear=layer.shear,
    )
    matrix: NDArray[np.float64] = layer.affine.affine_matrix @ own.affine_matrix
    if units is not None and len(units) >= layer.ndim:
        pairs = zip(layer.units, units[-layer.ndim :], strict=True)
        matrix[:-1] *= [[_factor(own, world)] for own, world in pairs]
    return matrix


def _factor(unit: Any, world: Any) -> float:
    if unit == world or unit.dimensionality != world.dimensionality:
        return 1.0
    return float((1 * unit).to(world).magnitude)


def _world_of(view: ViewPlane, count: int, ndim: int) -> NDArray[np.float64]:
    """(count, ndim) world coordinates, all of them where the viewer is."""
    point = np.zeros(max(ndim, len(view.point)))
    point[len(point) - len(view.point) :] = view.point
    return np.tile(point[len(point) - ndim :], (count, 1))


def _to_data(
    layer: Layer, world: NDArray[np.float64], units: Sequence[Any] | None
) -> NDArray[np.float64]:
    matrix = np.linalg.inv(world_matrix(layer, units))
    return np.asarray(world @ matrix[:-1, :-1].T + matrix[:-1, -1])


def convert(
    coordinates: NDArray[np.float64], source: Layer, target: Layer, view: ViewPlane
) -> NDArray[np.float64]:
    """Turn data coordinates of one layer into those of another.

    Parameters
    ----------
    coordinates : ndarray of shape (N, D)
        In `source`. NaN marks, also in the result, what is not shown at all.
    source, target : napari.layers.Layer
        Along axes that only `target` has, `source` lies where the viewer is. Along
        axes that only `source` has, what is farther than half a plane from where the
        viewer is, is not shown.
    view : ViewPlane
        Where the viewer is.

    Returns
    -------
    ndarray of shape (N, target.ndim)
    """
    matrix = world_matrix(source, view.units)
    if source.ndim == target.ndim and np.array_equal(
        matrix, world_matrix(target, view.units)
    ):
        return coordinates  # exactly: to the world and back would round
    extra = max(source.ndim - target.ndim, 0)
    world = _world_of(view, len(coordinates), max(source.ndim, target.ndim))
    moved = coordinates @ matrix[:-1, :-1].T + matrix[:-1, -1]
    away = moved - world[:, -source.ndim :]
    world[:, -source.ndim :] = moved
    result = _to_data(target, world[:, -target.ndim :], view.units)
    away[:, extra:] = 0
    steps = np.linalg.solve(matrix[:-1, :-1], away.T).T[:, :extra]
    result[~(np.abs(steps) <= 0.5).all(axis=1)] = np.nan
    return result


def is_same_grid(layer: Layer, image_layer: Layer, view: ViewPlane) -> bool:
    """Whether the voxels of a layer are those of an image, in shape and place.

    Parameters
    ----------
    layer, image_layer : napari.layers.Layer
        Image or Labels layers.
    view : ViewPlane
        Of it only the units count.
    """
    shape = image_shape(image_layer)
    if image_shape(layer) != shape:
        return False
    place, other = (world_matrix(one, view.units) for one in (layer, image_layer))
    drift = np.linalg.solve(other, place) - np.eye(len(place))
    moved = np.abs(drift[:-1]) @ (*shape, 1)
    return bool(moved.max() < GRID_TOLERANCE)
