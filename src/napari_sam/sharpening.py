"""A closer look at small objects, and at planes too large to be seen at once.

The first look is at the whole plane, as it is and mirrored, or, where that is large, at
a window around the prompts. If the object is small in it, a window around the object is
encoded as well, and SAM is asked again. What it answers there replaces the first mask
only if both agree on where the object is. The logits stay those of the first look: fed
back with the next click, they keep the dialogue in the frame that SAM was trained in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from napari_sam import windows
from napari_sam.predictor import Predictor
from napari_sam.transforms import pixels_per_cell
from napari_sam.types import (
    MODEL_SIZE,
    ImageEmbedding,
    Plane,
    Prediction,
    Prompts,
    Window,
)

FloatArray = NDArray[np.float64]
SharpMode: TypeAlias = Literal["off", "auto", "always"]

LARGE_PLANE = 1 << 26
"""Pixels of a plane that is never read as a whole: more than 8192 x 8192."""
NATIVE_SIDE = 2 * MODEL_SIZE
"""Longer side of a plane up to which the first look is at all of it."""
CONTEXT_OF_PROMPTS = 2.0
"""Least side of the first window in a larger plane, in sides of the prompts' box."""


@dataclass(frozen=True)
class SharpOptions:
    """When and how an object is looked at again in a window of its own.

    Parameters
    ----------
    mode : {"off", "auto", "always"}
        ``"auto"`` looks again at objects that are small in the first look;
        ``"always"`` at all that SAM can be shown larger.
    context : float
        Least side of the window, as a multiple of the object's longer side. With less
        around it SAM more often mistakes what the object is.
    max_object : float
        ``"auto"`` only: longest side of an object that is looked at again, in pixels
        of the model's frame of 1024. Of larger ones the first answer is as good.
    min_magnification : float
        The window must show the object at least so many times larger.
    min_agreement : float
        Intersection over union of the first mask and the second below which the second
        is not believed.
    snap : bool
        Take windows from a grid, so that neighbouring objects share their embedding.
    mirror : bool
        Look at the plane's mirror image as well, and take the mean of both answers:
        one more encoding for each plane. Not in planes above 2048 pixels.

    Raises
    ------
    ValueError
        If the mode is another, or a number is out of its range.

    Examples
    --------
    >>> from napari_sam import SharpOptions
    >>> SharpOptions("always").mode
    'always'
    """

    mode: SharpMode = "auto"
    context: float = 6.0
    max_object: float = 192.0
    min_magnification: float = 1.5
    min_agreement: float = 0.5
    snap: bool = True
    mirror: bool = True

    def looks_both_ways(self, plane_size: tuple[int, int]) -> bool:
        """Whether planes of a size are looked at mirrored, too.

        All objects of a plane share its mirror image; of a window it is not worth it.
        """
        is_whole = max(plane_size) <= NATIVE_SIDE
        return self.mirror and self.mode != "off" and is_whole

    def __post_init__(self) -> None:
        if self.mode not in get_args(SharpMode):
            raise ValueError(
                f"mode must be 'off', 'auto' or 'always', got {self.mode!r}."
            )
        for name, least in (("context", 2), ("min_magnification", 1)):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= least):
                raise ValueError(f"{name} must be at least {least}, got {value}.")
        if not (np.isfinite(self.max_object) and self.max_object > 0):
            raise ValueError(f"max_object must be above 0, got {self.max_object}.")
        if not 0 <= self.min_agreement <= 1:
            raise ValueError(f"min_agreement must be 0 to 1, got {self.min_agreement}.")

    @classmethod
    def of(cls, sharp: SharpMode | SharpOptions) -> SharpOptions:
        """Return options for a mode, or the options themselves."""
        if isinstance(sharp, SharpOptions):
            return sharp
        if not isinstance(sharp, str) or sharp not in get_args(SharpMode):
            raise ValueError(
                f"sharp must be 'off', 'auto', 'always' or SharpOptions, got {sharp!r}."
            )
        return cls(sharp)


