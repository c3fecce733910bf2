"""Object proposals and edges, as in the appendix of the paper, from automatic masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam._automatic_options import AutomaticOptions
from napari_sam._candidates import Candidates
from napari_sam.automatic import search_plane
from napari_sam.predictor import Predictor
from napari_sam.transforms import logits_to_plane
from napari_sam.types import ImageEmbedding, Prompts

__all__ = ["EDGE_OPTIONS", "PROPOSAL_OPTIONS", "edge_map", "propose_objects"]

PROPOSAL_OPTIONS = AutomaticOptions(64, -10, 0, box_nms_thresh=0.9)
"""64 points a side, no thresholds, masks that are 0.9 alike are one."""
EDGE_OPTIONS = AutomaticOptions(16, -10, 0)
"""16 points a side, no thresholds."""

# Masks enlarged at a time.
_AT_ONCE = 16


def propose_objects(
    predictor: Predictor,
    plane: NDArray[Any] | ImageEmbedding,
    count: int = 1000,
    options: AutomaticOptions = PROPOSAL_OPTIONS,
) -> Candidates:
    """Propose boxes and masks of whatever may be an object, the most likely first.

    Segment Anything (Kirillov et al. 2023), appendix D.3: the automatic masks without
    thresholds, ranked by the mean of predicted IoU and stability.

    Parameters
    ----------
    predictor : Predictor
    plane : ndarray of shape (H, W) or (H, W, 3), or ImageEmbedding
    count : int
        Proposals to return at most.
    options : AutomaticOptions, optional
        The paper's by default. Fewer points are faster in proportion.

    Returns
    -------
    Candidates
        ``boxes`` (N, 4), half-open, ``scores``, ``stabilities`` and the masks.

    Raises
    ------
    ValueError
        If the plane is none, or `count` is not a whole number from 1.

    Examples
    --------
    >>> import napari_sam as ns
    >>> from skimage.data import coins
    >>> options = ns.AutomaticOptions(3, -10, 0, box_nms_thresh=0.9)
    >>> found = ns.propose_objects(ns.load_model(), coins(), 5, options)
    >>> found.boxes.shape
    (5, 4)
    """
    check_count(count)
    return ranked(search_plane(predictor, plane, options), count)


def check_count(count: int) -> None:
    """Refuse what is no number of proposals."""
    is_whole = isinstance(count, (int, np.integer)) and not isinstance(count, bool)
    if not is_whole or count < 1:
        raise ValueError(f"count must be a whole number from 1, got {count!r}.")


def ranked(candidates: Candidates, count: int) -> Candidates:
    """Return the likeliest objects, without duplicates."""
    found = candidates.select()
    likely = found.scores + found.stabilities
    return found.take(np.argsort(-likely, kind="stable")[:count])


def edge_map(
    predictor: Predictor,
    plane: NDArray[Any] | ImageEmbedding,
    options: AutomaticOptions = EDGE_OPTIONS,
) -> NDArray[np.float32]:
    """Find edges between whatever may be objects.

    Segment Anything (Kirillov et al. 2023), appendix D.2: Sobel of the probabilities of
    automatic masks without thresholds, kept at their outer borders; the highest of all
    masks; thinned as by Canny.

    Parameters
    ----------
    predictor : Predictor
    plane : ndarray of shape (H, W) or (H, W, 3), or ImageEmbedding
    options : AutomaticOptions, optional
        The paper's by default; ``crop_n_layers`` must be 0.

    Returns
    -------
    ndarray of shape (H, W), float32
        0 where there is no edge, up to 1.

    Raises
    ------
    ValueError
        If the plane is none, or the options ask for parts.

    Examples
    --------
    >>> import napari_sam as ns
    >>> from skimage.data import coins
    >>> options = ns.AutomaticOptions(3, -10, 0)
    >>> ns.edge_map(ns.load_model(), coins(), options).shape
    (303, 384)
    """
    if options.crop_n_layers:
        raise ValueError(
            f"crop_n_layers must be 0 for an edge map, got {options.crop_n_layers}."
        )
    embedding = plane if isinstance(plane, ImageEmbedding) else predictor.embed(plane)
    found = search_plane(predictor, embedding, options).select()
    strongest = _Edges(embedding.plane_size)
    for start in range(0, len(found), _AT_ONCE):
        some = found.take(range(start, min(start + _AT_ONCE, len(found))))
        prompts = [Prompts(points=point[None]) for point in some.points]
        # Decoded once more: the logits of all masks would be a gigabyte.
        logits, _ = predictor.decode(embedding, prompts, True)
        for index, which in enumerate(some.mask_indices.tolist()):
            levels = logits_to_plane(logits[index, which][None, None], strongest.size)
            strongest.add(torch.sigmoid(levels)[0, 0].numpy(), some.mask(index))
    return strongest.thinned()


@dataclass(eq=False)
class _Edges:
    """The strongest edge at each pixel so far, and which way it rises."""

    size: tuple[int, int]

    def __post_init__(self) -> None:
        self._strength = np.zeros(self.size, np.float32)
        self._rise = np.zeros((2, *self.size), np.float32)

    def add(self, probability: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
        """Take one mask: its probability (H, W), and where that is above 0.5."""
        rise = np.stack([ndimage.sobel(probability, axis) for axis in (0, 1)])
        strength = np.hypot(*rise)
        # The border two pixels wide: half of an edge lies outside.
        outer = ndimage.binary_fill_holes(mask)
        square = np.ones((3, 3), bool)
        inner = ndimage.binary_erosion(outer, square, border_value=1)
        border = ndimage.binary_dilation(outer, square) & ~inner
        strength[~border] = 0
        stronger = strength > self._strength
        self._strength[stronger] = strength[stronger]
        self._rise[:, stronger] = rise[:, stronger]

    def thinned(self) -> NDArray[np.float32]:
        """Ridges alone, 0 to 1: pixels that no neighbour across the edge exceeds."""
        strength = ndimage.gaussian_filter(self._strength, 0.7)
        steps = self._rise / np.maximum(np.hypot(*self._rise), 1e-12)
        grid = np.indices(self.size)
        is_ridge = self._strength > 0
        for sign in (1, -1):
            beside = ndimage.map_coordinates(
                strength, grid + sign * steps, order=1, mode="nearest"
            )
            is_ridge &= strength >= beside
        edges: NDArray[np.float32] = np.where(is_ridge, self._strength, 0)
        edges /= max(float(edges.max(initial=0)), 1e-12)
        return edges
