"""Words to boxes: open-vocabulary detectors of the transformers library.

OWLv2 (Minderer et al., 2023) and Grounding DINO (Liu et al., 2023) find, in one look at
an image, boxes of whatever some phrases name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_sam._detections import (
    TextBox,
    TextDetections,
    TextOptions,
    check_phrases,
)
from napari_sam._text_models import TextModel, check_folder, find_folder, open_folder
from napari_sam.model_folders import CLIP, IMAGENET, hub_spec
from napari_sam.transforms import to_uint8
from napari_sam.types import ModelSpec

if TYPE_CHECKING:
    import os

_GREY = 0.5  # what OWLv2's squares are filled up with
# Grounding DINO sees the shorter side this long, unless the longer becomes too long.
_SHORT, _LONG = 800, 1333

DETECTORS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        hub_spec(
            "owlv2_base",
            "detector",
            "google/owlv2-base-patch16-ensemble",
            ("Apache-2.0", "620 MB", "OWLv2, base: boxes from words; photographs"),
        ),
        hub_spec(
            "grounding_dino_tiny",
            "detector",
            "IDEA-Research/grounding-dino-tiny",
            (
                "Apache-2.0",
                "690 MB",
                "Grounding DINO, tiny: boxes from words; photographs",
            ),
        ),
    )
}


class _Look(Protocol):
    def __call__(
        self, model: Any, tokenizer: Any, pixels: Tensor, phrases: Sequence[str]
    ) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class DetectorKind:
    """How the detectors of one kind are opened and asked."""

    class_name: str
    look: _Look


class TextDetector(TextModel[DetectorKind]):
    """Finds boxes of what phrases name; made by `load_detector`.

    Its parameters are those of any `TextModel`.
    """

    def detect(
        self,
        plane: NDArray[Any],
        phrases: Sequence[str],
        options: TextOptions | None = None,
    ) -> list[TextBox]:
        """Find boxes in one plane: `find`, and a choice among what is found.

        Parameters
        ----------
        plane, phrases
            As in `find`.
        options : TextOptions, optional

        Returns
        -------
        list of TextBox
            Best first.

        Raises
        ------
        ValueError
            As `find`.
        """
        return self.find(plane, phrases).select(options)

    @torch.inference_mode()
    def find(self, plane: NDArray[Any], phrases: Sequence[str]) -> TextDetections:
        """Look at one plane once, and keep everything that is proposed there.

        Parameters
        ----------
        plane : ndarray of shape (H, W), (H, W, 3) or (H, W, 4)
            As in `Predictor.embed`.
        phrases : sequence of str
            Each a class of its own; a box belongs to the one that fits it best.

        Returns
        -------
        TextDetections
            To choose from by score and overlap.

        Raises
        ------
        ValueError
            If there are no phrases, or one is empty, twice there, or too long; or the
            plane is none.
        """
        phrases = check_phrases(phrases)
        seen = torch.from_numpy(np.ascontiguousarray(to_uint8(plane))).to(self.device)
        size = seen.shape[:2]
        colour = seen if seen.ndim == 3 else seen[..., None].expand(-1, -1, 3)
        pixels = colour.permute(2, 0, 1)[None].float() / 255  # (1, 3, H, W)
        scores, boxes = self.kind.look(self.model, self.tokenizer, pixels, phrases)
        best, of_phrase = scores.float().cpu().max(dim=1)
        edges = _edges(boxes.float().cpu().numpy(), (size[0], size[1]))
        return TextDetections(phrases, edges, best.numpy(), of_phrase.numpy())


def _edges(boxes: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float64]:
    """(x, y, width, height) of centres, in pixels, to edges within the plane."""
    centre, half = boxes[:, 1::-1].astype(np.float64), boxes[:, :1:-1] / 2
    edges = np.concatenate([centre - half, centre + half], axis=1)
    clipped: NDArray[np.float64] = np.clip(edges, 0, [*size, *size])
    return clipped


def _look_with_owlv2(
    model: Any, tokenizer: Any, pixels: Tensor, phrases: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Scores (N, phrases) and boxes (N, 4), (x, y, width, height) in pixels."""
    longest = model.config.text_config.max_position_embeddings
    lengths = [len(one) for one in tokenizer(list(phrases))["input_ids"]]
    if max(lengths) > longest:
        phrase = phrases[int(np.argmax(lengths))]
        raise ValueError(f"phrases must be shorter for this model, got {phrase!r}.")
    words = tokenizer(
        list(phrases), padding="max_length", max_length=longest, return_tensors="pt"
    ).to(pixels.device)
    side, longer = model.config.vision_config.image_size, max(pixels.shape[2:])
    bottom, right = (longer - length for length in pixels.shape[2:])
    square = F.pad(pixels, (0, right, 0, bottom), value=_GREY)
    shown = F.interpolate(square, (side, side), mode="bilinear", antialias=True)
    found = model(
        input_ids=words["input_ids"],
        attention_mask=words["attention_mask"],
        pixel_values=CLIP.of(shown),
    )
    return found.logits[0].sigmoid(), found.pred_boxes[0] * longer


