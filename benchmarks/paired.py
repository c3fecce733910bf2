"""Time this package against the official code, pair by pair, in one run.

Each side lives in a process of its own and computes only when told to: official, ours,
official, ours, ... so both meet the same machine, and the ratio of each pair is
taken. The accuracy of the answers timed stands beside it. README.md has examples.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from cases import CASES, MODEL_SIZE, Case
from numpy.typing import NDArray
from PIL import Image

HERE = Path(__file__).parent
# Threads of the side that has just finished spin for a moment before they sleep.
PAUSE_SECONDS = 0.2
HEADER = (
    f"{'case':22s} {'precision':9s} {'official':>9s} {'ours':>9s} {'ratio':>6s} "
    f"{'(range)':>13s} {'CPU':>5s}  accuracy"
)


class Process:
    """A worker at the other end of two pipes."""

    def __init__(self, python: str, which: str, script: str = "worker.py") -> None:
        self._process = subprocess.Popen(
            [python, str(HERE / script), which],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._which = which

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # A worker that has ended has said why on the standard error.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"do": do} | request) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the {self._which} side failed at {do!r} (see above).")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has failed, and ended already
            self._process.stdin.close()
        self._process.wait(timeout=60)


def mask_ious(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union of masks (..., H, W); 1 where both are empty."""
    shared = np.logical_and(first, second).sum(axis=(-2, -1))
    union = np.logical_or(first, second).sum(axis=(-2, -1))
    return np.where(union == 0, 1.0, shared / np.maximum(union, 1))


def compare(official: Path, ours: Path) -> dict[str, float]:
    """Accuracy of one side's saved answer, the other's being right."""
    with np.load(official) as right, np.load(ours) as found:
        if "embedding" in right.files:
            expected = right["embedding"].astype(np.float64)
            error = np.linalg.norm(found["embedding"] - expected)
            return {"relative_l2": float(error / np.linalg.norm(expected))}
        ious = mask_ious(found["masks"] > 0, right["masks"] > 0)
        return {
            "score_difference": float(np.abs(found["scores"] - right["scores"]).max()),
            "mean_iou": float(ious.mean()),
            "lowest_iou": float(ious.min()),
        }


def time_pairs(
    sides: Sequence[Process], repeats: int, warm_up: int
) -> list[list[dict[str, float]]]:
    """Time each pair (official, ours), after the warm-up."""
    pairs = []
    for _ in range(warm_up + repeats):
        pair = []
        for side in sides:
            time.sleep(PAUSE_SECONDS)
            pair.append(side.ask("run"))
        pairs.append(pair)
    return pairs[warm_up:]


def summarize(pairs: Sequence[Sequence[dict[str, float]]]) -> dict[str, Any]:
    """Medians of both sides and of the ratios of the pairs."""
    ratios = [official["ms"] / ours["ms"] for official, ours in pairs]
    cpu_ratios = [official["cpu_ms"] / ours["cpu_ms"] for official, ours in pairs]
    return {
        "official_ms": statistics.median(official["ms"] for official, _ in pairs),
        "ours_ms": statistics.median(ours["ms"] for _, ours in pairs),
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        # Less disturbed by other programs than the time on the clock.
        "cpu_ratio": statistics.median(cpu_ratios),
        "pairs": pairs,
    }


def format_row(case: Case, row: dict[str, Any]) -> str:
    """One line of the table."""
    low, high = row["ratio_range"]
    accuracy = "  ".join(
        f"{name.replace('_', ' ')} {value:.4f}"
        if name.endswith("iou")
        else f"{name.replace('_', ' ')} {value:.1e}"
        for name, value in row["accuracy"].items()
    )
    precision = row["precision"] + ("" if row["asked"] == row["precision"] else "*")
    return (
        f"{case.title:22s} {precision:9s} {row['official_ms']:9.1f} "
        f"{row['ours_ms']:9.1f} {row['ratio']:6.2f} {f'({low:.2f}-{high:.2f})':>13s} "
        f"{row['cpu_ratio']:5.2f}  {accuracy}"
    )


