"""One side of `automatic.py`, in a process of its own.

Reads one JSON request a line from the standard input, answers each with one JSON line
on the standard output, as `worker.py` does.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Found = tuple[list[NDArray[np.bool_]], list[float]]


class OfficialSide:
    """The official generator, as its authors would call it."""

    def __init__(self, request: dict[str, Any]) -> None:
        from official_side import load_official

        self.precision = "float32"
        self._predictor = load_official("mobile_sam", request["checkpoint"])

    def run(self, image: NDArray[np.uint8], per_side: int) -> Found:
        """Masks (H, W) and predicted IoU."""
        from mobile_sam import SamAutomaticMaskGenerator

        if image.ndim == 2:
            image = np.stack([image] * 3, axis=-1)
        model = self._predictor.model
        found = SamAutomaticMaskGenerator(model, per_side).generate(image)
        masks = [one["segmentation"] for one in found]
        return masks, [one["predicted_iou"] for one in found]


class OurSide:
    """napari_sam through its public API."""

    def __init__(self, request: dict[str, Any]) -> None:
        import napari_sam as ns

        self._predictor = ns.load_model(
            "mobile_sam", request["checkpoint"], "cpu", request["precision"]
        )
        self.precision = str(self._predictor.dtype).removeprefix("torch.")

    def run(self, image: NDArray[np.uint8], per_side: int) -> Found:
        """Masks (H, W) and predicted IoU."""
        import napari_sam as ns

        session = ns.Session(image, self._predictor)
        found = session.find_candidates(options=ns.AutomaticOptions(per_side)).select()
        masks = [found.mask(index) for index in range(len(found))]
        return masks, found.scores.tolist()


SIDES = {"official": OfficialSide, "ours": OurSide}


def main() -> None:
    """Serve until the standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    side: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        reply: dict[str, Any] = {}
        if request["do"] == "prepare":
            torch.set_num_threads(request["threads"])
            side = SIDES[sys.argv[1]](request)
            reply = {"precision": side.precision, "torch": torch.__version__}
        else:
            image = np.load(request["image"])
            begin, begin_cpu = time.perf_counter(), time.process_time()
            masks, scores = side.run(image, request["per_side"])
            end, end_cpu = time.perf_counter(), time.process_time()
            stacked = np.array(masks, bool).reshape(-1, *image.shape[:2])
            packed = np.packbits(stacked, axis=-1)
            np.savez(request["save"], masks=packed, scores=scores)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            reply = {
                "ms": 1000 * (end - begin),
                "cpu_ms": 1000 * (end_cpu - begin_cpu),
                "peak_bytes": peak,
            }
        answers.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    main()
