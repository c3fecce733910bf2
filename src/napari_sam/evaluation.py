"""How good a model is on labelled images: simulated clicks and boxes, label images.

The first click is where the object is thickest, every further one where the error is,
as in the evaluations of Sofiiuk et al., "Reviving Iterative Training with Mask
Guidance" (2021), and of Segment Anything; boxes are tight.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam._finetuning_data import LabelledImage
from napari_sam._mask_boxes import tight_box
from napari_sam.predictor import Predictor
from napari_sam.types import ImageEmbedding, Prediction, Prompts

NOC_THRESHOLDS = (0.85, 0.9)
# Objects smaller than this, of the plane and in pixels, cannot be clicked on.
SMALLEST_PART, SMALLEST_AREA = 2e-4, 64
PROMPTS_AT_ONCE = 16
# IoU above which an object counts as found: above 0.5, by one object at most.
AP_THRESHOLDS = tuple(n / 100 for n in range(50, 100, 5))


@dataclass(frozen=True)
class EvaluationOptions:
    """What is simulated.

    Parameters
    ----------
    clicks : int
        Clicks on each object, at least 5; `ObjectScore.clicks_to` counts up to there.
    objects : int
        Objects of an image, drawn at random if there are more.
    seed : int

    Raises
    ------
    ValueError
        If an option is not as above.
    """

    clicks: int = 10
    objects: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("clicks", 5), ("objects", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(
                    f"{name} must be a whole number of at least {least}, got {value!r}."
                )


@dataclass(frozen=True)
class ObjectScore:
    """IoU of one object's masks with its label.

    Parameters
    ----------
    image : str
    label : int
    area : int
        In pixels.
    clicks : tuple of float
        After the first, second, ... click; the mask of the best score counts.
    box : float
        Of a tight box.
    """

    image: str
    label: int
    area: int
    clicks: tuple[float, ...]
    box: float

    def clicks_to(self, threshold: float) -> int:
        """Clicks until the IoU reaches a threshold; all and one more if it never does.

        Examples
        --------
        >>> ObjectScore("", 1, 99, (0.5, 0.9), 0.8).clicks_to(0.85)
        2
        """
        reached = (n for n, iou in enumerate(self.clicks, 1) if iou >= threshold)
        return next(reached, len(self.clicks) + 1)


def evaluate(
    predictor: Predictor,
    images: Sequence[LabelledImage],
    options: EvaluationOptions | None = None,
) -> Generator[list[ObjectScore], None, None]:
    """Score a model, one image a step.

    Parameters
    ----------
    predictor : Predictor
    images : sequence of LabelledImage
        From `labelled_images`.
    options : EvaluationOptions, optional

    Yields
    ------
    list of ObjectScore
        Of the objects of one image; empty if they are all too small to be clicked on.
    """
    options = options or EvaluationOptions()
    for number, image in enumerate(images):
        rng = np.random.default_rng((options.seed, number))
        objects = objects_of(image.labels, options.objects, rng)
        if not objects:
            yield []
            continue
        embedding = predictor.embed(image.pixels)
        yield score_objects(predictor, embedding, (image, objects), options.clicks)


def objects_of(
    labels: NDArray[Any], most: int, rng: np.random.Generator
) -> list[tuple[int, NDArray[np.bool_]]]:
    """Label and mask of objects of a plane that are large enough to be clicked on.

    Of an object in several pieces the largest one counts: one click marks one piece.
    """
    least = max(SMALLEST_AREA, SMALLEST_PART * labels.size)
    values, counts = np.unique(labels[labels != 0], return_counts=True)
    kept = values[counts >= least]
    found = []
    for value in rng.permutation(kept):
        pieces, count = ndimage.label(labels == value)
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)
        sizes[0] = 0
        if sizes.max() >= least:
            found.append((int(value), pieces == sizes.argmax()))
        if len(found) == most:
            break
    return found


def score_objects(
    predictor: Predictor,
    embedding: ImageEmbedding,
    truth: tuple[LabelledImage, list[tuple[int, NDArray[np.bool_]]]],
    clicks: int,
) -> list[ObjectScore]:
    """Click on the objects of one image, and draw boxes around them."""
    image, objects = truth
    masks = [mask for _, mask in objects]
    answers = _predict(predictor, embedding, [Prompts(box=tight_box(m)) for m in masks])
    boxes = [iou_of(a.best, m) for a, m in zip(answers, masks, strict=True)]
    points = [[centre_click(mask)] for mask in masks]
    kinds = [[1] for _ in masks]
    ious: list[list[float]] = [[] for _ in masks]
    last: list[NDArray[np.float32] | None] = [None] * len(masks)
    for number in range(clicks):
        prompts = [
            Prompts(p, k, mask_logits=logits)
            for p, k, logits in zip(points, kinds, last, strict=True)
        ]
        answers = _predict(predictor, embedding, prompts)
        for i, (answer, mask) in enumerate(zip(answers, masks, strict=True)):
            ious[i].append(iou_of(answer.best, mask))
            last[i] = answer.best_logits
            if number + 1 < clicks:
                point, kind = next_click(answer.best, mask)
                points[i].append(point)
                kinds[i].append(kind)
    return [
        ObjectScore(image.name, value, int(mask.sum()), tuple(iou), box)
        for (value, mask), iou, box in zip(objects, ious, boxes, strict=True)
    ]


def _predict(
    predictor: Predictor, embedding: ImageEmbedding, prompts: Sequence[Prompts]
) -> list[Prediction]:
    found: list[Prediction] = []
    for first in range(0, len(prompts), PROMPTS_AT_ONCE):
        some = prompts[first : first + PROMPTS_AT_ONCE]
        found += predictor.predict_batch(embedding, some)
    return found


def iou_of(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks; 1 if both are empty."""
    either = np.count_nonzero(a | b)
    return float(np.count_nonzero(a & b) / either) if either else 1.0


