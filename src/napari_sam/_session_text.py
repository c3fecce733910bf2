"""The part of `Session` that takes words as prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_sam.predictor import Predictor
from napari_sam.text_detector import (
    TextBox,
    TextDetector,
    TextOptions,
    check_phrases,
    load_detector,
)
from napari_sam.types import ImageEmbedding, Plane, Prediction, Prompts


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


class _Image(Protocol):
    """What a session offers, as far as words need it."""

    predictor: Predictor
    _detector: TextDetector | None

    @property
    def plane_size(self) -> tuple[int, int]: ...
    @property
    def is_large(self) -> bool: ...
    def check_plane(self, plane: Plane | None) -> tuple[int, ...]: ...
    def pixels(self, plane: Plane | None = None) -> NDArray[np.uint8]: ...
    def embed(self, plane: Plane | None = None) -> ImageEmbedding: ...


class TextMethods:
    """Words as prompts; a part of `Session`."""

    _detector: TextDetector | None = None

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
        phrases = check_phrases(phrases)
        index = self.check_plane(plane)
        if self.is_large:
            raise ValueError(
                f"words need planes that fit into memory, got {self.plane_size} pixels."
            )
        if detector is None:
            detector = self._detector = self._detector or load_detector()
        boxes = detector.detect(self.pixels(plane), phrases, options)
        prompts = [Prompts(box=one.box) for one in boxes]
        found: list[Prediction] = []
        if prompts:
            noted: Plane = (index or (0,))[0] if len(index) <= 1 else index
            embedding = self.embed(plane)
            found = self.predictor.predict_batch(embedding, prompts, plane=noted)
        return TextObjects(phrases, tuple(boxes), tuple(found), self.plane_size)
