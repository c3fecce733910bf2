"""What the worker does to learn while annotating; no Qt, no layers."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from napari_sam.learning import (
    AcceptedObject,
    AdaptedPredictor,
    Learned,
    Learner,
    LearningStep,
)
from napari_sam.review import MaskPatch
from napari_sam.session_file import SavedDecoder, SavedModel

if TYPE_CHECKING:
    from napari_sam._qt.engine import Engine, Request, Source
    from napari_sam.predictor import Predictor


@dataclass(frozen=True, eq=False)
class Remembered:
    """An accepted mask.

    Parameters
    ----------
    number : int
        Counts accepted objects from 0.
    request : Request
        What was asked.
    mask : MaskPatch
    """

    number: int
    request: Request
    mask: MaskPatch


class Decoders:
    """What the decoder of one widget's model has learned.

    Notes
    -----
    Models are shared with other widgets, so they are not changed: the widget gets a
    predictor of its own, which shares all but the decoder. `current` is set by the
    window's thread, and read by the worker at the beginning of each job.
    """

    def __init__(self) -> None:
        self.current: SavedDecoder | None = None
        self._adapted: tuple[SavedDecoder, Predictor, Predictor] | None = None
        self._learner: Learner | None = None
        self._objects: dict[Remembered, AcceptedObject] = {}

    def apply(self, name: str, base: Predictor) -> Predictor:
        """Return the predictor to use for a model: itself, or with what was learned."""
        wanted = self.current
        if wanted is None:
            return base
        if (wanted.model.name, wanted.model.checksum) != (name, base.checksum):
            return base
        kept = self._adapted
        if kept is None or kept[0] is not wanted or kept[1] is not base:
            kept = wanted, base, AdaptedPredictor(base, wanted.changes)
            self._adapted = kept
        return kept[2]

    def version(self, predictor: Predictor) -> str:
        """Version of a predictor that `apply` returned; "" of the model itself."""
        kept = self._adapted
        return kept[0].version if kept is not None and kept[2] is predictor else ""

    def learn(
        self, engine: Engine, source: Source, remembered: Sequence[Remembered]
    ) -> Generator[str | LearningStep, None, tuple[Learned, SavedDecoder | None]]:
        """Learn from masks that were accepted, a small step at a time.

        Parameters
        ----------
        engine : Engine
        source : Source
            That of all the masks.
        remembered : sequence of Remembered

        Returns
        -------
        tuple of Learned and SavedDecoder
            None instead of the decoder if the model itself is the best.
        """
        yield from engine.prepare(source.model)
        session, base = engine.open(source), engine.predictor(source.model)
        if self._learner is None or self._learner.base is not base:
            self._learner, self._objects = Learner(base), {}
        kept, self._objects = self._objects, {}
        for one in remembered:
            if one not in kept:
                embedding = session.embed(one.request.plane)
                mask = one.mask.to_mask(session.plane_size)
                prompts = one.request.prompts.to_prompts()
                kept[one] = AcceptedObject(one.number, embedding, mask, prompts)
                yield "Learning"
            self._objects[one] = kept[one]
        before = self.current
        is_ours = before is not None and before.model.checksum == base.checksum
        learned = yield from self._learner.learn(
            list(self._objects.values()),
            before.changes if before is not None and is_ours else None,
        )
        return learned, saved_decoder(learned, source.model, base)


def saved_decoder(learned: Learned, name: str, base: Predictor) -> SavedDecoder | None:
    """Name what was learned by its content; None if that is nothing."""
    if not learned.changes:
        return None
    digest = hashlib.sha256(base.checksum.encode())
    for change in learned.changes.values():
        digest.update(change.tobytes())
    precision = str(base.dtype).removeprefix("torch.")
    figures = {
        f"{when}_{what}": round(value, 4)
        for when, found in (("before", learned.before), ("after", learned.after))
        for what, value in asdict(found).items()
    }
    return SavedDecoder(
        digest.hexdigest()[:16],
        SavedModel(name, base.checksum, precision),
        learned.changes,
        {**figures, "objects": learned.objects, "held_back": learned.held_back},
    )
