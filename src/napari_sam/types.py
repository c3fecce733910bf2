"""Values that every part of the package exchanges: prompts in, predictions out.

All classes are frozen and know neither torch, Qt nor napari. Coordinates are (row,
column) in data pixels of a plane, pixel centres at integers; boxes are pixel edges,
half-open: that of ``mask`` is ``(r.min(), c.min(), r.max() + 1, c.max() + 1)``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from torch import Tensor

Plane: TypeAlias = int | tuple[int, ...]
"""Index of a plane: an int for one sliced axis, a tuple for more, 0 for 2D."""

Precision: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]
EncoderType: TypeAlias = Literal["vit_t", "vit_b", "vit_l", "vit_h"]
FromHub: TypeAlias = Literal["sam2", "sam3", "sam_hq", "edgetam", "detector"]
Architecture: TypeAlias = EncoderType | FromHub

MODEL_SIZE = 1024
"""Side in pixels of the square frame the image encoder sees."""
LOGITS_SIZE = 256
"""Side in pixels of the square frame the mask decoder answers in."""


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array = array.copy()
    array.setflags(write=False)
    return array


def _as_numbers(name: str, value: ArrayLike) -> NDArray[np.float64]:
    try:
        if np.iscomplexobj(value):
            raise TypeError
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be real numbers, got {value!r}.") from None
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity.")
    return numbers


@dataclass(frozen=True, eq=False, init=False)
class Prompts:
    """What the user says about one object in one plane.

    Parameters
    ----------
    points : array_like of shape (N, 2), optional
        (row, column) in data pixels, pixel centres at integers.
    point_labels : array_like of shape (N,), optional
        1 (or True) for foreground, 0 (or False) for background. All foreground
        if omitted.
    box : array_like of shape (4,), optional
        (row_min, column_min, row_max, column_max), pixel edges, half-open.
    mask_logits : array_like of shape (256, 256), optional
        Logits in the model's answer frame (the plane, resized so that its longer
        side is 256, zero-padded at the bottom or right), as in
        `Prediction.best_logits`.

    Raises
    ------
    ValueError
        If a shape is wrong, a number is not finite, a label is neither 0 nor 1,
        labels and points differ in number, or the box is empty.

    Notes
    -----
    The arrays are copied and read-only. Two prompts are equal if their arrays are.

    Examples
    --------
    >>> from napari_sam import Prompts
    >>> prompts = Prompts(points=[[120, 85], [130, 90]], point_labels=[1, 0])
    >>> prompts.points.shape
    (2, 2)
    """

    points: NDArray[np.float64]
    point_labels: NDArray[np.int64]
    box: NDArray[np.float64] | None
    mask_logits: NDArray[np.float32] | None

    def __init__(
        self,
        points: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask_logits: ArrayLike | None = None,
    ) -> None:
        coordinates = _check_points(points)
        labels = _check_point_labels(point_labels, len(coordinates))
        values = {
            "points": coordinates,
            "point_labels": labels,
            "box": None if box is None else _check_box(box),
            "mask_logits": None if mask_logits is None else _check_logits(mask_logits),
        }
        for name, value in values.items():
            frozen = None if value is None else _read_only(value)
            object.__setattr__(self, name, frozen)

    @property
    def is_empty(self) -> bool:
        """Whether there is no point, no box and no mask."""
        return len(self.points) == 0 and self.box is None and self.mask_logits is None

    @property
    def default_multimask(self) -> bool:
        """Whether SAM is asked for three masks: for one foreground point alone.

        The convention of the official code (`segment_anything/utils/onnx.py`,
        ``select_masks``): a single point is ambiguous, anything more is not.
        """
        return len(self.points) == 1 and self.box is None and self.mask_logits is None

    def _content(self) -> tuple[Any, ...]:
        arrays = (self.points, self.point_labels, self.box, self.mask_logits)
        return tuple(None if a is None else (a.shape, a.tobytes()) for a in arrays)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Prompts):
            return NotImplemented
        return self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())


def _check_points(points: ArrayLike | None) -> NDArray[np.float64]:
    numbers = _as_numbers("points", () if points is None else points)
    if numbers.size == 0:
        return np.zeros((0, 2))
    if numbers.ndim != 2 or numbers.shape[1] != 2:
        raise ValueError(
            f"points must have shape (N, 2), (row, column) each, got {numbers.shape}."
        )
    return numbers


def _check_point_labels(labels: ArrayLike | None, count: int) -> NDArray[np.int64]:
    if labels is None:
        return np.ones(count, dtype=np.int64)
    numbers = _as_numbers("point_labels", labels)
    if numbers.shape != (count,) and not (numbers.size == 0 and count == 0):
        raise ValueError(
            f"point_labels must have one label for each of the {count} points, "
            f"got shape {numbers.shape}."
        )
    if not np.isin(numbers, (0, 1)).all():
        raise ValueError(
            "point_labels must be 1 (foreground) or 0 (background), "
            f"got {sorted(set(numbers.tolist()))}."
        )
    return numbers.astype(np.int64).reshape(count)


def _check_box(box: ArrayLike) -> NDArray[np.float64]:
    numbers = _as_numbers("box", box)
    if numbers.shape != (4,):
        raise ValueError(
            "box must be (row_min, column_min, row_max, column_max), "
            f"got shape {numbers.shape}."
        )
    if not (numbers[:2] < numbers[2:]).all():
        raise ValueError(
            "box must have row_min < row_max and column_min < column_max, "
            f"got {numbers.tolist()}."
        )
    return numbers


def _check_logits(logits: ArrayLike) -> NDArray[np.float32]:
    numbers = _as_numbers("mask_logits", logits)
    if numbers.shape not in ((LOGITS_SIZE, LOGITS_SIZE), (1, LOGITS_SIZE, LOGITS_SIZE)):
        raise ValueError(
            f"mask_logits must have shape ({LOGITS_SIZE}, {LOGITS_SIZE}), "
            f"got {numbers.shape}."
        )
    if np.abs(numbers).max() > np.finfo(np.float32).max:
        raise ValueError("mask_logits must be finite in float32, got larger.")
    return numbers.reshape(LOGITS_SIZE, LOGITS_SIZE).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Prediction:
    """SAM's answer to one `Prompts`: one mask, or three to choose from.

    Parameters
    ----------
    masks : ndarray of shape (C, H, W), bool
        In the pixels of the plane; C is 1 or 3.
    scores : ndarray of shape (C,), float32
        Predicted intersection over union of each mask (may exceed 1).
    logits : ndarray of shape (C, 256, 256), float32
        The decoder's answer to the first look, before it is resized; feed one back
        through ``Prompts(mask_logits=...)`` to refine it.
    plane : int or tuple of int
        The plane of the stack the masks belong to; 0 for a 2D image.
    window : Window, optional
        The part of the plane that was looked at again (`SharpOptions`), and whose
        answer replaced the first in at least one mask; None if there is none.
    frame : Window, optional
        The part of the plane that the masks cover, H x W pixels, for planes too large
        to be held as a mask (`sharpening.LARGE_PLANE`). None: the whole plane.
    """

    masks: NDArray[np.bool_]
    scores: NDArray[np.float32]
    logits: NDArray[np.float32]
    plane: Plane = 0
    window: Window | None = None
    frame: Window | None = None

    @property
    def best_index(self) -> int:
        """Index of the mask with the highest score."""
        return int(np.argmax(self.scores))

    @property
    def best(self) -> NDArray[np.bool_]:
        """(H, W) bool: the mask with the highest score."""
        best: NDArray[np.bool_] = self.masks[self.best_index]
        return best

    @property
    def best_logits(self) -> NDArray[np.float32]:
        """(256, 256) float32: the logits of the mask with the highest score."""
        logits: NDArray[np.float32] = self.logits[self.best_index]
        return logits

    @property
    def best_score(self) -> float:
        """Predicted intersection over union of the best mask."""
        return float(self.scores[self.best_index])

    def in_plane(self, plane_size: tuple[int, int]) -> Prediction:
        """Return the same answer with masks of the whole plane.

        Parameters
        ----------
        plane_size : (H, W)

        Returns
        -------
        Prediction
            With masks of shape (C, H, W), which take a byte for each pixel; itself if
            it has no `frame`.
        """
        if self.frame is None:
            return self
        masks = np.zeros((len(self.masks), *plane_size), bool)
        masks[:, *self.frame.slices] = self.masks
        return replace(self, masks=masks, frame=None)


@dataclass(frozen=True)
class Window:
    """A rectangle of a plane, in pixel edges, half-open.

    Parameters
    ----------
    row_min, column_min, row_max, column_max : int
        Edges in data pixels of the plane.

    Raises
    ------
    ValueError
        If the rectangle is empty.
    """

    row_min: int
    column_min: int
    row_max: int
    column_max: int

    def __post_init__(self) -> None:
        edges = (self.row_min, self.column_min, self.row_max, self.column_max)
        if any(
            isinstance(e, bool) or not isinstance(e, (int, np.integer)) for e in edges
        ):
            raise ValueError(f"a window must have whole numbers as edges, got {self}.")
        if self.row_min >= self.row_max or self.column_min >= self.column_max:
            raise ValueError(f"a window must not be empty, got {self}.")

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the window."""
        return self.row_max - self.row_min, self.column_max - self.column_min

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices that cut the window out of a plane."""
        rows = slice(self.row_min, self.row_max)
        return rows, slice(self.column_min, self.column_max)


@dataclass(frozen=True, eq=False)
class ImageEmbedding:
    """What the image encoder made of one plane; all a prompt needs.

    Parameters
    ----------
    features : torch.Tensor of shape (1, 256, 64, 64)
        In the precision and on the device it was computed or stored in.
    plane_size : tuple of int
        (rows, columns) of the plane, or of the window of it, that was encoded.
    key : str
        Content key: equal pixels, window, model and preprocessing, equal key.
    model_checksum : str
        sha256 over the weights that made the features.
    window : Window, optional
        The rectangle of the plane that was encoded; the whole plane if None.
    levels : torch.Tensor of shape (N,), optional
        All of the features, if the decoder reads several sizes of them.
    """

    features: Tensor
    plane_size: tuple[int, int]
    key: str
    model_checksum: str
    window: Window | None = None
    levels: Tensor | None = None

    @property
    def stored(self) -> Tensor:
        """What a cache keeps, and `Predictor.restore` makes an embedding of again."""
        return self.features if self.levels is None else self.levels

    @property
    def nbytes(self) -> int:
        """Size in bytes of all that the decoder reads."""
        return int(self.stored.numel() * self.stored.element_size())


@dataclass(frozen=True, eq=False)
class ModelInput:
    """A plane as SAM sees it, before it is encoded.

    Parameters
    ----------
    pixels : torch.Tensor of shape (1 or 3, h, w), uint8
        Resized to the model's frame, not padded.
    plane_size : tuple of int
        (rows, columns) of the plane or window.
    window : Window, optional
        Rectangle of the plane; the whole plane if None.
    """

    pixels: Tensor
    plane_size: tuple[int, int]
    window: Window | None = None


@dataclass(frozen=True)
class ModelSpec:
    """One row of the registry: where a checkpoint comes from and what it is.

    Parameters
    ----------
    name : str
        The name `load_model` takes.
    encoder : {"vit_t", "vit_b", "vit_l", "vit_h", "sam2", "sam3", "sam_hq", "edgetam"}
        TinyViT (MobileSAM), ViT base, large, huge; or a family of transformers.
    url : str
        Address of the checkpoint, or of the page of a model of several files.
    checksum : str
        ``"sha256:..."`` or ``"xxh128:..."`` of the file; empty if there are several.
    license : str
        Licence of the weights, shown before the first download.
    description : str
        What the model was trained on, in a few words.
    file_name : str
        Name of the file (or folder) in the package or in the cache directory.
    bundled : bool
        Whether the file is part of the package.
    repository : str
        Where Hugging Face has the model's folder; empty for models of one file.
    size : str
        How much is downloaded, if the encoder does not say it.
    """

    name: str
    encoder: Architecture
    url: str
    checksum: str
    license: str
    description: str
    file_name: str
    bundled: bool = False
    repository: str = ""
    size: str = ""
