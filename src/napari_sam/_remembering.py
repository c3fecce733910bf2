"""Objects through a stack by the memory of a model that has one.

SAM 2 (Ravi et al., 2024, "SAM 2: Segment anything in images and videos") attends to
what it saw of an object in other planes. A predictor of such a model has a method
`new_memory`; who follows objects knows no more of it than the protocols below.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from numpy.typing import NDArray

from napari_sam._tracking import Answer
from napari_sam.types import LOGITS_SIZE, ImageEmbedding, Prediction

if TYPE_CHECKING:
    import numpy as np

Found: TypeAlias = Prediction | Answer
WHOLE = (slice(0, LOGITS_SIZE), slice(0, LOGITS_SIZE))


class ObjectMemory(Protocol):
    """What a model remembers of one object in the planes of a stack."""

    def show(
        self, plane: int, embedding: ImageEmbedding, mask: NDArray[np.bool_]
    ) -> None:
        """Remember the object as a mask (H, W) of a plane; before any `find`."""

    def find(
        self, plane: int, embedding: ImageEmbedding, step: int
    ) -> tuple[NDArray[np.float32], float]:
        """Find the object in a plane next to those it was found in, and remember it.

        Returns logits (256, 256) in the answer frame and a score from 0 to 1. `step` is
        1 upwards and -1 downwards; planes come in that order.
        """


class _Stack(Protocol):
    def __len__(self) -> int: ...
    def embed(self, plane: int) -> ImageEmbedding: ...


NewMemory: TypeAlias = Callable[[int], ObjectMemory | None]


@dataclass(frozen=True, eq=False)
class Known:
    """What the user says of one object.

    Parameters
    ----------
    shown : dict of plane to Prediction
        Where it is, exactly.
    stops : collection of int
        Planes that it is not in.
    """

    shown: Mapping[int, Prediction]
    stops: Collection[int]

    def is_reached(self, plane: int, step: int) -> bool:
        """Whether the way in a direction leads from a seed to a plane."""
        if plane in self.shown or plane in self.stops:
            return False
        behind = [at for at in (*self.shown, *self.stops) if (plane - at) * step > 0]
        return (
            bool(behind) and min(behind, key=lambda at: abs(at - plane)) in self.shown
        )


def memories_of(
    predictor: object, keys: Sequence[int], planes: int
) -> list[ObjectMemory]:
    """Make a memory for each object; none if the predictor has none to offer.

    Parameters
    ----------
    predictor : Predictor
    keys : sequence of int
        Objects.
    planes : int
        Of the stack.
    """
    make: NewMemory | None = getattr(predictor, "new_memory", None)
    made = [] if make is None else [make(planes) for _ in keys]
    return [one for one in made if one is not None]


def follow_by_memory(
    stack: _Stack,
    objects: Mapping[int, Known],
    memories: Mapping[int, ObjectMemory],
    planes: Sequence[int],
) -> Iterator[tuple[int, dict[int, Found]]]:
    """Follow objects upwards from their seeds, and downwards where that led not.

    Parameters
    ----------
    stack : Stack
    objects : dict of object id to Known
    memories : dict of object id to ObjectMemory
    planes : sequence of int
        The planes wanted, in order.

    Yields
    ------
    tuple of int and dict of int to Prediction or Answer
        Each of the planes once, as soon as it is final. Between two seeds the way up
        knows both of them, so that no plane is looked at twice.
    """
    left = list(dict.fromkeys(planes))
    found: dict[int, dict[int, Found]] = {plane: {} for plane in left}
    for key, one in objects.items():
        for plane in sorted(one.shown):
            prediction = one.shown[plane]
            memories[key].show(plane, stack.embed(plane), prediction.best)
            if plane in found:
                found[plane][key] = prediction
    for step in (1, -1):
        for plane, asked in _way(objects, left, step, len(stack)):
            embedding = stack.embed(plane)
            for key in asked:
                logits, score = memories[key].find(plane, embedding, step)
                if plane in found and (logits > 0).any():
                    found[plane][key] = Answer.of(logits, WHOLE, score)
            # On the way up a plane waits for objects that come from above.
            is_final = step == -1 or not _below(objects, plane)
            if plane in left and is_final:
                left.remove(plane)
                yield plane, found.pop(plane)
    for plane in left:
        yield plane, found.pop(plane)


def _below(objects: Mapping[int, Known], plane: int) -> list[int]:
    """Objects that only the way down leads to."""
    return [
        key
        for key, one in objects.items()
        if one.is_reached(plane, -1) and not one.is_reached(plane, 1)
    ]


def _way(
    objects: Mapping[int, Known], planes: Sequence[int], step: int, count: int
) -> Iterator[tuple[int, list[int]]]:
    """Planes to look at in a direction, and for which objects."""
    wanted = set(planes)

    def asked(plane: int) -> list[int]:
        if step == -1:
            return _below(objects, plane)
        return [key for key, one in objects.items() if one.is_reached(plane, 1)]

    ends = [plane for plane in wanted if asked(plane)]
    if not ends:
        return
    # Every plane on the way counts: what is found there is remembered.
    last = max(ends) if step == 1 else min(ends)
    every = range(last + 1) if step == 1 else range(count - 1, last - 1, -1)
    for plane in every:
        keys = asked(plane)
        if keys:
            yield plane, keys
