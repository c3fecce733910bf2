"""Does the official environment reproduce recorded answers? Run it with that Python.

``python check_official.py MOBILE_SAM_CHECKPOINT FOLDER``: the folder's
``mobile_sam_*.npz`` hold an image, prompts and what the official code answered.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from official_side import load_official


def mask_iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks; 1 if both are empty."""
    union = np.logical_or(first, second).sum()
    return float(np.logical_and(first, second).sum() / union) if union else 1.0


def recorded_prompts(record: Any) -> dict[str, dict[str, Any]]:
    """Arguments of the official `predict` for each kind of recorded prompt."""
    points, box = record["point_rc"][:, ::-1], record["box_rc_edges"][[1, 0, 3, 2]]
    click = {"point_coords": points, "point_labels": np.ones(len(points))}
    return {
        "point_multi": click | {"multimask_output": True},
        "point_single": click | {"multimask_output": False},
        "box": {"box": box, "multimask_output": False},
        # Recorded as a correction: the point says "not here".
        "box_point": {
            "point_coords": points,
            "point_labels": np.zeros(len(points)),
            "box": box,
            "multimask_output": False,
        },
    }


def check(predictor: Any, record: Any) -> tuple[float, float, float]:
    """Relative error of the embedding, largest of the scores, lowest mask IoU."""
    image = record["image"]
    predictor.set_image(image if image.ndim == 3 else np.stack([image] * 3, axis=-1))
    features = predictor.features.numpy()
    norm = float(record["embedding_l2"])
    sample = features[0, ::16, ::4, ::4] - record["embedding_sample"]
    error = float(np.linalg.norm(sample) / np.linalg.norm(record["embedding_sample"]))
    error = max(error, abs(float(np.linalg.norm(features)) / norm - 1))
    score_error, lowest = 0.0, 1.0
    for kind, arguments in recorded_prompts(record).items():
        masks, scores, _ = predictor.predict(**arguments)
        difference = np.abs(scores - record[f"{kind}_scores"]).max()
        score_error = max(score_error, float(difference))
        width = masks.shape[-1]
        expected = np.unpackbits(record[f"{kind}_masks"], axis=-1)[..., :width] > 0
        found = [mask_iou(a, b) for a, b in zip(masks, expected, strict=True)]
        lowest = min(lowest, *found)
    return error, score_error, lowest


def main() -> int:
    """Check every record of a folder; 1 if one differs."""
    predictor = load_official("mobile_sam", sys.argv[1])
    records = [
        path
        for path in sorted(Path(sys.argv[2]).glob("mobile_sam_*.npz"))
        if "embedding_l2" in np.load(path).files
    ]
    good = bool(records)
    for path in records:
        error, score_error, lowest = check(predictor, np.load(path))
        good &= error < 1e-3 and score_error < 2e-3 and lowest >= 0.995
        print(
            f"{path.stem:30s} embedding {error:.1e}  scores {score_error:.1e}  "
            f"lowest mask IoU {lowest:.4f}"
        )
    print("reproduced" if good else "NOT reproduced")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
