"""Small objects followed through a stack in windows of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_sam import propagation, windows
from napari_sam._plane_pixels import PlanePixels
from napari_sam._seeds import is_stop
from napari_sam.predictor import Predictor
from napari_sam.propagation import PropagationOptions, Seed
from napari_sam.sharpening import LARGE_PLANE, SharpOptions
from napari_sam.transforms import mask_to_logits
from napari_sam.types import (
    MODEL_SIZE,
    ImageEmbedding,
    Prediction,
    Prompts,
    Window,
)

CONTEXT = 4.0
"""Least side of a window, in sides of the object: it moves and grows on its way."""

Seeds = Mapping[int, Mapping[int, Seed]]
Found = tuple[int, dict[int, Prediction]]


class _Stack(propagation.Stack, Protocol):
    """A stack whose windows can be read and encoded by themselves."""

    def pixels(self, plane: int, window: Window | None = None) -> NDArray[np.uint8]: ...
    def embed(self, plane: int, window: Window | None = None) -> ImageEmbedding: ...
    def segment(self, prompts: Prompts, plane: int) -> Prediction: ...


@dataclass(frozen=True, eq=False)
class WindowStack:
    """The same window of every plane of a stack."""

    stack: _Stack
    window: Window

    @property
    def predictor(self) -> Predictor:
        """Decodes the prompts."""
        return self.stack.predictor

    @property
    def plane_size(self) -> tuple[int, int]:
        """(rows, columns) of the window."""
        return self.window.shape

    def __len__(self) -> int:
        """Return the number of planes."""
        return len(self.stack)

    def pixels(self, plane: int) -> NDArray[np.uint8]:
        """Return the window of a plane as SAM sees it."""
        return self.stack.pixels(plane, self.window)

    def embed(self, plane: int) -> ImageEmbedding:
        """Embedding of the window of a plane."""
        return self.stack.embed(plane, self.window)


def check_plane_size(plane_size: tuple[int, int], sharp: SharpOptions) -> None:
    """Refuse, with a ValueError, windows in planes too large for masks of all of it."""
    rows, columns = plane_size
    if sharp.mode != "off" and rows * columns > LARGE_PLANE:
        raise ValueError(
            f"sharp must be 'off' to follow objects in planes of {rows} x {columns} "
            f"pixels, got {sharp.mode!r}."
        )


def propagate(
    stack: _Stack,
    seeds: Seeds,
    planes: Sequence[int],
    options: PropagationOptions,
    sharp: SharpOptions,
) -> Iterator[Found]:
    """`propagation.propagate`, with small objects in windows of their own.

    Objects with the same window are followed together, and share its embeddings.
    """
    if sharp.mode == "off":
        yield from propagation.propagate(stack, seeds, planes, options)
        return
    shown = {key: _as_masks(stack, one) for key, one in seeds.items()}
    groups: dict[Window | None, dict[int, Mapping[int, Seed]]] = {}
    for key, one in shown.items():
        window = _window_for(one, stack.plane_size, sharp)
        groups.setdefault(window, {})[key] = one
    ways = [
        _in_window(stack, window, one, planes, options)
        for window, one in groups.items()
    ]
    yield from _together(ways)


def propagate_labels(
    stack: _Stack,
    seeds: Seeds,
    planes: Sequence[int],
    options: PropagationOptions,
    sharp: SharpOptions,
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """`propagate`, each plane as one label image (H, W)."""
    if sharp.mode == "off":
        yield from propagation.propagate_labels(stack, seeds, planes, options)
        return
    pixels = PlanePixels(stack.plane_size)
    for plane, found in propagate(stack, seeds, planes, options, sharp):
        yield plane, pixels.labels(found)


def _as_masks(stack: _Stack, seeds: Mapping[int, Seed]) -> dict[int, Seed]:
    """Prompts that show the object, answered with a closer look; the rest as it is."""
    return {
        plane: stack.segment(seed, plane).in_plane(stack.plane_size)
        if isinstance(seed, Prompts) and not is_stop(seed)
        else seed
        for plane, seed in seeds.items()
    }


def _mask_of(seed: Seed, plane_size: tuple[int, int]) -> NDArray[np.bool_]:
    if isinstance(seed, Prompts):  # negative points: the object is not here
        return np.zeros(plane_size, bool)
    return seed.best if isinstance(seed, Prediction) else seed


def _window_for(
    seeds: Mapping[int, Seed], plane_size: tuple[int, int], sharp: SharpOptions
) -> Window | None:
    """Window around all seeds of an object; None if the whole plane shows it well."""
    extents = [windows.extent_of(_mask_of(s, plane_size)) for s in seeds.values()]
    boxes = [box for box in extents if box is not None]
    if not boxes:
        return None
    box = windows.union(*boxes)
    window = windows.choose_window(box, plane_size, CONTEXT, sharp.snap)
    side = (box[2:] - box[:2]).max() * MODEL_SIZE / max(plane_size)
    is_small = sharp.mode == "always" or side <= sharp.max_object
    gain = windows.magnification(window, plane_size)
    return window if is_small and gain >= sharp.min_magnification else None


def _in_window(
    stack: _Stack,
    window: Window | None,
    seeds: Seeds,
    planes: Sequence[int],
    options: PropagationOptions,
) -> Iterator[Found]:
    """Follow objects in a window; answers are in the pixels of the plane."""
    if window is None:
        yield from propagation.propagate(stack, seeds, planes, options)
        return
    size = stack.plane_size
    inside = {
        key: {plane: _cut(seed, window, size) for plane, seed in one.items()}
        for key, one in seeds.items()
    }
    part = WindowStack(stack, window)
    for plane, found in propagation.propagate(part, inside, planes, options):
        yield plane, {key: _paste(one, window, size) for key, one in found.items()}


def _cut(seed: Seed, window: Window, size: tuple[int, int]) -> Seed:
    """Return a seed in the pixels of a window."""
    if isinstance(seed, Prompts):
        # Only those that say that the object is not there are still prompts.
        return np.zeros(window.shape, bool)
    if isinstance(seed, Prediction):
        # Of the mask: the plane's logits are coarser than the window's.
        mask = seed.best[window.slices]
        logits = mask_to_logits(mask)[None]
        scores = np.array([seed.best_score], np.float32)
        return replace(seed, masks=mask[None], scores=scores, logits=logits)
    return seed[window.slices]


def _paste(found: Prediction, window: Window, size: tuple[int, int]) -> Prediction:
    """Return what was found in a window, in the pixels of the plane."""
    masks = np.zeros((len(found.masks), *size), bool)
    masks[:, *window.slices] = found.masks
    logits = [
        windows.resample_logits(one, window, windows.whole(size))
        for one in found.logits
    ]
    return replace(found, masks=masks, logits=np.stack(logits), window=window)


def _together(ways: Sequence[Iterator[Found]]) -> Iterator[Found]:
    """Yield each plane once, as soon as all ways have passed it."""
    if len(ways) == 1:
        yield from ways[0]
        return
    waiting: dict[int, list[dict[int, Prediction]]] = {}
    running = list(ways)
    while running:
        for way in list(running):
            step = next(way, None)
            if step is None:
                running.remove(way)
                continue
            plane, found = step
            passed = waiting.setdefault(plane, [])
            passed.append(found)
            if len(passed) == len(ways):
                del waiting[plane]
                yield plane, {k: v for one in passed for k, v in one.items()}
