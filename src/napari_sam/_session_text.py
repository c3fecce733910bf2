"""The part of `Session` that takes words as prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_sam._automatic_options import AutomaticOptions
from napari_sam._candidates import Candidates
from napari_sam._detections import TextBox, TextDetections, TextOptions, check_phrases
from napari_sam._linking import link_planes
from napari_sam._session_automatic import stack_of
from napari_sam.predictor import Predictor
from napari_sam.text_detector import TextDetector, load_detector
from napari_sam.text_ranker import AGAINST, TextRanker, TextRanking, load_ranker
from napari_sam.types import ImageEmbedding, Plane, Prediction, Prompts

# An object may be in one plane only: a detector overlooks it in the others.
LINKING = AutomaticOptions(min_planes=1)


@dataclass(frozen=True, eq=False)
class TextObjects:
    """What phrases found in one plane, best first.

    Parameters
    ----------
    phrases : tuple of str
    boxes : tuple of TextBox
        Where each object is, and which phrase found it.
    predictions : tuple of Prediction
        One mask for each box.
    plane_size : tuple of int
        (rows, columns).
    """

    phrases: tuple[str, ...]
    boxes: tuple[TextBox, ...]
    predictions: tuple[Prediction, ...]
    plane_size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.boxes)

    def _paint(self, values: Sequence[int]) -> NDArray[np.int32]:
        painted = np.zeros(self.plane_size, np.int32)
        # The best last, so that it is in front.
        for value, found in reversed(list(zip(values, self.predictions, strict=True))):
            painted[found.best] = value
        return painted

    def labels(self) -> NDArray[np.int32]:
        """Label image (H, W): object `boxes[i]` is i + 1."""
        return self._paint(range(1, len(self) + 1))

    def classes(self) -> NDArray[np.int32]:
        """Label image (H, W): what `phrases[i]` found is i + 1."""
        return self._paint([self.phrases.index(one.phrase) + 1 for one in self.boxes])


@dataclass(frozen=True)
class NamedObject:
    """A label, and the words that found it.

    Parameters
    ----------
    label : int
    phrase : str
        Of several, in different planes, the one with the highest sum of scores.
    score : float
        The best of its boxes, 0 to 1.
    """

    label: int
    phrase: str
    score: float


@dataclass(frozen=True, eq=False)
class TextVolume:
    """What phrases found in a stack, linked to objects across planes.

    Parameters
    ----------
    labels : ndarray of shape (Z, Y, X)
        A label image, 0 where nothing was found; the axes in the image's order.
    objects : tuple of NamedObject
        One for each label, in order.
    """

    labels: NDArray[Any]
    objects: tuple[NamedObject, ...]


def link_objects(
    labels: Iterable[NDArray[Any]],
    boxes: Sequence[Sequence[TextBox]],
    options: AutomaticOptions = LINKING,
) -> tuple[list[NDArray[np.int64]], tuple[NamedObject, ...]]:
    """Give what words found in successive planes one label from plane to plane.

    Parameters
    ----------
    labels : iterable of ndarray of shape (H, W), int
        Of each plane, as `TextObjects.labels`.
    boxes : sequence of sequence of TextBox
        Of each plane: label i + 1 is that of box i.
    options : AutomaticOptions
        `link_overlap`, `link_gap` and `min_planes`.

    Returns
    -------
    tuple of (list of ndarray of shape (H, W), tuple of NamedObject)
        Label images with one number for an object in all planes, and who they are.
    """
    planes = [np.asarray(one) for one in labels]
    linked = list(link_planes(planes, options))
    votes: dict[int, Counter[str]] = {}
    best: dict[int, float] = {}
    for own, found, named in zip(planes, linked, boxes, strict=True):
        both = (own > 0) & (found > 0)
        pairs = np.unique(np.stack([own[both], found[both]]), axis=1)
        for index, label in pairs.T.tolist():
            box = named[index - 1]
            votes.setdefault(label, Counter())[box.phrase] += box.score
            best[label] = max(best.get(label, 0.0), box.score)
    objects = tuple(
        NamedObject(label, votes[label].most_common(1)[0][0], best[label])
        for label in sorted(votes)
    )
    return linked, objects


class _Image(Protocol):
    """What a session offers, as far as words need it."""

    predictor: Predictor
    _detector: TextDetector | None
    _ranker: TextRanker | None

    @property
    def plane_size(self) -> tuple[int, int]: ...
    @property
    def is_large(self) -> bool: ...
    def check_plane(self, plane: Plane | None) -> tuple[int, ...]: ...
    def pixels(self, plane: Plane | None = None) -> NDArray[np.uint8]: ...
    def embed(self, plane: Plane | None = None) -> ImageEmbedding: ...
    def find_text(
        self,
        phrases: Sequence[str],
        plane: Plane | None = None,
        detector: TextDetector | None = None,
    ) -> TextDetections: ...
    def segment_text(
        self,
        phrases: Sequence[str],
        plane: Plane | None = None,
        detector: TextDetector | None = None,
        options: TextOptions | None = None,
    ) -> TextObjects: ...
    def segment_text_planes(
        self,
        phrases: Sequence[str],
        planes: Iterable[Plane],
        detector: TextDetector | None = None,
        options: TextOptions | None = None,
    ) -> Generator[tuple[Plane, TextObjects], None, None]: ...


class TextMethods:
    """Words as prompts; a part of `Session`."""

    _detector: TextDetector | None = None
    _ranker: TextRanker | None = None

    def find_text(
        self: _Image,
        phrases: Sequence[str],
        plane: Plane | None = None,
        detector: TextDetector | None = None,
    ) -> TextDetections:
        """Look for what some words name in one plane; boxes, and no masks yet.

        Parameters
        ----------
        phrases, plane, detector
            As in `segment_text`.

        Returns
        -------
        TextDetections
            Every box; `TextDetections.select` chooses, as often as one likes.

        Raises
        ------
        ValueError, ImportError, OSError
            As `segment_text`.
        """
        phrases = check_phrases(phrases)
        self.check_plane(plane)
        if self.is_large:
            raise ValueError(
                f"words need planes that fit into memory, got {self.plane_size} pixels."
            )
        if detector is None:
            detector = self._detector = self._detector or load_detector()
        return detector.find(self.pixels(plane), phrases)

    def segment_text(
        self: _Image,
        phrases: Sequence[str],
        plane: Plane | None = None,
        detector: TextDetector | None = None,
        options: TextOptions | None = None,
    ) -> TextObjects:
        """Segment what some words name in one plane.

        Parameters
        ----------
        phrases : sequence of str
            Each a class of its own.
        plane : int or tuple of int
            As in `segment`.
        detector : TextDetector, optional
            From `load_detector`; by default ``load_detector()``, loaded once.
        options : TextOptions, optional
            Least score and largest overlap.

        Returns
        -------
        TextObjects

        Raises
        ------
        ValueError
            If there is no such plane, it is too large, or the phrases are not such.
        ImportError, OSError
            As `load_detector`.
        """
        detections = self.find_text(phrases, plane, detector)
        boxes = detections.select(options)
        prompts = [Prompts(box=one.box) for one in boxes]
        found: list[Prediction] = []
        if prompts:
            index = self.check_plane(plane)
            noted: Plane = (index or (0,))[0] if len(index) <= 1 else index
            embedding = self.embed(plane)
            found = self.predictor.predict_batch(embedding, prompts, plane=noted)
        return TextObjects(
            detections.phrases, tuple(boxes), tuple(found), self.plane_size
        )

    def segment_text_planes(
        self: _Image,
        phrases: Sequence[str],
        planes: Iterable[Plane],
        detector: TextDetector | None = None,
        options: TextOptions | None = None,
    ) -> Generator[tuple[Plane, TextObjects], None, None]:
        """Segment what some words name in several planes, one a step.

        Parameters
        ----------
        planes : iterable of int or tuple of int
        phrases, detector, options
            As in `segment_text`.

        Yields
        ------
        tuple of plane and TextObjects
            Closing the generator stops the work.

        Raises
        ------
        ValueError
            At once, if there is no such plane, or the phrases are not such.
        """
        names, chosen = check_phrases(phrases), list(planes)
        for plane in chosen:
            self.check_plane(plane)
        return (
            (plane, self.segment_text(names, plane, detector, options))
            for plane in chosen
        )

    def segment_text_volume(
        self: _Image,
        phrases: Sequence[str],
        planes: Iterable[Plane] | None = None,
        detector: TextDetector | None = None,
        options: TextOptions | None = None,
    ) -> TextVolume:
        """Segment what some words name in a stack; an object has one label in it.

        Each plane is looked at by itself; then objects that overlap from plane to plane
        are linked, and those missing in one plane filled in.

        Parameters
        ----------
        planes : iterable of int or tuple of int, optional
            All by default. With several sliced axes they must be given, and differ
            along one of them only.
        phrases, detector, options
            As in `segment_text`.

        Returns
        -------
        TextVolume

        Raises
        ------
        ValueError
            As `segment_text`; or the image is one plane, or planes differ along
            several axes.
        """
        stack, positions = stack_of(self, planes)  # type: ignore[arg-type]
        indices = [stack.plane(at) for at in positions]
        labels: list[NDArray[Any]] = []
        boxes: list[tuple[TextBox, ...]] = []
        for _, found in self.segment_text_planes(phrases, indices, detector, options):
            labels.append(found.labels())
            boxes.append(found.boxes)
        linked, objects = link_objects(labels, boxes)
        dtype = np.min_scalar_type(max((one.label for one in objects), default=0))
        volume = stack.empty(dtype)
        for position, plane in zip(positions, linked, strict=True):
            stack.put(volume, position, plane)
        return TextVolume(volume, objects)

    def rank_by_text(
        self: _Image,
        candidates: Candidates,
        phrases: Sequence[str],
        plane: Plane | None = None,
        ranker: TextRanker | None = None,
        against: Sequence[str] = AGAINST,
    ) -> TextRanking:
        """Say how well phrases fit masks that were found without prompts.

        Parameters
        ----------
        candidates : Candidates
            Of this plane, from `find_candidates`.
        phrases : sequence of str
        plane : int or tuple of int
            As in `segment`.
        ranker : TextRanker, optional
            From `load_ranker`; by default ``load_ranker()``, loaded once.
        against : sequence of str
            What else is in the image: with CLIP, phrases compete with these.

        Returns
        -------
        TextRanking
            In the order of the candidates; ``candidates.take(ranking.passing(0.5))``
            keeps those that fit.

        Raises
        ------
        ValueError
            If there is no such plane, the candidates are of planes of another size, or
            the phrases are not such.
        ImportError, OSError
            As `load_ranker`.
        """
        phrases = check_phrases(phrases)
        self.check_plane(plane)
        if candidates.plane_size != self.plane_size:
            raise ValueError(
                f"candidates must be of planes of {self.plane_size} pixels, "
                f"got {candidates.plane_size}."
            )
        if ranker is None:
            ranker = self._ranker = self._ranker or load_ranker()
        return ranker.rank(self.pixels(plane), candidates.boxes, phrases, against)
