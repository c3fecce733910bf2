"""What the worker does: models, sessions and embeddings; no Qt, no layers.

Each method is a generator that yields what it is doing, in words, and returns the
answer. Only the worker thread calls them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from napari_sam._layers_channels import OneColour, TogetherAsColour
from napari_sam._layers_prompts import ObjectPrompts
from napari_sam._qt.learning_engine import Decoders
from napari_sam._qt.loaded_models import LoadedModels
from napari_sam._qt.plane_index import Known, PlaneIndex
from napari_sam._qt.transfer import Transfer
from napari_sam.embedding_cache import EmbeddingCache
from napari_sam.predictor import Predictor
from napari_sam.registry import (
    cache_directory,
    checkpoint_path,
    download,
    get_spec,
    is_available,
    load_model,
)
from napari_sam.session import Session
from napari_sam.session_file import SavedModel, image_key
from napari_sam.sharpening import SharpMode
from napari_sam.types import Plane, Precision, Prediction

if TYPE_CHECKING:
    import numpy as np

# Longest side of the picture of what SAM sees.
PICTURE_SIDE = 256


@dataclass(frozen=True, eq=False)
class Source:
    """Everything that makes a session: what SAM sees, and which SAM.

    Parameters
    ----------
    image : array
        Lazy or not; it is only read.
    plane_axes : (int, int)
        Axes of rows and columns, counted without colour.
    rgb : bool
    contrast_limits : (float, float), optional
    model : str
        Name, as `load_model` takes it.
    sharp : {"off", "auto", "always"}
        As in `Session`.
    """

    image: Any
    plane_axes: tuple[int, int]
    rgb: bool
    contrast_limits: tuple[float, float] | None
    model: str
    sharp: SharpMode = "off"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Source):
            return NotImplemented
        # The same array, not an equal one: comparing volumes takes too long.
        same = self.image is other.image
        if isinstance(self.image, OneColour | TogetherAsColour):
            same = bool(self.image == other.image)
        return same and self._choices == other._choices

    def __hash__(self) -> int:
        return hash(self._choices)

    def identify(self, predictor: Predictor) -> str:
        """Name image, view and model alike whenever the image is opened.

        Parameters
        ----------
        predictor : Predictor
            The model.
        """
        image = image_key(self.image, self.rgb)
        seen = image, self.plane_axes, self.contrast_limits, predictor.checksum
        return repr((*seen, str(predictor.dtype)))

    @property
    def _choices(self) -> tuple[Any, ...]:
        return (
            self.plane_axes,
            self.rgb,
            self.contrast_limits,
            self.model,
            self.sharp,
        )


@dataclass(frozen=True)
class Request:
    """One object in one plane that is to be segmented.

    Parameters
    ----------
    source : Source
    plane : int or tuple of int
    object_id : int
    prompts : ObjectPrompts
    edition : int
        Counts changes of the pixels, which `source` cannot tell.
    """

    source: Source
    plane: Plane
    object_id: int
    prompts: ObjectPrompts
    edition: int = 0


@dataclass(frozen=True)
class Usage:
    """How much of a budget is used.

    Parameters
    ----------
    used, budget : int
        Bytes.
    """

    used: int = 0
    budget: int = 0


@dataclass(frozen=True)
class CacheReport:
    """What the cache holds.

    Parameters
    ----------
    planes : int
        Embeddings in memory.
    used, budget : int
        Bytes in memory.
    device, disk : Usage
        Of the other tiers.
    seconds : float, optional
        What the last encoding took, if there was one.
    """

    planes: int
    used: int
    budget: int
    device: Usage = Usage()
    disk: Usage = Usage()
    seconds: float | None = None


@dataclass(frozen=True, eq=False)
class Picture:
    """A plane as SAM sees it, small.

    Parameters
    ----------
    source : Source
    plane : int or tuple of int
    pixels : ndarray of shape (h, w) or (h, w, 3), uint8
    """

    source: Source
    plane: Plane
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class Encoded:
    """A plane whose embedding is in the cache.

    Parameters
    ----------
    source : Source
    plane : int or tuple of int
    cache : CacheReport
    """

    source: Source
    plane: Plane
    cache: CacheReport


@dataclass(frozen=True, eq=False)
class Answer:
    """What came of a request.

    Parameters
    ----------
    request : Request
    prediction : Prediction
    cache : CacheReport
    model : SavedModel, optional
        What made it, for the session file.
    """

    request: Request
    prediction: Prediction
    cache: CacheReport
    model: SavedModel | None = None


class Engine:
    """Models and sessions of one widget.

    Parameters
    ----------
    load : callable, optional
        Makes a predictor of a model's name; `load_model` by default.
    cache : EmbeddingCache, optional
        In memory, and on disk in the user's cache directory, by default.
    precision : {"auto", "float32", "bfloat16", "float16"}
        Of the models loaded by `load_model`.
    models : LoadedModels, optional
        Shared with other engines; its own by default.
    """

    def __init__(
        self,
        load: Callable[[str], Predictor] | None = None,
        cache: EmbeddingCache | None = None,
        precision: Precision = "auto",
        models: LoadedModels | None = None,
    ) -> None:
        ours = load_model
        if precision != "auto":
            ours = partial(load_model, precision=precision)
        self._load = load or ours
        self._models = models or LoadedModels()
        self._loader = load or load_model, precision
        # On disk, embeddings are there again tomorrow, and in another viewer.
        self.cache = cache or EmbeddingCache(cache_directory() / "embeddings")
        self.transfer = Transfer()
        self.decoders = Decoders()
        self._predictors: dict[str, Predictor] = {}
        self._session: tuple[Source, Session] | None = None
        self._index: tuple[Session, PlaneIndex] | None = None

    def prepare(self, model: str) -> Generator[str, None, None]:
        """Download a model if needed, and load it.

        Parameters
        ----------
        model : str

        Yields
        ------
        str
            What is being done.
        """
        if model in self._predictors:
            return
        if not is_available(get_spec(model)):
            self.transfer.begin()
            yield f"Downloading {model}, once"
            download(get_spec(model), self.transfer)
        yield f"Loading {model}"
        key = (*self._loader, model, _age(model))
        predictor = self._models.get(key, partial(self._load, model))
        # One at a time: a large model takes gigabytes.
        self._predictors = {model: predictor}

    def segment(self, request: Request) -> Generator[str, None, Answer]:
        """Segment one object in one plane.

        Parameters
        ----------
        request : Request

        Yields
        ------
        str
            What is being done.

        Returns
        -------
        Answer
        """
        yield from self.prepare(request.source.model)
        session = self.open(request.source)
        is_stack = bool(session.stack_shape)
        yield f"Looking at {plane_text(request.plane) if is_stack else 'the image'}"
        prompts = request.prompts.to_prompts()
        prediction = session.segment(prompts, request.plane)
        prediction = prediction.in_plane(session.plane_size)
        used = session.predictor
        precision = str(used.dtype).removeprefix("torch.")
        version = self.decoders.version(used)
        model = SavedModel(request.source.model, used.checksum, precision, version)
        return Answer(request, prediction, self.report(), model)

    def prefetch(
        self, source: Source, planes: Sequence[Plane]
    ) -> Generator[str | Encoded | Picture | Known, None, None]:
        """Encode planes that will be looked at soon, one a step.

        Parameters
        ----------
        source : Source
        planes : sequence of int or tuple of int
            The most likely first.

        Yields
        ------
        str, Picture, Known or Encoded
            What is being done; the first plane as SAM sees it; planes that were ready
            before; a plane that is ready.
        """
        yield from self.prepare(source.model)
        session = self.open(source)
        seen = session.pixels(planes[0])
        step = max(1, max(seen.shape[:2]) // PICTURE_SIDE)
        yield Picture(source, planes[0], seen[::step, ::step].copy())
        if self._index is None or self._index[0] is not session:
            index = PlaneIndex(self.cache.disk, source.identify(session.predictor))
            self._index = session, index
            yield Known(source, index.planes())
        for plane in session.embed_planes(planes):
            self._index[1].note(plane, session.embedding_key(plane))
            yield Encoded(source, plane, self.report())

    def predictor(self, model: str) -> Predictor:
        """Return a model that is prepared, as it was before it learned anything."""
        return self._predictors[model]

    def forget(self) -> None:
        """Let go of the last image."""
        self._session = self._index = None

    def report(self) -> CacheReport:
        """Return what the cache holds."""
        device, host, disk = self.cache.device, self.cache.host, self.cache.disk
        return CacheReport(
            len(host),
            host.nbytes,
            host.budget,
            Usage(device.nbytes, device.budget),
            Usage() if disk is None else Usage(disk.nbytes, disk.budget),
            None if self._session is None else self._session[1].encode_seconds,
        )

    def open(self, source: Source) -> Session:
        """Session of a source, whose model is prepared; the last one is kept.

        Parameters
        ----------
        source : Source
        """
        predictor = self.decoders.apply(source.model, self._predictors[source.model])
        kept = self._session
        if kept is None or kept[0] != source or kept[1].predictor is not predictor:
            session = Session(
                source.image,
                predictor,
                source.plane_axes,
                source.rgb,
                source.contrast_limits,
                self.cache,
                source.sharp,
            )
            if kept is not None:  # about as long as for the image before
                session.encode_seconds = kept[1].encode_seconds
            kept = self._session = source, session
        return kept[1]


def _age(model: str) -> float:
    """When the checkpoint was written: another one may have taken its name since."""
    path = checkpoint_path(get_spec(model))
    return path.stat().st_mtime if path.exists() else 0.0


def plane_text(plane: Plane) -> str:
    """Name a plane in words.

    Examples
    --------
    >>> plane_text(3), plane_text((0, 7))
    ('plane 3', 'plane 0, 7')
    """
    numbers = plane if isinstance(plane, tuple) else (plane,)
    return "plane " + ", ".join(map(str, numbers))
