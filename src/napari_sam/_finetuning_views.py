"""Images as training sees them: flipped, turned, cut out and re-exposed.

Each view of an image is a function of its number alone, so that a run which is
resumed sees what it would have seen, and an embedding is computed once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam import transforms
from napari_sam._finetuning_data import LabelledImage
from napari_sam.types import LOGITS_SIZE, MODEL_SIZE

VIEWS = 12
"""Views of each image; the first one is the image itself."""
# One more view of each image is drawn from after so many steps for each image:
# encoding stays a small part of the time.
STEPS_PER_VIEW = 3
# Smaller objects, in cells of the answer frame, teach nothing.
LEAST_CELLS = 6
# An object cut by the border of a view counts if this much of it is inside.
LEAST_INSIDE = 0.8
# Views kept in memory as arrays, and rounds through the images to find an object.
KEPT_VIEWS, ATTEMPTS = 24, 16


@dataclass(frozen=True, eq=False)
class Target:
    """One object of one view.

    Parameters
    ----------
    image, view : int
        Numbers of the image and of its view.
    mask : ndarray of shape (256, 256), bool
        In the answer frame.
    valid : ndarray of shape (256, 256), bool
        Where that frame is not padding.
    """

    image: int
    view: int
    mask: NDArray[np.bool_]
    valid: NDArray[np.bool_]


def view_of(image: LabelledImage, number: int, seed: int) -> LabelledImage:
    """Return a view of an image; number 0 is the image itself.

    Parameters
    ----------
    image : LabelledImage
    number : int
    seed : int
    """
    if number == 0:
        return image
    rng = np.random.default_rng((seed, number, *image.size))
    pixels, labels = image.pixels, image.labels
    if rng.random() < 0.5:
        pixels, labels = _cut(pixels, labels, rng)
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    pixels, labels = (_turned(array, turns, flip) for array in (pixels, labels))
    if rng.random() < 0.5:
        pixels = _exposed(pixels, rng)
    return replace(image, pixels=np.ascontiguousarray(pixels), labels=labels)


def _turned(array: NDArray[Any], turns: int, flip: bool) -> NDArray[Any]:
    turned = np.rot90(array, turns)
    return turned[:, ::-1] if flip else turned


def _cut(
    pixels: NDArray[np.uint8], labels: NDArray[Any], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Cut a rectangle around some object out of a plane; objects come out larger."""
    rows, columns = np.nonzero(labels)
    at = rng.integers(len(rows))
    object_rows, object_columns = np.nonzero(labels == labels[rows[at], columns[at]])
    slices = []
    for cells, length in zip((object_rows, object_columns), labels.shape, strict=True):
        extent = cells.max() + 1 - cells.min()
        side = int(max(rng.uniform(0.4, 0.9) * length, 1.5 * extent))
        side = min(side, length)
        # The object lies anywhere in the rectangle, but inside.
        low, high = max(0, cells.max() + 1 - side), min(cells.min(), length - side)
        start = int(rng.integers(low, high + 1))
        slices.append(slice(start, start + side))
    part = labels[tuple(slices)].copy()
    values, counts = np.unique(labels, return_counts=True)
    shown, inside = np.unique(part, return_counts=True)
    whole = counts[np.searchsorted(values, shown)]
    part[np.isin(part, shown[inside < LEAST_INSIDE * whole])] = 0
    return pixels[tuple(slices)], part


def _exposed(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change brightness and contrast as another exposure would."""
    gamma, gain = np.exp(rng.uniform(-0.4, 0.4)), rng.uniform(0.8, 1.2)
    table = 255 * np.clip(gain * (np.arange(256) / 255) ** gamma, 0, 1)
    exposed: NDArray[np.uint8] = np.rint(table).astype(np.uint8)[pixels]
    return exposed


def valid_cells(size: tuple[int, int]) -> NDArray[np.bool_]:
    """(256, 256) bool: where the answer frame of a plane is not padding."""
    h, w = transforms.model_size(size)
    ratio = MODEL_SIZE // LOGITS_SIZE
    valid = np.zeros((LOGITS_SIZE, LOGITS_SIZE), bool)
    valid[: -(-h // ratio), : -(-w // ratio)] = True
    return valid


class Views:
    """Draws objects from views of images.

    Parameters
    ----------
    images : sequence of LabelledImage
    seed : int
    """

    def __init__(self, images: Sequence[LabelledImage], seed: int) -> None:
        self.images = images
        self._seed = seed
        self._recent: OrderedDict[tuple[int, int], LabelledImage] = OrderedDict()

    def get(self, image: int, view: int) -> LabelledImage:
        """Return a view by the numbers of image and view."""
        if (image, view) not in self._recent:
            shown = view_of(self.images[image], view, self._seed + image)
            self._recent[image, view] = shown
        self._recent.move_to_end((image, view))
        while len(self._recent) > KEPT_VIEWS:
            self._recent.popitem(last=False)
        return self._recent[image, view]

    def count(self, steps: int) -> int:
        """How many views of an image are drawn from, after so many steps with them."""
        return min(VIEWS, 1 + steps // (STEPS_PER_VIEW * len(self.images)))

    def draw(
        self, count: int, views: int, rng: np.random.Generator, most_images: int
    ) -> list[Target]:
        """Draw objects to train on.

        Parameters
        ----------
        count : int
        views : int
            Views of an image to draw from.
        rng : numpy.random.Generator
        most_images : int
            Images to draw from, each in one view.

        Returns
        -------
        list of Target
            `count` of them, or fewer if nearly all objects are too small.
        """
        found: list[Target] = []
        chosen = rng.permutation(len(self.images))[:most_images]
        drawn = [(int(number), int(rng.integers(views))) for number in chosen]
        for _ in range(ATTEMPTS):
            for number, view in drawn:
                if len(found) == count:
                    return found
                shown = self.get(number, view)
                mask = _draw_object(shown, rng)
                if mask is not None:
                    valid = valid_cells(shown.size)
                    found.append(Target(number, view, mask, valid))
        return found


def _draw_object(
    shown: LabelledImage, rng: np.random.Generator
) -> NDArray[np.bool_] | None:
    """Mask in the answer frame of one object of a view, or None."""
    values = np.unique(shown.labels[shown.labels != 0])
    for value in rng.permutation(values)[:4]:
        mask = transforms.mask_to_logits(shown.labels == value) > 0
        if np.count_nonzero(mask) >= LEAST_CELLS:
            return np.asarray(mask)
    return None
