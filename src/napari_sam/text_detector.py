"""Words to boxes: open-vocabulary detectors of the transformers library.

OWLv2 (Minderer et al., 2023) and Grounding DINO (Liu et al., 2023) find, in one look at
an image, boxes of whatever some phrases name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from napari_sam._detections import (
    TextBox,
    TextDetections,
    TextOptions,
    check_phrases,
)
from napari_sam.model_folders import check_installed, fetch, read_kind, read_network
from napari_sam.modeling.precision import choose_device
from napari_sam.registry import cache_directory
from napari_sam.transforms import to_uint8
from napari_sam.types import ModelSpec

_CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt")
"""Files of which a folder must have one, so that words mean anything."""

_GREY = 0.5  # what OWLv2's squares are filled up with
# Grounding DINO sees the shorter side this long, unless the longer becomes too long.
_SHORT, _LONG = 800, 1333

DETECTORS: dict[str, ModelSpec] = {
    name: ModelSpec(
        name,
        "detector",
        f"https://huggingface.co/{repository}",
        "",
        "Apache-2.0",
        description,
        name,
        repository=repository,
        size=size,
    )
    for name, repository, description, size in (
        (
            "owlv2_base",
            "google/owlv2-base-patch16-ensemble",
            "OWLv2, base: boxes from words; photographs",
            "620 MB",
        ),
        (
            "grounding_dino_tiny",
            "IDEA-Research/grounding-dino-tiny",
            "Grounding DINO, tiny: boxes from words; photographs",
            "690 MB",
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


class TextDetector:
    """Finds boxes of what phrases name.

    Parameters
    ----------
    model : nn.Module
        Of the library's class that the kind names; it is moved to the device.
    tokenizer : callable
        The library's tokenizer.
    kind : DetectorKind
    name : str
        Shown to the user.
    device : str
        ``"auto"`` or a torch device.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        kind: DetectorKind,
        name: str = "",
        device: str = "auto",
    ) -> None:
        self.name = name
        self.device = choose_device(device)
        self.kind = kind
        self.model = model.eval().to(self.device)
        self.tokenizer = tokenizer

    def __repr__(self) -> str:
        return f"TextDetector({self.name!r}, device={str(self.device)!r})"

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


def _standardise(
    pixels: Tensor, values: tuple[tuple[float, ...], tuple[float, ...]]
) -> Tensor:
    mean, std = (pixels.new_tensor(one)[:, None, None] for one in values)
    return (pixels - mean) / std


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
        pixel_values=_standardise(shown, _CLIP),
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
    found = model(
        pixel_values=_standardise(shown, _IMAGENET), **words.to(pixels.device)
    )
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
    if isinstance(detector, str) and detector in DETECTORS:
        check_installed()
        spec = DETECTORS[detector]
        folder = fetch(spec, cache_directory() / spec.file_name)
    elif isinstance(detector, (str, os.PathLike)) and Path(detector).is_dir():
        folder = Path(detector)
    else:
        names = ", ".join(DETECTORS)
        raise ValueError(f"detector must be {names} or a folder, got {detector!r}.")
    kind = check_detector_folder(folder)
    model = read_network(folder, kind.class_name)
    return TextDetector(model, read_tokenizer(folder), kind, folder.name, device)


def check_detector_folder(folder: Path) -> DetectorKind:
    """Tell which kind of detector a folder has, without opening it.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    FileNotFoundError
        If configuration or weights are missing.
    ValueError
        If they are of another kind of model, or there is no tokenizer.
    """
    kind = read_kind(folder, KINDS)
    check_tokenizer(folder)
    return kind


def check_tokenizer(folder: Path) -> None:
    """Refuse, with a ValueError, a folder without a vocabulary."""
    # Without it the library makes a tokenizer that knows no words.
    if not any(file.name in VOCABULARIES for file in folder.iterdir()):
        raise ValueError(_no_tokenizer(folder))


def _no_tokenizer(folder: Path) -> str:
    return (
        f"{folder} has no tokenizer that can be read; tokenizer.json and "
        "tokenizer_config.json must be in it."
    )


def read_tokenizer(folder: Path) -> Any:
    """Open the tokenizer of a model's folder, or raise ValueError."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # what is raised depends on which file is damaged
        raise ValueError(_no_tokenizer(folder)) from error
