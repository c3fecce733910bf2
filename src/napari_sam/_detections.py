"""Boxes that words found in a plane: filtered as often as one likes, found once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sam._box_nms import box_nms


@dataclass(frozen=True)
class TextOptions:
    """Which of the boxes that a detector finds are kept.

    Parameters
    ----------
    min_score : float
        Score from 0 to 1 that a box must exceed. Scores of uncommon words are low.
    max_overlap : float
        Of two boxes with a larger intersection over union the worse one goes, also
        if they were found by different phrases.

    Raises
    ------
    ValueError
        If a value is not between 0 and 1.

    Examples
    --------
    >>> from napari_sam import TextOptions
    >>> TextOptions(min_score=0.1).max_overlap
    0.5
    """

    min_score: float = 0.2
    max_overlap: float = 0.5

    def __post_init__(self) -> None:
        for name in ("min_score", "max_overlap"):
            value = getattr(self, name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not is_number or not 0 <= value <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {value!r}.")


@dataclass(frozen=True)
class TextBox:
    """A box that a phrase found.

    Parameters
    ----------
    phrase : str
    score : float
        From 0 to 1.
    box : tuple of float
        (row_min, column_min, row_max, column_max), pixel edges, within the plane.
    """

    phrase: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class TextDetections:
    """Every box that a detector proposes in a plane, before a choice among them.

    `choose` and `select` look at nothing anew, so they can follow a slider.

    Parameters
    ----------
    phrases : tuple of str
    boxes : ndarray of shape (N, 4), float64
        (row_min, column_min, row_max, column_max), pixel edges, within the plane.
    scores : ndarray of shape (N,), float32
        From 0 to 1.
    classes : ndarray of shape (N,), int64
        Index of the phrase that fits each box best.

    Examples
    --------
    >>> import numpy as np
    >>> boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30.0]])
    >>> scores, classes = np.float32([0.8, 0.9, 0.3]), np.array([0, 1, 0])
    >>> found = TextDetections(("cell", "nucleus"), boxes, scores, classes)
    >>> [one.phrase for one in found.select(TextOptions(min_score=0.2))]
    ['nucleus', 'cell']
    """

    phrases: tuple[str, ...]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def choose(self, options: TextOptions | None = None) -> NDArray[np.intp]:
        """Return the indices of the boxes that pass, the best first.

        Parameters
        ----------
        options : TextOptions, optional
        """
        options = options or TextOptions()
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        fits = (self.scores > options.min_score) & (sides >= 1).all(axis=1)
        rows = np.flatnonzero(fits)
        rounded = np.rint(self.boxes[rows]).astype(np.int64)
        return rows[box_nms(rounded, self.scores[rows], options.max_overlap)]

    def box(self, index: int) -> TextBox:
        """One of the boxes, with its phrase and score."""
        low, left, high, right = self.boxes[index].tolist()
        phrase = self.phrases[self.classes[index]]
        return TextBox(phrase, float(self.scores[index]), (low, left, high, right))

    def select(self, options: TextOptions | None = None) -> list[TextBox]:
        """Return the boxes that pass, the best first.

        Parameters
        ----------
        options : TextOptions, optional
        """
        return [self.box(int(index)) for index in self.choose(options)]


def check_phrases(phrases: Sequence[str]) -> tuple[str, ...]:
    """Return phrases without spaces around them, or raise ValueError."""
    is_list = isinstance(phrases, Sequence) and not isinstance(phrases, str)
    if not is_list or not all(isinstance(one, str) for one in phrases):
        raise ValueError(f"phrases must be a list of words, got {phrases!r}.")
    found = tuple(one.strip().rstrip(".").strip() for one in phrases)
    if not found or not all(found) or len(set(found)) < len(found):
        raise ValueError(
            f"phrases must be one or more different words, got {list(phrases)!r}."
        )
    return found
