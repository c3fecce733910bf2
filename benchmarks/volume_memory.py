"""Resident memory while 20 objects are followed through a large lazy volume.

    python benchmarks/volume_memory.py --planes 512 --side 1024

The image is a zarr array on disk, written plane by plane, and the labels go into
another one as they come. By default the model is a stand-in that answers by
brightness, so that hours of encoding are not part of it; its embeddings and logits
have the shapes and types of the real ones, and go through the same cache.
`--model mobile_sam` encodes for real.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr

import napari_sam as ns
from napari_sam._tests.seeing_predictor import SeeingPredictor

GRID = (4, 5)


def main() -> None:
    """Print the peak, and how much of it was there before the volume."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--planes", type=int, default=512)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--model", default="")
    given = parser.parse_args()
    size = (given.planes, given.side, given.side)
    predictor = ns.load_model(given.model) if given.model else SeeingPredictor()
    with tempfile.TemporaryDirectory() as folder:
        image, labels = (
            zarr.create_array(
                Path(folder) / f"{name}.zarr",
                shape=size,
                chunks=(1, *size[1:]),
                dtype="uint8",
            )
            for name in ("image", "labels")
        )
        seeds = fill(image)
        before = peak()
        start = time.process_time()
        session = ns.Session(image, predictor, contrast_limits=(0, 255))
        for plane, found in session.propagate_objects(seeds):
            labels[plane] = found.astype(np.uint8)
        here = {int(key) for key in np.unique(labels[given.planes // 2])} - {0}
    print(
        f"{size}, {len(seeds)} objects ({len(here)} in the middle plane): peak "
        f"{peak():.2f} GiB resident, {before:.2f} GiB before the volume, "
        f"{time.process_time() - start:.0f} s of processor time"
    )


def fill(image: zarr.Array) -> dict[int, dict[int, ns.Prompts]]:
    """Write bars through all planes; boxes on them near both ends, and between."""
    planes, side = image.shape[0], image.shape[1]
    cell = np.array([side // GRID[0], side // GRID[1]])
    plane = np.full((side, side), 40, np.uint8)
    seeds = {}
    for key in range(GRID[0] * GRID[1]):
        low = cell * (key // GRID[1], key % GRID[1]) + cell // 5
        high = low + cell // 2
        plane[low[0] : high[0], low[1] : high[1]] = 200
        box = ns.Prompts(box=[*low, *high])
        # Between two seeds all answers of one direction wait for the other.
        seeds[key + 1] = {1: box, planes - 2: box}
    for index in range(planes):
        image[index] = plane
    return seeds


def peak() -> float:
    """Highest resident memory of this process so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
