"""Which planes an object is followed through, from what, and what came of it; no Qt."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from napari_sam._layers_prompts import ObjectPrompts
from napari_sam._layers_view import ViewPlane, plane_name
from napari_sam.review import MaskPatch, doubtful_planes, plane_confidence
from napari_sam.types import Plane


@dataclass(frozen=True)
class ChosenMask:
    """Prompts, and which of their masks the user has chosen.

    Parameters
    ----------
    prompts : ObjectPrompts
    index : int
    """

    prompts: ObjectPrompts
    index: int


Seed: TypeAlias = ObjectPrompts | ChosenMask | MaskPatch
"""Prompts, or a mask that the user has approved."""

Seeds: TypeAlias = Mapping[int, Seed]
"""Seeds of one object, by position along a line."""

Extend: TypeAlias = Literal["whole", "onwards", "between"]


@dataclass(frozen=True)
class StackLine:
    """Planes of an image along one of its sliced axes, the others fixed.

    Parameters
    ----------
    plane_axes : (int, int)
        Data axes of rows and columns.
    along : int
        Which of the sliced axes.
    index : tuple of int
        Index along each sliced axis; 0 along the chosen one.
    count : int
        Number of planes.
    """

    plane_axes: tuple[int, int]
    along: int
    index: tuple[int, ...]
    count: int

    @classmethod
    def of(cls, view: ViewPlane, shape: Sequence[int], along: int) -> StackLine:
        """Line through the plane that is displayed.

        Parameters
        ----------
        view : ViewPlane
        shape : sequence of int
            Of the image, without colour.
        along : int
        """
        fixed = (*view.index[:along], 0, *view.index[along + 1 :])
        return cls(view.plane_axes, along, fixed, shape[view.sliced_axes[along]])

    def at(self, position: int) -> tuple[int, ...]:
        """Index along each sliced axis of one of the planes."""
        return (*self.index[: self.along], position, *self.index[self.along + 1 :])

    def plane(self, position: int) -> Plane:
        """Name of one of the planes, as `Session.segment` takes it."""
        return plane_name(self.at(position))

    def is_at(self, view: ViewPlane, position: int) -> bool:
        """Whether one of the planes is what is displayed."""
        return view.plane_axes == self.plane_axes and view.index == self.at(position)

    def position(self, plane: Plane) -> int | None:
        """Where a plane is on the line; None if it is not on it.

        Examples
        --------
        >>> line = StackLine((2, 3), along=1, index=(4, 0), count=9)
        >>> line.position((4, 7)), line.position((3, 7))
        (7, None)
        """
        index = plane if isinstance(plane, tuple) else (plane,)
        if len(index) != len(self.index):
            return None
        place = index[self.along]
        return place if self.at(place) == index and place < self.count else None


def wanted_planes(
    extend: Extend, here: int, between: tuple[int, int], count: int
) -> range:
    """Positions that the user wants.

    Parameters
    ----------
    extend : {"whole", "onwards", "between"}
    here : int
        Position of the displayed plane.
    between : (int, int)
        The first and the last, for "between".
    count : int
        Number of planes.

    Examples
    --------
    >>> wanted_planes("onwards", 3, (0, 0), 6), wanted_planes("between", 3, (1, 2), 6)
    (range(3, 6), range(1, 3))
    """
    if extend == "whole":
        return range(count)
    if extend == "onwards":
        return range(here, count)
    first, last = sorted(between)
    return range(max(first, 0), min(last + 1, count))


def affected_planes(before: Seeds, after: Seeds, count: int) -> set[int]:
    """Positions whose result may change with the seeds.

    Between two seeds that stay, nothing depends on what is beyond them.

    Parameters
    ----------
    before, after : mapping of int to Seed
    count : int
        Number of planes.

    Examples
    --------
    >>> one, other = (MaskPatch((0, 0, 0, 0), 0, None) for _ in range(2))
    >>> sorted(affected_planes({1: one, 8: one}, {1: one, 4: other, 8: one}, 20))
    [2, 3, 4, 5, 6, 7]
    """
    kept = {p for p in before if p in after and is_same_seed(before[p], after[p])}
    found: set[int] = set()
    for changed in (set(before) | set(after)) - kept:
        low = max((p for p in kept if p < changed), default=-1)
        high = min((p for p in kept if p > changed), default=count)
        found.update(range(low + 1, high))
    return found


def is_same_seed(first: Seed, second: Seed) -> bool:
    """Whether two seeds say the same."""
    if isinstance(first, MaskPatch) and isinstance(second, MaskPatch):
        return first is second or first.is_same(second)
    return first == second


def shows_object(seed: Seed) -> bool:
    """Whether a seed says where the object is, not only that it is not there."""
    if isinstance(seed, MaskPatch):
        return seed.area > 0
    return prompts_of(seed).has_foreground


def prompts_of(seed: ObjectPrompts | ChosenMask) -> ObjectPrompts:
    """Prompts of a seed."""
    return seed.prompts if isinstance(seed, ChosenMask) else seed


@dataclass
class Followed:
    """What is known of one object along one line.

    Parameters
    ----------
    basis : object
        What the results stand on besides the seeds: image, model and labels.
    seeds : dict of int to Seed
        Those that the results stand on.
    masks : dict of int to MaskPatch
        Of the planes that were looked at.
    scores : dict of int to float
    """

    basis: Any = None
    seeds: dict[int, Seed] = field(default_factory=dict)
    masks: dict[int, MaskPatch] = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)

    def pending(self, basis: Any, seeds: Seeds, wanted: Iterable[int]) -> set[int]:
        """Positions that are still to be looked at, or again.

        Parameters
        ----------
        basis : object
        seeds : mapping of int to Seed
            Those of now.
        wanted : iterable of int
        """
        stale = self._stale(basis, seeds)
        return {p for p in wanted if p in stale or p not in self.masks}

    def _stale(self, basis: Any, seeds: Seeds) -> set[int]:
        if basis != self.basis:
            return set(self.masks)
        return affected_planes(self.seeds, seeds, max(self.masks, default=-1) + 1)

    def begin(self, basis: Any, seeds: Seeds) -> None:
        """Go on with these seeds; what does not stand on them is forgotten."""
        self.forget(self._stale(basis, seeds))
        self.basis, self.seeds = basis, dict(seeds)

    def forget(self, positions: Iterable[int]) -> None:
        """Take planes for not looked at."""
        for position in positions:
            self.masks.pop(position, None)
            self.scores.pop(position, None)

    def take(self, position: int, mask: MaskPatch, score: float) -> None:
        """Note what was found in a plane."""
        self.masks[position] = mask
        self.scores[position] = score

    def confidence(self, certain: Collection[int]) -> dict[int, float]:
        """Confidence of each plane; `certain` are those that the user has approved."""
        return plane_confidence(self.masks, self.scores, certain)


def begin_all(
    records: Mapping[int, Followed],
    basis: Any,
    seeds: Mapping[int, Seeds],
    wanted: Collection[int],
) -> dict[int, frozenset[int]]:
    """Begin with objects: say which planes are to be looked at, and forget those.

    Parameters
    ----------
    records : mapping of object id to Followed
    basis : object
    seeds : mapping of object id to {position: Seed}
    wanted : collection of int
        Positions that the user wants.

    Returns
    -------
    dict of object id to set of positions
        Of objects with any. If there is nothing left to do, all again.
    """
    pending = {
        number: record.pending(basis, seeds[number], wanted)
        for number, record in records.items()
    }
    if not any(pending.values()):
        pending = {number: set(wanted) for number in records}
    for number, record in records.items():
        record.begin(basis, seeds[number])
        record.forget(pending[number])
    return {number: frozenset(own) for number, own in pending.items() if own}


def certain_planes(seeds: Seeds) -> set[int]:
    """Positions at which the user has approved a mask, or said there is no object."""
    return {
        position
        for position, seed in seeds.items()
        if isinstance(seed, MaskPatch) or not shows_object(seed)
    }


@dataclass(frozen=True)
class Review:
    """What the widget shows of one object along one line.

    Parameters
    ----------
    object_id : int
    count : int
        Number of planes.
    here : int
        Position of the displayed plane.
    seeds : mapping of int to Seed
    masks : mapping of int to MaskPatch
    confidence : mapping of int to float
    pending : int
        Planes that would be computed (again) now.
    is_here_approved : bool
    """

    object_id: int = 1
    count: int = 0
    here: int = 0
    seeds: Seeds = field(default_factory=dict)
    masks: Mapping[int, MaskPatch] = field(default_factory=dict)
    confidence: Mapping[int, float] = field(default_factory=dict)
    pending: int = 0
    is_here_approved: bool = False

    @property
    def certain(self) -> set[int]:
        """Positions that the user has decided about."""
        return certain_planes(self.seeds)

    @property
    def doubtful(self) -> list[int]:
        """Positions to look at."""
        return doubtful_planes(self.confidence)


def review_text(review: Review) -> str:
    """Say what is known of the object, and what to do next.

    Parameters
    ----------
    review : Review

    Examples
    --------
    >>> review_text(Review(object_id=2, count=9))
    'Mark object 2 in one plane or a few; then follow it from there.'
    """
    name = f"object {review.object_id}"
    shown = [p for p, seed in review.seeds.items() if shows_object(seed)]
    if not shown:
        return f"Mark {name} in one plane or a few; then follow it from there."
    if not review.masks:
        return f"{name[:1].upper()}{name[1:]} is marked in {_planes(shown)}: follow it."
    parts = []
    doubtful = review.doubtful
    if doubtful:
        parts.append(
            f"{_count(len(doubtful), 'place')} to look at: press Next doubtful."
        )
    elif review.confidence:
        parts.append("No plane is doubtful.")
    else:
        parts.append(f"{name[:1].upper()}{name[1:]} was not found.")
    if review.pending:
        parts.append(f"{_count(review.pending, 'plane')} to compute: follow it again.")
    return " ".join(parts)


def _planes(positions: Sequence[int]) -> str:
    if len(positions) == 1:
        return f"plane {positions[0]}"
    return f"{len(positions)} planes"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
