"""Recorded outputs of the official code (see data/README.md), and what to compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.types import Prompts

DATA = Path(__file__).parent / "data"
IMAGES = ("coins", "cell", "nuclei", "astronaut")
KINDS = ("point_multi", "point_single", "box", "box_point", "two_points_mask")
CHECKPOINTS = {
    "vit_t": "keys_mobile_sam.json",
    "vit_b": "keys_sam_vit_b.json",
    "vit_l": "keys_sam_vit_l.json",
    "vit_h": "keys_sam_vit_h.json",
}


class Recording:
    """What the official MobileSAM answers on one image, in float32."""

    def __init__(self, name: str) -> None:
        with np.load(DATA / f"mobile_sam_{name}.npz") as stored:
            self.arrays = {key: stored[key] for key in stored.files}
        self.image: NDArray[np.uint8] = self.arrays["image"]

    def prompts(self, kind: str) -> tuple[Prompts, bool]:
        """Prompts of a kind, and whether three masks were asked for."""
        point, box = self.arrays["point_rc"], self.arrays["box_rc_edges"]
        if kind == "two_points_mask":
            points = np.concatenate([point, point + np.array([10, 15])])
            logits = self.arrays["mask_input"][0]
            return Prompts(points, [1, 0], mask_logits=logits), False
        made = {
            "point_multi": Prompts(point),
            "point_single": Prompts(point),
            "box": Prompts(box=box),
            "box_point": Prompts(point, [0], box=box),
        }
        return made[kind], kind == "point_multi"

    def masks(self, kind: str) -> NDArray[np.bool_]:
        """(C, H, W) bool."""
        packed = self.arrays[f"{kind}_masks"]
        width = self.image.shape[1]
        return np.unpackbits(packed, axis=-1)[..., :width].astype(bool)

    def scores(self, kind: str) -> NDArray[np.float32]:
        """(C,) predicted IoU."""
        return self.arrays[f"{kind}_scores"]

    def logits(self, kind: str) -> NDArray[np.float32]:
        """(C, 128, 128): every second row and column."""
        return self.arrays[f"{kind}_logits"]


def automatic_masks() -> dict[str, NDArray[Any]]:
    """Return what the official generator finds in the coins, 16 points per side."""
    with np.load(DATA / "mobile_sam_coins_automatic_16.npz") as stored:
        found = {key: stored[key] for key in stored.files}
    width = Recording("coins").image.shape[1]
    found["masks"] = np.unpackbits(found["masks"], axis=-1)[..., :width].astype(bool)
    return found


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union; 1 for two empty masks."""
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 1.0


def checkpoint_shapes(encoder: str) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of an official checkpoint."""
    names = json.loads((DATA / CHECKPOINTS[encoder]).read_text())
    return {name: tuple(shape) for name, shape in names.items()}
