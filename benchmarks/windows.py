"""What a closer look gains and costs: ``python windows.py FOLDER [options]``.

FOLDER holds ``SET__NUMBER.npz`` files with ``image`` (H, W) or (H, W, 3), uint8, and
``label`` (H, W), integer. Clicks are simulated: the first in the middle of the object,
each further one in the middle of the largest error. Times are of the process (CPU).
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import zarr
from scipy import ndimage

import napari_sam as ns

MEASURES = ("click1", "click3", "click5", "box")
MOSAIC_SIDE = 4096


class CountingPredictor(ns.Predictor):
    """A predictor that counts what it encodes."""

    encoded = 0

    def encode(self, planes):
        """Encode, and count."""
        self.encoded += len(planes)
        return super().encode(planes)


def load():
    """MobileSAM, counting."""
    plain = ns.load_model("mobile_sam")
    return CountingPredictor(plain.model, plain.checksum, plain.name)


def iou(first, second):
    """Intersection over union of two masks."""
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else 1.0


def depth_and_middle(mask):
    """Largest distance from a mask's border, and where (row, column) it is."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return 0.0, (0, 0)
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    depth = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return depth.max(), (int(row + rows[0]), int(column + columns[0]))


def objects_of(label, count, rng, least=64):
    """Up to `count` connected objects of a label image, as masks."""
    parts = []
    for value in np.unique(label[label > 0]):
        connected, number = ndimage.label(label == value)
        sizes = np.bincount(connected.ravel(), minlength=number + 1)
        parts += [(connected, i) for i in range(1, number + 1) if sizes[i] >= least]
    chosen = rng.choice(len(parts), min(count, len(parts)), replace=False)
    return [parts[i][0] == parts[i][1] for i in sorted(chosen)]


def interact(session, truth):
    """IoU of a tight box, and of one, three and five clicks."""
    rows, columns = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    box = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
    found = {"box": iou(session.segment(ns.Prompts(box=box)).best, truth)}
    points, labels, last = [depth_and_middle(truth)[1]], [1], None
    for click in range(1, 6):
        logits = None if last is None else last.best_logits
        last = session.segment(ns.Prompts(points, labels, mask_logits=logits))
        found[f"click{click}"] = iou(last.best, truth)
        missed = depth_and_middle(truth & ~last.best)
        false = depth_and_middle(last.best & ~truth)
        points.append(max(missed, false)[1] if missed[0] != false[0] else missed[1])
        labels.append(int(missed[0] >= false[0]))
    return found


def compare(images, predictor, cache, modes, count):
    """Rows of measures for each mode and object of (name, image, label)."""
    rows = []
    for name, image, label in images:
        rng = np.random.default_rng(sum(map(ord, name)))
        chosen = objects_of(label, count, rng)
        for mode, sharp in modes.items():
            session = ns.Session(image, predictor, cache=cache, sharp=sharp)
            start = time.process_time()
            for truth in chosen:
                rows.append({"set": name.split("__")[0], "mode": mode})
                rows[-1] |= interact(session, truth)
            print(name, mode, f"{time.process_time() - start:.0f} s", flush=True)
    return rows


def table(rows):
    """Print the mean of each set and mode, and over sets."""
    values = defaultdict(list)
    for row in rows:
        for measure in MEASURES:
            values[row["set"], row["mode"], measure].append(row[measure])
    means = {key: float(np.mean(one)) for key, one in values.items()}
    sets = sorted({row["set"] for row in rows})
    modes = list(dict.fromkeys(row["mode"] for row in rows))
    print(f"{'set':26s}{'mode':8s}" + "".join(f"{m:>9s}" for m in MEASURES))
    for name in [*sets, "mean over sets"]:
        for mode in modes:
            over = sets if name == "mean over sets" else [name]
            line = [np.mean([means[s, mode, m] for s in over]) for m in MEASURES]
            print(f"{name[:25]:26s}{mode:8s}" + "".join(f"{v:9.3f}" for v in line))


