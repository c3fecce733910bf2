"""How far a short number format moves the masks: IoU with those of float32.

``python prompts_agreement.py FOLDER... --precision bfloat16``

Each ``.npz`` with ``image`` and ``label`` gives prompts simulated on its objects: a
click in the middle, that and two corrections, and the tight box. One with ``image``,
``point_rc`` and ``box_rc_edges`` (recorded prompts) gives a click (three masks and
one), the box, the box with a negative click, and the click with a mask as a prompt.
Other files are passed over.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

import napari_sam as ns

SMALLEST_AREA = 64
Case = tuple[str, ns.Prompts, bool | None]


@dataclass
class Agreement:
    """IoUs of one kind of prompt.

    Parameters
    ----------
    same : list of float
        Of the mask float32 scores best and the short format's mask of that number:
        what the number format itself changes.
    chosen : list of float
        Of the mask each scores best: what the user sees. Where two of three masks
        are scored nearly alike, the other one may be chosen.
    """

    same: list[float] = field(default_factory=list)
    chosen: list[float] = field(default_factory=list)


def mask_iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks; 1 if both are empty."""
    union = np.logical_or(first, second).sum()
    return float(np.logical_and(first, second).sum() / union) if union else 1.0


def deepest_pixel(mask: NDArray[np.bool_]) -> tuple[float, NDArray[np.int64]]:
    """Distance to the border, and place, of the pixel furthest from it."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return float(depth.max()), np.array(np.unravel_index(depth.argmax(), depth.shape))


def pick_objects(
    label: NDArray[Any], count: int, rng: np.random.Generator
) -> list[NDArray[np.bool_]]:
    """Up to count connected objects of a label image that are not tiny."""
    masks = []
    for value in np.unique(label[label > 0]):
        parts, _ = ndimage.label(label == value)
        sizes = np.bincount(parts.ravel())[1:]
        largest = int(sizes.argmax())
        if sizes[largest] >= SMALLEST_AREA:
            masks.append(parts == largest + 1)
    picked = rng.permutation(len(masks))[:count]
    return [masks[index] for index in sorted(picked)]


def tight_box(mask: NDArray[np.bool_]) -> list[int]:
    """Box of a mask in pixel edges, half-open."""
    rows, columns = np.nonzero(mask)
    return [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]


def three_clicks(
    predictor: ns.Predictor, embedding: ns.ImageEmbedding, mask: NDArray[np.bool_]
) -> ns.Prompts:
    """Click the middle, then twice where the answer is most wrong, as a user does."""
    points, labels = [deepest_pixel(mask)[1]], [1]
    while len(points) < 3:
        prompts = ns.Prompts(points=points, point_labels=labels)
        answer = predictor.predict(embedding, prompts).best
        missed, excess = deepest_pixel(mask & ~answer), deepest_pixel(answer & ~mask)
        points.append(missed[1] if missed[0] >= excess[0] else excess[1])
        labels.append(int(missed[0] >= excess[0]))
    return ns.Prompts(points=points, point_labels=labels)


def simulated(
    data: Any, predictor: ns.Predictor, embedding: ns.ImageEmbedding, objects: int
) -> Iterator[Case]:
    """Prompts for objects of a label image; the clicks correct the float32 masks."""
    rng = np.random.default_rng(0)
    for mask in pick_objects(data["label"], objects, rng):
        yield "1 click", ns.Prompts(points=[deepest_pixel(mask)[1]]), None
        yield "3 clicks", three_clicks(predictor, embedding, mask), None
        yield "box", ns.Prompts(box=tight_box(mask)), None


def recorded(data: Any) -> Iterator[Case]:
    """Prompts noted in a file of recorded answers."""
    points, box = data["point_rc"], data["box_rc_edges"]
    click = ns.Prompts(points=points)
    yield "recorded click, 3 masks", click, True
    yield "recorded click, 1 mask", click, False
    yield "recorded box", ns.Prompts(box=box), None
    not_here = np.zeros(len(points))
    corrected = ns.Prompts(points=points, point_labels=not_here, box=box)
    yield "recorded box, click", corrected, None
    if "mask_input" in data.files:
        refined = ns.Prompts(points=points, mask_logits=data["mask_input"])
        yield "recorded click, mask", refined, None


def compare_image(
    predictors: Sequence[ns.Predictor],
    data: Any,
    objects: int,
    found: dict[str, Agreement],
) -> None:
    """Add the agreement of two predictors (float32 first) on one image."""
    embeddings = [predictor.embed(data["image"]) for predictor in predictors]
    if "point_rc" in data.files:
        cases = recorded(data)
    else:
        cases = simulated(data, predictors[0], embeddings[0], objects)
    for kind, prompts, multimask in cases:
        exact, short = (
            predictor.predict(embedding, prompts, multimask)
            for predictor, embedding in zip(predictors, embeddings, strict=True)
        )
        same = short.masks[exact.best_index]
        found[kind].same.append(mask_iou(exact.best, same))
        found[kind].chosen.append(mask_iou(exact.best, short.best))


def print_table(found: dict[str, Agreement]) -> None:
    """Mean and minimum for each kind of prompt and over all."""
    total = Agreement()
    print(f"{'prompt':26s} {'n':>4s}   same mask mean, min   chosen mask mean, min")
    for kind, agreement in [*found.items(), ("all", total)]:
        same, chosen = np.array(agreement.same), np.array(agreement.chosen)
        print(
            f"{kind:26s} {len(same):4d}   {same.mean():14.4f} {same.min():6.4f}   "
            f"{chosen.mean():16.4f} {chosen.min():6.4f}"
        )
        total.same.extend(agreement.same)
        total.chosen.extend(agreement.chosen)


def find_files(folders: Sequence[Path], limit: int | None) -> list[Path]:
    """Usable files of the folders; at most limit of each, spread evenly."""
    picked: list[Path] = []
    for folder in folders:
        files = []
        for path in sorted(folder.glob("*.npz")):
            with np.load(path) as data:
                known = {"label"}, {"point_rc", "box_rc_edges"}
                if any(names | {"image"} <= set(data.files) for names in known):
                    files.append(path)
        step = max(1, -(-len(files) // limit)) if limit else 1
        picked += files[::step]
    return picked


def main() -> None:
    """Compare a precision with float32 on the files of some folders."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--model", default="mobile_sam")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--objects", type=int, default=5, help="of each label image")
    parser.add_argument("--max-images", type=int, help="of each folder")
    options = parser.parse_args()
    files = find_files(options.folders, options.max_images)
    if not files:
        parser.error("no .npz with an image and a label or recorded prompts there")
    predictors = [
        ns.load_model(options.model, options.checkpoint, options.device, precision)
        for precision in ("float32", options.precision)
    ]
    begin = time.perf_counter()
    found: dict[str, Agreement] = defaultdict(Agreement)
    for path in files:
        with np.load(path) as data:
            compare_image(predictors, data, options.objects, found)
    seconds = time.perf_counter() - begin
    print(f"{predictors[1]} against float32: {len(files)} images, {seconds:.0f} s")
    print_table(found)


if __name__ == "__main__":
    main()
