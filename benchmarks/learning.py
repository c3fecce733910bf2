"""What learning while annotating gains on a labelled volume, and what it takes.

    python benchmarks/learning.py volume.tif labels.tif
    python benchmarks/learning.py volume.npz

Objects are accepted in a random order, each with its label in the plane where it is
largest. After some of them, the remaining ones are followed through the volume from one
tight box each, by the model itself and by what was learned; the table has the mean Dice
in 3D, the mean IoU of that box and of one click, and the processor time of learning.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

import napari_sam as ns
from napari_sam.evaluation import centre_click, tight_box
from napari_sam.learning import AcceptedObject, AdaptedPredictor, Learner


def read(volume: str, labels: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Read grey values as SAM sees them, and labels, both (Z, Y, X)."""
    if labels is None:
        with np.load(volume) as stored:
            image, label = stored["image"], stored["label"]
    else:
        image = np.asarray(ns.read_image(volume).data)
        label = np.asarray(ns.read_image(labels).data)
    low, high = np.percentile(image, (0.5, 99.5))
    grey = np.clip((image - low) / max(high - low, 1e-6), 0, 1) * 255
    return grey.astype(np.uint8), label


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    """Overlap of two volumes."""
    return 2 * float((found & truth).sum()) / float(found.sum() + truth.sum())


def iou(found: np.ndarray, truth: np.ndarray) -> float:
    """Overlap of two planes."""
    return float((found & truth).sum() / (found | truth).sum())


def largest_plane(truth: np.ndarray) -> int:
    """Plane of most voxels."""
    return int(truth.sum((1, 2)).argmax())


def scores(session: ns.Session, truths: list[np.ndarray]) -> np.ndarray:
    """Dice of a followed box, IoU of the box, IoU of a click: means over objects."""
    rows = []
    for truth in truths:
        plane = largest_plane(truth)
        box, click = tight_box(truth[plane]), centre_click(truth[plane])
        prompts = ns.Prompts(box=box)
        rows.append(
            (
                dice(session.segment_volume({plane: prompts}), truth),
                iou(session.segment(prompts, plane).best, truth[plane]),
                iou(session.segment(ns.Prompts([click]), plane).best, truth[plane]),
            )
        )
    return np.mean(rows, axis=0)


def main() -> None:
    """Print a line for the model itself, and one for each number of objects."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volume")
    parser.add_argument("labels", nargs="?")
    parser.add_argument("--model", default="mobile_sam")
    parser.add_argument("--accepted", default="1,3,5")
    parser.add_argument("--objects", type=int, default=12, help="at most so many")
    parser.add_argument("--voxels", type=int, default=500, help="at least so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", help="a directory for embeddings")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    image, label = read(given.volume, given.labels)
    base = ns.load_model(given.model)
    cache = ns.EmbeddingCache(given.cache)
    session = ns.Session(image, base, cache=cache)
    values, counts = np.unique(label[label > 0], return_counts=True)
    values = values[counts >= given.voxels]
    order = np.random.default_rng(given.seed).permutation(values)[: given.objects]
    truths = [label == value for value in order]
    numbers = [int(one) for one in given.accepted.split(",")]
    rest = truths[max(numbers) :]
    print(f"{given.volume}: {len(rest)} objects followed", flush=True)
    print("accepted  Dice   box    click  held back      seconds")
    before = scores(session, rest)
    print(f"{0:8d}  {before[0]:.3f}  {before[1]:.3f}  {before[2]:.3f}", flush=True)
    planes = [largest_plane(truth) for truth in truths]
    learner = Learner(base)
    for count in numbers:
        accepted = [
            AcceptedObject(n, session.embed(planes[n]), truths[n][planes[n]])
            for n in range(count)
        ]
        if count < 2:
            print(f"{count:8d}  as above: there is nothing to hold back", flush=True)
            continue
        start = time.process_time()
        learned = learner.learn_all(accepted)
        spent = time.process_time() - start
        after = before
        if learned.changes:
            adapted = AdaptedPredictor(base, learned.changes)
            after = scores(ns.Session(image, adapted, cache=cache), rest)
        print(
            f"{count:8d}  {after[0]:.3f}  {after[1]:.3f}  {after[2]:.3f}  "
            f"{learned.before.mean:.3f} > {learned.after.mean:.3f}  {spent:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
