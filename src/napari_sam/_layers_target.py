"""Write masks into a user's Labels layer: type kept, others protected, undoable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_sam._layers_view import is_same_grid

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from napari.layers import Image, Labels
    from numpy.typing import NDArray

    from napari_sam._layers_view import ViewPlane
    from napari_sam.types import Plane

# Labels of a large volume are searched in parts of about this size.
_PART_BYTES = 16 << 20


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


def check_target(labels_layer: Labels, image_layer: Image, view: ViewPlane) -> None:
    """Refuse a Labels layer that masks of an image cannot be written into.

    Parameters
    ----------
    labels_layer : napari.layers.Labels
    image_layer : napari.layers.Image
    view : ViewPlane

    Raises
    ------
    ValueError
        If the layer has other voxels than the image, or cannot be written to (dask
        arrays, pyramids, read-only files, locked layers).
    """
    check_writable(labels_layer)
    if not is_same_grid(labels_layer, image_layer, view):
        raise ValueError(
            f"labels layer {labels_layer.name!r} must have the shape and transforms of "
            f"image {image_layer.name!r}: choose another one, or make a new one."
        )


def check_writable(labels_layer: Labels) -> None:
    """Refuse a Labels layer that cannot be written to; see `check_target`."""
    data = labels_layer.data
    if labels_layer.multiscale:
        reason = "is a pyramid of several resolutions"
    elif hasattr(data, "dask"):
        reason = "holds a dask array, which cannot be written to"
    elif getattr(data, "read_only", False) or not _is_writeable(data):
        reason = "is read-only"
    elif not labels_layer.editable:
        reason = "is locked"
    else:
        return
    raise ValueError(
        f"labels layer {labels_layer.name!r} {reason}: choose another one, or make a "
        "new one."
    )


def _is_writeable(data: Any) -> bool:
    return bool(data.flags.writeable) if isinstance(data, np.ndarray) else True


def check_label(labels_layer: Labels, object_id: int) -> None:
    """Refuse a number that does not fit into a Labels layer.

    Parameters
    ----------
    labels_layer : napari.layers.Labels
    object_id : int

    Raises
    ------
    ValueError
        If it is less than 1, or more than the layer's type holds.
    """
    dtype = np.dtype(labels_layer.dtype)
    most = int(np.iinfo(dtype).max)
    if object_id < 1:
        raise ValueError(f"object_id must be 1 or more, got {object_id}.")
    if object_id > most:
        raise ValueError(
            f"object_id must be at most {most} in the {dtype} layer "
            f"{labels_layer.name!r}, got {object_id}: convert the layer to a wider "
            "type, or use a free number."
        )


def commit_mask(
    labels_layer: Labels,
    view: ViewPlane,
    mask: NDArray[np.bool_],
    object_id: int,
    options: CommitOptions = PROTECT,
) -> int:
    """Write a mask of the displayed plane into a Labels layer, as one step to undo.

    Parameters
    ----------
    labels_layer : napari.layers.Labels
        With the voxels of the image (`check_target`). Its type stays.
    view : ViewPlane
        The plane the mask belongs to.
    mask : ndarray of shape (H, W), bool
    object_id : int
        The label.
    options : CommitOptions

    Returns
    -------
    int
        Number of pixels that changed.

    Raises
    ------
    ValueError
        If the layer cannot be written to, the mask has another shape than the plane, or
        the number does not fit into the layer's type. Nothing is changed then.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Labels
    >>> from napari_sam._layers import ViewPlane
    >>> layer = Labels(np.array([[0, 0, 7]], dtype="uint8"))
    >>> mask = np.array([[False, True, True]])
    >>> commit_mask(layer, ViewPlane((0, 1), (), (0, 0)), mask, 3)
    1
    >>> layer.data
    array([[0, 3, 7]], dtype=uint8)
    >>> layer.undo()
    >>> layer.data
    array([[0, 0, 7]], dtype=uint8)
    """
    check_label(labels_layer, object_id)
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise ValueError(f"mask must be bool, got dtype {mask.dtype}.")
    wanted = np.where(mask, np.asarray(object_id, dtype=labels_layer.dtype), 0)
    planes = [(view.plane, wanted)]
    return commit_labels(labels_layer, view, planes, {object_id}, options)


def commit_labels(
    labels_layer: Labels,
    view: ViewPlane,
    planes: Iterable[tuple[Plane, NDArray[Any]]],
    object_ids: Collection[int],
    options: CommitOptions = PROTECT,
) -> int:
    """Write label images of several planes into a Labels layer, as one step to undo.

    Parameters
    ----------
    labels_layer, options
        As in `commit_mask`.
    view : ViewPlane
        Of it the axes count.
    planes : iterable of (plane, ndarray of shape (H, W))
        Integers; 0 is no object. Taken one by one.
    object_ids : collection of int
        The objects that were segmented, found or not.

    Returns
    -------
    int
        Number of pixels that changed.

    Raises
    ------
    ValueError
        As `commit_mask`.
    """
    check_writable(labels_layer)
    for number in object_ids:
        check_label(labels_layer, number)
    numbers = np.array(sorted(object_ids), dtype=labels_layer.dtype)
    changed = 0
    failure: Exception | None = None
    with labels_layer.block_history():  # one step to undo for all planes
        try:
            for plane, wanted in planes:
                index = _index(view, plane)
                current = view.read(labels_layer.data, index)
                written = _written(current, wanted, numbers, options)
                changed += int(np.count_nonzero(written))
                _set(labels_layer, view, index, (written, wanted))
        except Exception as error:
            failure = error
    if failure is not None:
        if changed:  # there is a step of our own to undo
            labels_layer.undo()
        raise failure
    labels_layer.refresh(extent=False)
    return changed


def _index(view: ViewPlane, plane: Plane) -> tuple[int, ...]:
    if not view.sliced_axes:
        return ()
    return plane if isinstance(plane, tuple) else (plane,)


def _written(
    current: NDArray[Any],
    wanted: NDArray[Any],
    numbers: NDArray[Any],
    options: CommitOptions,
) -> NDArray[np.bool_]:
    """Which pixels of a plane change."""
    if wanted.shape != current.shape:
        raise ValueError(
            f"mask must have the shape of the plane, {current.shape}, "
            f"got {wanted.shape}."
        )
    is_own = np.isin(current, numbers)
    written = (wanted != 0) & (current != wanted)
    if options.overlap == "protect":
        written &= (current == 0) | (is_own & options.replace)
    if options.replace:
        written |= is_own & (wanted == 0)
    return np.asarray(written)


def _set(
    labels_layer: Labels,
    view: ViewPlane,
    index: tuple[int, ...],
    change: tuple[NDArray[np.bool_], NDArray[Any]],
) -> None:
    written, wanted = change
    rows, columns = np.nonzero(written)
    if rows.size == 0:
        return
    where = dict(zip(view.plane_axes, (rows, columns), strict=True))
    for axis, position in zip(view.sliced_axes, index, strict=True):
        where[axis] = np.full(rows.size, position)
    indices = tuple(where[axis] for axis in range(len(where)))
    values = wanted[rows, columns].astype(labels_layer.dtype)
    labels_layer.data_setitem(indices, values, refresh=False)


def next_free_label(labels_layer: Labels, taken: Collection[int] = ()) -> int:
    """Find a number that no object has.

    Parameters
    ----------
    labels_layer : napari.layers.Labels
        Lazy data is read in parts.
    taken : collection of int
        More numbers in use, such as those of prompts that are not committed yet.

    Returns
    -------
    int
        One more than the largest number in use; if that does not fit into the layer's
        type, the smallest that is free.

    Raises
    ------
    ValueError
        If none is free.

    Examples
    --------
    >>> from napari.layers import Labels
    >>> next_free_label(Labels(np.array([[0, 4]], dtype="uint8")), taken=[5])
    6
    """
    data = labels_layer.data[0] if labels_layer.multiscale else labels_layer.data
    largest = max((int(part.max(initial=0)) for part in label_parts(data)), default=0)
    return free_label(data, labels_layer.name, taken, largest)


def free_label(data: Any, name: str, taken: Collection[int], largest: int) -> int:
    """`next_free_label` of an array whose largest label is known.

    Parameters
    ----------
    data : array of integers
    name : str
        Of the layer, for the error.
    taken : collection of int
    largest : int
        Data is read only if the number after this one does not fit into its type.
    """
    following = max([largest, *taken, 0]) + 1
    most = int(np.iinfo(np.dtype(data.dtype)).max)
    if following <= most:
        return following
    used = set(taken).union(*(np.unique(part).tolist() for part in label_parts(data)))
    free = next((number for number in range(1, most + 1) if number not in used), None)
    if free is None:
        raise ValueError(
            f"labels layer {name!r} has no free number up to {most}: "
            "convert it to a wider type."
        )
    return free


def label_parts(data: Any) -> Iterator[NDArray[Any]]:
    """Yield an array in parts along its first axis, each read when it is its turn."""
    per_index = np.dtype(data.dtype).itemsize * int(np.prod(data.shape[1:]))
    step = max(1, _PART_BYTES // max(1, per_index))
    for start in range(0, data.shape[0], step):
        yield np.asarray(data[start : start + step])


def widen_labels(labels_layer: Labels, object_id: int) -> None:
    """Give a Labels layer the next type that holds a number; labels stay as they are.

    Parameters
    ----------
    labels_layer : napari.layers.Labels
        Of a numpy array; it is copied, and napari's own history ends here.
    object_id : int

    Raises
    ------
    ValueError
        If the data is no numpy array, or no type holds the number.
    """
    data = labels_layer.data
    if not isinstance(data, np.ndarray):
        raise ValueError(
            f"labels layer {labels_layer.name!r} must hold a numpy array to be "
            f"converted, got {type(data).__name__}."
        )
    wider = [np.dtype(f"{data.dtype.kind}{size}") for size in (1, 2, 4, 8)]
    fitting = [dtype for dtype in wider if object_id <= np.iinfo(dtype).max]
    if not fitting:
        raise ValueError(f"object_id must fit into {wider[-1]}, got {object_id}.")
    if fitting[0].itemsize > data.dtype.itemsize:
        labels_layer.data = data.astype(fitting[0])
