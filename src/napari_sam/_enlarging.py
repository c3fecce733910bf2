"""Answers enlarged to a plane's pixels, only where there is something to see."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_sam.transforms import logits_to_plane, model_size
from napari_sam.types import LOGITS_SIZE, MODEL_SIZE

Part = tuple[slice, slice]

# Of the largest logit: as much as sums of these few products, in another order, may
# differ. What is measured is a third of it.
ROUNDING = 5e-7

# Cells: shorter strips multiply with fewer zeros, but are more of them.
STRIP = 16


class Enlarger:
    """Enlarges logits (256, 256) to a plane, as `transforms.logits_to_plane` does.

    Bilinear resizing, twice, is one matrix for the rows and one for the columns. Every
    pixel is a mean of its cells, so a part of the plane needs a part of the cells, and
    where all of these are low, so is the pixel.

    Parameters
    ----------
    plane_size : (H, W)
    """

    def __init__(self, plane_size: tuple[int, int]) -> None:
        sides = zip(plane_size, model_size(plane_size), strict=True)
        self._axes = [_Axis(_resize_matrix(*side)) for side in sides]

    def above(
        self, logits: Tensor, level: float
    ) -> tuple[NDArray[np.float32], Part] | None:
        """Enlarge the part of the plane that may be above a level.

        Parameters
        ----------
        logits : Tensor of shape (256, 256), float32
        level : float

        Returns
        -------
        levels : ndarray of shape (h, w), float32
            Logits in the pixels of the part.
        part : (slice, slice)
            Rows and columns of the plane; every pixel outside is at or below `level`.
            None in place of both if all are.
        """
        rows, columns = self._axes
        high = logits[: rows.cells, : columns.cells] > level
        found = [_span(high.any(dim=1)), _span(high.any(dim=0))]
        if found[0] is None or found[1] is None:
            return None
        pixel_rows, pixel_columns = (
            axis.around(span)
            for axis, span in zip(self._axes, found, strict=True)
            if span is not None
        )
        cell_rows = rows.needed(pixel_rows)
        height, width = (s.stop - s.start for s in (pixel_rows, pixel_columns))
        wide = logits.new_empty(LOGITS_SIZE, width)
        for pixels, cells in columns.strips(pixel_columns):
            start = pixels.start - pixel_columns.start
            part = wide[cell_rows, start : start + pixels.stop - pixels.start]
            part.copy_(logits[cell_rows, cells] @ columns.matrix[pixels, cells].T)
        levels = logits.new_empty(height, width)
        for pixels, cells in rows.strips(pixel_rows):
            start = pixels.start - pixel_rows.start
            out = levels[start : start + pixels.stop - pixels.start]
            torch.mm(rows.matrix[pixels, cells], wide[cells], out=out)
        return levels.numpy(), (pixel_rows, pixel_columns)


class MaskEnlarger:
    """Masks in a plane's pixels, enlarged only where the object is.

    Equal to those of `transforms.logits_to_plane` in every pixel: where rounding could
    decide about one, that is asked. The matrices of the last plane's size are kept.
    """

    def __init__(self) -> None:
        self._kept: tuple[tuple[int, int], Enlarger] | None = None

    def masks(self, logits: Tensor, plane_size: tuple[int, int]) -> NDArray[np.bool_]:
        """Masks (C, H, W) of logits (C, 256, 256)."""
        kept = self._kept
        if kept is None or kept[0] != plane_size:
            kept = self._kept = plane_size, Enlarger(plane_size)
        masks = np.zeros((len(logits), *plane_size), bool)
        for mask, one in zip(masks, logits, strict=True):
            if not _fill(mask, one, kept[1]):
                whole = logits_to_plane(one[None, None], plane_size)[0, 0]
                mask[:] = (whole > 0).numpy()
        return masks


def _fill(mask: NDArray[np.bool_], logits: Tensor, enlarger: Enlarger) -> bool:
    """Fill an empty mask; False if it takes a closer look to be sure."""
    doubt = ROUNDING * float(logits.abs().max())
    if not doubt < np.inf:  # nor NaN
        return False
    found = enlarger.above(logits, -doubt)
    if found is None:
        return True
    levels, part = found
    if (np.abs(levels) <= doubt).any():
        return False
    np.greater(levels, 0, out=mask[part])
    return True


class _Axis:
    """One axis: pixels are `matrix` (P, 256) times cells."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        weighs: NDArray[np.bool_] = matrix.numpy() > 0
        used: NDArray[np.bool_] = matrix.amax(dim=0).numpy() > 0
        self.cells = int(np.flatnonzero(used)[-1]) + 1
        # First and last pixel that a cell takes part in, and the other way round.
        # Shrinking leaves cells without a pixel: they look at the next ones.
        used = used[: self.cells]
        self._first_pixel = _running(weighs.argmax(axis=0)[: self.cells], used, -1)
        last = len(weighs) - 1 - weighs[::-1].argmax(axis=0)[: self.cells]
        self._last_pixel = _running(last, used, 1)
        self._first_cell = weighs.argmax(axis=1)
        self._last_cell = LOGITS_SIZE - 1 - weighs[:, ::-1].argmax(axis=1)

    def around(self, cells: tuple[int, int]) -> slice:
        """Pixels that cells (first, last) take part in."""
        first = int(self._first_pixel[cells[0]])
        return slice(first, max(first, int(self._last_pixel[cells[1]])) + 1)

    def needed(self, pixels: slice) -> slice:
        """Cells that take part in pixels."""
        first, last = self._first_cell[pixels.start], self._last_cell[pixels.stop - 1]
        return slice(int(first), int(last) + 1)

    def strips(self, pixels: slice) -> Iterator[Part]:
        """Yield pixels, some at a time, and the cells that these need.

        Nearly all of the matrix is 0: in strips it is hardly multiplied with.
        """
        step = max(1, STRIP * len(self.matrix) // self.cells)
        for start in range(pixels.start, pixels.stop, step):
            some = slice(start, min(start + step, pixels.stop))
            yield some, self.needed(some)


def _running(
    values: NDArray[np.intp], used: NDArray[np.bool_], step: int
) -> NDArray[np.intp]:
    """Give cells that are not used the value of the next (-1) or previous (1) one."""
    places = np.where(used, np.arange(len(used)), -1 if step == 1 else len(used))
    if step == 1:
        places = np.maximum(np.maximum.accumulate(places), 0)
    else:
        places = np.minimum.accumulate(places[::-1])[::-1]
    return values[places]


def _span(flags: Tensor) -> tuple[int, int] | None:
    """First and last index that is true."""
    places = np.flatnonzero(flags.numpy())
    return (int(places[0]), int(places[-1])) if len(places) else None


def _resize_matrix(length: int, framed: int) -> Tensor:
    """Matrix (length, 256) of the two resizings of one axis, float32.

    ``framed`` is the length in the model's frame.
    """
    cells = torch.eye(LOGITS_SIZE)[None]  # (1, 256 as channels, 256)
    scale = MODEL_SIZE // LOGITS_SIZE
    frame = F.interpolate(cells, scale_factor=scale, mode="linear")[..., :framed]
    if framed != length:
        frame = F.interpolate(frame, size=length, mode="linear")
    return frame[0].T.contiguous()