@dataclass(frozen=True, eq=False)
class PlaneSource:
    """One plane of an image, whose windows are read and encoded when asked for.

    Parameters
    ----------
    predictor : Predictor
    plane_size : (H, W)
    embed : callable
        Window of the plane, and whether it is seen mirrored, to ImageEmbedding.
    plane : int or tuple of int
        Noted in predictions.
    """

    predictor: Predictor
    plane_size: tuple[int, int]
    embed: Callable[[Window, bool], ImageEmbedding]
    plane: Plane = 0

    @property
    def is_large(self) -> bool:
        """Whether the plane is never to be read, or held as a mask, as a whole."""
        rows, columns = self.plane_size
        return rows * columns > LARGE_PLANE

    def look(
        self, prompts: Prompts, window: Window, multimask: bool, both_ways: bool = False
    ) -> Look:
        """Answer prompts of the plane by what is in a window, or by the mean of two.

        The second answer is that of the mirrored window: SAM's mistakes depend on how
        an object lies, what is there does not.
        """
        if window != windows.whole(self.plane_size):
            prompts = windows.prompts_in_window(prompts, window, self.plane_size)
        ahead = self.embed(window, False)
        if not both_ways:
            found = self.predictor.predict(ahead, prompts, multimask, self.plane)
            return Look(window, found)
        size, decode = window.shape, self.predictor.decode
        (logits,), (scores,) = decode(ahead, [prompts], multimask)
        mirrored = windows.mirror_prompts(prompts, size)
        (other,), (rated,) = decode(self.embed(window, True), [mirrored], multimask)
        logits = (logits + other.flip(1 + windows.mirror_axis(size))) / 2
        masks = self.predictor.masks(logits, size)
        scores = (scores + rated) / 2
        return Look(
            window, Prediction(masks, scores.numpy(), logits.numpy(), self.plane)
        )


@dataclass(frozen=True, eq=False)
class Look:
    """A window, and what SAM answered there, in its pixels."""

    window: Window
    prediction: Prediction


def segment(
    source: PlaneSource,
    prompts: Prompts,
    options: SharpOptions,
    multimask: bool | None = None,
) -> Prediction:
    """Segment one object of a plane, with a closer look where that promises more.

    Parameters
    ----------
    source : PlaneSource
    prompts : Prompts
        In the pixels of the plane; checked.
    options : SharpOptions
    multimask : bool, optional
        As in `Predictor.predict`.

    Returns
    -------
    Prediction
        Of the plane; of a large one, within `Prediction.frame`.
    """
    three = prompts.default_multimask if multimask is None else multimask
    first = _first_look(source, prompts, options, three)
    closer = _closer_window(source, prompts, options, first)
    if closer is not None:
        first = _look_closer(source, prompts, options, first, closer)
    return _in_plane(source, first)


def _first_look(
    source: PlaneSource, prompts: Prompts, options: SharpOptions, multimask: bool
) -> Look:
    """Look at the plane, or around the prompts; farther if the object goes on there."""
    size = source.plane_size
    window = windows.whole(size)
    starts_near = options.mode != "off" and max(size) > NATIVE_SIDE
    both_ways = options.looks_both_ways(size)
    box = _prompted(prompts, size)
    if box is not None and (source.is_large or starts_near):
        window = windows.choose_window(box, size, CONTEXT_OF_PROMPTS, least=MODEL_SIZE)
    while True:
        look = source.look(prompts, window, multimask, both_ways)
        # A box says itself how far the object goes.
        ends = prompts.box is not None or not windows.touches_inner_edge(
            look.prediction.best, window, size
        )
        if ends:
            return look
        centre = np.add(window.shape, 0) / 2 + (window.row_min, window.column_min)
        window = windows.window_at(centre, 2 * max(window.shape), size)


