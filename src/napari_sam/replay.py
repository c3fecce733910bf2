"""Do again what a session committed, without a window: the same labels come out."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sam._adapted_predictor import AdaptedPredictor
from napari_sam._generators import result_of
from napari_sam._label_changes import CommitOptions, changed_pixels
from napari_sam.embedding_cache import EmbeddingCache
from napari_sam.predictor import Predictor
from napari_sam.registry import load_model
from napari_sam.session import Session
from napari_sam.session_file import (
    Commit,
    SavedModel,
    SavedObject,
    SavedSession,
    check_image,
    read_session,
    start_labels,
)
from napari_sam.stack_axes import ArrayLike
from napari_sam.transforms import mask_to_logits
from napari_sam.types import Prompts

if TYPE_CHECKING:
    import os

Load = Callable[[SavedModel], Predictor]


def replay_session(
    session: SavedSession | str | os.PathLike[str],
    image: ArrayLike,
    predictor: Predictor | None = None,
    *,
    layer: str | None = None,
    labels: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Run the commits of a session again, on its image, to the same labels.

    Parameters
    ----------
    session : SavedSession or path
        A file that the widget saved.
    image : array
        The image the session was made on.
    predictor : Predictor, optional
        The model of the session; loaded by its name by default.
    layer : str, optional
        Which Labels layer, if the session wrote into several.
    labels : ndarray of int, optional
        What was in the layer before the session. Without it, planes that the session
        did not touch are 0; those that it touched are complete.

    Returns
    -------
    ndarray of int
        In the shape and type of the layer.

    Raises
    ------
    ValueError
        If the image or the model is not that of the session, or the file is damaged.
    """
    saved = session if isinstance(session, SavedSession) else read_session(session)

    def load(model: SavedModel) -> Predictor:
        return predictor or load_saved_model(model)

    steps = replay_steps(saved, image, load, layer, labels)
    return result_of(steps)


def load_saved_model(model: SavedModel) -> Predictor:
    """Load a model by name, in the precision it had."""
    return load_model(model.name, precision=model.precision)  # type: ignore[arg-type]


def replay_steps(
    session: SavedSession,
    image: ArrayLike,
    load: Load,
    layer: str | None = None,
    labels: NDArray[Any] | None = None,
) -> Generator[int, None, NDArray[Any]]:
    """Do as `replay_session`, entry by entry of the session's log.

    Parameters
    ----------
    session : SavedSession
    image, layer, labels
        As in `replay_session`.
    load : callable
        Makes the predictor of a saved model.

    Yields
    ------
    int
        Entries that are done.

    Returns
    -------
    ndarray of int
    """
    target = find_target(session, layer)
    check_image(session, image, session.image.is_rgb)
    result = start_labels(session, target, labels)
    players: dict[Any, Session] = {}
    models = _Models(session, load)
    cache = EmbeddingCache()
    for number, entry in enumerate(session.log, start=1):
        if entry.target != target:
            continue
        if isinstance(entry, Commit):
            request = entry.request
            axes, limits = request.what.plane_axes, request.contrast_limits
            key = request.model, axes, limits, request.sharp
            if key not in players:
                players[key] = Session(
                    image,
                    models.get(request.model),
                    axes,
                    session.image.is_rgb,
                    limits,
                    cache,
                    request.sharp,
                )
            _commit(players[key], entry, result)
        else:
            for change in entry.changes:
                change.apply_to(result)
        yield number
    return result


class _Models:
    """Models of a session, each loaded once, and what their decoders learned."""

    def __init__(self, session: SavedSession, load: Load) -> None:
        self._learned = {one.version: one.changes for one in session.decoders}
        self._load = load
        self._loaded: dict[SavedModel, Predictor] = {}

    def get(self, model: SavedModel) -> Predictor:
        """Load a model, or find it, with the decoder that was in force."""
        if model not in self._loaded:
            if model.decoder:
                base = self.get(replace(model, decoder=""))
                found: Predictor = AdaptedPredictor(base, self._learned[model.decoder])
            else:
                found = _checked(self._load(model), model)
            self._loaded[model] = found
        return self._loaded[model]


def find_target(session: SavedSession, layer: str | None) -> int:
    """Find the number of a Labels layer of a session.

    Raises
    ------
    ValueError
        If there is none of that name, or none is named and there are several.
    """
    names = [target.name for target in session.targets]
    if not names:
        raise ValueError("the session has accepted no mask yet: there are no labels.")
    if layer is None and len(names) == 1:
        return 0
    if layer not in names:
        raise ValueError(f"layer must be one of {names}, got {layer!r}.")
    # The last of that name.
    return len(names) - 1 - names[::-1].index(layer)


def _checked(predictor: Predictor, model: SavedModel) -> Predictor:
    if predictor.checksum != model.checksum:
        raise ValueError(
            f"the session used model {model.name!r} with other weights than these: "
            "give the checkpoint it was made with."
        )
    return predictor


def _commit(session: Session, commit: Commit, labels: NDArray[Any]) -> None:
    """Segment, and write as the widget does."""
    what = commit.request.what
    prediction = session.segment(saved_prompts(what), what.plane)
    prediction = prediction.in_plane(session.plane_size)
    if commit.mask_index >= len(prediction.masks):
        raise ValueError(
            f"a commit of object {what.object_id} names mask {commit.mask_index}, "
            f"there are {len(prediction.masks)}."
        )
    number = np.asarray(what.object_id, dtype=labels.dtype)
    wanted = np.where(prediction.masks[commit.mask_index], number, labels.dtype.type(0))
    view = _plane_view(session, what, labels)
    numbers = np.array([what.object_id], dtype=labels.dtype)
    written = changed_pixels(view, wanted, numbers, CommitOptions(commit.overlap))
    view[written] = wanted[written]


def _plane_view(
    session: Session, what: SavedObject, labels: NDArray[Any]
) -> NDArray[Any]:
    """(H, W) of the labels at a plane, to be written into."""
    where: list[int | slice] = [slice(None)] * labels.ndim
    index = session.check_plane(what.plane)
    for axis, position in zip(session.axes.sliced, index, strict=True):
        where[axis] = position
    rows, columns = session.axes.plane
    view = labels[tuple(where)]
    return view.T if rows > columns else view


def saved_prompts(what: SavedObject) -> Prompts:
    """Prompts as `Session.segment` takes them."""
    said = what.prompts
    if what.mask is None:
        return said
    logits = mask_to_logits(what.mask)
    return Prompts(said.points, said.point_labels, said.box, logits)
