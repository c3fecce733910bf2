"""The part of `Session` that segments everything, without prompts."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sam import automatic
from napari_sam._automatic_options import AutomaticOptions
from napari_sam._candidates import Candidates
from napari_sam._linking import link_planes
from napari_sam._regions import check_labels, check_region
from napari_sam._stack_along import StackAlong, StackImage
from napari_sam.predictor import Predictor
from napari_sam.sharpening import LARGE_PLANE, SharpOptions
from napari_sam.stack_axes import StackAxes
from napari_sam.types import ImageEmbedding, Plane, Prediction, Prompts, Window

DEFAULT_OPTIONS = AutomaticOptions()


class _Image(Protocol):
    """What a session offers, as far as automatic masks need it."""

    predictor: Predictor
    sharp: SharpOptions

    @property
    def plane_size(self) -> tuple[int, int]: ...
    @property
    def is_large(self) -> bool: ...
    @property
    def axes(self) -> StackAxes: ...
    @property
    def stack_shape(self) -> tuple[int, ...]: ...
    def pixels(
        self, plane: Plane | None = None, window: Window | None = None
    ) -> NDArray[np.uint8]: ...
    def segment(self, prompts: Prompts, plane: Plane | None = None) -> Prediction: ...
    def check_plane(self, plane: Plane | None) -> tuple[int, ...]: ...
    def cut(self, plane_axes: Sequence[int]) -> StackImage: ...
    def read_plane(self, plane: Plane | None = None) -> NDArray[Any]: ...
    def embed(
        self, plane: Plane | None = None, window: Window | None = None
    ) -> ImageEmbedding: ...
    def iter_candidates(
        self,
        plane: Plane | None = None,
        options: AutomaticOptions = DEFAULT_OPTIONS,
        region: ArrayLike | None = None,
        labels: ArrayLike | None = None,
    ) -> Generator[tuple[float, Candidates], None, None]: ...
    def find_candidates(
        self,
        plane: Plane | None = None,
        options: AutomaticOptions = DEFAULT_OPTIONS,
        region: ArrayLike | None = None,
        labels: ArrayLike | None = None,
    ) -> Candidates: ...
    def generate_masks(
        self,
        plane: Plane | None = None,
        options: AutomaticOptions = DEFAULT_OPTIONS,
    ) -> NDArray[Any]: ...


class AutomaticMethods:
    """Methods of `Session` for everything in a plane or a stack."""

    def iter_candidates(
        self: _Image,
        plane: Plane | None = None,
        options: AutomaticOptions = DEFAULT_OPTIONS,
        region: ArrayLike | None = None,
        labels: ArrayLike | None = None,
    ) -> Generator[tuple[float, Candidates], None, None]:
        """Look for masks in a plane, a few points in each step.

        Parameters
        ----------
        plane : int or tuple of int
            As in `segment`.
        options : AutomaticOptions, optional
        region : ndarray of shape (H, W), bool, or array_like of shape (N, 2), optional
            Where to look: a mask, or the corners (row, column) of a polygon.
        labels : ndarray of shape (H, W), int, optional
            What is labelled already (not 0): it is left alone.

        Yields
        ------
        tuple of float and Candidates
            How much is done, 0 to 1, and what this step has found. The first step has
            found nothing; `Candidates.join` puts them together, `Candidates.select`
            chooses among them. Closing the generator stops the work.

        Raises
        ------
        ValueError
            At once, if there is no such plane, it is too large to be read as a whole,
            or the region or the labels do not fit it.
        """
        index = self.check_plane(plane)
        if self.is_large:
            rows, columns = self.plane_size
            raise ValueError(
                f"image must have planes of at most {LARGE_PLANE} pixels to be looked "
                f"at as a whole, got {rows} x {columns}: use label_tiles."
            )
        where = _where_to_look(self.plane_size, region, labels)
        at = index if index else None
        return _search(self, at, options, where)

    def find_candidates(
        self: _Image,
        plane: Plane | None = None,
        options: AutomaticOptions = DEFAULT_OPTIONS,
        region: ArrayLike | None = None,
        labels: ArrayLike | None = None,
    ) -> Candidates:
        """Look for masks in a plane: `iter_candidates`, collected.

        Parameters
        ----------
        plane, options, region, labels
            As in `iter_candidates`. With lower thresholds in the options there is more
            for `Candidates.select` to choose from.

        Returns
        -------
        Candidates
            Before the choice among them.

        Raises
        ------
        ValueError
            As `iter_candidates`.
        """
        steps = self.iter_candidates(plane, options, region, labels)
        return Candidates.join([found for _, found in steps])

    def generate_masks(
        self: _Image,
        plane: Plane | None = None,
        options: AutomaticOptions = DEFAULT_OPTIONS,
        region: ArrayLike | None = None,
        labels: ArrayLike | None = None,
    ) -> NDArray[Any]:
        """Segment everything in a plane.

        Parameters
        ----------
        plane, options, region, labels
            As in `iter_candidates`.

        Returns
        -------
        ndarray of shape (H, W)
            A label image, 0 is background; the smallest unsigned integers that hold
            it. With `labels`, the new objects alone, numbered from the highest label
            on, and nothing where there is a label already.

        Raises
        ------
        ValueError
            As `iter_candidates`.

        Examples
        --------
        >>> import napari_sam as ns
        >>> from skimage.data import coins
        >>> session = ns.Session(coins(), ns.load_model("mobile_sam"))
        >>> labels = session.generate_masks(options=ns.AutomaticOptions(4))
        >>> labels.shape
        (303, 384)
        """
        known = None if labels is None else check_labels(labels, self.plane_size)
        found = self.find_candidates(plane, options, region, known).select()
        if known is None:
            return found.label_image()
        painted = found.label_image(first=int(known.max(initial=0)) + 1)
        painted[known != 0] = 0
        return painted

    def generate_masks_planes(
        self: _Image,
        planes: Iterable[Plane] | None = None,
        options: AutomaticOptions = DEFAULT_OPTIONS,
    ) -> Generator[tuple[Plane, NDArray[Any]], None, None]:
        """Segment everything in a stack, a plane a step, objects linked across planes.

        Parameters
        ----------
        planes : iterable of int or tuple of int, optional
            All by default. With several sliced axes they must be given, and differ
            along one of them only.
        options : AutomaticOptions, optional
            `link_overlap`, `link_gap` and `min_planes` say how objects are linked.

        Yields
        ------
        tuple of plane and ndarray of shape (H, W), int64
            Each plane once, in order along the axis; final. A label is the same object
            in all planes. A few planes are read ahead, to know what goes on there.
            Closing the generator stops the work.

        Raises
        ------
        ValueError
            At once, if there is no such plane, or planes differ along several axes.
        """
        stack, positions = stack_of(self, planes)
        return _linked(self, [stack.plane(at) for at in positions], options)

    def generate_masks_volume(
        self: _Image,
        planes: Iterable[Plane] | None = None,
        options: AutomaticOptions = DEFAULT_OPTIONS,
    ) -> NDArray[Any]:
        """Segment everything in a stack: `generate_masks_planes`, collected.

        Parameters
        ----------
        planes, options
            As in `generate_masks_planes`.

        Returns
        -------
        ndarray of shape (Z, Y, X)
            A label volume of the whole stack, 0 where no plane was asked for; axes in
            the image's order. The smallest unsigned integers that hold it.

        Raises
        ------
        ValueError
            As `generate_masks_planes`.
        """
        stack, positions = stack_of(self, planes)
        indices = [stack.plane(at) for at in positions]
        volume = stack.empty(np.uint16)
        steps = _linked(self, indices, options)
        for position, (_, labels) in zip(positions, steps, strict=True):
            if labels.max(initial=0) > np.iinfo(volume.dtype).max:
                volume = volume.astype(np.uint32)
            stack.put(volume, position, labels)
        return volume.astype(np.min_scalar_type(volume.max(initial=0)), copy=False)


def stack_of(
    image: _Image, planes: Iterable[Plane] | None
) -> tuple[StackAlong, list[int]]:
    """Stack that planes belong to, and where they are in it, in order."""
    count = len(image.stack_shape)
    if count == 0:
        raise ValueError("image must be a stack, it is one plane: use generate_masks.")
    if planes is None and count > 1:
        raise ValueError(
            f"planes must be given, along one of the image's {count} sliced axes."
        )
    chosen = range(image.stack_shape[0]) if planes is None else planes
    indices = np.array([image.check_plane(plane) for plane in chosen])
    if len(indices) == 0:
        raise ValueError("planes must be at least one, got none.")
    differ = np.flatnonzero(np.ptp(indices, axis=0))
    if len(differ) > 1:
        raise ValueError("planes must differ along one sliced axis only.")
    along = int(differ[0]) if len(differ) else 0
    stack = StackAlong(image, along, tuple(indices[0].tolist()))
    return stack, np.unique(indices[:, along]).tolist()


def _linked(
    image: _Image, planes: list[Plane], options: AutomaticOptions
) -> Generator[tuple[Plane, NDArray[Any]], None, None]:
    # No object can be in more planes than there are.
    options = replace(options, min_planes=min(options.min_planes, len(planes)))
    found = (image.generate_masks(plane, options) for plane in planes)
    yield from zip(planes, link_planes(found, options), strict=True)


def _where_to_look(
    size: tuple[int, int], region: ArrayLike | None, labels: ArrayLike | None
) -> NDArray[np.bool_] | None:
    where = None if region is None else check_region(region, size)
    if labels is None:
        return where
    free: NDArray[np.bool_] = check_labels(labels, size) == 0
    return free if where is None else where & free


def _search(
    image: _Image,
    plane: Plane | None,
    options: AutomaticOptions,
    region: NDArray[np.bool_] | None,
) -> Generator[tuple[float, Candidates], None, None]:
    def embed(window: Window | None) -> ImageEmbedding:
        return image.embed(plane, window)

    values = image.read_plane(plane)
    for done, found in automatic.iter_candidates(
        image.predictor, embed, values, options, region
    ):
        yield done, found if region is None else found.inside(region)
