"""What is written into labels, decided before it is written, and kept to be undone.

Pure functions and values of numpy: the widget, its undo and the headless replay decide
with the same code which pixels of a plane change.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_sam._mask_boxes import tight_box

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class CommitOptions:
    """How masks are written over what is there.

    Parameters
    ----------
    overlap : {"protect", "overwrite"}
        Whether pixels of other labels are kept or taken.
    replace : bool
        Whether what the object had in the plane so far, and the new mask has not, is
        erased. That corrects a label in place; otherwise the mask is added to it.

    Raises
    ------
    ValueError
        If `overlap` is not as above.
    """

    overlap: Literal["protect", "overwrite"] = "protect"
    replace: bool = True

    def __post_init__(self) -> None:
        if self.overlap not in ("protect", "overwrite"):
            raise ValueError(
                f"overlap must be 'protect' or 'overwrite', got {self.overlap!r}."
            )


PROTECT = CommitOptions()


def changed_pixels(
    current: NDArray[Any],
    wanted: NDArray[Any],
    numbers: NDArray[Any],
    options: CommitOptions = PROTECT,
) -> NDArray[np.bool_]:
    """Decide which pixels of a plane change.

    Parameters
    ----------
    current : ndarray of shape (H, W), int
        Labels that are there.
    wanted : ndarray of shape (H, W), int
        Labels to write; 0 is no object.
    numbers : ndarray of int
        The objects that were segmented, found or not.
    options : CommitOptions

    Returns
    -------
    ndarray of shape (H, W), bool

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> current, wanted = np.array([[3, 0, 7]]), np.array([[0, 3, 3]])
    >>> changed_pixels(current, wanted, np.array([3]))
    array([[ True,  True, False]])
    """
    if wanted.shape != current.shape:
        raise ValueError(
            f"mask must have the shape of the plane, {current.shape}, "
            f"got {wanted.shape}."
        )
    # np.isin sorts the pixels: much to do for one number.
    is_own = current == numbers[0] if len(numbers) == 1 else np.isin(current, numbers)
    written = (wanted != 0) & (current != wanted)
    if options.overlap == "protect":
        written &= (current == 0) | (is_own & options.replace)
    if options.replace:
        written |= is_own & (wanted == 0)
    return np.asarray(written)


def pack_bits(mask: NDArray[np.bool_]) -> bytes:
    """Pack a mask into few bytes."""
    # Level 1: masks shrink to a tenth and less at any level, this one takes no time.
    return zlib.compress(np.packbits(mask).tobytes(), 1)


def unpack_bits(packed: bytes, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the mask that `pack_bits` packed.

    Raises
    ------
    ValueError
        If the bytes are damaged or of a mask of another size.
    """
    size = int(np.prod(shape))
    try:
        # No more than that, whatever a file from elsewhere would unfold to.
        bits = np.frombuffer(
            zlib.decompressobj().decompress(packed, size // 8 + 2), np.uint8
        )
    except zlib.error:
        raise ValueError("a packed mask is damaged.") from None
    if len(bits) != (size + 7) // 8:
        raise ValueError(f"a packed mask must have {size} pixels.")
    return np.unpackbits(bits, count=size).astype(bool).reshape(shape)


@dataclass(frozen=True, eq=False)
class PlaneChange:
    """Pixels of one plane of labels that were written, before and after.

    It takes the room of the pixels, not of the volume: a box around them, one bit for
    each pixel of the box, and the values, or one value where all are the same.

    Parameters
    ----------
    plane_axes : (int, int)
        Axes of the labels that are rows and columns.
    index : tuple of int
        Index of the plane along each other axis, in their order.
    box : tuple of int
        (row_min, column_min, row_max, column_max), pixel edges, half-open.
    where : bytes
        Which pixels of the box changed; see `pack_bits`.
    old, new : ndarray of shape (count,) or (1,), int
        Values in the order of rows and columns.
    count : int
        Number of pixels, at least 1.
    """

    plane_axes: tuple[int, int]
    index: tuple[int, ...]
    box: tuple[int, int, int, int]
    where: bytes
    old: NDArray[Any]
    new: NDArray[Any]
    count: int

    @property
    def nbytes(self) -> int:
        """Bytes it takes."""
        return len(self.where) + self.old.nbytes + self.new.nbytes

    def indices(self) -> tuple[NDArray[np.intp], ...]:
        """Index of the pixels along each axis of the labels, (count,) each."""
        top, left, bottom, right = self.box
        mask = unpack_bits(self.where, (bottom - top, right - left))
        rows, columns = np.nonzero(mask)
        if len(rows) != self.count:
            raise ValueError(
                f"a change of {self.count} pixels must mark as many, got {len(rows)}."
            )
        by_axis = dict(zip(self.plane_axes, (rows + top, columns + left), strict=True))
        sliced = [i for i in range(len(self.index) + 2) if i not in by_axis]
        for axis, position in zip(sliced, self.index, strict=True):
            by_axis[axis] = np.full(self.count, position)
        return tuple(by_axis[axis] for axis in range(len(by_axis)))

    def plane_of(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Plane (H, W) that it changes, cut out of the labels; a view of them."""
        ahead, axes = iter(self.index), range(labels.ndim)
        index = tuple(
            slice(None) if axis in self.plane_axes else next(ahead) for axis in axes
        )
        rows, columns = self.plane_axes
        return labels[index].T if rows > columns else labels[index]

    def put_into(self, plane: NDArray[Any]) -> None:
        """Write the new values into its plane (H, W), cut out of the labels."""
        top, left, bottom, right = self.box
        mask = unpack_bits(self.where, (bottom - top, right - left))
        part = plane[top:bottom, left:right]
        if len(self.new) == 1:
            np.copyto(part, self.new[0], where=mask)
        else:
            part[mask] = self.new

    def apply_to(self, labels: NDArray[Any]) -> None:
        """Write the new values into an array, whatever is there."""
        labels[self.indices()] = self.new


def plane_change(
    plane_axes: tuple[int, int],
    index: tuple[int, ...],
    current: NDArray[Any],
    wanted: NDArray[Any],
    written: NDArray[np.bool_],
) -> PlaneChange | None:
    """Describe the change of a plane.

    Parameters
    ----------
    plane_axes, index
        As in `PlaneChange`.
    current, wanted : ndarray of shape (H, W), int
        Labels before and after.
    written : ndarray of shape (H, W), bool
        The pixels that count.

    Returns
    -------
    PlaneChange or None
        None if there are none.

    Examples
    --------
    >>> before, after = np.array([[0, 0, 7]]), np.array([[0, 3, 3]])
    >>> change = plane_change((0, 1), (), before, after, before != after)
    >>> change.box, change.old, change.new
    ((0, 1, 1, 3), array([0, 7]), array([3]))
    >>> change.apply_to(before)
    >>> before
    array([[0, 3, 3]])
    """
    top, left, bottom, right = box = tight_box(written)
    if bottom == 0:
        return None
    inside = slice(top, bottom), slice(left, right)
    mask = written[inside]
    return PlaneChange(
        plane_axes,
        index,
        box,
        pack_bits(mask),
        _short(current[inside][mask]),
        _short(wanted[inside][mask].astype(current.dtype)),
        int(np.count_nonzero(mask)),
    )


def _short(values: NDArray[Any]) -> NDArray[Any]:
    """One value, if all are the same."""
    return values[:1].copy() if (values == values[0]).all() else values