def centre_click(mask: NDArray[np.bool_]) -> list[int]:
    """(row, column) of the pixel of a mask that is furthest from its border."""
    return _deepest(mask)[1]


def next_click(
    found: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> tuple[list[int], int]:
    """(row, column) in the thickest error, and 1 if it was missed, else 0."""
    missed, missed_at = _deepest(truth & ~found)
    wrong, wrong_at = _deepest(found & ~truth)
    return (missed_at, 1) if missed >= wrong else (wrong_at, 0)


def _deepest(region: NDArray[np.bool_]) -> tuple[float, list[int]]:
    """Depth and (row, column) of the innermost pixel of a region; 0 if it is empty."""
    if not region.any():
        return 0.0, [0, 0]
    r0, c0, r1, c1 = tight_box(region)
    # Beyond its box there is nothing of the region, so the rest needs no looking at.
    part = np.pad(region[r0:r1, c0:c1], 1)
    depth = ndimage.distance_transform_edt(part)[1:-1, 1:-1]
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return float(depth.max()), [int(row) + r0, int(column) + c0]


def summary(scores: Sequence[ObjectScore]) -> dict[str, float]:
    """Means over the objects: IoU after 1, 3, 5 clicks and of a box, and NoC.

    Parameters
    ----------
    scores : sequence of ObjectScore
        At least one.

    Returns
    -------
    dict of str to float
        ``click1``, ``click3``, ``click5``, ``box``, ``noc85``, ``noc90`` and
        ``objects``.

    Raises
    ------
    ValueError
        If there are no scores.
    """
    if not scores:
        raise ValueError("there must be objects large enough to be clicked on.")
    found = {
        f"click{n}": float(np.mean([one.clicks[n - 1] for one in scores]))
        for n in (1, 3, 5)
    }
    found["box"] = float(np.mean([one.box for one in scores]))
    for threshold in NOC_THRESHOLDS:
        counts = [one.clicks_to(threshold) for one in scores]
        found[f"noc{threshold * 100:.0f}"] = float(np.mean(counts))
    return {**found, "objects": float(len(scores))}


@dataclass(frozen=True)
class LabelScore:
    """How many objects of a label image are those of another one.

    Parameters
    ----------
    image : str
    objects, found : int
        Objects there are, and objects in the label image that is judged.
    hits : tuple of int
        Pairs of these whose IoU is above each of `AP_THRESHOLDS`.
    """

    image: str
    objects: int
    found: int
    hits: tuple[int, ...]


def score_labels(
    found: NDArray[Any], truth: NDArray[Any], image: str = ""
) -> LabelScore:
    """Compare a label image, as automatic segmentation makes it, with the right one.

    Parameters
    ----------
    found, truth : ndarray of shape (H, W), int
        0 is background.
    image : str
        A name.

    Raises
    ------
    ValueError
        If they differ in shape.

    Examples
    --------
    >>> import numpy as np
    >>> score = score_labels(np.array([[1, 1, 0, 2]]), np.array([[5, 5, 0, 0]]))
    >>> score.objects, score.found, score.hits[0]
    (1, 2, 1)
    """
    if found.shape != truth.shape:
        raise ValueError(
            f"found must have the shape of the labels {truth.shape}, got {found.shape}."
        )
    values, rows = np.unique(truth, return_inverse=True)
    others, columns = np.unique(found, return_inverse=True)
    # Of numbers without gaps: labels may be as large as their type allows.
    pairs = rows.ravel() * len(others) + columns.ravel()
    shared = np.bincount(pairs, minlength=len(values) * len(others))
    shared = shared.reshape(len(values), len(others))
    sizes = shared.sum(1, keepdims=True) + shared.sum(0, keepdims=True)
    iou = (shared / (sizes - shared))[values != 0][:, others != 0]
    hits = tuple(int(np.count_nonzero(iou > least)) for least in AP_THRESHOLDS)
    return LabelScore(image, len(iou), iou.shape[1], hits)


def label_summary(scores: Sequence[LabelScore]) -> dict[str, float]:
    """Average precision of label images, over the objects of all images.

    Hits / (hits + objects not found + objects that there are not), as in the 2018
    Data Science Bowl (Caicedo et al. 2019).

    Parameters
    ----------
    scores : sequence of LabelScore
        At least one, of an image with objects.

    Returns
    -------
    dict of str to float
        ``ap50`` and ``ap75`` above an IoU of 0.5 and 0.75, and ``ap``, the mean over
        `AP_THRESHOLDS`.

    Examples
    --------
    >>> label_summary([LabelScore("", 1, 2, (1,) * 6 + (0,) * 4)])
    {'ap50': 0.5, 'ap75': 0.5, 'ap': 0.3}
    """
    curve = precision_curve(scores)
    at = {f"ap{100 * t:.0f}": ap for t, ap in zip(AP_THRESHOLDS, curve, strict=True)}
    return {"ap50": at["ap50"], "ap75": at["ap75"], "ap": float(np.mean(curve))}


def precision_curve(scores: Sequence[LabelScore]) -> list[float]:
    """Average precision at each of `AP_THRESHOLDS`, as `label_summary`."""
    objects = sum(one.objects + one.found for one in scores)
    hits = np.sum([one.hits for one in scores], axis=0)
    precisions: list[float] = (hits / (objects - hits)).tolist()
    return precisions
