"""Masks as run lengths, the way COCO writes them.

A mask is read column by column; the counts are the lengths of its runs of 0 and 1 in
turn, beginning with 0. Uncompressed they are a list of numbers; compressed a string
of 6 bits a character (`rleToString` in ``maskApi.c`` of the COCO API).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# 5 bits of a number, one that says whether more follow, 48 to make it printable.
_BITS, _MORE, _FIRST = 5, 32, 48
# What is left of 63 bits after so many characters is sign alone.
_MOST_CHARACTERS = 13


def encode(
    mask: NDArray[np.bool_], at: tuple[int, int], shape: tuple[int, int]
) -> NDArray[np.int64]:
    """Count the runs of a plane that is empty but for a mask.

    Parameters
    ----------
    mask : ndarray of shape (h, w), bool
        Not empty.
    at : (row, column)
        Where its first pixel lies in the plane.
    shape : (H, W)
        Size of the plane.

    Returns
    -------
    ndarray of shape (N,), int64
    """
    columns, rows = np.nonzero(mask.T)
    pixels = (columns + at[1]).astype(np.int64) * shape[0] + rows + at[0]
    (gaps,) = np.nonzero(np.diff(pixels) != 1)
    starts = pixels[np.r_[0, gaps + 1]]
    ends = pixels[np.r_[gaps, len(pixels) - 1]] + 1
    edges = np.column_stack([starts, ends]).ravel()
    counts: NDArray[np.int64] = np.diff(np.r_[0, edges, shape[0] * shape[1]])
    return counts if counts[-1] else counts[:-1]


def decode(
    counts: NDArray[np.int64], shape: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the pixels of a mask in run lengths.

    Parameters
    ----------
    counts : ndarray of shape (N,), int64
    shape : (H, W)

    Returns
    -------
    rows, columns : ndarray of shape (pixels,), int64

    Raises
    ------
    ValueError
        If the counts are negative, or do not add up to the size of the plane.
    """
    total = int(counts.sum())
    if counts.min(initial=0) < 0 or total != shape[0] * shape[1]:
        raise ValueError(
            f"run lengths must add up to {shape[0]} by {shape[1]} pixels, got {total}."
        )
    edges = np.cumsum(counts)
    lengths = counts[1::2]
    # Within a run the pixel's number grows with its place in the list of all pixels.
    shifts = edges[: 2 * len(lengths) : 2] - (np.cumsum(lengths) - lengths)
    pixels = np.repeat(shifts, lengths) + np.arange(lengths.sum())
    return pixels % shape[0], pixels // shape[0]


def compress(counts: NDArray[np.int64]) -> str:
    """Write counts as COCO's string."""
    rest = counts.astype(np.int64)
    # From the fourth on, the difference to the last but one: runs repeat.
    rest[3:] -= counts[1:-2]
    digits: list[NDArray[Any]] = []
    used: list[NDArray[np.bool_]] = []
    is_open = np.ones(len(rest), bool)
    while is_open.any():
        low = rest & (_MORE - 1)
        rest = rest >> _BITS
        # The highest of the 5 bits is the sign of the number that they end.
        is_last = np.where(low & (_MORE >> 1), rest == -1, rest == 0)
        digits.append(low | np.where(is_last, 0, _MORE))
        used.append(is_open)
        is_open = is_open & ~is_last
    characters = np.column_stack(digits)[np.column_stack(used)] + _FIRST
    return characters.astype(np.uint8).tobytes().decode("ascii")


def decompress(text: str) -> NDArray[np.int64]:
    """Read counts from COCO's string.

    Raises
    ------
    ValueError
        If it holds other characters, or ends within a number.
    """
    codes = np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int64) - _FIRST
    ends = np.flatnonzero((codes & _MORE) == 0) + 1
    is_valid = len(codes) and codes.min() >= 0 and codes.max() < 2 * _MORE
    if not is_valid or not len(ends) or ends[-1] != len(codes):
        raise ValueError(f"counts must be a string of COCO run lengths, got {text!r}.")
    starts = np.r_[0, ends[:-1]]
    lengths = ends - starts
    if lengths.max() >= _MOST_CHARACTERS:
        raise ValueError("counts must be numbers below 2**60, got a longer one.")
    places = np.arange(len(codes)) - np.repeat(starts, lengths)
    values = np.add.reduceat((codes & (_MORE - 1)) << (_BITS * places), starts)
    is_negative = (codes[ends - 1] & (_MORE >> 1)) != 0
    values -= np.where(is_negative, np.int64(1) << (_BITS * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
