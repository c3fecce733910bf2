"""Automatic masks against labelled images: the official generator, ours, and examples.

Of a folder of labelled images, each side's masks and those of "objects like this one"
are compared with the labels; see README.md. Every figure is saved as soon as it is
there, and is not computed again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from automatic import SAME, Masks, best_of, load_masks, overlaps
from numpy.typing import NDArray
from paired import Process

Row = dict[str, Any]


def painted(masks: Masks) -> Masks:
    """Return what is left of each mask in a label image with the smaller on top."""
    order = np.argsort(-masks.sum(axis=(1, 2)), kind="stable")
    labels = np.full(masks.shape[1:], -1)
    for index in order:
        labels[masks[index]] = index
    left = np.array([labels == index for index in np.unique(labels[labels >= 0])])
    return left.reshape(-1, *masks.shape[1:])


def objects_of(label: NDArray[Any]) -> Masks:
    """Masks (N, H, W) of the objects of a label image."""
    numbers = np.unique(label[label > 0])
    return np.array([label == n for n in numbers]).reshape(-1, *label.shape)


def accuracy(masks: Masks, label: NDArray[Any]) -> Row:
    """AP50 of the label image, TP / (TP + FP + FN) at IoU 0.5, and mean best IoU.

    As in the 2018 Data Science Bowl. Mean best IoU: of each object's best mask.
    """
    objects = objects_of(label)
    shown = painted(masks)
    hits = int((overlaps(objects, shown) > 0.5).sum())
    return {
        "ap50": hits / (len(objects) + len(shown) - hits),
        "mean_best_iou": float(best_of(overlaps(objects, masks)).mean()),
        "objects": len(objects),
        "masks": len(masks),
    }


def examples_of(label: NDArray[Any], count: int) -> NDArray[Any]:
    """Label image (H, W) of objects of typical size: what a user would point at.

    With one, that of median area; with more, spread over the middle half of the areas.
    """
    numbers, areas = np.unique(label[label > 0], return_counts=True)
    ordered = numbers[np.argsort(areas, kind="stable")]
    shares = (np.arange(count) + 0.5) / count / 2 + 0.25
    chosen = np.unique(ordered[(shares * len(ordered)).astype(int)])
    return np.where(np.isin(label, chosen), label, 0)


def similar(predictor: Any, image: NDArray[Any], label: NDArray[Any], n: int) -> Row:
    """Accuracy of the objects like n of them, and how many points were decoded."""
    import napari_sam as ns

    decoded, decode = 0, predictor.decode

    def counting(
        embedding: Any, prompts: Sequence[Any], *rest: Any, **more: Any
    ) -> Any:
        nonlocal decoded
        decoded += len(prompts)
        return decode(embedding, prompts, *rest, **more)

    predictor.decode = counting
    try:
        session = ns.Session(image, predictor)
        found = session.find_similar(examples_of(label, n)).select()
    finally:
        del predictor.decode
    masks = [found.mask(index) for index in range(len(found))]
    return accuracy(np.array(masks, bool).reshape(-1, *label.shape), label) | {
        "decoded": decoded
    }


def everything(
    side: Process, image: NDArray[Any], label: NDArray[Any], per_side: int, file: Path
) -> Row:
    """Accuracy of a generator; its masks stay in the file."""
    np.save(file.with_suffix(".npy"), image)
    request = {"image": str(file.with_suffix(".npy")), "save": str(file)}
    reply = side.ask("run", per_side=per_side, **request)
    masks = load_masks(file, image.shape[1])
    return accuracy(masks, label) | {"cpu_ms": reply["cpu_ms"]}


def chosen_files(options: argparse.Namespace) -> list[Path]:
    """Files of the folders, of each set (what is before "__") so many, in order."""
    sets: dict[str, list[Path]] = defaultdict(list)
    for folder in options.folders:
        for path in sorted(folder.glob("*.npz")):
            with np.load(path) as stored:
                count = len(np.unique(stored["label"])) - 1
            if count >= options.least_objects:
                sets[path.stem.split("__")[0]].append(path)
    return [path for paths in sets.values() for path in paths[: options.per_set]]


class Sides:
    """What is compared: started when something is to be computed."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self._processes: dict[str, Process] = {}
        self._predictor: Any = None

    def names(self) -> list[str]:
        """Rows of each image."""
        generators = [f"{s} {self.options.points_per_side}" for s in self.options.sides]
        return generators + [f"similar {n}" for n in self.options.similar]

    def run(self, name: str, path: Path, folder: Path) -> Row:
        """One row of one image."""
        kind, number = name.split()
        with np.load(path) as stored:
            image, label = stored["image"], stored["label"]
        if kind == "similar":
            return similar(self._own(), image, label, int(number))
        file = folder / f"{kind}.npz"
        row = everything(self._side(kind), image, label, int(number), file)
        other = folder / "official.npz"
        if kind == "ours" and other.exists():
            both = [load_masks(f, image.shape[1]) for f in (other, file)]
            row["same"] = int((best_of(overlaps(*both)) >= SAME).sum())
        return row

    def _own(self) -> Any:
        if self._predictor is None:
            import torch

            import napari_sam as ns

            torch.set_num_threads(self.options.threads)
            self._predictor = ns.load_model(precision=self.options.precision)
        return self._predictor

    def _side(self, kind: str) -> Process:
        if kind not in self._processes:
            python = sys.executable if kind == "ours" else self.options.official_python
            side = Process(python, kind, "automatic_worker.py")
            checkpoint = resources.files("napari_sam") / "weights" / "mobile_sam.pt"
            side.ask(
                "prepare",
                checkpoint=str(checkpoint),
                precision=self.options.precision,
                threads=self.options.threads,
            )
            self._processes[kind] = side
        return self._processes[kind]

    def close(self) -> None:
        """End the processes."""
        for side in self._processes.values():
            side.close()


