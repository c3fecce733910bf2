"""What one object looks like: told from its surroundings by embedding and grey value.

Learned in the seed plane and kept up with the planes last segmented; it says, for each
cell of the next plane, how much it looks like the object. All arrays are numpy, on
SAM's grids: 64 x 64 cells of the embedding, 256 x 256 cells of the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from napari_sam._mask_boxes import tight_box
from napari_sam.transforms import resize_to_model, valid_cells
from napari_sam.types import LOGITS_SIZE, MODEL_SIZE, ImageEmbedding

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]
Slices = tuple[slice, slice]

GRID = 64
RATIO = LOGITS_SIZE // GRID
GREY_LEVELS = 64
# Of the cells' mean variance; between 0.1 and 10 the classifier hardly changes.
RIDGE = 1.0


@dataclass(frozen=True, eq=False)
class PlaneView:
    """One plane as SAM and the appearance see it; shared by all objects.

    Parameters
    ----------
    embedding : ImageEmbedding
    features : ndarray of shape (256, 64, 64), float32
        The embedding's features.
    grey : ndarray of shape (256, 256), float32
        Mean grey value, 0 to 255, in each cell of the answer; 0 in the padding.
    valid : ndarray of shape (256, 256), bool
        Cells that are not padding.
    """

    embedding: ImageEmbedding
    features: NDArray[np.float32]
    grey: NDArray[np.float32]
    valid: Mask

    @classmethod
    def of(cls, embedding: ImageEmbedding, pixels: NDArray[np.uint8]) -> PlaneView:
        """See a plane (H, W) or (H, W, 3), uint8."""
        if pixels.ndim == 3:
            pixels = pixels.mean(axis=2).astype(np.uint8)
        shown = resize_to_model(pixels)[0].numpy()
        frame = np.zeros((MODEL_SIZE, MODEL_SIZE), np.uint8)
        frame[: shown.shape[0], : shown.shape[1]] = shown
        cells = Image.fromarray(frame).reduce(MODEL_SIZE // LOGITS_SIZE)
        grey = np.asarray(cells, dtype=np.float32)
        features = embedding.features[0].float().cpu().numpy()
        return cls(embedding, features, grey, valid_cells(embedding.plane_size))

    def is_blank(self, part: Slices) -> bool:
        """Whether a part of the plane has one grey value, and so shows nothing."""
        grey = self.grey[part][self.valid[part]]
        return bool(grey.size == 0 or np.ptp(grey) < 1)


def window_around(mask: Mask, margin: float, valid: Mask) -> Slices:
    """Slices of a mask's box, wider on each side by a fraction of its own size.

    They start and end between cells of the embedding, and hold at least two of those
    beyond the object on each side, unless the plane ends.
    """
    box = np.array(tight_box(mask))
    size = box[2:] - box[:2]
    wider = np.maximum(2 * RATIO, np.ceil(margin * size))
    end = np.array(tight_box(valid)[2:])
    low = np.maximum(0, (box[:2] - wider) // RATIO * RATIO).astype(int)
    high = np.minimum(-(-end // RATIO), -(-(box[2:] + wider) // RATIO)) * RATIO
    rows, columns = zip(low, high.astype(int), strict=True)
    return slice(*map(int, rows)), slice(*map(int, columns))


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one segmented plane teaches about inside and outside.

    Parameters
    ----------
    gram : ndarray of shape (257, 257)
        Second moments of the cells' features and a constant, inside and outside
        weighing the same.
    target : ndarray of shape (257,)
        Moments of the features with +1 inside, -1 outside.
    inside, outside : ndarray of shape (64,)
        Histograms of grey values, of sum 1.
    """

    gram: FloatArray
    target: FloatArray
    inside: FloatArray
    outside: FloatArray

    @classmethod
    def of(cls, view: PlaneView, mask: Mask, margin: float) -> Evidence:
        """Look at the cells around a mask (256, 256) that is not empty."""
        part = window_around(mask, margin, view.valid)
        cells = view.features[:, *_embedding_part(part)].reshape(len(view.features), -1)
        data = np.vstack([cells, np.ones(cells.shape[1])]).astype(np.float64)
        cover = _shrink(mask[part]).ravel()
        known = _shrink(view.valid[part]).ravel()
        weight = known * (
            cover / max(cover.sum(), 1e-9)
            + (1 - cover) / max(((1 - cover) * known).sum(), 1e-9)
        )
        weighted = data * weight
        grey = np.clip(view.grey[part] * GREY_LEVELS / 256, 0, GREY_LEVELS - 1)
        levels = grey.astype(np.intp)
        outside = view.valid[part] & ~mask[part]
        return cls(
            _product(weighted, data.T) / 2,
            _product(weighted, 2 * cover - 1) / 2,
            _histogram(levels[mask[part]]),
            _histogram(levels[outside]),
        )


