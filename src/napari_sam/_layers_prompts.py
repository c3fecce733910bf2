"""Points, Shapes and Labels layers as prompts in (row, column) of a plane."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._layers_features import object_features
from napari_sam._layers_shapes import fill, innermost, outline, spread
from napari_sam._layers_view import convert, image_shape, is_same_grid, plane_name
from napari_sam._mask_boxes import tight_box
from napari_sam.types import Plane, Prompts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from napari.layers import Image, Labels, Layer, Points, Shapes
    from numpy.typing import NDArray

    from napari_sam._layers_view import ViewPlane


@dataclass(frozen=True, eq=False)
class ObjectPrompts:
    """What layers say about one object in one plane.

    A mask is kept in the pixels of the plane; `to_prompts` turns it into the decoder's
    logits, which takes longer and needs torch, and so is left to the worker.

    Parameters
    ----------
    prompts : Prompts
        Points and box, without `mask_logits`.
    mask : ndarray of shape (H, W), bool, optional
        Where the object is, in the pixels of the plane.
    """

    prompts: Prompts
    mask: NDArray[np.bool_] | None = None

    @property
    def has_foreground(self) -> bool:
        """Whether there is more than background points."""
        has_area = self.prompts.box is not None or self.mask is not None
        return has_area or bool(self.prompts.point_labels.any())

    def to_prompts(self) -> Prompts:
        """Return the prompts as `Session.segment` takes them."""
        if self.mask is None:
            return self.prompts
        from napari_sam.transforms import mask_to_logits

        points, labels = self.prompts.points, self.prompts.point_labels
        return Prompts(points, labels, self.prompts.box, mask_to_logits(self.mask))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ObjectPrompts):
            return NotImplemented
        if (self.mask is None) != (other.mask is None):
            return False
        same_mask = self.mask is None or np.array_equal(self.mask, other.mask)  # type: ignore[arg-type]
        return same_mask and self.prompts == other.prompts

    def __hash__(self) -> int:
        return hash(self.prompts)


@dataclass(frozen=True)
class PromptLayers:
    """Where prompts are read from; each layer may be absent, empty or 2D.

    Parameters
    ----------
    points : napari.layers.Points, optional
        Points that are not shown (``Points.shown``) do not count.
    shapes : napari.layers.Shapes, optional
    labels : napari.layers.Labels, optional
        Each label is a prompt for the object of its number.
    label_ids : collection of int, optional
        The labels of `labels` that count; all of them by default.
    """

    points: Points | None = None
    shapes: Shapes | None = None
    labels: Labels | None = None
    label_ids: Collection[int] | None = None


@dataclass
class _Parts:
    """Prompts of one object in one plane while they are gathered."""

    points: list[NDArray[np.float64]] = field(default_factory=list)
    signs: list[bool] = field(default_factory=list)
    boxes: list[NDArray[np.float64]] = field(default_factory=list)
    masks: list[NDArray[np.bool_]] = field(default_factory=list)
    holes: list[NDArray[np.bool_]] = field(default_factory=list)

    def add_points(self, points: Iterable[NDArray[np.float64]], sign: bool) -> None:
        for point in points:
            self.points.append(point)
            self.signs.append(sign)

    def combined(self) -> ObjectPrompts | None:
        """One prompt of all; SAM takes one box, which encloses all areas."""
        mask = np.logical_or.reduce(self.masks) if self.masks else None
        if mask is not None:
            for hole in self.holes:
                mask = mask & ~hole
            mask = mask if mask.any() else None
        boxes = self.boxes
        if mask is not None:
            boxes = [*boxes, np.array(tight_box(mask), float)]
        box = None
        if boxes:
            edges = np.stack(boxes)
            box = [*edges[:, :2].min(axis=0), *edges[:, 2:].max(axis=0)]
        prompts = Prompts(self.points or None, self.signs, box)
        return None if prompts.is_empty else ObjectPrompts(prompts, mask)


def prompts_from_layers(
    image_layer: Image, view: ViewPlane, layers: PromptLayers
) -> dict[int, ObjectPrompts]:
    """Read the prompts of the displayed plane.

    Layers may have other transforms than the image. A prompt belongs to the plane
    nearest to it, at most half a plane away; prompts on other planes do not count. A
    prompt without a position along a sliced axis (a 2D layer on a stack), lies in the
    displayed plane.

    - Point: a point. Points outside the image and NaN do not count.
    - Rectangle: a box (if it is turned against the pixels, the box around it). SAM
      takes one box: that around all boxes and masks of the object.
    - Ellipse, polygon: a mask, and the box around it. With label "background": not part
      of the mask, and a background point where it is widest. This goes for rectangles,
      too.
    - Path, line: up to 8 points along it.
    - Label of a Labels layer: a mask, and the box around it.

    Parameters
    ----------
    image_layer : napari.layers.Image
    view : ViewPlane
        From `view_plane`.
    layers : PromptLayers

    Returns
    -------
    dict of int to ObjectPrompts
        By number of the object, in order.

    Raises
    ------
    ValueError
        If a ``label`` or ``object`` is not as above, or a layer lacks an axis that is
        displayed.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.components import ViewerModel
    >>> from napari_sam._layers_view import view_plane
    >>> viewer = ViewerModel()
    >>> image = viewer.add_image(np.zeros((9, 64, 64)), scale=(2, 0.5, 0.5))
    >>> points = viewer.add_points([[8, 10, 20], [4, 5, 6]])  # in the world
    >>> viewer.dims.set_point(0, 8)
    >>> view = view_plane(viewer.dims, image)
    >>> prompts_from_layers(image, view, PromptLayers(points))[1].prompts.points
    array([[20., 40.]])
    """
    parts = _gather(image_layer, view, layers, [view.index])
    found = ((key[0], part.combined()) for key, part in sorted(parts.items()))
    return {number: prompts for number, prompts in found if prompts is not None}


def seeds_from_layers(
    image_layer: Image,
    view: ViewPlane,
    layers: PromptLayers,
    planes: Collection[tuple[int, ...]] | None = None,
) -> dict[int, dict[Plane, ObjectPrompts]]:
    """Read the prompts of all planes that are parallel to the displayed one.

    Parameters
    ----------
    image_layer, view, layers
        As in `prompts_from_layers`. A Labels layer is read plane by plane.
    planes : collection of tuple of int, optional
        Index along each of ``view.sliced_axes`` of the planes that count; all planes
        by default.

    Returns
    -------
    dict of int to dict
        By number of the object and by plane: an int for one sliced axis, a tuple for
        more, 0 in 2D.

    Raises
    ------
    ValueError
        As `prompts_from_layers`.
    """
    if planes is None:
        shape = image_shape(image_layer)
        planes = list(np.ndindex(*(shape[axis] for axis in view.sliced_axes)))
    seeds: dict[int, dict[Plane, ObjectPrompts]] = {}
    for key, part in sorted(_gather(image_layer, view, layers, planes).items()):
        prompts = part.combined()
        if prompts is not None:
            seeds.setdefault(key[0], {})[plane_name(key[1])] = prompts
    return seeds


_Gathered = dict[tuple[int, tuple[int, ...]], _Parts]


def _gather(
    image_layer: Image,
    view: ViewPlane,
    layers: PromptLayers,
    planes: Collection[tuple[int, ...]],
) -> _Gathered:
    wanted = frozenset(planes)
    parts: _Gathered = {}
    for layer in (layers.points, layers.shapes, layers.labels):
        if layer is not None:
            _check_axes(layer, image_layer, view)
    reader = _PlaneReader(image_layer, view)
    if layers.points is not None:
        for number, sign, plane, point in reader.points(layers.points):
            if plane in wanted:
                parts.setdefault((number, plane), _Parts()).add_points([point], sign)
    if layers.shapes is not None:
        for number, sign, plane, shape in reader.shapes(layers.shapes):
            if plane in wanted:
                part = parts.setdefault((number, plane), _Parts())
                reader.add_shape(part, *shape, sign)
    if layers.labels is not None:
        for plane in planes:
            pixels = reader.labels(layers.labels, plane)
            for number in _numbers(pixels, layers.label_ids):
                part = parts.setdefault((number, plane), _Parts())
                part.masks.append(pixels == number)
    return parts


def _check_axes(layer: Layer, image_layer: Image, view: ViewPlane) -> None:
    missing = image_layer.ndim - layer.ndim
    if any(axis < missing for axis in view.plane_axes):
        raise ValueError(
            f"layer {layer.name!r} must have the axes that are displayed of "
            f"{image_layer.name!r}, which has {image_layer.ndim}, got {layer.ndim}."
        )


def _numbers(pixels: NDArray[Any], chosen: Collection[int] | None) -> list[int]:
    """Labels in a plane; if some are chosen, no need to sort the pixels."""
    if chosen is not None:
        return [number for number in chosen if number > 0 and (pixels == number).any()]
    return [int(number) for number in np.unique(pixels) if number > 0]


@dataclass(frozen=True)
class _PlaneReader:
    """Prompt layers, seen from the planes of one image."""

    image_layer: Image
    view: ViewPlane

    @property
    def plane_size(self) -> tuple[int, int]:
        shape = image_shape(self.image_layer)
        rows, columns = self.view.plane_axes
        return shape[rows], shape[columns]

    def points(
        self, layer: Points
    ) -> Iterator[tuple[int, bool, tuple[int, ...], NDArray[np.float64]]]:
        """Object, sign, plane and (row, column) of each point that counts."""
        data = np.asarray(layer.data, dtype=np.float64).reshape(-1, layer.ndim)
        numbers, signs = object_features(layer, len(data))
        inside, planes, points = self._placed(data, layer)
        for i in np.flatnonzero(inside & self._contains(points) & layer.shown):
            yield numbers[i], signs[i], tuple(planes[i].tolist()), points[i]

    def shapes(
        self, layer: Shapes
    ) -> Iterator[tuple[int, bool, tuple[int, ...], tuple[str, NDArray[np.float64]]]]:
        """Object, sign, plane, and type and outline (N, 2), of each planar shape."""
        numbers, signs = object_features(layer, len(layer.data))
        for i, (corners, kind) in enumerate(
            zip(layer.data, layer.shape_type, strict=True)
        ):
            vertices = outline(np.asarray(corners, dtype=np.float64), kind)
            inside, planes, points = self._placed(vertices, layer)
            # Drawn across planes, in another view: it is no shape of this one.
            if inside.all() and (planes == planes[0]).all():
                plane = tuple(planes[0].tolist())
                yield numbers[i], signs[i], plane, (kind, points)

    def add_shape(
        self, part: _Parts, kind: str, points: NDArray[np.float64], sign: bool
    ) -> None:
        """Add what a shape means; one that lies outside the image means nothing."""
        size = self.plane_size
        if kind in ("path", "line"):
            along = spread(points)
            part.add_points(along[self._contains(along)], sign)
        elif kind == "rectangle" and sign:
            # Edges of pixels are half a pixel before their centres.
            box = np.concatenate([points.min(axis=0), points.max(axis=0)]) + 0.5
            box = np.clip(box, 0, (*size, *size))
            if (box[:2] < box[2:]).all():
                part.boxes.append(box)
        else:
            mask = fill(points, size)
            if mask.any():
                (part.masks if sign else part.holes).append(mask)
                part.add_points([] if sign else [innermost(mask)], sign)

    def labels(self, layer: Labels, plane: tuple[int, ...]) -> NDArray[Any]:
        """(H, W) labels at the pixels of a plane of the image."""
        data = layer.data[0] if layer.multiscale else layer.data
        if is_same_grid(layer, self.image_layer, self.view):
            return self.view.read(data, plane)
        at = np.empty((*self.plane_size, self.image_layer.ndim))
        rows, columns = self.view.plane_axes
        at[..., rows], at[..., columns] = np.indices(self.plane_size)
        at[..., list(self.view.sliced_axes)] = plane
        flat = at.reshape(-1, self.image_layer.ndim)
        there = np.rint(convert(flat, self.image_layer, layer, self.view))
        return _sampled(data, there).reshape(self.plane_size)

    def _placed(
        self, coordinates: NDArray[np.float64], layer: Layer
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.float64]]:
        """Whether points lie in the stack (N,), and their planes and places there."""
        there = convert(coordinates, layer, self.image_layer, self.view)
        finite = np.asarray(np.isfinite(there).all(axis=1))
        there = np.where(finite[:, None], there, -1e9)
        planes = np.rint(there[:, list(self.view.sliced_axes)])
        lengths = [image_shape(self.image_layer)[i] for i in self.view.sliced_axes]
        inside = finite & np.all((planes >= 0) & (planes < lengths), axis=1)
        planes[~inside] = 0
        return inside, planes.astype(np.int64), there[:, list(self.view.plane_axes)]

    def _contains(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        last = np.array(self.plane_size) - 0.5
        return np.asarray(np.all((points >= -0.5) & (points <= last), axis=1))


def _sampled(data: Any, positions: NDArray[np.float64]) -> NDArray[Any]:
    """Values at positions (N, D), 0 outside; reads the part of `data` around them."""
    values = np.zeros(len(positions), dtype=np.dtype(data.dtype))
    with np.errstate(invalid="ignore"):
        inside = ((positions >= 0) & (positions < data.shape)).all(axis=1)
    if inside.any():
        where = positions[inside].astype(np.int64)
        start, stop = where.min(axis=0), where.max(axis=0) + 1
        part = np.asarray(data[tuple(map(slice, start.tolist(), stop.tolist()))])
        values[inside] = part[tuple((where - start).T)]
    return values
