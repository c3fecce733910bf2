"""Labels layers of the user: which can be written to, and what numbers they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._layers_view import is_same_grid

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from napari.layers import Image, Labels
    from numpy.typing import NDArray

    from napari_sam._layers_view import ViewPlane

# Labels of a large volume are searched in parts of about this size.
_PART_BYTES = 16 << 20


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
