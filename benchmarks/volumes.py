"""Time per plane and object of following objects through a stack.

    python benchmarks/volumes.py

A synthetic stack of bright ellipsoids in noise; every plane is encoded beforehand, so
that what is timed is the search alone: 1, 4 and 10 objects, with 2 threads, unless
`--objects` and `--threads` say otherwise. Each figure is the best of `--repeats` runs.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

import napari_sam as ns

SIDE, PLANES, RADIUS = 512, 16, 40


def stack_of(count: int) -> tuple[np.ndarray, dict[int, dict[int, ns.Prompts]]]:
    """Make a stack of ellipsoids on a grid, and a box around each in the middle."""
    volume = np.random.default_rng(0).normal(50, 12, (PLANES, SIDE, SIDE))
    z, y, x = np.indices(volume.shape, sparse=True)
    seeds = {}
    for key in range(count):
        row, column = 64 + 128 * (key // 4), 64 + 128 * (key % 4)
        flat = (y - row) ** 2 + (x - column) ** 2
        volume[flat + ((z - PLANES // 2) * 4) ** 2 < RADIUS**2] += 90
        box = [row - RADIUS, column - RADIUS, row + RADIUS, column + RADIUS]
        seeds[key + 1] = {PLANES // 2: ns.Prompts(box=box)}
    return np.clip(volume, 0, 255).astype(np.uint8), seeds


def main() -> None:
    """Print a line for each number of objects."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", default="1,4,10")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    predictor = ns.load_model("mobile_sam")
    counts = [int(one) for one in given.objects.split(",")]
    volume, seeds = stack_of(max(counts))
    session = ns.Session(volume, predictor)
    for _ in session.embed_planes():
        pass
    options = ns.PropagationOptions(spacing=(4, 1, 1))
    for count in counts:
        some = {key: seeds[key] for key in list(seeds)[:count]}
        best = (np.inf, np.inf)
        for _ in range(given.repeats):
            wall, cpu = time.perf_counter(), time.process_time()
            labels = session.segment_objects(some, options=options)
            spent = time.perf_counter() - wall, time.process_time() - cpu
            best = min(best, spent)
        places = sum(int((labels == key).any(axis=(1, 2)).sum()) for key in some)
        wall, cpu = (1000 * seconds / places for seconds in best)
        print(
            f"{count:3d} objects, {places:4d} planes of objects: {wall:6.1f} ms each "
            f"({cpu:.1f} ms of processor time), {given.threads} threads"
        )


if __name__ == "__main__":
    main()