def _embedding_part(part: Slices) -> Slices:
    rows, columns = (slice(s.start // RATIO, s.stop // RATIO) for s in part)
    return rows, columns


def _shrink(cells: Mask) -> FloatArray:
    """Mean of each RATIO x RATIO cells."""
    rows, columns = (side // RATIO for side in cells.shape)
    shrunk: FloatArray = cells.reshape(rows, RATIO, columns, RATIO).mean(axis=(1, 3))
    return shrunk


def _histogram(levels: NDArray[np.intp]) -> FloatArray:
    counts = np.bincount(levels, minlength=GREY_LEVELS).astype(np.float64)
    shares: FloatArray = counts / max(counts.sum(), 1)
    return shares


class Appearance:
    """Tells an object from its surroundings, by a few segmented planes.

    Parameters
    ----------
    evidence : list of Evidence
        Of the seed plane and of planes segmented since.
    weights : list of float
        How much each counts.
    """

    def __init__(self, evidence: list[Evidence], weights: list[float]) -> None:
        pairs = list(zip(evidence, weights, strict=True))
        gram = sum(one.gram * weight for one, weight in pairs)
        target = sum(one.target * weight for one, weight in pairs)
        inside = sum(one.inside * weight for one, weight in pairs)
        outside = sum(one.outside * weight for one, weight in pairs)
        self._plane = _ridge(np.asarray(gram), np.asarray(target))
        self._grey = _log_ratio(np.asarray(inside), np.asarray(outside))

    def by_features(self, view: PlaneView, part: Slices) -> FloatArray:
        """About -1 (surroundings) to +1 (object) in the cells of a part."""
        features = view.features[:, *_embedding_part(part)]
        weights = self._plane[:-1].astype(np.float32)
        cells = _product(weights, features.reshape(len(features), -1))
        score = cells.reshape(features.shape[1:]) + self._plane[-1]
        large: FloatArray = ndimage.zoom(
            score, RATIO, order=1, mode="nearest", grid_mode=True
        )
        return large

    def by_grey(self, view: PlaneView, part: Slices) -> FloatArray:
        """Log-likelihood ratio of the grey values in the cells of a part."""
        grey = np.clip(view.grey[part] * GREY_LEVELS / 256, 0, GREY_LEVELS - 1)
        ratio: FloatArray = self._grey[grey.astype(np.intp)]
        return ratio


def _product(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Matrix product by torch, whose threads are there already.

    numpy's threads would spin beside them, and slow the decoder down.
    """
    product: NDArray[Any] = (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()
    return product


def _ridge(gram: FloatArray, target: FloatArray) -> FloatArray:
    """Least squares with a penalty on all weights but the constant's."""
    total = max(gram[-1, -1], 1e-9)
    mean = gram[:-1, -1] / total
    covariance = gram[:-1, :-1] - total * np.outer(mean, mean)
    covariance[np.diag_indices_from(covariance)] += (
        RIDGE * np.trace(covariance) / len(covariance) + 1e-9
    )
    difference = torch.from_numpy(target[:-1] - mean * target[-1])
    weights = torch.linalg.solve(torch.from_numpy(covariance), difference).numpy()
    return np.append(weights, target[-1] / total - weights @ mean)


def _log_ratio(inside: FloatArray, outside: FloatArray) -> FloatArray:
    """Of two histograms, smoothed so that neighbouring grey values help each other."""
    smooth = [
        ndimage.gaussian_filter1d(counts / max(counts.sum(), 1e-9), 2, mode="nearest")
        for counts in (inside, outside)
    ]
    ratio: FloatArray = np.log((smooth[0] + 2e-3) / (smooth[1] + 2e-3))
    return ratio
