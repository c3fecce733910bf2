"""Write masks into a user's Labels layer: type kept, others protected, undoable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._label_changes import (
    PROTECT,
    CommitOptions,
    PlaneChange,
    changed_pixels,
    plane_change,
)
from napari_sam._layers_target import check_label, check_writable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_sam._layers_view import ViewPlane
    from napari_sam.types import Plane


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
    changes = write_mask(labels_layer, view, mask, object_id, options)
    return sum(change.count for change in changes)


def write_mask(
    labels_layer: Labels,
    view: ViewPlane,
    mask: NDArray[np.bool_],
    object_id: int,
    options: CommitOptions = PROTECT,
) -> tuple[PlaneChange, ...]:
    """Do as `commit_mask`, and return what changed: nothing, or one plane."""
    check_label(labels_layer, object_id)
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise ValueError(f"mask must be bool, got dtype {mask.dtype}.")
    wanted = np.where(mask, np.asarray(object_id, dtype=labels_layer.dtype), 0)
    planes = [(view.plane, wanted)]
    return write_labels(labels_layer, view, planes, {object_id}, options)


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
    changes = write_labels(labels_layer, view, planes, object_ids, options)
    return sum(change.count for change in changes)


def write_labels(
    labels_layer: Labels,
    view: ViewPlane,
    planes: Iterable[tuple[Plane, NDArray[Any]]],
    object_ids: Collection[int],
    options: CommitOptions = PROTECT,
) -> tuple[PlaneChange, ...]:
    """Do as `commit_labels`, and return what changed, for `revert_labels`.

    Returns
    -------
    tuple of PlaneChange
        One for each plane that changed, in their order.
    """
    check_writable(labels_layer)
    for number in object_ids:
        check_label(labels_layer, number)
    numbers = np.array(sorted(object_ids), dtype=labels_layer.dtype)
    changes: list[PlaneChange] = []
    failure: Exception | None = None
    with labels_layer.block_history():  # one step to undo for all planes
        try:
            for plane, wanted in planes:
                index = _index(view, plane)
                current = view.read(labels_layer.data, index)
                written = changed_pixels(current, wanted, numbers, options)
                change = plane_change(view.plane_axes, index, current, wanted, written)
                if change is not None:
                    changes.append(change)
                    _set(labels_layer, change.indices(), change.new)
        except Exception as error:
            failure = error
    if failure is not None:
        if changes:  # there is a step of our own to undo
            labels_layer.undo()
        raise failure
    labels_layer.refresh(extent=False)
    return tuple(changes)


def write_plane(
    labels_layer: Labels,
    view: ViewPlane,
    plane: tuple[tuple[int, ...], NDArray[Any]],
    object_ids: Collection[int],
    options: CommitOptions = PROTECT,
) -> PlaneChange | None:
    """Write one of many planes: nothing is shown, or noted in the layer's own history.

    That history keeps an index of each pixel along each axis: for a volume, more than
    the volume itself. Call ``labels_layer.refresh()`` to show what was written.

    Parameters
    ----------
    labels_layer, view, object_ids, options
        As in `commit_labels`; the layer and the ids are not checked here.
    plane : (index, ndarray of shape (H, W))
        Index along each of ``view.sliced_axes``, and labels; 0 is no object.

    Returns
    -------
    PlaneChange or None
        None if nothing has changed.
    """
    index, wanted = plane
    numbers = np.array(sorted(object_ids), dtype=labels_layer.dtype)
    current = view.read(labels_layer.data, index)
    written = changed_pixels(current, wanted, numbers, options)
    change = plane_change(view.plane_axes, index, current, wanted, written)
    if change is not None:
        labels_layer.data[change.indices()] = change.new
    return change


def _index(view: ViewPlane, plane: Plane) -> tuple[int, ...]:
    if not view.sliced_axes:
        return ()
    return plane if isinstance(plane, tuple) else (plane,)


def _set(
    labels_layer: Labels, indices: tuple[NDArray[np.intp], ...], values: NDArray[Any]
) -> None:
    values = np.broadcast_to(values, indices[0].shape).astype(labels_layer.dtype)
    labels_layer.data_setitem(indices, values, refresh=False)


def revert_labels(labels_layer: Labels, changes: Sequence[PlaneChange]) -> int:
    """Take back what was written, where nothing else has been written since.

    It is a step of its own in the layer's history, so that the layer's undo stays
    right: each of its steps begins with what the one before it left.

    Parameters
    ----------
    labels_layer : napari.layers.Labels
    changes : sequence of PlaneChange
        From `write_labels`, with this layer.

    Returns
    -------
    int
        Number of pixels that hold something else by now, and stay as they are.

    Raises
    ------
    ValueError
        If the layer cannot be written to, or has another shape by now.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Labels
    >>> from napari_sam._layers import ViewPlane
    >>> layer = Labels(np.zeros((1, 3), dtype="uint8"))
    >>> mask = np.array([[False, True, True]])
    >>> changes = write_mask(layer, ViewPlane((0, 1), (), (0, 0)), mask, 3)
    >>> layer.data[0, 2] = 9  # the user paints
    >>> revert_labels(layer, changes)
    1
    >>> layer.data
    array([[0, 0, 9]], dtype=uint8)
    """
    return _exchange(labels_layer, [(one, one.new, one.old) for one in changes[::-1]])


def repeat_labels(labels_layer: Labels, changes: Sequence[PlaneChange]) -> int:
    """Write again what `revert_labels` took back; see there."""
    return _exchange(labels_layer, [(one, one.old, one.new) for one in changes])


def _exchange(
    labels_layer: Labels,
    changes: Sequence[tuple[PlaneChange, NDArray[Any], NDArray[Any]]],
) -> int:
    """Replace values by others; returns the number of pixels that had neither."""
    check_writable(labels_layer)
    left = 0
    with labels_layer.block_history():
        for change, expected, values in changes:
            _check_extent(labels_layer, change)
            indices = change.indices()
            current = np.asarray(labels_layer.data[indices])
            is_expected = current == expected
            left += int(np.count_nonzero(~is_expected & (current != values)))
            if is_expected.any():
                values = np.broadcast_to(values, current.shape)[is_expected]
                _set(labels_layer, tuple(i[is_expected] for i in indices), values)
    labels_layer.refresh(extent=False)
    return left


def _check_extent(labels_layer: Labels, change: PlaneChange) -> None:
    shape = tuple(labels_layer.data.shape)
    if len(shape) == len(change.index) + 2:
        rows, columns = change.plane_axes
        lengths = [n for axis, n in enumerate(shape) if axis not in (rows, columns)]
        last = (*change.index, change.box[2] - 1, change.box[3] - 1)
        pairs = zip(last, (*lengths, shape[rows], shape[columns]), strict=True)
        if all(i < n for i, n in pairs):
            return
    raise ValueError(
        f"labels layer {labels_layer.name!r} must have the shape it had when the mask "
        f"was written, got {shape}."
    )
