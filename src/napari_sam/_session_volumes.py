"""The part of `Session` that follows objects through a stack."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_sam import _window_stacks, propagation
from napari_sam._consensus import (
    Sliceable,
    Slicing,
    agreed,
    check_nearly_isotropic,
)
from napari_sam.predictor import Predictor
from napari_sam.propagation import PropagationOptions, Seed
from napari_sam.sharpening import SharpOptions
from napari_sam.stack_axes import StackAxes
from napari_sam.types import ImageEmbedding, Plane, Prediction, Prompts, Window

DEFAULT_OPTIONS = PropagationOptions()


class _Image(Protocol):
    """What a session offers, as far as volumes need it."""

    predictor: Predictor
    sharp: SharpOptions

    @property
    def axes(self) -> StackAxes: ...
    @property
    def plane_size(self) -> tuple[int, int]: ...
    @property
    def stack_shape(self) -> tuple[int, ...]: ...
    def check_plane(self, plane: Plane | None) -> tuple[int, ...]: ...
    def pixels(
        self, plane: Plane | None = None, window: Window | None = None
    ) -> NDArray[np.uint8]: ...
    def embed(
        self, plane: Plane | None = None, window: Window | None = None
    ) -> ImageEmbedding: ...
    def segment(self, prompts: Prompts, plane: Plane | None = None) -> Prediction: ...


class _SliceableImage(_Image, Sliceable, Protocol):
    """The same, along any axis."""


@dataclass(frozen=True, eq=False)
class StackAlong:
    """Planes of an image along one of its sliced axes, the others being fixed."""

    image: _Image
    along: int
    fixed: tuple[int, ...]

    @property
    def predictor(self) -> Predictor:
        return self.image.predictor

    @property
    def plane_size(self) -> tuple[int, int]:
        return self.image.plane_size

    def __len__(self) -> int:
        return self.image.stack_shape[self.along]

    def plane(self, position: int) -> Plane:
        """Index of a plane as `Session.segment` takes it."""
        index = list(self.fixed)
        index[self.along] = position
        return index[0] if len(index) == 1 else tuple(index)

    def pixels(self, plane: int, window: Window | None = None) -> NDArray[np.uint8]:
        return self.image.pixels(self.plane(plane), window)

    def embed(self, plane: int, window: Window | None = None) -> ImageEmbedding:
        return self.image.embed(self.plane(plane), window)

    def segment(self, prompts: Prompts, plane: int) -> Prediction:
        return self.image.segment(prompts, self.plane(plane))

    def follow(
        self,
        seeds: dict[int, dict[int, Seed]],
        planes: list[int],
        options: PropagationOptions,
    ) -> Iterator[tuple[int, dict[int, Prediction]]]:
        """Follow objects, small ones in windows if the image's `sharp` says so."""
        sharp = self.image.sharp
        return _window_stacks.propagate(self, seeds, planes, options, sharp)

    def follow_labels(
        self,
        seeds: dict[int, dict[int, Seed]],
        planes: list[int],
        options: PropagationOptions,
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """`follow`, each plane as one label image."""
        sharp = self.image.sharp
        return _window_stacks.propagate_labels(self, seeds, planes, options, sharp)

    def positions(self, planes: Iterable[Plane] | None) -> list[int]:
        """Positions along the axis; all if none are given."""
        if planes is None:
            return list(range(len(self)))
        return [
            self.image.check_plane(p if isinstance(p, tuple) else self.plane(p))[
                self.along
            ]
            for p in planes
        ]

    def empty(self, dtype: Any) -> NDArray[Any]:
        """Zeros of the stack's shape, in the order of the image's axes."""
        lengths = dict(zip(self.image.axes.plane, self.plane_size, strict=True))
        lengths[self.image.axes.sliced[self.along]] = len(self)
        return np.zeros([lengths[axis] for axis in sorted(lengths)], dtype)

    def put(self, volume: NDArray[Any], plane: int, values: NDArray[Any]) -> None:
        """Write one plane into an array of `empty`."""
        rows, columns = self.image.axes.plane
        axis = self.image.axes.sliced[self.along]
        where = sorted((rows, columns, axis)).index(axis)
        upright = values.T if rows > columns else values
        volume[(slice(None),) * where + (plane,)] = upright


def _stack(
    image: _Image, seeds: Mapping[int, Mapping[Plane, Seed]], along: int
) -> tuple[StackAlong, dict[int, dict[int, Seed]]]:
    """Check seeds of all objects; returns the stack and seeds by position in it."""
    shape = image.stack_shape
    is_axis = isinstance(along, (int, np.integer)) and not isinstance(along, bool)
    if not shape or not is_axis or not 0 <= along < len(shape):
        raise ValueError(
            f"along must be one of the image's {len(shape)} sliced axes, got {along!r}."
        )
    _window_stacks.check_plane_size(image.plane_size, image.sharp)
    if not isinstance(seeds, Mapping) or not seeds:
        raise ValueError("seeds must be a dict of at least one object.")
    rest: set[tuple[int, ...]] = set()
    found: dict[int, dict[int, Seed]] = {}
    for key, one in seeds.items():
        if not isinstance(one, Mapping) or not one:
            raise ValueError(
                "seeds must be a dict of plane to prompts or mask, not empty."
            )
        index = {plane: image.check_plane(plane) for plane in one}
        rest |= {i[:along] + i[along + 1 :] for i in index.values()}
        found[key] = {index[plane][along]: seed for plane, seed in one.items()}
        propagation.check_seeds(found[key], shape[along], image.plane_size)
    if len(rest) > 1:
        raise ValueError(
            f"seeds must differ along sliced axis {along} only, got {sorted(rest)} "
            "along the others."
        )
    (others,) = rest
    return StackAlong(image, along, (*others[:along], 0, *others[along:])), found


class VolumeMethods:
    """Methods of `Session` for whole stacks."""

    def propagate(
        self: _Image,
        seeds: Mapping[Plane, Seed],
        along: int = 0,
        planes: Iterable[Plane] | None = None,
        options: PropagationOptions = DEFAULT_OPTIONS,
    ) -> Generator[Prediction, None, None]:
        """Follow one object through a stack, a plane a step.

        Parameters
        ----------
        seeds : dict of plane to Prompts, Prediction or bool ndarray (H, W)
            The object in one or several planes; a plane is named as in `segment`. A
            mask is taken exactly as it is. An empty mask, or negative points alone, say
            that the object is not there: it is not followed across that plane.
        along : int
            Which of the sliced axes to follow, if there are several; 0 is the first.
            Seeds must agree in the others.
        planes : iterable of int or tuple of int, optional
            Planes to return, by position along the axis or as in `segment`; all by
            default.
        options : PropagationOptions, optional

        Yields
        ------
        Prediction
            One for each plane, with one mask, which is empty where the object is not;
            `plane` says which. Seed planes come first, then upwards, downwards, and
            last those without the object. The score is the predicted IoU times the
            agreement with the neighbouring planes. Closing the generator stops the
            work; what was yielded is final.

        Raises
        ------
        ValueError
            At once, if there are no seeds, or none shows the object; a plane, prompt or
            mask does not fit the image; or it has no such axis.
        """
        stack, found = _stack(self, {1: seeds}, along)
        wanted = stack.positions(planes)
        return _single(stack, found, wanted, options)

    def segment_volume(
        self: _SliceableImage,
        seeds: Mapping[Plane, Seed],
        along: int = 0,
        options: PropagationOptions = DEFAULT_OPTIONS,
        consensus: bool = False,
    ) -> NDArray[np.bool_]:
        """Segment one object in a whole stack: `propagate`, collected.

        Parameters
        ----------
        seeds, along, options
            As in `propagate`.
        consensus : bool
            As in `segment_objects`.

        Returns
        -------
        ndarray of shape (Z, Y, X), bool
            The image's axes in their order, without colour and without the sliced axes
            other than `along`.

        Raises
        ------
        ValueError
            As `propagate`; or as `segment_objects` of a consensus.
        """
        if consensus:
            labels = self.segment_objects({1: seeds}, along, options, consensus)
            return labels.astype(np.bool_)
        stack, found = _stack(self, {1: seeds}, along)
        volume = stack.empty(np.bool_)
        every = stack.positions(None)
        for plane, objects in stack.follow(found, every, options):
            for prediction in objects.values():
                stack.put(volume, plane, prediction.best)
        return volume

    def propagate_objects(
        self: _Image,
        seeds: Mapping[int, Mapping[Plane, Seed]],
        along: int = 0,
        planes: Iterable[Plane] | None = None,
        options: PropagationOptions = DEFAULT_OPTIONS,
    ) -> Generator[tuple[Plane, NDArray[Any]], None, None]:
        """Follow many objects through a stack together, a plane a step.

        Objects share each plane's embedding and are decoded as a batch. Where they
        overlap, the one with the higher logits gets the pixel.

        Parameters
        ----------
        seeds : dict of object id to {plane: seed}
            Ids are 1 or more; seeds as in `propagate`.
        along, planes, options
            As in `propagate`.

        Yields
        ------
        tuple of plane and ndarray of shape (H, W), int64
            Each plane once, with the ids of its objects; 0 is background.

        Raises
        ------
        ValueError
            At once, as `propagate`, or if an id is no whole number from 1.
        """
        _check_ids(seeds)
        stack, found = _stack(self, seeds, along)
        wanted = stack.positions(planes)
        return _labelled(stack, found, wanted, options)

    def propagate_predictions(
        self: _Image,
        seeds: Mapping[int, Mapping[Plane, Seed]],
        along: int = 0,
        planes: Iterable[Plane] | None = None,
        options: PropagationOptions = DEFAULT_OPTIONS,
    ) -> Generator[tuple[Plane, dict[int, Prediction]], None, None]:
        """Follow many objects through a stack: masks and scores of each, overlaps kept.

        Parameters
        ----------
        seeds, along, planes, options
            As in `propagate_objects`.

        Yields
        ------
        tuple of plane and dict of object id to Prediction
            Each plane once; of each object that is in it one mask, as in `propagate`.

        Raises
        ------
        ValueError
            At once, as `propagate_objects`.
        """
        _check_ids(seeds)
        stack, found = _stack(self, seeds, along)
        wanted = stack.positions(planes)
        return _predicted(stack, found, wanted, options)

    def segment_objects(
        self: _SliceableImage,
        seeds: Mapping[int, Mapping[Plane, Seed]],
        along: int = 0,
        options: PropagationOptions = DEFAULT_OPTIONS,
        consensus: bool = False,
    ) -> NDArray[Any]:
        """Segment many objects in a whole stack: `propagate_objects`, collected.

        Parameters
        ----------
        seeds, along, options
            As in `propagate_objects`.
        consensus : bool
            Whether to look along the two other axes too, and to keep what two of the
            three slicings say; seeds count as they are. For nearly equal spacing. Takes
            three times as long, and longer where planes must be encoded.

        Returns
        -------
        ndarray of shape (Z, Y, X)
            Object ids, in the smallest unsigned integers that hold them; axes as in
            `segment_volume`.

        Raises
        ------
        ValueError
            As `propagate_objects`; or if a consensus is asked for and the largest
            spacing is more than twice the smallest.
        """
        _check_ids(seeds)
        if consensus:
            check_nearly_isotropic(options)
        stack, found = _stack(self, seeds, along)
        volume = stack.empty(np.min_scalar_type(max(found)))
        every = stack.positions(None)
        for plane, labels in stack.follow_labels(found, every, options):
            stack.put(volume, plane, labels)
        if consensus:
            slicing = Slicing(self, along, stack.fixed)
            return agreed(volume, slicing, found, options)
        return volume


def _check_ids(seeds: object) -> None:
    for key in seeds if isinstance(seeds, Mapping) else ():
        is_whole = isinstance(key, (int, np.integer)) and not isinstance(key, bool)
        if not is_whole or key < 1:
            raise ValueError(f"object ids must be whole numbers from 1, got {key!r}.")


def _single(
    stack: StackAlong,
    seeds: dict[int, dict[int, Seed]],
    planes: list[int],
    options: PropagationOptions,
) -> Generator[Prediction, None, None]:
    (key,) = seeds
    for plane, objects in stack.follow(seeds, planes, options):
        prediction = objects.get(key) or _absent(stack.plane_size)
        yield replace(prediction, plane=stack.plane(plane))


def _absent(plane_size: tuple[int, int]) -> Prediction:
    logits = np.full((1, 256, 256), -10, np.float32)
    return Prediction(np.zeros((1, *plane_size), bool), np.zeros(1, np.float32), logits)


def _predicted(
    stack: StackAlong,
    seeds: dict[int, dict[int, Seed]],
    planes: list[int],
    options: PropagationOptions,
) -> Generator[tuple[Plane, dict[int, Prediction]], None, None]:
    for position, objects in stack.follow(seeds, planes, options):
        plane = stack.plane(position)
        yield plane, {key: replace(one, plane=plane) for key, one in objects.items()}


def _labelled(
    stack: StackAlong,
    seeds: dict[int, dict[int, Seed]],
    planes: list[int],
    options: PropagationOptions,
) -> Generator[tuple[Plane, NDArray[Any]], None, None]:
    for plane, labels in stack.follow_labels(seeds, planes, options):
        yield stack.plane(plane), labels
