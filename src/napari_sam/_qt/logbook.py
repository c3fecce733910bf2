"""What was written into labels, in order: the part of a session that is replayed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._label_changes import PlaneChange, plane_change
from napari_sam.session_file import Commit, Edit, SavedTarget

if TYPE_CHECKING:
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_sam._layers_view import ViewPlane

Entry = Commit | Edit


@dataclass(frozen=True, eq=False)
class _Known:
    """What a log says of one plane: target, axes and index."""

    log: tuple[Entry, ...]
    place: tuple[int, tuple[int, int], tuple[int, ...]]
    plane: NDArray[Any]

    def after(self, entry: Commit, log: tuple[Entry, ...]) -> _Known | None:
        """Return what the log says with one more entry; None if it is elsewhere."""
        for change in entry.changes:
            if (entry.target, change.plane_axes, change.index) != self.place:
                return None
            change.put_into(self.plane)
        return _Known(log, self.place, self.plane)


class Logbook:
    """Entries of a session's log, and the Labels layers they are about.

    Replaying the entries gives the labels. What was not written by a commit (painted,
    undone, or there before) is found by comparing a plane with what the entries say of
    it, and becomes an `Edit`.

    Parameters
    ----------
    log : tuple of Commit and Edit
    layers : sequence of Labels layer
        By the number of the target.
    made : collection of str
        Identifiers of layers that were made by the widget.
    """

    def __init__(
        self,
        log: tuple[Entry, ...] = (),
        layers: Sequence[Labels] = (),
        made: Sequence[bool] = (),
    ) -> None:
        self.log = log
        self._layers = list(layers)
        self._made = list(made)
        self._undone: dict[int, tuple[tuple[Entry, ...], Commit]] = {}
        self._known: _Known | None = None

    @property
    def targets(self) -> tuple[SavedTarget, ...]:
        """The layers as they are now."""
        return tuple(
            SavedTarget(
                layer.name,
                tuple(int(n) for n in layer.data.shape),
                str(np.dtype(layer.data.dtype)),
                made,
            )
            for layer, made in zip(self._layers, self._made, strict=True)
        )

    def target(self, layer: Labels, is_new: bool = False) -> int:
        """Return the number of a layer; it gets one if it has none."""
        for number, other in enumerate(self._layers):
            if layer is other:
                return number
        self._layers.append(layer)
        self._made.append(is_new)
        return len(self._layers) - 1

    def sync(self, layer: Labels, view: ViewPlane, is_new: bool = False) -> None:
        """Note what is in a plane that no entry tells of.

        Parameters
        ----------
        layer : Labels layer
        view : ViewPlane
        is_new : bool
            Whether the widget has just made the layer.
        """
        target, axes, index = self.target(layer, is_new), view.plane_axes, view.index
        last = self.log[-1] if self.log else None
        if (
            isinstance(last, Edit)
            and last.target == target
            and [(c.plane_axes, c.index) for c in last.changes] == [(axes, index)]
        ):
            self.log = self.log[:-1]  # goes on with the same edit
        current, place = view.read(layer.data, index), (target, axes, index)
        known = self._known if self._known and self._known.log is self.log else None
        if known and known.place == place and known.plane.shape == current.shape:
            recorded = known.plane.astype(current.dtype, copy=False)  # may be wider
        else:
            recorded = plane_of(self._changes(target), current, axes, index)
        change = plane_change(axes, index, recorded, current, recorded != current)
        if change is not None:
            self.log = (*self.log, Edit(target, (change,)))
        self._known = _Known(self.log, place, current.copy())

    def commit(self, entry: Commit) -> None:
        """Note a mask that was written; its plane was synced just before."""
        known, log = self._known, (*self.log, entry)
        # A log of many entries takes long to go through at each commit.
        if known is not None and known.log is self.log:
            self._known = known.after(entry, log)
        self.log = log

    def edit(self, layer: Labels, changes: tuple[PlaneChange, ...]) -> None:
        """Note pixels that were written otherwise."""
        if changes:
            self.log = (*self.log, Edit(self.target(layer), changes))

    def undone(
        self, layer: Labels, changes: tuple[PlaneChange, ...], view: ViewPlane
    ) -> None:
        """Note that a commit was taken back."""
        last = self.log[-1] if self.log else None
        if isinstance(last, Commit) and last.changes is changes:
            self.log = self.log[:-1]
            self._undone[id(changes)] = self.log, last
        self._sync_all(layer, changes, view)

    def redone(
        self, layer: Labels, changes: tuple[PlaneChange, ...], view: ViewPlane
    ) -> None:
        """Note that a commit was written again."""
        before, commit = self._undone.pop(id(changes), (None, None))
        # Only if all is as it was then does the model write the same pixels again.
        if commit is not None and before is self.log:
            self.log = (*self.log, commit)
        self._sync_all(layer, changes, view)

    def _sync_all(
        self, layer: Labels, changes: tuple[PlaneChange, ...], view: ViewPlane
    ) -> None:
        for change in changes:
            place = type(view)(change.plane_axes, change.index, view.point, view.units)
            self.sync(layer, place)

    def _changes(self, target: int) -> Iterator[PlaneChange]:
        for entry in self.log:
            if entry.target == target:
                yield from entry.changes


def painted_planes(
    atoms: Sequence[Any], sliced_axes: Sequence[int]
) -> set[tuple[int, ...]]:
    """Planes that a step of napari's history of a Labels layer touches.

    Parameters
    ----------
    atoms : sequence
        Value of the layer's event ``paint``: each has, first, the index of what it
        changed, as slices or arrays.
    sliced_axes : sequence of int
        Axes that are neither rows nor columns.

    Returns
    -------
    set of tuple of int
        Index along each sliced axis.

    Examples
    --------
    >>> painted_planes([((np.array([1, 1]), np.array([5, 6])), None, None)], [0])
    {(1,)}
    """
    found: set[tuple[int, ...]] = set()
    for atom in atoms:
        along = [_positions(atom[0][axis]) for axis in sliced_axes]
        found.update(product(*along))
    return found


def _positions(where: Any) -> list[int]:
    if isinstance(where, slice):
        return list(range(where.start or 0, where.stop))
    return [int(i) for i in np.unique(where)]


def plane_of(
    changes: Iterator[PlaneChange],
    like: NDArray[Any],
    plane_axes: tuple[int, int],
    index: tuple[int, ...],
) -> NDArray[Any]:
    """Plane of labels that were 0 before these changes.

    Parameters
    ----------
    changes : iterable of PlaneChange
        Of planes along any axes.
    like : ndarray of shape (H, W)
        Gives shape and type.
    plane_axes, index
        Which plane.

    Returns
    -------
    ndarray of shape (H, W)
    """
    plane = np.zeros_like(like)
    for change in changes:
        is_parallel = change.plane_axes == plane_axes
        if is_parallel:
            if change.index == index:
                change.put_into(plane)
            continue
        where = change.indices()
        rows, columns = (where[axis] for axis in plane_axes)
        here = np.ones(change.count, bool)
        sliced = [axis for axis in range(len(where)) if axis not in plane_axes]
        for axis, position in zip(sliced, index, strict=True):
            here &= where[axis] == position
        values = np.broadcast_to(change.new, here.shape)
        plane[rows[here], columns[here]] = values[here]
    return plane
