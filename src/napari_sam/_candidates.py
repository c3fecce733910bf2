"""Masks that SAM proposed in a plane: filtered as often as one likes, decoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam._automatic_options import AutomaticOptions, Range
from napari_sam._box_nms import box_nms
from napari_sam._mask_runs import MaskRuns, Runs, encode
from napari_sam._small_regions import without_small_regions
from napari_sam.types import Window

# What a mask is found with; the other options choose among masks already found.
_FOUND_WITH = (
    "points_per_side",
    "stability_score_offset",
    "crop_n_layers",
    "crop_overlap_ratio",
    "crop_n_points_downscale_factor",
)
_FLOORS = ("pred_iou_thresh", "stability_score_thresh")


@dataclass(frozen=True, eq=False)
class Candidate:
    """One mask, as it is found.

    Parameters
    ----------
    score, stability : float
        Predicted IoU, and stability.
    box : tuple of int
        (row_min, column_min, row_max, column_max), half-open.
    runs : tuple of ndarray
        Its pixels, as `_mask_runs.encode` returns them.
    point : tuple of float
        (row, column) of the prompt.
    mask_index : int
        Which of the three masks of that prompt.
    """

    score: float
    stability: float
    box: tuple[int, int, int, int]
    runs: Runs
    point: tuple[float, float]
    mask_index: int


@dataclass(frozen=True, eq=False)
class Candidates:
    """Masks that SAM proposed in a plane, before or after a choice among them.

    `select` chooses by score, stability, size, brightness and shape, and drops
    duplicates. It decodes nothing, so it can follow a slider.

    Parameters
    ----------
    options : AutomaticOptions
        What they were found with. `select` may ask for more, not for less.
    masks : MaskRuns
        The masks, N of them.
    scores, stabilities : ndarray of shape (N,), float32
        Predicted IoU, and IoU of the mask with itself at moved thresholds.
    boxes : ndarray of shape (N, 4), int64
        (row_min, column_min, row_max, column_max), half-open.
    points : ndarray of shape (N, 2), float64
        (row, column) of the prompts.
    mask_indices : ndarray of shape (N,), int64
        Which of the three masks of its prompt each is.
    crop_areas : ndarray of shape (N,), int64
        Pixels of the part of the plane that each was found in.
    crops : ndarray of shape (N,), int64
        Number of that part.
    intensities : ndarray of shape (N,), float64
        Mean of the image's own values; NaN where there are none.
    """

    options: AutomaticOptions
    masks: MaskRuns
    scores: NDArray[np.float32]
    stabilities: NDArray[np.float32]
    boxes: NDArray[np.int64]
    points: NDArray[np.float64]
    mask_indices: NDArray[np.int64]
    crop_areas: NDArray[np.int64]
    crops: NDArray[np.int64]
    intensities: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        found: Sequence[Candidate],
        options: AutomaticOptions,
        plane: NDArray[Any],
        window: Window | None = None,
        crop: int = 0,
    ) -> Candidates:
        """Collect masks found in one part of a plane.

        Parameters
        ----------
        found : sequence of Candidate
        options : AutomaticOptions
        plane : ndarray of shape (H, W) or (H, W, C)
            The image's own values.
        window : Window, optional
            The part; the whole plane if None.
        crop : int
            Number of the part.
        """
        size = (plane.shape[0], plane.shape[1])
        masks = MaskRuns.join([one.runs for one in found], size)
        rows, columns = size if window is None else window.shape
        count = len(found)
        return cls(
            options,
            masks,
            np.array([one.score for one in found], np.float32),
            np.array([one.stability for one in found], np.float32),
            np.array([one.box for one in found], np.int64).reshape(count, 4),
            np.array([one.point for one in found], np.float64).reshape(count, 2),
            np.array([one.mask_index for one in found], np.int64),
            np.full(count, rows * columns, np.int64),
            np.full(count, crop, np.int64),
            mean_values(masks, plane),
        )

    @classmethod
    def join(cls, parts: Sequence[Candidates]) -> Candidates:
        """Put candidates of one plane together.

        Parameters
        ----------
        parts : sequence of Candidates
            At least one.
        """
        first = parts[0]
        runs = [part.masks.of(i) for part in parts for i in range(len(part))]
        arrays = {
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(cls)
            if field.name not in ("options", "masks")
        }
        masks = MaskRuns.join(runs, first.plane_size)
        return cls(first.options, masks, **arrays)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def plane_size(self) -> tuple[int, int]:
        """(rows, columns) of the plane."""
        return self.masks.plane_size

    @property
    def areas(self) -> NDArray[np.int64]:
        """(N,) int64: pixels of each mask."""
        return self.masks.areas

    def mask(self, index: int) -> NDArray[np.bool_]:
        """(H, W) bool: one of the masks."""
        mask = np.zeros(self.plane_size, bool)
        mask.ravel()[self.masks.pixels(index)] = True
        return mask

    def take(self, indices: Sequence[int] | NDArray[Any]) -> Candidates:
        """Return some candidates.

        Parameters
        ----------
        indices : sequence of int, or ndarray of shape (N,), bool
            In the order wanted.
        """
        chosen = np.asarray(indices)
        if chosen.dtype == bool:
            chosen = np.flatnonzero(chosen)
        chosen = chosen.astype(np.intp)
        arrays = {
            field.name: getattr(self, field.name)[chosen]
            for field in fields(self)
            if field.name not in ("options", "masks")
        }
        return Candidates(self.options, self.masks.take(chosen), **arrays)

    def allow(self, options: AutomaticOptions) -> bool:
        """Whether `select` can follow these options, or must be decoded anew.

        Parameters
        ----------
        options : AutomaticOptions
            Points, parts and stability offset must be those the candidates were found
            with; thresholds of score and stability may not be lower.
        """
        same = all(
            getattr(options, name) == getattr(self.options, name)
            for name in _FOUND_WITH
        )
        return same and all(
            getattr(options, name) >= getattr(self.options, name) for name in _FLOORS
        )

    def select(self, options: AutomaticOptions | None = None) -> Candidates:
        """Choose masks, as the official generator does, without decoding again.

        Parameters
        ----------
        options : AutomaticOptions, optional
            Those the candidates were found with by default.

        Returns
        -------
        Candidates
            The best first, without duplicates.

        Raises
        ------
        ValueError
            If the options ask for masks that were not looked for: see `allow`.
        """
        wanted = self.options if options is None else options
        if not self.allow(wanted):
            raise ValueError(
                "options must have the points, parts and stability offset that the "
                "masks were found with, and no lower thresholds."
            )
        good = (self.scores > wanted.pred_iou_thresh) & (
            self.stabilities >= wanted.stability_score_thresh
        )
        good &= _within(self.areas, wanted.area_range)
        good &= _within(self.intensities, wanted.intensity_range)
        good &= _within(self.masks.circularities, wanted.circularity_range)
        chosen = self._unique(np.flatnonzero(good), wanted)
        found = replace(self.take(chosen), options=wanted)
        if wanted.min_mask_region_area > 0 and len(found):
            found = found._tidied()
        return found

    def _unique(
        self, indices: NDArray[np.intp], options: AutomaticOptions
    ) -> NDArray[np.intp]:
        """Drop duplicates: within each part, then between parts."""
        parts = []
        for crop in np.unique(self.crops[indices]):
            part = indices[self.crops[indices] == crop]
            kept = box_nms(self.boxes[part], self.scores[part], options.box_nms_thresh)
            parts.append(part[kept])
        if len(parts) > 1:
            every = np.concatenate(parts)
            better = 1 / self.crop_areas[every]
            kept = box_nms(self.boxes[every], better, options.crop_nms_thresh)
            return every[kept]
        return parts[0] if parts else indices

    def _tidied(self) -> Candidates:
        """Without small holes and islands, and without duplicates made by that."""
        changed = np.zeros(len(self), bool)
        runs, boxes = [], self.boxes.copy()
        least = self.options.min_mask_region_area
        for index in range(len(self)):
            tidy = without_small_regions(self.mask(index), boxes[index], least)
            if tidy is None:
                runs.append(self.masks.of(index))
                continue
            mask, box = tidy
            changed[index], boxes[index] = True, box
            runs.append(encode(mask, (int(box[0]), int(box[1])), self.plane_size))
        masks = MaskRuns.join(runs, self.plane_size)
        threshold = max(self.options.box_nms_thresh, self.options.crop_nms_thresh)
        kept = box_nms(boxes, 1.0 - changed, threshold)
        return replace(self, masks=masks, boxes=boxes).take(kept)

    def inside(self, region: NDArray[np.bool_], share: float = 0.5) -> Candidates:
        """Return those that lie in a region, by most of their pixels.

        Parameters
        ----------
        region : ndarray of shape (H, W), bool
        share : float
            Part of its pixels that a mask must have there, 0 to 1.
        """
        return self.take(self.masks.plane_sums(region) >= share * self.areas)

    def label_image(self, first: int = 1) -> NDArray[Any]:
        """Paint the masks into a label image.

        Parameters
        ----------
        first : int
            Label of the first mask; the others follow in order.

        Returns
        -------
        ndarray of shape (H, W)
            0 is background; the smallest unsigned integers that hold the labels. Of
            masks that overlap, the smaller is on top, or the one of higher score, as
            the options say.
        """
        dtype = np.min_scalar_type(first + max(len(self) - 1, 0))
        labels = np.zeros(self.plane_size, dtype)
        keys = -self.areas if self.options.on_top == "smaller" else self.scores
        flat = labels.ravel()
        for index in np.argsort(keys, kind="stable"):
            flat[self.masks.pixels(index)] = first + index
        return labels

    def table(self, first: int = 1) -> dict[str, NDArray[Any]]:
        """Return what is known of each mask, a column a name.

        Parameters
        ----------
        first : int
            Label of the first mask, as in `label_image`.

        Returns
        -------
        dict of str to ndarray of shape (N,)
            ``label``; ``score`` and ``stability``; ``area`` in pixels; ``row_min``,
            ``column_min``, ``row_max``, ``column_max`` of the box, half-open;
            ``row``, ``column`` of the centre; ``mean_intensity`` in the image's own
            values; ``circularity``, 1 for a disc. Of the whole mask, also where
            another is on top of it.
        """
        edges = ("row_min", "column_min", "row_max", "column_max")
        return {
            "label": np.arange(first, first + len(self)),
            "score": self.scores,
            "stability": self.stabilities,
            "area": self.areas,
            **dict(zip(edges, self.boxes.T, strict=True)),
            "row": self.masks.centroids[:, 0],
            "column": self.masks.centroids[:, 1],
            "mean_intensity": self.intensities,
            "circularity": self.masks.circularities,
        }


def mean_values(masks: MaskRuns, plane: NDArray[Any]) -> NDArray[np.float64]:
    """(N,) mean of a plane (H, W) or (H, W, C) in each mask, of its finite values."""
    values = plane.astype(np.float64)
    if values.ndim == 3:
        values = values[..., :3].mean(axis=2)
    finite = np.isfinite(values)
    counts = masks.areas.astype(np.float64)
    if not finite.all():
        values[~finite] = 0
        counts = masks.plane_sums(finite)
    unknown = np.full(len(counts), np.nan)
    np.divide(masks.plane_sums(values), counts, out=unknown, where=counts > 0)
    return unknown


def _within(values: NDArray[Any], limits: Range | None) -> NDArray[np.bool_]:
    if limits is None:
        return np.ones(len(values), bool)
    inside: NDArray[np.bool_] = (values >= limits[0]) & (values <= limits[1])
    return inside