def read(folder, limit):
    """Yield (name, image, label) of a folder's files."""
    paths = sorted(folder.glob("*.npz"))
    for path in paths[:: max(1, len(paths) // limit)] if limit else paths:
        data = np.load(path)
        yield path.stem, data["image"], data["label"]


def mosaic(folder, seed):
    """Images side by side, (4096, 4096) uint8, and the labels of small objects."""
    rng = np.random.default_rng(seed)
    image = np.zeros((MOSAIC_SIDE, MOSAIC_SIDE), np.uint8)
    label = np.zeros(image.shape, np.int32)
    parts = []
    for _, one, truth in read(folder, None):
        grey = one if one.ndim == 2 else one.mean(-1).astype(np.uint8)
        if max(grey.shape) <= 1300:
            parts.append((grey, truth))
    row = 0
    while row < MOSAIC_SIDE:
        column, height = 0, 0
        while column < MOSAIC_SIDE:
            grey, truth = parts[rng.integers(len(parts))]
            h = min(grey.shape[0], MOSAIC_SIDE - row)
            w = min(grey.shape[1], MOSAIC_SIDE - column)
            image[row : row + h, column : column + w] = grey[:h, :w]
            connected, count = ndimage.label(truth[:h, :w] > 0)
            sizes = np.bincount(connected.ravel(), minlength=count + 1)
            # Small, and whole: what is cut has no label.
            edge = np.unique(
                np.r_[connected[[0, -1]].ravel(), connected[:, [0, -1]].ravel()]
            )
            keep = (sizes >= 100) & (sizes <= 5000)
            keep[edge] = False
            numbers = np.where(keep, np.arange(count + 1), 0)[connected]
            base = label.max()
            label[row : row + h, column : column + w] = np.where(
                numbers > 0, numbers + base, 0
            )
            column, height = column + w, max(height, h)
        row += height
    return f"mosaic__{seed}", image, label


def encodings(folder, count=100):
    """Print encodings for each of many neighbours, with snapping and without."""
    _, image, label = mosaic(folder, 0)
    boxes = ndimage.find_objects(label)
    middle = sorted(
        (b for b in boxes if b),
        key=lambda b: np.hypot(b[0].start - 2048, b[1].start - 2048),
    )[:count]
    for context, snap in ((2, True), (3, True), (6, True), (6, False)):
        predictor = load()
        predictor.encode = lambda planes, p=predictor: _blank(p, planes)
        options = ns.SharpOptions("auto", context, snap=snap)
        session = ns.Session(image, predictor, sharp=options)
        for rows, columns in middle:
            box = [rows.start, columns.start, rows.stop, columns.stop]
            session.segment(ns.Prompts(box=box))
        each = predictor.encoded / len(middle)
        print(f"context {context}, snap={snap}: {each:.2f} encodings per object")


def _blank(predictor, planes):
    """Count, and return features of zeros: where windows lie does not need them."""
    import torch

    predictor.encoded += len(planes)
    zeros = torch.zeros(1, 256, 64, 64, dtype=predictor.dtype)
    return [predictor.restore(zeros, one, predictor.key(one)) for one in planes]


def huge(predictor):
    """First mask in a zarr plane of 20,000 x 20,000: time and memory."""
    side, tile = 20_000, 1000
    rows, columns = np.mgrid[:tile, :tile]
    cells = np.zeros((tile, tile), np.uint8)
    for row in range(50, tile, 100):
        for column in range(50, tile, 100):
            cells[np.hypot(rows - row, columns - column) < 20] = 180
    cells += np.random.default_rng(0).integers(0, 30, cells.shape).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        plane = zarr.create_array(
            folder, shape=(side, side), chunks=(tile, tile), dtype="uint8"
        )
        for row in range(0, side, tile):
            for column in range(0, side, tile):
                plane[row : row + tile, column : column + tile] = cells
        start = time.process_time()
        predictor.embed(cells)
        once = time.process_time() - start
        predictor.encoded = 0
        start = time.process_time()
        session = ns.Session(plane, predictor, sharp="auto")
        answer = session.segment(ns.Prompts(points=[[15_050, 7_050]]))
        taken = time.process_time() - start
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    print(
        f"20k plane: {predictor.encoded} encodings, {taken / once:.2f} times one "
        f"encoding, {answer.best.sum()} pixels in {answer.frame}, "
        f"at most {resident:.2f} GiB resident"
    )


def main():
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parts", default="sets,mosaics,encodings,huge")
    parser.add_argument("--limit", type=int, help="images of the folder")
    parser.add_argument("--objects", type=int, default=5, help="of each image")
    parser.add_argument("--mosaics", type=int, default=2)
    parser.add_argument("--cache", help="directory for embeddings")
    parser.add_argument("--out", type=Path, help="JSON of all rows")
    args = parser.parse_args()
    parts = args.parts.split(",")
    predictor, cache = load(), ns.EmbeddingCache(args.cache, host_bytes=1 << 29)
    modes = {"off": "off", "auto": "auto"}
    rows = []
    if "huge" in parts:  # first: memory is the highest so far
        huge(predictor)
    if "encodings" in parts:
        encodings(args.folder)
    if "sets" in parts:
        images = read(args.folder, args.limit)
        rows += compare(images, predictor, cache, modes, args.objects)
    if "mosaics" in parts:
        images = (mosaic(args.folder, seed) for seed in range(args.mosaics))
        rows += compare(images, predictor, cache, modes, 3 * args.objects)
    if rows:
        table(rows)
    if args.out:
        args.out.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
