"""Automatic masks of this package against the official generator's, in one run.

Official and ours alternate, each in a process of its own; see README.md. Prints time,
time on the processor, and how many official masks ours have.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from paired import Process, processor_name, read_image

Masks = NDArray[np.bool_]
SAME = 0.95
MIB = 1 << 20


def load_masks(path: Path, width: int) -> Masks:
    """Masks (N, H, W) that a side has saved."""
    with np.load(path) as saved:
        return np.unpackbits(saved["masks"], axis=-1)[..., :width].astype(bool)


def overlaps(first: Masks, second: Masks) -> NDArray[np.float64]:
    """IoU of each mask (N, H, W) with each of the others (M, H, W), (N, M)."""
    pixels = int(np.prod(first.shape[1:]))
    a = first.reshape(-1, pixels).astype(np.float32)
    b = second.reshape(-1, pixels).astype(np.float32)
    shared = a @ b.T
    union = a.sum(axis=1)[:, None] + b.sum(axis=1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def best_of(ious: NDArray[np.float64]) -> NDArray[np.float64]:
    """Highest of each row; 0 if there are no columns."""
    return ious.max(axis=1) if ious.shape[1] else np.zeros(len(ious))


def compare(
    sides: dict[str, Process],
    image: NDArray[Any],
    options: argparse.Namespace,
    folder: Path,
) -> dict[str, Any]:
    """Run both sides on an image, as often as asked; time and compare."""
    np.save(folder / "image.npy", image)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for _ in range(options.repeats):
        for name, side in sides.items():
            reply = side.ask(
                "run",
                image=str(folder / "image.npy"),
                per_side=options.points_per_side,
                save=str(folder / f"{name}.npz"),
            )
            runs[name].append(reply)
    masks = {name: load_masks(folder / f"{name}.npz", image.shape[1]) for name in sides}
    row: dict[str, Any] = {"runs": runs, "count": {n: len(m) for n, m in masks.items()}}
    if len(sides) == 2:
        pairs = list(zip(runs["official"], runs["ours"], strict=True))
        row["ratio"] = statistics.median(a["ms"] / b["ms"] for a, b in pairs)
        row["cpu_ratio"] = statistics.median(
            a["cpu_ms"] / b["cpu_ms"] for a, b in pairs
        )
        best = best_of(overlaps(masks["official"], masks["ours"]))
        row["same"] = int((best >= SAME).sum())
        row["mean_best_iou_with_official"] = float(best.mean()) if len(best) else 1.0
    return row


def describe(name: str, row: dict[str, Any]) -> str:
    """Lines for one image."""
    lines = [name]
    for side, runs in row["runs"].items():
        time, cpu = (
            statistics.median(r[key] for r in runs) / 1000 for key in ("ms", "cpu_ms")
        )
        text = f"  {side:9s} {time:7.1f} s, {cpu:7.1f} s CPU, "
        text += f"peak {max(r['peak_bytes'] for r in runs) / MIB:.0f} MiB, "
        text += f"{row['count'][side]} masks"
        lines.append(text)
    if "ratio" in row:
        lines.append(
            f"  ratio {row['ratio']:.2f}, CPU {row['cpu_ratio']:.2f}; "
            f"{row['same']} of {row['count']['official']} official masks at IoU "
            f"{SAME}, mean best IoU {row['mean_best_iou_with_official']:.4f}"
        )
    return "\n".join(lines)


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "--official-python",
        help="Python of the official environment; ours alone if not",
    )
    add("--size", type=int, default=1024, help="side of the photograph, n x 1024")
    add("--points-per-side", type=int, default=32)
    add("--precision", default="float32", help="of our side")
    add("--repeats", type=int, default=1)
    add("--threads", type=int, default=1)
    add("--json", type=Path, help="write all figures here")
    return parser.parse_args()


def main() -> None:
    """Run all images and print."""
    options = parse_options()
    pythons = {"official": options.official_python, "ours": sys.executable}
    sides = {
        name: Process(python, name, "automatic_worker.py")
        for name, python in pythons.items()
        if python
    }
    checkpoint = str(resources.files("napari_sam") / "weights" / "mobile_sam.pt")
    record: dict[str, Any] = {"processor": processor_name()}
    try:
        for name, side in sides.items():
            record[name] = side.ask(
                "prepare",
                checkpoint=checkpoint,
                precision=options.precision,
                threads=options.threads,
            )
        print(f"{processor_name()}, {options.threads} threads, {record['ours']}")
        with tempfile.TemporaryDirectory() as folder:
            image = read_image(None)
            scale = options.size // image.shape[0]
            image = np.kron(image, np.ones((scale, scale, 1), np.uint8))
            row = compare(sides, image, options, Path(folder))
            record["image"] = row
            print(describe(f"photograph {options.size}", row), flush=True)
    finally:
        for side in sides.values():
            side.close()
    if options.json is not None:
        options.json.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
