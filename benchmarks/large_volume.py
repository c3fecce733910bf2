"""A volume of a gigabyte in the widget: how long to the first mask, how much memory.

    xvfb-run -a -s "-screen 0 1400x900x24" python benchmarks/large_volume.py

Makes a zarr of 1,000 x 1,024 x 1,024 uint8 in a temporary folder (or `--folder`, which
is used again) within seconds, opens it lazily, clicks once, then goes through
`--planes` planes with a cache in memory of `--budget` MiB. The model is loaded, and the
new layers are drawn, before the first click, which is compared with the first encoding
in a Python without a window: a later one takes less. The processor time of a click on a
new plane has encodings ahead in it that it stops. Resident memory should grow by the
budget and what napari keeps of the displayed planes, not by the volume.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from latency import run_for, run_until
from napari import Viewer

from napari_sam._generators import result_of
from napari_sam._qt.annotation import SegmentAnythingWidget
from napari_sam._qt.engine import Engine
from napari_sam.embedding_cache import EmbeddingCache

SHAPE = (1000, 1024, 1024)
PERIOD = 50
MIB = 1 << 20
# What a first encoding takes without a window.
ALONE = """
import sys, time, numpy, zarr, napari_sam
model = napari_sam.load_model("mobile_sam")
begun = time.perf_counter()
model.embed(numpy.asarray(zarr.open_array(sys.argv[1], mode="r")[0]))
print(time.perf_counter() - begun)
"""


def make_volume(path: Path) -> Any:
    """Write noise with discs that move from plane to plane, unless it is there.

    The planes repeat after `PERIOD`: only so many files are written, and linked to.
    """
    if path.exists():
        return zarr.open_array(path, mode="r")
    volume = zarr.create_array(
        path, shape=SHAPE, chunks=(1, *SHAPE[1:]), dtype="uint8", compressors=None
    )
    rng = np.random.default_rng(0)
    rows, columns = np.ogrid[: SHAPE[1], : SHAPE[2]]
    for index in range(PERIOD):
        plane = rng.integers(0, 60, SHAPE[1:], dtype=np.uint8)
        plane[(rows - 300 - index) ** 2 + (columns - 500) ** 2 < 90**2] += 120
        volume[index] = plane
    for index in range(PERIOD, SHAPE[0]):
        chunk = path / "c" / str(index) / "0" / "0"
        chunk.parent.mkdir(parents=True)
        chunk.hardlink_to(path / "c" / str(index % PERIOD) / "0" / "0")
    return volume


def resident() -> int:
    """MiB of memory that this process holds (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    return 0


def encoded_alone(path: Path) -> float:
    """Seconds of the first encoding in a new Python."""
    command = [sys.executable, "-c", ALONE, str(path)]
    return float(subprocess.run(command, capture_output=True, check=True).stdout)


def measure(path: Path, planes: int, budget: int) -> dict[str, Any]:
    """Open, click, and go through planes."""
    volume = make_volume(path)
    alone = encoded_alone(path)
    viewer = Viewer(show=True)
    bare = resident()
    start = time.perf_counter()
    viewer.add_image(volume, name="volume", contrast_limits=(0, 255))
    run_for(0.5)
    opened = time.perf_counter() - start
    engine = Engine(cache=EmbeddingCache(host_bytes=budget * MIB))
    widget = SegmentAnythingWidget(viewer, engine)
    viewer.window.add_dock_widget(widget, name="Segment Anything")
    own = widget.annotator
    viewer.dims.set_current_step(0, 0)
    own.start()
    points = viewer.layers["points: volume"]

    def click(plane: int) -> float:
        """Processor seconds of all threads until the mask is there."""
        before, cpu = own.work.answer, time.process_time()
        points.data = [[plane, 300 + plane % PERIOD, 500]]
        # Seldom: looking would be processor time, too.
        run_until(
            lambda: own.work.answer is not before and not own.runner.is_busy, 0.02
        )
        return time.process_time() - cpu

    before = resident()
    cpu = time.process_time()
    result_of(engine.prepare(own.choices.model))
    loading = time.process_time() - cpu
    run_for(0.1)  # the layers are drawn
    begun = time.perf_counter()
    first = click(0)
    first_s = time.perf_counter() - begun
    memory = [resident()]
    again: list[float] = []
    for plane in range(1, planes + 1):
        viewer.dims.set_current_step(0, plane)
        again.append(click(plane))
        memory.append(resident())
    predictor = next(iter(engine._predictors.values()))
    cpu, begun = time.process_time(), time.perf_counter()
    predictor.embed(np.asarray(volume[999]))
    encoding, encoding_s = time.process_time() - cpu, time.perf_counter() - begun
    result = {
        "opened_s": round(opened, 2),
        "model_loaded_cpu_s": round(loading, 2),
        "first_mask_s": round(first_s, 2),
        "first_encoding_without_a_window_s": round(alone, 2),
        "one_encoding_s": round(encoding_s, 2),
        "first_mask_cpu_s": round(first, 2),
        "mask_of_a_new_plane_median_cpu_s": round(float(np.median(again)), 2),
        "one_encoding_cpu_s": round(encoding, 2),
        "budget_mib": budget,
        "embeddings_mib": engine.cache.host.nbytes // MIB,
        "resident_mib_of_the_empty_viewer": bare,
        "resident_mib_volume_open": before,
        "resident_mib_after_first_mask": memory[0],
        "resident_mib_after_planes": memory[-1],
        "planes": planes,
        "volume_mib": int(np.prod(SHAPE)) // MIB,
    }
    widget.close_work()
    viewer.close()
    return result


def main() -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--planes", type=int, default=12, help=f"under {PERIOD}")
    parser.add_argument("--budget", type=int, default=12, help="MiB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NAPARI_SAM_SESSIONS"] = f"{folder}/sessions"  # not the user's
        path = (options.folder or Path(folder)) / "volume.zarr"
        result = measure(path, options.planes, options.budget)
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
