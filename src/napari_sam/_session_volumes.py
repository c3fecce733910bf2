"""The part of `Session` that follows objects through a stack."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam._consensus import (
    Consensus,
    agreed,
    check_nearly_isotropic,
    collected,
)
from napari_sam._generators import result_of
from napari_sam._stack_along import StackAlong, StackImage, check_ids, stack_of
from napari_sam.propagation import PropagationOptions, Seed
from napari_sam.types import Plane, Prediction

DEFAULT_OPTIONS = PropagationOptions()


class VolumeMethods:
    """Methods of `Session` for whole stacks."""

    def propagate(
        self: StackImage,
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
        stack, found = stack_of(self, {1: seeds}, along, options)
        wanted = stack.positions(planes)
        return _single(stack, found, wanted, options)

    def segment_volume(
        self: StackImage,
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
        labels = _labels(self, {1: seeds}, along, options, consensus)
        mask: NDArray[np.bool_] = labels.astype(np.bool_)
        return mask

    def propagate_objects(
        self: StackImage,
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
        check_ids(seeds)
        stack, found = stack_of(self, seeds, along, options)
        wanted = stack.positions(planes)
        return _labelled(stack, found, wanted, options)

    def propagate_predictions(
        self: StackImage,
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
        check_ids(seeds)
        stack, found = stack_of(self, seeds, along, options)
        wanted = stack.positions(planes)
        return _predicted(stack, found, wanted, options)

    def segment_objects(
        self: StackImage,
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
        return _labels(self, seeds, along, options, consensus)

    def propagate_consensus(
        self: StackImage,
        seeds: Mapping[int, Mapping[Plane, Seed]],
        along: int = 0,
        options: PropagationOptions = DEFAULT_OPTIONS,
    ) -> Generator[tuple[int, int], None, Consensus]:
        """Segment objects as two of three slicings see them, a plane a step.

        Parameters
        ----------
        seeds, along, options
            As in `segment_objects`, whose `consensus` this is.

        Yields
        ------
        tuple of int
            Planes that are done, and how many there are; of all slicings together.

        Returns
        -------
        Consensus
            What ``yield from``, or the end of the iteration, gives: the labels as of
            `segment_objects`, and for each object how well the three slicings agree
            in each plane along the axis.

        Raises
        ------
        ValueError
            At once, as `segment_objects`.
        """
        return _agreed(self, seeds, along, options)


def _labels(
    image: StackImage,
    seeds: Mapping[int, Mapping[Plane, Seed]],
    along: int,
    options: PropagationOptions,
    consensus: bool,
) -> NDArray[Any]:
    if consensus:
        return result_of(_agreed(image, seeds, along, options)).labels
    check_ids(seeds)
    stack, found = stack_of(image, seeds, along, options)
    return result_of(collected(stack, found, options))


def _agreed(
    image: StackImage,
    seeds: Mapping[int, Mapping[Plane, Seed]],
    along: int,
    options: PropagationOptions,
) -> Generator[tuple[int, int], None, Consensus]:
    check_ids(seeds)
    stack, found = stack_of(image, seeds, along, options)
    check_nearly_isotropic(options)
    return agreed(stack, found, options)


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
