"""What is done with each image of a series: everything in it is segmented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sam._automatic_options import AutomaticOptions
from napari_sam._detections import check_phrases
from napari_sam._linking import link_planes
from napari_sam.embedding_cache import EmbeddingCache
from napari_sam.io import ImageFile, read_image
from napari_sam.registry import load_model
from napari_sam.session import Session
from napari_sam.text_ranker import AGAINST, load_ranker

if TYPE_CHECKING:
    from pathlib import Path

    from napari_sam._io_image import PathLike
    from napari_sam.types import Plane

EVERYTHING = AutomaticOptions()


@dataclass(frozen=True)
class WordFilter:
    """Words that masks have to fit to be kept.

    Parameters
    ----------
    phrases : tuple of str
    min_score : float
        From 0 to 1, to be exceeded by one of them.
    ranker : str
        Name or folder, as `load_ranker` takes it.
    against : tuple of str
        What the phrases compete with.

    Raises
    ------
    ValueError
        If the score is not between 0 and 1.
    """

    phrases: tuple[str, ...]
    min_score: float = 0.5
    ranker: str = "clip_base"
    against: tuple[str, ...] = AGAINST

    def __post_init__(self) -> None:
        check_phrases((*self.phrases, *self.against))
        if not 0 <= self.min_score <= 1:
            raise ValueError(
                f"min_score must be between 0 and 1, got {self.min_score!r}."
            )


class SessionWork:
    """Opens images with one model; the planes of an image share a session.

    Parameters
    ----------
    model : dict
        Keyword arguments of `napari_sam.load_model`.
    cache_directory : str or path-like, optional
        Where embeddings are kept; processes and machines that share it encode a plane
        once.
    """

    def __init__(
        self, model: Mapping[str, Any], cache_directory: PathLike | None = None
    ) -> None:
        self.predictor = load_model(**model)
        self.cache = EmbeddingCache(directory=cache_directory)
        self._opened: tuple[Path, ImageFile, Session] | None = None

    def open(self, path: Path) -> tuple[ImageFile, Session]:
        """Open an image, unless it is the last one that was opened.

        Raises
        ------
        ValueError
            If it cannot be read, or is of channels that are neither grey nor colour.
        """
        if self._opened is None or self._opened[0] != path:
            image = read_image(path)
            if image.axes.endswith("C") and not image.is_rgb:
                raise ValueError(
                    f"{path} has {image.shape[-1]} channels in its last axis, which is "
                    "neither grey nor colour; save one channel."
                )
            session = Session(
                image.data, self.predictor, rgb=image.is_rgb, cache=self.cache
            )
            self._opened = path, image, session
        return self._opened[1:]

    def planes(self, path: Path) -> Sequence[Plane]:
        """Every plane of an image."""
        return self.open(path)[1].planes


class AutomaticWork(SessionWork):
    """Everything in each plane, linked through stacks.

    Parameters
    ----------
    model, cache_directory
        As `SessionWork` takes them.
    options : AutomaticOptions, optional
    words : WordFilter, optional
        Of everything only what fits these.
    """

    def __init__(
        self,
        model: Mapping[str, Any],
        cache_directory: PathLike | None = None,
        options: AutomaticOptions = EVERYTHING,
        words: WordFilter | None = None,
    ) -> None:
        super().__init__(model, cache_directory)
        self.options, self.words = options, words
        self.ranker = None if words is None else load_ranker(words.ranker)

    def segment(self, path: Path, plane: Plane) -> NDArray[Any]:
        """Segment everything in a plane: labels of shape (H, W)."""
        session, words = self.open(path)[1], self.words
        if session.is_large:
            if words is not None:
                raise ValueError(
                    f"words need planes that fit into memory, got {session.plane_size} "
                    "pixels."
                )
            labels = np.zeros(session.plane_size, np.uint32)
            for _ in session.label_tiles(labels, plane, self.options):
                pass
            return labels
        if words is None:
            return session.generate_masks(plane, self.options)
        found = session.find_candidates(plane, self.options).select()
        ranking = session.rank_by_text(
            found, words.phrases, plane, self.ranker, words.against
        )
        return found.take(ranking.passing(words.min_score)).label_image()

    def combine(self, path: Path, labels: Sequence[NDArray[Any]]) -> ImageFile:
        """Make a label image of those of its planes; of a stack, objects linked."""
        image, session = self.open(path)
        shape = session.stack_shape
        if not shape:
            return labels_like(labels[0], image)
        # Planes of one depth stack at a time; each time point has labels of its own.
        linked: list[NDArray[Any]] = []
        highest = 0
        for first in range(0, len(labels), shape[-1]):
            depth = [*link_planes(labels[first : first + shape[-1]], self.options)]
            linked += [np.where(one, one + highest, 0) for one in depth]
            highest = max(highest, *(int(one.max()) for one in linked))
        whole = np.stack(linked).astype(np.min_scalar_type(highest))
        return labels_like(whole.reshape(*shape, *session.plane_size), image)


def labels_like(labels: NDArray[Any], image: ImageFile) -> ImageFile:
    """Give labels the place of the image that they belong to."""
    axes = image.axes[: labels.ndim]
    place = image.spacing, image.origin, image.direction, image.units
    return ImageFile(labels, axes, *place)
