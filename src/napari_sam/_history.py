"""Undo and redo as frozen values: steps between states; no Qt, no napari.

Steps share what did not change between them, so that a history costs what changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_sam._label_changes import PlaneChange

MAX_STEPS = 200
MAX_BYTES = 128 << 20

Kind: TypeAlias = Literal[
    "add", "remove", "move", "mask", "label", "commit", "volume", "labels", "other"
]


@dataclass(frozen=True, eq=False)
class DrawnPrompts:
    """What a Points or Shapes layer holds.

    Parameters
    ----------
    data : tuple of ndarray of shape (N, D)
        Coordinates in the layer; of points one array, of shapes one for each.
    features : mapping of str to tuple
        One value for each point or shape.
    kinds : tuple of str
        Type of each shape; () for points.
    shown : tuple of bool
        Whether each point is shown; () for shapes.
    """

    data: tuple[NDArray[np.float64], ...] = ()
    features: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    shown: tuple[bool, ...] = ()

    def __len__(self) -> int:
        """Count the points or shapes."""
        return len(self.data) if self.kinds else sum(len(rows) for rows in self.data)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DrawnPrompts):
            return NotImplemented
        if len(self) == 0 and len(other) == 0:
            return True
        about = (self.features, self.kinds, self.shown)
        if about != (other.features, other.kinds, other.shown):
            return False
        return len(self.data) == len(other.data) and all(
            np.array_equal(a, b) for a, b in zip(self.data, other.data, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def nbytes(self) -> int:
        """Bytes it takes, about."""
        return sum(rows.nbytes for rows in self.data) + 64 * len(self)


@dataclass(frozen=True)
class State:
    """What can be undone but for pixels of labels, which are in the steps.

    Parameters
    ----------
    points, shapes : DrawnPrompts
    corrections : mapping
        Labels that are to be corrected, by object and plane.
    chosen : mapping
        By object and plane, prompts and the index of the mask that was chosen for them.
    accepted : frozenset
        What was accepted already.
    object_id : int
        The chosen object. It alone makes no step, but comes back with one.
    """

    points: DrawnPrompts = field(default_factory=DrawnPrompts)
    shapes: DrawnPrompts = field(default_factory=DrawnPrompts)
    corrections: Mapping[Any, Any] = field(default_factory=dict)
    chosen: Mapping[Any, tuple[Any, int]] = field(default_factory=dict)
    accepted: frozenset[Any] = frozenset()
    object_id: int = 1

    def is_same_work(self, other: State) -> bool:
        """Whether they are equal but for the chosen object."""
        return self == replace(other, object_id=self.object_id)

    def sharing(self, other: State) -> State:
        """Return the same with the very values of another one where they are equal."""
        names = ("points", "shapes", "corrections", "chosen", "accepted")
        equal = {
            name: getattr(other, name)
            for name in names
            if getattr(self, name) == getattr(other, name)
        }
        return replace(self, **equal)


@dataclass(frozen=True, eq=False)
class Step:
    """One thing the user did.

    Parameters
    ----------
    text : str
        What it was, to be read after "Undone: ".
    kind : str
    before, after : State
    changes : tuple of PlaneChange
        Pixels of labels that were written.
    target : str
        Identifies the Labels layer they were written into.
    point : tuple of float
        Where the viewer was, in the world.
    """

    text: str
    kind: Kind
    before: State
    after: State
    changes: tuple[PlaneChange, ...] = ()
    target: str = ""
    point: tuple[float, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes it takes beyond those of the step before, about."""
        drawn = sum(
            after.nbytes
            for before, after in (
                (self.before.points, self.after.points),
                (self.before.shapes, self.after.shapes),
            )
            if before is not after
        )
        return 1000 + drawn + sum(change.nbytes for change in self.changes)


