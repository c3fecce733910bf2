"""How everything in a plane, or in a stack, is segmented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

Range: TypeAlias = tuple[float, float]
"""Lowest and highest value allowed; infinity for no limit."""

_FRACTIONS = ("box_nms_thresh", "crop_nms_thresh", "crop_overlap_ratio", "link_overlap")
_COUNTS = {
    "points_per_side": 1,
    "crop_n_layers": 0,
    "crop_n_points_downscale_factor": 1,
    "min_mask_region_area": 0,
    "link_gap": 0,
    "min_planes": 1,
}
_MOST_POINTS = 1024
_MOST_LAYERS = 6


@dataclass(frozen=True)
class AutomaticOptions:
    """How everything in a plane, or in a stack, is segmented.

    A grid of points is decoded, three masks each; of these, the ones are kept that SAM
    itself is sure of. Names, definitions and defaults of the first eleven are those of
    the official ``SamAutomaticMaskGenerator``
    (`segment_anything/automatic_mask_generator.py`).

    Parameters
    ----------
    points_per_side : int
        Points along each side of the plane: the grid has the square of it.
    pred_iou_thresh : float
        Predicted IoU that a mask must exceed.
    stability_score_thresh : float
        Stability that a mask must have: its IoU with itself when the threshold of the
        logits is moved.
    stability_score_offset : float
        How far the threshold is moved, up and down.
    box_nms_thresh : float
        Of two masks whose boxes overlap more (IoU), the lower predicted IoU is dropped.
    crop_n_layers : int
        How often the plane is cut again, for small objects: layer i has 4 ** i
        overlapping parts, each encoded by itself.
    crop_nms_thresh : float
        As `box_nms_thresh`, between parts; the mask from the smaller part stays.
    crop_overlap_ratio : float
        How far parts of the first layer overlap, as a part of the plane's short side.
    crop_n_points_downscale_factor : int
        In layer i, `points_per_side` is divided by the i-th power of this.
    min_mask_region_area : int
        Pixels; smaller holes are filled and smaller islands removed. 0 leaves masks as
        they are.
    on_top : {"smaller", "score"}
        Which of two masks gets the pixels that both have, in a label image.
    area_range : (float, float), optional
        Pixels an object may have.
    intensity_range : (float, float), optional
        Mean grey value an object may have, in the image's own values.
    circularity_range : (float, float), optional
        1 is a disc; the longer, the more ragged or the more hollow, the less.
    link_overlap : float
        IoU that masks in neighbouring planes need to be one object.
    link_gap : int
        Planes an object may be missing in, and is filled in.
    min_planes : int
        Objects in fewer planes of a stack are dropped.

    Raises
    ------
    ValueError
        If a number is not finite, or not in the range that it means something in.

    Examples
    --------
    >>> from napari_sam import AutomaticOptions
    >>> AutomaticOptions(points_per_side=16, area_range=(50, 5000)).pred_iou_thresh
    0.88
    """

    points_per_side: int = 32
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    min_mask_region_area: int = 0
    on_top: Literal["smaller", "score"] = "smaller"
    area_range: Range | None = None
    intensity_range: Range | None = None
    circularity_range: Range | None = None
    link_overlap: float = 0.3
    link_gap: int = 1
    min_planes: int = 2

    def __post_init__(self) -> None:
        for name, lowest in _COUNTS.items():
            _check_count(name, getattr(self, name), lowest)
        for name in _FRACTIONS:
            _check_number(name, getattr(self, name), 0, 1)
        if self.crop_overlap_ratio == 1:
            raise ValueError("crop_overlap_ratio must be less than 1, got 1.")
        # A predicted IoU may be below 0 or above 1: it is a guess.
        _check_number("pred_iou_thresh", self.pred_iou_thresh, -10, 10)
        _check_number("stability_score_thresh", self.stability_score_thresh, 0, 1)
        _check_number("stability_score_offset", self.stability_score_offset, 0, 100)
        if self.points_per_side > _MOST_POINTS:
            raise ValueError(
                f"points_per_side must be at most {_MOST_POINTS}, "
                f"got {self.points_per_side}."
            )
        if self.crop_n_layers > _MOST_LAYERS:
            raise ValueError(
                f"crop_n_layers must be at most {_MOST_LAYERS}, "
                f"got {self.crop_n_layers}."
            )
        if self.on_top not in ("smaller", "score"):
            raise ValueError(
                f"on_top must be 'smaller' or 'score', got {self.on_top!r}."
            )
        for name in ("area_range", "intensity_range", "circularity_range"):
            _check_range(name, getattr(self, name))

    @property
    def points_per_layer(self) -> tuple[int, ...]:
        """Points along each side, for the plane and for each layer of parts."""
        factor = self.crop_n_points_downscale_factor
        layers = range(self.crop_n_layers + 1)
        return tuple(max(1, int(self.points_per_side / factor**i)) for i in layers)


def _check_count(name: str, value: object, lowest: int) -> None:
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_whole or value < lowest:  # type: ignore[operator]
        raise ValueError(f"{name} must be a whole number from {lowest}, got {value!r}.")


def _check_number(name: str, value: object, low: float, high: float) -> None:
    is_number = isinstance(value, (int, float, np.number))
    if not is_number or not low <= value <= high:  # type: ignore[operator]
        raise ValueError(f"{name} must be {low} to {high}, got {value!r}.")


def _check_range(name: str, value: object) -> None:
    if value is None:
        return
    try:
        low, high = (float(limit) for limit in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be two numbers (low, high), got {value!r}."
        ) from None
    if not low <= high:
        raise ValueError(f"{name} must have low <= high, got ({low}, {high}).")