def _prompted(prompts: Prompts, size: tuple[int, int]) -> FloatArray | None:
    """Box around what the prompts mark; a mask prompt counts if it is the only one."""
    box = windows.extent_of_prompts(prompts, size)
    if box is not None or prompts.mask_logits is None:
        return box
    cells = windows.extent_of(prompts.mask_logits > 0)
    return None if cells is None else cells * np.tile(pixels_per_cell(size), 2)


def _closer_window(
    source: PlaneSource, prompts: Prompts, options: SharpOptions, first: Look
) -> Window | None:
    """Window in which to look again, or None if it is not worth it."""
    if options.mode == "off":
        return None
    size, frame = source.plane_size, first.window
    boxes = [windows.extent_of_prompts(prompts, size)]
    seen = windows.extent_of(first.prediction.best)
    # A box says where the object is, whatever the first answer was.
    if prompts.box is None and seen is not None:
        boxes.append(seen + np.tile((frame.row_min, frame.column_min), 2))
    known = [box for box in boxes if box is not None]
    if not known:
        return None
    box = windows.union(*known)
    window = windows.choose_window(box, size, options.context, options.snap)
    gain = windows.magnification(window, frame.shape)
    side = (box[2:] - box[:2]).max() * MODEL_SIZE / max(frame.shape)
    is_small = options.mode == "always" or side <= options.max_object
    return window if is_small and gain >= options.min_magnification else None


def _look_closer(
    source: PlaneSource,
    prompts: Prompts,
    options: SharpOptions,
    first: Look,
    window: Window,
) -> Look:
    """Ask again in a window, with each first mask as a prompt; keep what agrees."""
    inside = windows.prompts_in_window(prompts, window, source.plane_size)
    asked = [
        Prompts(
            inside.points,
            inside.point_labels,
            inside.box,
            windows.resample_logits(logits, first.window, window),
        )
        for logits in first.prediction.logits
    ]
    answers = source.predictor.predict_batch(
        source.embed(window, False), asked, multimask=False
    )
    old = first.prediction
    masks, scores = old.masks.copy(), old.scores.copy()
    part = _within(window, first.window)
    replaced = False
    for index, answer in enumerate(answers):
        agreement = _agreement(old.masks[index], answer.best, part)
        if agreement < options.min_agreement:
            continue
        masks[index] = False
        masks[index][part] = answer.best
        if len(answers) == 1:
            # Among three, the first look judges what the click meant: it sees more.
            scores[index] = answer.best_score
        replaced = True
    if not replaced:
        return first
    found = replace(old, masks=masks, scores=scores, window=window)
    return Look(first.window, found)


def _within(window: Window, frame: Window) -> tuple[slice, slice]:
    """Slices of a window in the pixels of a frame around it."""
    inner = Window(
        window.row_min - frame.row_min,
        window.column_min - frame.column_min,
        window.row_max - frame.row_min,
        window.column_max - frame.column_min,
    )
    return inner.slices


def _agreement(
    mask: NDArray[np.bool_], closer: NDArray[np.bool_], part: tuple[slice, slice]
) -> float:
    """Intersection over union of a mask and one that covers a part of it."""
    shared = np.count_nonzero(mask[part] & closer)
    either = np.count_nonzero(mask) + np.count_nonzero(closer) - shared
    return shared / either if either else 1.0


def _in_plane(source: PlaneSource, look: Look) -> Prediction:
    """Give a look in the pixels of the plane; of a large plane, of its frame only."""
    size, frame, found = source.plane_size, look.window, look.prediction
    if frame == windows.whole(size):
        return found
    logits = np.stack(
        [
            windows.resample_logits(one, frame, windows.whole(size))
            for one in found.logits
        ]
    )
    if source.is_large:
        return replace(found, logits=logits, frame=frame)
    return replace(found, logits=logits, frame=frame).in_plane(size)
