"""How fast the widget answers, and whether it ever holds the viewer up.

A real viewer, the real model and real canvas events; run it under Xvfb:

    xvfb-run -a -s "-screen 0 1400x900x24" python benchmarks/latency.py

Prompt to preview is the time from a change of the points until napari has drawn the new
mask on the canvas. A heartbeat timer measures for how long the
event loop was held while planes are encoded, prefetched and masks accepted: also what
napari itself and Python's garbage collection take is in it. `--profile` says where.
`own` is the part of it in which code of the plugin ran (`held.py` says how it is told),
and `own_in` which of its functions were called, with their processor time.
Where other programs compete for the processor, only the processor times mean anything:
those of the main thread between two beats, and of both threads for a click.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from held import Meter
from napari import Viewer
from qtpy.QtCore import QEventLoop, QTimer
from qtpy.QtWidgets import QApplication
from skimage.data import cell

from napari_sam._qt.annotation import SegmentAnythingWidget
from napari_sam._qt.engine import Answer, Engine
from napari_sam._qt.turns import timer_once
from napari_sam.embedding_cache import EmbeddingCache

BEAT_MS = 5
LIMIT_MS = 50
WAIT_SECONDS = 120


class Heartbeat:
    """A timer that notices how long the event loop did not turn.

    Parameters
    ----------
    meter : Meter
    is_profiling : bool
        Sample what the main thread does while it is late.
    """

    def __init__(self, meter: Meter, is_profiling: bool) -> None:
        self._meter = meter
        self.start()
        self._timer = QTimer()
        self._timer.setInterval(BEAT_MS)
        self._timer.timeout.connect(self._beat)
        self._timer.start()
        self._main = threading.get_ident()
        if is_profiling:
            threading.Thread(target=self._watch, daemon=True).start()

    def start(self) -> None:
        """Forget the gaps so far."""
        self.gaps, self.busy, self.stacks = [], [], []
        self.own: list[tuple[float, float]] = []
        self._meter.take()
        self._meter.by_name.clear()
        self._last, self._last_cpu = time.perf_counter(), time.thread_time()

    def _beat(self) -> None:
        now, cpu = time.perf_counter(), time.thread_time()
        self.gaps.append(1000 * (now - self._last) - BEAT_MS)
        self.busy.append(1000 * (cpu - self._last_cpu))
        self.own.append(self._meter.take())
        self._last, self._last_cpu = now, cpu

    def _watch(self) -> None:
        while True:
            time.sleep(0.01)
            if 1000 * (time.perf_counter() - self._last) > LIMIT_MS:
                frame = sys._current_frames().get(self._main)
                lines = traceback.format_stack(frame)[-12:]
                self.stacks.append("\n".join(line.splitlines()[0] for line in lines))


def run_until(condition: Callable[[], bool], pause: float = 0.0005) -> None:
    """Turn the event loop until something is so, with pauses of so many seconds."""
    end = time.perf_counter() + WAIT_SECONDS
    while not condition():
        if time.perf_counter() > end:
            raise TimeoutError("the widget did not come to an end")
        QApplication.processEvents()
        time.sleep(pause)


def run_for(seconds: float) -> None:
    """Turn the event loop for some time."""
    end = time.perf_counter() + seconds
    run_until(lambda: time.perf_counter() > end)


class Bench:
    """A viewer with the widget and a stack of images of cells."""

    def __init__(self, directory: str, planes: int, is_profiling: bool) -> None:
        self.meter = Meter()
        self.viewer = Viewer(show=True)
        plane = cell()
        self.size = plane.shape
        data = np.stack([np.roll(plane, 7 * i, axis=0) for i in range(planes)])
        self.viewer.add_image(data, name="cells")
        run_for(0.5)
        self.heart = Heartbeat(self.meter, is_profiling)
        engine = Engine(cache=EmbeddingCache(directory))
        self.widget = SegmentAnythingWidget(self.viewer, engine)
        self.viewer.window.add_dock_widget(self.widget, name="Segment Anything")
        self.own = self.widget.annotator
        self.rng = np.random.default_rng(0)
        self.drawn: Answer | None = None  # on the canvas
        self._before: Answer | None = None
        self._loop = QEventLoop()
        self._late = timer_once(self._loop, 1000 * WAIT_SECONDS, self._loop.quit)
        canvas = self.viewer.window._qt_viewer.canvas._scene_canvas
        canvas.events.draw.connect(self._on_draw, position="last")
        self.cpu: list[tuple[float, float]] = []  # of the main thread, and of the rest

    def phase(self, name: str, act: Callable[[], Any]) -> dict[str, Any]:
        """Do something and return for how long the event loop was held."""
        run_for(0.2)
        self.heart.start()
        act()
        run_for(0.2)
        gaps = self.heart.gaps
        for stack in self.heart.stacks[:3]:
            sys.stderr.write(f"--- held in phase {name!r}\n{stack}\n")
        late = sum(gap > LIMIT_MS for gap in gaps)
        return {
            "phase": name,
            "longest_ms": round(max(gaps), 1),
            "over_50_ms": late,
            "longest_cpu_ms": round(max(self.heart.busy), 1),
            "longest_own_ms": round(max(wall for wall, _ in self.heart.own), 1),
            "longest_own_cpu_ms": round(max(cpu for _, cpu in self.heart.own), 1),
            "own_in": {
                function.removeprefix("napari_sam."): round(1000 * seconds, 1)
                for function, seconds in self.meter.by_name.most_common(4)
            },
        }

    @property
    def points(self) -> Any:
        """Layer of the points that are prompts."""
        return self.viewer.layers["points: cells"]

    def place(self) -> list[list[float]]:
        """Return one point somewhere in the displayed plane."""
        plane = self.viewer.dims.current_step[0]
        return [[plane, *self.rng.uniform(100, 400, 2)]]

    def answered(self) -> bool:
        """Whether the mask of the prompts of now is shown."""
        work = self.own.work
        is_there = work.answer is not None and work.answer.request == work.submitted
        return is_there and not self.own.runner.is_busy

    def _on_draw(self, event: Any) -> None:
        self.drawn = self.own.work.answer
        if self.drawn is not self._before:
            self._loop.quit()

    def click(self) -> float:
        """Move the point; returns milliseconds until the new mask is drawn."""
        self._before = self.own.work.answer
        start, cpu = time.perf_counter(), (time.thread_time(), time.process_time())
        self.points.data = self.place()
        # As napari runs: the loop sleeps while there is nothing to do.
        self._late.start()
        self._loop.exec()
        self._late.stop()
        run_until(lambda: self.drawn is not self._before and self.answered())
        own, every = time.thread_time() - cpu[0], time.process_time() - cpu[1]
        self.cpu.append((1000 * own, 1000 * (every - own)))
        return 1000 * (time.perf_counter() - start)

    def burst(self) -> dict[str, Any]:
        """50 clicks in a second, in a plane that is not encoded."""
        encoded: list[str] = []
        predictor = next(iter(self.own.engine._predictors.values()))
        encode = predictor.encode
        predictor.encode = lambda planes: (
            encoded.extend(predictor.key(one) for one in planes) or encode(planes)
        )
        self.viewer.dims.set_current_step(0, len(self.viewer.layers["cells"].data) - 1)
        last: list[list[float]] = []
        for _ in range(50):
            last = self.place()
            self.points.data = last
            run_for(0.02)
        run_until(self.answered)
        predictor.encode = encode
        asked = self.own.work.answer.request.prompts.prompts.points
        return {
            # Of the plane, or of any neighbour that was encoded ahead.
            "encodings_of_a_plane": max(Counter(encoded).values(), default=0),
            "is_last": bool(np.allclose(asked, np.array(last)[:, 1:])),
        }


def measure(clicks: int, planes: int, is_profiling: bool) -> dict[str, Any]:
    """Go through a session of annotation and measure it."""
    with tempfile.TemporaryDirectory() as directory:
        os.environ["NAPARI_SAM_SESSIONS"] = f"{directory}/sessions"  # not the user's
        bench = Bench(directory, planes, is_profiling)
        phases = []

        def phase(name: str, act: Callable[[], Any]) -> None:
            phases.append(bench.phase(name, act))

        phase("start: layers are made", bench.own.start)
        phase("first mask: model is loaded, plane encoded", bench.click)
        phase("prefetch", lambda: run_for(4))
        bench.cpu.clear()
        times: list[float] = []
        phase("clicks", lambda: times.extend(bench.click() for _ in range(clicks)))
        own, rest = zip(*bench.cpu, strict=True)
        burst = bench.burst()
        phase("first accept: layer is made", bench.own.accept)
        bench.click()
        phase("accept", bench.own.accept)
        phase("next free number", bench.own.next_free_object)
        result = {
            "machine": f"{platform.processor() or platform.machine()}, "
            f"{torch.get_num_threads()} threads, torch {torch.__version__}",
            "image": f"{planes} x {bench.size}",
            "clicks": clicks,
            "prompt_to_preview_median_ms": round(statistics.median(times), 1),
            "prompt_to_preview_worst_ms": round(max(times), 1),
            "main_thread_median_cpu_ms": round(statistics.median(own), 1),
            "worker_median_cpu_ms": round(statistics.median(rest), 1),
            "phases": phases,
            "burst": burst,
        }
        bench.own.close()
        bench.viewer.close()
    return result


def main() -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clicks", type=int, default=30)
    parser.add_argument("--planes", type=int, default=7)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = measure(options.clicks, options.planes, options.profile)
    text = json.dumps(result, indent=2)
    sys.stdout.write(text + "\n")
    if options.json is not None:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