def benchmark(
    sides: Sequence[Process],
    setup: dict[str, Any],
    options: argparse.Namespace,
    folder: Path,
) -> list[dict[str, Any]]:
    """Time every case in every precision and print each row as it is ready."""
    official, ours = sides
    rows: list[dict[str, Any]] = []
    for case in (CASES[name] for name in options.only):
        request = {"case": case.name, "setup": setup}
        official.ask("prepare", precision="float32", **request)
        done: set[str] = set()
        for asked in options.precisions:
            real = ours.ask("prepare", precision=asked, **request)["precision"]
            if real in done:
                continue  # "auto" is one that has just been timed
            done.add(real)
            row = summarize(time_pairs(sides, options.repeats, options.warm_up))
            files = [folder / "official.npz", folder / "ours.npz"]
            for side, path in zip(sides, files, strict=True):
                side.ask("save", path=str(path))
            row |= {"case": case.name, "asked": asked, "precision": real}
            row["accuracy"] = compare(*files)
            rows.append(row)
            print(format_row(case, row), flush=True)
    return rows


def read_image(path: Path | None) -> NDArray[np.uint8]:
    """RGB image to encode: a file, or a photograph enlarged to the model's frame."""
    if path is not None:
        image = Image.open(path).convert("RGB")
    else:
        from skimage.data import astronaut

        size = (MODEL_SIZE, MODEL_SIZE)
        image = Image.fromarray(astronaut()).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(image)


def processor_name() -> str:
    """Name of the CPU, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()


def describe_machine(sides: Sequence[Process], threads: int) -> dict[str, Any]:
    """Set the threads of both sides; return what the figures depend on."""
    about = [side.ask("describe", threads=threads) for side in sides]
    return {
        "processor": processor_name(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_before": list(os.getloadavg()) if hasattr(os, "getloadavg") else [],
        "official": about[0],
        "ours": about[1],
    }


def checkpoints(
    official: Process, names: Sequence[str], folder: Path
) -> dict[str, str]:
    """Files that both sides load: the bundled MobileSAM, a random ViT-B."""
    bundled = resources.files("napari_sam") / "weights" / "mobile_sam.pt"
    found = {"mobile_sam": str(bundled)}
    if any(CASES[name].model == "vit_b" for name in names):
        found["vit_b"] = str(folder / "vit_b.pt")
        official.ask("weights", path=found["vit_b"])
    return found


def names_of(text: str) -> list[str]:
    """Case names of a comma-separated list."""
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in CASES]:
        raise argparse.ArgumentTypeError(
            f"no case {unknown[0]!r}; there are {', '.join(CASES)}"
        )
    return names


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--official-python", required=True, help="Python of the official environment")
    add("--only", type=names_of, default=list(CASES), help="comma-separated cases")
    add("--precisions", default="float32,auto", type=lambda text: text.split(","))
    add("--repeats", type=int, default=7, help="pairs timed for each row")
    add("--warm-up", type=int, default=1, help="pairs before that")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)))
    add("--device", default="cpu", help="torch device of both sides")
    add("--image", type=Path, help="image to encode instead of the photograph")
    add("--json", type=Path, help="write all figures here")
    options = parser.parse_args(arguments)
    if options.repeats < 1 or options.warm_up < 0 or options.threads < 1:
        parser.error("--repeats and --threads must be 1 or more, --warm-up 0 or more")
    return options


def main() -> None:
    """Run the cases and print the table."""
    options = parse_options()
    sides = [
        Process(options.official_python, "official"),
        Process(sys.executable, "ours"),
    ]
    try:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            machine = describe_machine(sides, options.threads)
            print(f"{machine['processor']}, {options.threads} threads, ", end="")
            print(f"torch {machine['ours']['torch']}, load {machine['load_before']}")
            image = read_image(options.image)
            np.save(folder / "image.npy", image)
            setup = {
                "image": str(folder / "image.npy"),
                "device": options.device,
                "checkpoints": checkpoints(sides[0], options.only, folder),
            }
            print(f"image {image.shape}; medians of {options.repeats} pairs, ms")
            print(HEADER)
            rows = benchmark(sides, setup, options, folder)
    finally:
        for side in sides:
            side.close()
    if options.json is not None:
        record = {"machine": machine, "image": list(image.shape), "rows": rows}
        options.json.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