def _look_with_grounding_dino(
    model: Any, tokenizer: Any, pixels: Tensor, phrases: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """As `_look_with_owlv2`; all phrases are one text, which it was trained on."""
    lowered = [one.lower() for one in phrases]
    text = "".join(f"{one}. " for one in lowered).strip()
    words = tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
    offsets = words.pop("offset_mapping")[0]
    if len(offsets) > model.config.max_text_len:
        raise ValueError(f"phrases must be fewer or shorter, got {len(phrases)}.")
    height, width = pixels.shape[2:]
    scale = min(_SHORT / min(height, width), _LONG / max(height, width))
    size = [max(1, round(length * scale)) for length in (height, width)]
    shown = F.interpolate(pixels, size, mode="bilinear", antialias=True)
    found = model(pixel_values=IMAGENET.of(shown), **words.to(pixels.device))
    of_tokens = found.logits[0].sigmoid()  # (N, tokens)
    scores, start = [], 0
    for phrase in lowered:
        end = start + len(phrase)
        inside = (offsets[:, 0] >= start) & (offsets[:, 1] <= end)
        inside &= offsets[:, 1] > offsets[:, 0]
        tokens = inside.nonzero()[:, 0].to(of_tokens.device)
        scores.append(of_tokens[:, tokens].amax(dim=1))
        start = end + 2
    in_pixels = found.pred_boxes.new_tensor([width, height, width, height])
    return torch.stack(scores, dim=1), found.pred_boxes[0] * in_pixels


# By "model_type" in config.json.
KINDS = {
    "owlv2": DetectorKind("Owlv2ForObjectDetection", _look_with_owlv2),
    "grounding-dino": DetectorKind(
        "GroundingDinoForObjectDetection", _look_with_grounding_dino
    ),
}


def load_detector(
    detector: str | os.PathLike[str] = "owlv2_base", device: str = "auto"
) -> TextDetector:
    """Open a detector by name, or from a folder of your own.

    Parameters
    ----------
    detector : str or path
        ``"owlv2_base"`` or ``"grounding_dino_tiny"``, downloaded on first use; or a
        folder with a model of these kinds as Hugging Face has it, and its tokenizer.
    device : str
        ``"auto"`` (an accelerator if there is one) or a torch device.

    Returns
    -------
    TextDetector

    Raises
    ------
    ValueError
        If there is no such detector, or the folder's model is of another kind.
    ImportError
        Without the transformers library, with what to install.
    OSError
        If files are missing or cannot be downloaded, with what to put where.
    """
    folder = find_folder(detector, DETECTORS, "detector")
    kind = check_folder(folder, KINDS)
    return TextDetector(*open_folder(folder, kind), kind, folder.name, device)