@dataclass(frozen=True)
class History:
    """Steps that can be undone, and steps that can be done again.

    Parameters
    ----------
    past : tuple of Step
        The last is undone first.
    future : tuple of Step
        The last is done again first.

    Examples
    --------
    >>> one, two = State(object_id=1), State(object_id=2)
    >>> history = History().pushed(Step("object 2", "other", one, two))
    >>> history = history.undone()
    >>> len(history.past), history.future[-1].text
    (0, 'object 2')
    """

    past: tuple[Step, ...] = ()
    future: tuple[Step, ...] = ()

    def pushed(
        self, step: Step, max_steps: int = MAX_STEPS, max_bytes: int = MAX_BYTES
    ) -> History:
        """Return the history with a step more; nothing can be done again then.

        Parameters
        ----------
        step : Step
        max_steps, max_bytes : int
            The oldest steps are forgotten beyond that; the new one never is.
        """
        past = (*self.past, step)[-max_steps:]
        total, kept = 0, 0
        for one in reversed(past):
            total += one.nbytes
            if kept and total > max_bytes:
                break
            kept += 1
        return History(past[len(past) - kept :])

    def merged(self, step: Step) -> History:
        """Return the history with the last step going on to where a new one leads.

        If it leads back to where the last one began, there is no step left.
        """
        last = self.past[-1]
        if last.before.is_same_work(step.after):
            return History(self.past[:-1])
        return History((*self.past[:-1], replace(last, after=step.after)))

    def undone(self) -> History:
        """Return the history after the last step was undone."""
        return History(self.past[:-1], (*self.future, self.past[-1]))

    def redone(self) -> History:
        """Return the history after the last undone step was done again."""
        return History((*self.past, self.future[-1]), self.future[:-1])


def kind_of(before: State, after: State) -> Kind:
    """Say what was done between two states.

    Examples
    --------
    >>> drawn = DrawnPrompts((np.zeros((1, 2)),), {"object": (1,)})
    >>> kind_of(State(), State(points=drawn)), kind_of(State(points=drawn), State())
    ('add', 'remove')
    """
    counts = [len(state.points) + len(state.shapes) for state in (before, after)]
    if counts[0] != counts[1]:
        return "add" if counts[0] < counts[1] else "remove"
    if (before.points, before.shapes) != (after.points, after.shapes):
        features = [(s.points.features, s.shapes.features) for s in (before, after)]
        return "move" if features[0] == features[1] else "other"
    if before.corrections != after.corrections:
        return "label"
    return "mask" if before.chosen != after.chosen else "other"


TEXTS: dict[Kind, str] = {
    "add": "prompt added",
    "remove": "prompt removed",
    "move": "prompt moved",
    "mask": "another mask chosen",
    "label": "label taken for correction",
    "commit": "mask accepted",
    "volume": "followed through the stack",
    "labels": "labels written",
    "other": "prompt changed",
}


def continues(
    last: Step, before: State, after: State, is_recent: bool, is_drawing: bool
) -> bool:
    """Whether a change goes on with what the last step began: a drag, a drawing.

    Parameters
    ----------
    last : Step
    before, after : State
    is_recent : bool
        Whether the last step was a moment ago.
    is_drawing : bool
        Whether shapes are being drawn. That adds a shape at the first click, changes
        it with each other one, and takes it out again if it was given up.
    """
    if last.kind not in ("add", "move"):
        return False
    if is_drawing and last.kind == "add" and last.before.is_same_work(after):
        return True
    if kind_of(before, after) != "move":
        return False
    moved = _moved(before, after)
    if last.kind == "move":
        return is_recent and moved == _moved(last.before, last.after)
    return is_drawing and moved == {("shapes", len(after.shapes) - 1)}


def _moved(before: State, after: State) -> set[tuple[str, int]]:
    """Which points and shapes have other coordinates."""
    found = set()
    for name in ("points", "shapes"):
        old, new = getattr(before, name), getattr(after, name)
        if old is new:
            continue
        rows = (
            zip(old.data, new.data, strict=False)
            if new.kinds
            else zip(*(np.vstack(one.data or [[]]) for one in (old, new)), strict=False)
        )
        for i, (a, b) in enumerate(rows):
            if not np.array_equal(a, b):
                found.add((name, i))
    return found
