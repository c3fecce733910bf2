"""Everything in a plane: a grid of points, and of their masks the good ones.

As the official ``segment_anything/automatic_mask_generator.py`` defines it, with the
same masks. What makes it fast: the predicted IoU is known before a mask is made, so
poor ones never are; a mask is enlarged only where it is; and it is kept as runs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from itertools import product
from math import ceil
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_sam._automatic_options import AutomaticOptions
from napari_sam._candidates import Candidate, Candidates
from napari_sam._enlarging import Enlarger
from napari_sam._mask_boxes import tight_box
from napari_sam._mask_runs import encode
from napari_sam.predictor import Predictor
from napari_sam.transforms import check_plane
from napari_sam.types import ImageEmbedding, Prompts, Window

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "AutomaticOptions",
    "Candidates",
    "SearchedPart",
    "crop_windows",
    "iter_candidates",
    "point_grid",
    "search_plane",
]

Encode: TypeAlias = Callable[[Window | None], ImageEmbedding]
"""Embedding of a part of a plane; of the whole plane if None."""

# A step of the search: half a second on a CPU, after which it can be cancelled.
CPU_POINTS, GPU_POINTS = 16, 64
# Pixels: masks that end this near the edge of a part have been cut by it.
CROP_EDGE = 20
# Cells: below, a mask is so small that its stability is only seen in pixels.
_LARGE_MASK = 400
_STABILITY_MARGIN = 0.05


def point_grid(per_side: int, size: tuple[int, int]) -> NDArray[np.float64]:
    """Points evenly over a plane, row by row.

    Parameters
    ----------
    per_side : int
    size : (H, W)

    Returns
    -------
    ndarray of shape (per_side ** 2, 2), float64
        (row, column).

    Examples
    --------
    >>> point_grid(2, (8, 4)).tolist()
    [[2.0, 1.0], [2.0, 3.0], [6.0, 1.0], [6.0, 3.0]]
    """
    steps = np.linspace(1 / (2 * per_side), 1 - 1 / (2 * per_side), per_side)
    rows, columns = np.meshgrid(steps * size[0], steps * size[1], indexing="ij")
    points = np.stack([rows.ravel(), columns.ravel()], axis=1)
    # With more points than pixels, the last would lie beyond the last pixel.
    limited: NDArray[np.float64] = np.minimum(points, np.array(size) - 0.5)
    return limited


def crop_windows(
    size: tuple[int, int], layers: int, overlap_ratio: float
) -> list[tuple[Window | None, int]]:
    """Parts of a plane that are encoded by themselves.

    As ``generate_crop_boxes`` in the official ``utils/amg.py``.

    Parameters
    ----------
    size : (H, W)
    layers : int
    overlap_ratio : float
        Of the plane's short side, in the first layer.

    Returns
    -------
    list of (Window or None, int)
        Each part and its layer; the whole plane, None, is layer 0. Parts without
        pixels, in tiny planes, are left out.
    """
    parts: list[tuple[Window | None, int]] = [(None, 0)]
    for layer in range(1, layers + 1):
        count = 2**layer
        overlap = int(overlap_ratio * min(size) * (2 / count))
        height, width = (
            ceil((overlap * (count - 1) + length) / count) for length in size
        )
        for column, row in product(range(count), repeat=2):
            top, left = row * (height - overlap), column * (width - overlap)
            bottom, right = min(top + height, size[0]), min(left + width, size[1])
            if top < bottom and left < right:
                parts.append((Window(top, left, bottom, right), layer))
    return parts


def iter_candidates(
    predictor: Predictor,
    encode_part: Encode,
    plane: NDArray[Any],
    options: AutomaticOptions,
    region: NDArray[np.bool_] | None = None,
) -> Generator[tuple[float, Candidates], None, None]:
    """Decode a grid of points, a few in each step.

    Parameters
    ----------
    predictor : Predictor
    encode_part : callable
        Window of the plane, or None, to its embedding.
    plane : ndarray of shape (H, W) or (H, W, C)
        The image's own values.
    options : AutomaticOptions
    region : ndarray of shape (H, W), bool, optional
        Where points are placed; everywhere by default.

    Yields
    ------
    tuple of float and Candidates
        How much is done, 0 to 1, and what this step has found. One step at least.
        `Candidates.join` puts them together. Closing the generator stops the work.
    """
    size = (plane.shape[0], plane.shape[1])
    parts = crop_windows(size, options.crop_n_layers, options.crop_overlap_ratio)
    grids = []
    for window, layer in parts:
        shape = size if window is None else window.shape
        points = point_grid(options.points_per_layer[layer], shape)
        grids.append(_points_inside(points, window, region))
    total, done = sum(map(len, grids)), 0
    yield 0.0, Candidates.of([], options, plane)
    at_once = CPU_POINTS if predictor.device.type == "cpu" else GPU_POINTS
    for crop, ((window, _), points) in enumerate(zip(parts, grids, strict=True)):
        if len(points) == 0:
            continue
        searched = SearchedPart(predictor, encode_part(window), size, window)
        for start in range(0, len(points), at_once):
            some = points[start : start + at_once]
            found = searched.masks(some, options)
            done += len(some)
            yield done / total, Candidates.of(found, options, plane, window, crop)


def search_plane(
    predictor: Predictor,
    plane: NDArray[Any] | ImageEmbedding,
    options: AutomaticOptions,
) -> Candidates:
    """Decode the grid of points in a plane that may be encoded already.

    Parameters
    ----------
    predictor : Predictor
    plane : ndarray of shape (H, W) or (H, W, 3), or ImageEmbedding
        An embedding has no grey values, and no parts to encode.
    options : AutomaticOptions

    Returns
    -------
    Candidates
        Before the choice among them.

    Raises
    ------
    ValueError
        If the plane is none, or parts of an embedding are asked for.
    """
    if isinstance(plane, ImageEmbedding):
        whole = plane
        if options.crop_n_layers:
            raise ValueError(
                "crop_n_layers must be 0 for an embedding, there are no pixels."
            )
        values: NDArray[Any] = np.full(plane.plane_size, np.nan)
        steps = iter_candidates(predictor, lambda _: whole, values, options)
    else:
        pixels = check_plane(plane)
        steps = iter_candidates(
            predictor, lambda window: predictor.embed(pixels, window), pixels, options
        )
    return Candidates.join([found for _, found in steps])


def _points_inside(
    points: NDArray[np.float64], window: Window | None, region: NDArray[np.bool_] | None
) -> NDArray[np.float64]:
    if region is None:
        return points
    part = region if window is None else region[window.slices]
    rows, columns = np.floor(points + 0.5).astype(int).T
    rows = np.minimum(rows, part.shape[0] - 1)
    columns = np.minimum(columns, part.shape[1] - 1)
    inside: NDArray[np.float64] = points[part[rows, columns]]
    return inside


class SearchedPart:
    """A part of a plane in which points are decoded to masks of the plane.

    Parameters
    ----------
    predictor : Predictor
    embedding : ImageEmbedding
        Of the part.
    plane_size : (H, W)
        Of the whole plane.
    window : Window, optional
        The part; the whole plane if None.
    edge : int
        Pixels: a mask that ends this near the edge of a part was cut by it.
    """

    def __init__(
        self,
        predictor: Predictor,
        embedding: ImageEmbedding,
        plane_size: tuple[int, int],
        window: Window | None = None,
        edge: int = CROP_EDGE,
    ) -> None:
        self.predictor, self.embedding = predictor, embedding
        self.plane_size, self.window, self.edge = plane_size, window, edge
        self.at = (0, 0) if window is None else (window.row_min, window.column_min)
        self._enlarger = Enlarger(embedding.plane_size)

    def masks(
        self,
        points: NDArray[np.float64],
        options: AutomaticOptions,
        prompts: Sequence[Prompts] | None = None,
    ) -> list[Candidate]:
        """Decode points (N, 2) of the part; return the masks that are good enough.

        Three masks of each point; or one mask of each of the prompts, if there are
        some, one for each point.
        """
        asked = prompts or [Prompts(points=point[None]) for point in points]
        threshold = options.pred_iou_thresh
        logits, scores = self.predictor.decode(
            self.embedding, asked, prompts is None, min_score=threshold
        )
        found = []
        for number, index in (scores > threshold).nonzero().tolist():
            measured = self._measure(logits[number, index], options)
            if measured is None:
                continue
            stability, mask, at = measured
            rows, columns = mask.shape
            box = (at[0], at[1], at[0] + rows, at[1] + columns)
            if self._is_cut(box):
                continue
            row, column = (points[number] + self.at).tolist()
            runs = encode(mask, at, self.plane_size)
            score = float(scores[number, index])
            found.append(Candidate(score, stability, box, runs, (row, column), index))
        return found

    def _measure(
        self, logits: Tensor, options: AutomaticOptions
    ) -> tuple[float, NDArray[np.bool_], tuple[int, int]] | None:
        """Stability, mask within its box, and where that begins in the plane.

        None if the mask is not stable, or empty.
        """
        offset, least = options.stability_score_offset, options.stability_score_thresh
        if _is_surely_unstable(logits, offset, least):
            return None
        enlarged = self._enlarger.above(logits, -offset)
        if enlarged is None:
            return None
        levels, (rows, columns) = enlarged
        union = np.count_nonzero(levels > -offset)
        stability = np.count_nonzero(levels > offset) / union if union else 0.0
        mask = levels > 0
        top, left, bottom, right = tight_box(mask)
        if stability < least or bottom == 0:
            return None
        mask = mask[top:bottom, left:right]
        at = (rows.start + top + self.at[0], columns.start + left + self.at[1])
        return stability, mask, at

    def _is_cut(self, box: Sequence[int]) -> bool:
        """Whether a mask ends at an edge of the part that is not the plane's edge."""
        if self.window is None:
            return False
        window = self.window
        part = (window.row_min, window.column_min, window.row_max, window.column_max)
        # Boxes of the official code end at their last pixel.
        edges = (box[0], box[1], box[2] - 1, box[3] - 1)
        whole = (0, 0, *self.plane_size)
        return any(
            abs(edge - cut) <= self.edge < abs(edge - end)
            for edge, cut, end in zip(edges, part, whole, strict=True)
        )


def _is_surely_unstable(logits: Tensor, offset: float, least: float) -> bool:
    """Whether a large mask is so unstable in cells that pixels will not save it."""
    union = int((logits > -offset).count_nonzero())
    if union < _LARGE_MASK:
        return False
    return int((logits > offset).count_nonzero()) / union < least - _STABILITY_MARGIN
