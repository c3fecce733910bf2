"""Words against masks: how well a phrase fits what is in each of some boxes.

CLIP (Radford et al., 2021, "Learning transferable visual models from natural language
supervision") and SigLIP (Zhai et al., 2023, "Sigmoid loss for language image
pre-training"), models of the transformers library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_sam._detections import check_phrases
from napari_sam._text_models import TextModel, check_folder, find_folder, open_folder
from napari_sam.model_folders import CLIP, HALF, Standard, hub_spec
from napari_sam.transforms import to_uint8
from napari_sam.types import ModelSpec

if TYPE_CHECKING:
    import os

# Side of what is shown, in the longer side of the box: a thing is known by its edge.
CONTEXT = 1.2
CROPS_AT_ONCE = 32
AGAINST = ("background", "something else")
"""What phrases compete with, if nothing else is said; SigLIP needs nothing."""

RANKERS: dict[str, ModelSpec] = {
    name: hub_spec(
        name,
        "detector",
        repository,
        (license, size, f"{about}: how well words fit a cut-out; photographs"),
    )
    for name, repository, license, size, about in (
        (
            "clip_base",
            "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
            "MIT",
            "605 MB",
            "CLIP, base",
        ),
        (
            "clip_large",
            "openai/clip-vit-large-patch14",
            "MIT",
            "1.7 GB",
            "CLIP, large",
        ),
        (
            "siglip_base",
            "google/siglip-base-patch16-256",
            "Apache-2.0",
            "813 MB",
            "SigLIP, base",
        ),
    )
}


@dataclass(frozen=True)
class RankerKind:
    """How the models of one kind are opened and asked.

    Parameters
    ----------
    class_name : str
        The library's class.
    standard : Standard
        What pixels are standardised by.
    is_sigmoid : bool
        Whether each phrase is judged by itself; else phrases compete.
    """

    class_name: str
    standard: Standard
    is_sigmoid: bool


# By "model_type" in config.json.
KINDS = {
    "clip": RankerKind("CLIPModel", CLIP, is_sigmoid=False),
    "siglip": RankerKind("SiglipModel", HALF, is_sigmoid=True),
}


@dataclass(frozen=True, eq=False)
class TextRanking:
    """How well phrases fit boxes.

    Parameters
    ----------
    phrases : tuple of str
    similarities : ndarray of shape (N, P), float32
        Cosine between the features of box and phrase, -1 to 1.
    scores : ndarray of shape (N, P), float32
        From 0 to 1. Of CLIP the share of the phrase among all that compete, of SigLIP
        the probability that it fits.

    Examples
    --------
    >>> import numpy as np
    >>> scores = np.float32([[0.2, 0.7], [0.9, 0.0], [0.3, 0.3]])
    >>> ranking = TextRanking(("cell", "debris"), scores, scores)
    >>> ranking.order("cell").tolist(), ranking.passing(0.5).tolist()
    ([1, 2, 0], [True, True, False])
    """

    phrases: tuple[str, ...]
    similarities: NDArray[np.float32]
    scores: NDArray[np.float32]

    @property
    def best(self) -> NDArray[np.intp]:
        """(N,) int: index of the phrase that fits each box best."""
        found: NDArray[np.intp] = self.scores.argmax(axis=1)
        return found

    def order(self, phrase: str | None = None) -> NDArray[np.intp]:
        """Return the indices of the boxes, the best first.

        Parameters
        ----------
        phrase : str, optional
            Which; by default each box counts with the phrase that fits it best.

        Raises
        ------
        ValueError
            If it is none of the phrases.
        """
        if phrase is not None and phrase not in self.phrases:
            raise ValueError(f"phrase must be one of {self.phrases}, got {phrase!r}.")
        values = (
            self.scores.max(axis=1, initial=0)
            if phrase is None
            else self.scores[:, self.phrases.index(phrase)]
        )
        return np.argsort(-values, kind="stable")

    def passing(self, min_score: float) -> NDArray[np.bool_]:
        """(N,) bool: whether any phrase fits a box so well.

        Parameters
        ----------
        min_score : float
            From 0 to 1, to be exceeded.

        Raises
        ------
        ValueError
            If it is not between 0 and 1.
        """
        if not 0 <= min_score <= 1:
            raise ValueError(f"min_score must be between 0 and 1, got {min_score!r}.")
        found: NDArray[np.bool_] = self.scores.max(axis=1, initial=0) > min_score
        return found


class TextRanker(TextModel[RankerKind]):
    """Says how well phrases fit what is in boxes; made by `load_ranker`.

    Its parameters are those of any `TextModel`.
    """

    @torch.inference_mode()
    def rank(
        self,
        plane: NDArray[Any],
        boxes: ArrayLike,
        phrases: Sequence[str],
        against: Sequence[str] = AGAINST,
    ) -> TextRanking:
        """Compare what is in boxes with phrases.

        Parameters
        ----------
        plane : ndarray of shape (H, W), (H, W, 3) or (H, W, 4)
            As in `Predictor.embed`.
        boxes : array_like of shape (N, 4)
            (row_min, column_min, row_max, column_max), pixel edges; `Candidates.boxes`.
        phrases : sequence of str
        against : sequence of str
            With CLIP, what phrases compete with for a box; what is in the image beside
            what is looked for.

        Returns
        -------
        TextRanking

        Raises
        ------
        ValueError
            If there are no phrases, or one is empty, too long, or twice there; a box is
            empty or outside the plane; or the plane is none.
        """
        phrases = check_phrases(phrases)
        rivals = () if self.kind.is_sigmoid else tuple(against)
        every = check_phrases((*phrases, *rivals))
        pixels = to_uint8(plane)
        windows = _check_boxes(boxes, pixels.shape[:2])
        words = self._words(every)
        parts = [
            self._features(pixels, windows[first : first + CROPS_AT_ONCE])
            for first in range(0, len(windows), CROPS_AT_ONCE)
        ]
        seen = torch.cat([words.new_zeros(0, words.shape[1]), *parts])
        cosines = seen @ words.T  # (N, phrases and rivals)
        scores = self._scores(cosines)[:, : len(phrases)]
        alike = cosines[:, : len(phrases)]
        return TextRanking(
            phrases, alike.float().cpu().numpy(), scores.float().cpu().numpy()
        )

    def _scores(self, cosines: Tensor) -> Tensor:
        scaled = cosines * self.model.logit_scale.exp()
        scores: Tensor = (
            (scaled + self.model.logit_bias).sigmoid()
            if self.kind.is_sigmoid
            else scaled.softmax(dim=1)
        )
        return scores

    def _words(self, phrases: Sequence[str]) -> Tensor:
        """Features (P, C) of phrases, of length 1."""
        longest = self.model.config.text_config.max_position_embeddings
        # As the models were trained: in a sentence.
        sentences = [f"a photo of {phrase.lower()}" for phrase in phrases]
        lengths = [len(one) for one in self.tokenizer(sentences)["input_ids"]]
        if max(lengths) > longest:
            phrase = phrases[int(np.argmax(lengths))]
            raise ValueError(f"phrases must be shorter for this model, got {phrase!r}.")
        words = self.tokenizer(
            sentences, padding="max_length", max_length=longest, return_tensors="pt"
        ).to(self.device)
        # SigLIP was trained to read the padding too.
        asked = {"input_ids": words["input_ids"]}
        if not self.kind.is_sigmoid:
            asked["attention_mask"] = words["attention_mask"]
        found: Tensor = self.model.get_text_features(**asked).pooler_output
        return _unit(found)

    def _features(self, pixels: NDArray[np.uint8], boxes: NDArray[np.int64]) -> Tensor:
        """Features (N, C) of what is in boxes, of length 1."""
        side = self.model.config.vision_config.image_size
        crops = torch.cat([_crop(pixels, box, side) for box in boxes]).to(self.device)
        shown = self.kind.standard.of(crops)
        found: Tensor = self.model.get_image_features(shown).pooler_output
        return _unit(found)


def _unit(features: Tensor) -> Tensor:
    """Features (N, C), each row of length 1."""
    unit: Tensor = features / features.norm(dim=-1, keepdim=True)
    return unit


def _check_boxes(boxes: ArrayLike, size: Sequence[int]) -> NDArray[np.int64]:
    """Boxes of whole pixels within the plane."""
    given = np.asarray(boxes, np.float64).reshape(-1, 4)
    if not np.isfinite(given).all():
        raise ValueError("boxes must be finite numbers.")
    edges = np.concatenate([np.floor(given[:, :2]), np.ceil(given[:, 2:])], axis=1)
    whole: NDArray[np.int64] = np.clip(edges, 0, [*size, *size]).astype(np.int64)
    empty = np.flatnonzero((whole[:, 2:] <= whole[:, :2]).any(axis=1))
    if len(empty):
        box = given[empty[0]].tolist()
        raise ValueError(f"boxes must have pixels within the plane, got {box}.")
    return whole


def _crop(pixels: NDArray[np.uint8], box: NDArray[np.int64], side: int) -> Tensor:
    """(1, 3, side, side) of 0 to 1: a square around a box, what is outside repeated."""
    length = max(1, round(CONTEXT * float((box[2:] - box[:2]).max())))
    first = np.rint((box[:2] + box[2:] - length) / 2).astype(np.int64)
    rows, columns = (
        np.clip(np.arange(at, at + length), 0, size - 1)
        for at, size in zip(first, pixels.shape[:2], strict=True)
    )
    part = torch.from_numpy(pixels[np.ix_(rows, columns)]).float() / 255
    colour = part if part.ndim == 3 else part[..., None].expand(-1, -1, 3)
    shown = colour.permute(2, 0, 1)[None]  # (1, 3, length, length)
    return F.interpolate(shown, (side, side), mode="bicubic", antialias=True)


def load_ranker(
    ranker: str | os.PathLike[str] = "clip_base", device: str = "auto"
) -> TextRanker:
    """Open a model that compares words and images, by name or from a folder.

    Parameters
    ----------
    ranker : str or path
        ``"clip_base"``, ``"clip_large"`` or ``"siglip_base"``, downloaded on first use;
        or a folder with a CLIP or SigLIP model as Hugging Face has it, and its
        tokenizer.
    device : str
        ``"auto"`` (an accelerator if there is one) or a torch device.

    Returns
    -------
    TextRanker

    Raises
    ------
    ValueError
        If there is no such model, or the folder's model is of another kind.
    ImportError
        Without the transformers library, with what to install.
    OSError
        If files are missing or cannot be downloaded, with what to put where.
    """
    folder = find_folder(ranker, RANKERS, "ranker")
    kind = check_folder(folder, KINDS)
    return TextRanker(*open_folder(folder, kind), kind, folder.name, device)
