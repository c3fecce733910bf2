"""Box functions of torchvision, in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor


def box_area(boxes: Tensor) -> Tensor:
    """Areas (N,) of boxes (N, 4) given as (x1, y1, x2, y2)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def batched_nms(
    boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float
) -> Tensor:
    """Keep the best of overlapping boxes of equal category; indices by score."""
    order = scores.sort(stable=True, descending=True).indices
    areas = box_area(boxes)
    kept: list[Tensor] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        low = torch.maximum(boxes[best, :2], boxes[rest, :2])
        high = torch.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = (high - low).clamp(min=0).prod(dim=1)
        iou = shared / (areas[best] + areas[rest] - shared)
        order = rest[(iou <= iou_threshold) | (idxs[rest] != idxs[best])]
    return torch.stack(kept) if kept else order