def print_means(record: dict[str, dict[str, Row]], names: Sequence[str]) -> None:
    """Print a line for each set, and the mean over the sets."""
    sets: dict[str, list[dict[str, Row]]] = defaultdict(list)
    for stem, rows in record.items():
        sets[stem.split("__")[0]].append(rows)
    for name in names:
        print(name)
        means: dict[str, list[float]] = defaultdict(list)
        for title, images in sets.items():
            texts = []
            for measure in ("ap50", "mean_best_iou", "decoded", "cpu_ms"):
                values = [
                    rows[name][measure] for rows in images if measure in rows[name]
                ]
                if values:
                    means[measure].append(statistics.mean(values))
                    texts.append(f"{measure} {means[measure][-1]:.3f}")
            print(f"  {title:24s} {len(images):2d} images, {', '.join(texts)}")
        every = (
            f"{key} {statistics.mean(values):.3f}" for key, values in means.items()
        )
        print(f"  {'mean of the sets':24s} {', '.join(every)}", flush=True)


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("folders", nargs="+", type=Path, help="of .npz files of image and label")
    add("--official-python", help="Python of the official environment")
    add("--ours", action="store_true", help="also our generator; with the official one")
    add("--points-per-side", type=int, default=32)
    add("--similar", type=int, nargs="*", default=[], help="numbers of examples")
    add("--per-set", type=int, help="at most so many images of a set")
    add("--least-objects", type=int, default=2, help="in an image that is taken")
    add("--precision", default="float32", help="of our side")
    add("--threads", type=int, default=1)
    add("--json", type=Path, help="figures are kept here, and taken from here")
    options = parser.parse_args()
    options.sides = ["official", "ours"] if options.official_python else []
    if options.ours and not options.sides:
        options.sides = ["ours"]
    return options


def main() -> None:
    """Compare everything asked for, and print."""
    options = parse_options()
    record: dict[str, dict[str, Row]] = {}
    if options.json is not None and options.json.exists():
        record = json.loads(options.json.read_text())
    sides, files = Sides(options), chosen_files(options)
    try:
        for path in files:
            rows = record.setdefault(path.stem, {})
            with tempfile.TemporaryDirectory() as folder:
                for name in sides.names():
                    if name in rows:
                        continue
                    rows[name] = sides.run(name, path, Path(folder))
                    print(path.stem, name, rows[name], flush=True)
                    if options.json is not None:
                        options.json.write_text(json.dumps(record, indent=1))
    finally:
        sides.close()
    print_means({path.stem: record[path.stem] for path in files}, sides.names())


if __name__ == "__main__":
    main()
