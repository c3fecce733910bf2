"""Encode planes and decode prompts: the one place where inference happens."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sam import decoding, transforms
from napari_sam._enlarging import MaskEnlarger
from napari_sam.batching import in_batches
from napari_sam.embedding_cache import content_key
from napari_sam.modeling.image_side import KeptImageSide
from napari_sam.modeling.precision import choose_device, choose_dtype, set_precision
from napari_sam.modeling.sam import Sam
from napari_sam.types import (
    LOGITS_SIZE,
    ImageEmbedding,
    ModelInput,
    Plane,
    Precision,
    Prediction,
    Prompts,
    Window,
)
from napari_sam.windows import check_window

# On a CPU the working set of a few prompts stays in the cache; a GPU wants many.
CPU_PROMPTS, GPU_PROMPTS = 2, 64
CPU_PLANES, GPU_PLANES = 1, 8


class Predictor:
    """Segment Anything on single planes: stateless between calls.

    Parameters
    ----------
    model : Sam
        The model; it is moved to the device and precision.
    checksum : str
        Identifies the weights, so that embeddings of different weights never mix.
    name : str
        Shown to the user.
    device : str
        ``"auto"`` (CUDA, Apple's MPS or CPU, the first there is) or a torch device.
    precision : {"auto", "float32", "bfloat16", "float16"}
        ``"auto"`` is bfloat16 where it is fast, float32 elsewhere.

    Raises
    ------
    ValueError
        If there is no such device, or the device has no such precision.

    Examples
    --------
    >>> import napari_sam as ns
    >>> from skimage.data import coins
    >>> predictor = ns.load_model("mobile_sam", precision="float32")
    >>> embedding = predictor.embed(coins())
    >>> prediction = predictor.predict(embedding, ns.Prompts(points=[[55, 45]]))
    >>> prediction.masks.shape
    (3, 303, 384)
    """

    def __init__(
        self,
        model: Sam,
        checksum: str,
        name: str = "",
        device: str = "auto",
        precision: Precision = "auto",
    ) -> None:
        self.name = name
        self.checksum = checksum
        self._asked_precision: Precision = precision
        self.device = choose_device(device)
        self.dtype = choose_dtype(self.device, precision)
        self._place(model.eval())
        self._kept_side = KeptImageSide()
        self._enlarger = MaskEnlarger()

    def _place(self, model: Sam) -> None:
        self.model = set_precision(model, self.dtype).to(self.device)

    def __repr__(self) -> str:
        return f"Predictor({self.name!r}, device={str(self.device)!r}, {self.dtype})"

    def prepare(self, plane: NDArray[Any], window: Window | None = None) -> ModelInput:
        """Turn a plane into what SAM sees.

        Parameters
        ----------
        plane : ndarray of shape (H, W), (H, W, 3) or (H, W, 4)
            uint8 is seen as it is; other dtypes as `transforms.to_uint8` says.
        window : Window, optional
            Cut out this rectangle first.

        Returns
        -------
        ModelInput

        Raises
        ------
        ValueError
            If the plane is none, or the window does not lie within it.
        """
        pixels = transforms.to_uint8(plane)
        if window is not None:
            check_window(window, (pixels.shape[0], pixels.shape[1]))
            pixels = pixels[window.slices]
        size = (pixels.shape[0], pixels.shape[1])
        return ModelInput(transforms.resize_to_model(pixels), size, window)

    def key(self, plane: ModelInput) -> str:
        """Content key of an embedding: equal pixels, window and weights, equal key."""
        version = transforms.PREPROCESSING_VERSION
        return content_key(plane, version, self.checksum, str(self.dtype))

    def embed(
        self, plane: NDArray[Any], window: Window | None = None
    ) -> ImageEmbedding:
        """Encode one plane.

        Parameters
        ----------
        plane : ndarray of shape (H, W) or (H, W, 3)
            uint8, or any other dtype as `prepare` takes it.
        window : Window, optional
            Encode this rectangle of the plane only.

        Returns
        -------
        ImageEmbedding

        Raises
        ------
        ValueError
            As `prepare`.
        """
        return self.encode([self.prepare(plane, window)])[0]

    def embed_batch(self, planes: Iterable[NDArray[Any]]) -> list[ImageEmbedding]:
        """Encode several planes, of any sizes, together.

        Parameters
        ----------
        planes : iterable of ndarray
            Each as in `embed`.

        Returns
        -------
        list of ImageEmbedding
            In the order of the planes.
        """
        return self.encode([self.prepare(plane) for plane in planes])

    def encode(self, planes: Sequence[ModelInput]) -> list[ImageEmbedding]:
        """Encode prepared planes."""
        at_once = CPU_PLANES if self.device.type == "cpu" else GPU_PLANES
        return in_batches(self._encode, planes, at_once, self._fall_back_to_cpu)

    def restore(self, features: Tensor, plane: ModelInput, key: str) -> ImageEmbedding:
        """Put `ImageEmbedding.stored` of a plane back into an embedding."""
        return ImageEmbedding(
            features, plane.plane_size, key, self.checksum, plane.window
        )

    @torch.inference_mode()
    def _encode(self, planes: Sequence[ModelInput]) -> list[ImageEmbedding]:
        mean, std = self.model.pixel_mean, self.model.pixel_std
        seen = [plane.pixels.to(self.device) for plane in planes]
        frames = torch.stack([transforms.normalize_and_pad(p, mean, std) for p in seen])
        features = self.model.image_encoder(
            frames.contiguous(memory_format=torch.channels_last)
        )
        features = features.to(self.dtype).contiguous()
        # Cloned, so that an embedding kept does not keep its whole batch.
        parts = (
            [features] if len(planes) == 1 else [f.clone() for f in features.split(1)]
        )
        return [
            self.restore(part, plane, self.key(plane))
            for part, plane in zip(parts, planes, strict=True)
        ]

    def predict(
        self,
        embedding: ImageEmbedding,
        prompts: Prompts,
        multimask: bool | None = None,
        plane: Plane = 0,
    ) -> Prediction:
        """Segment one object.

        Parameters
        ----------
        embedding : ImageEmbedding
            Of this predictor.
        prompts : Prompts
            In the pixels of the embedded plane (or window).
        multimask : bool, optional
            Three masks, or one. By default three for a single point alone.
        plane : int or tuple of int
            Noted in the prediction.

        Returns
        -------
        Prediction

        Raises
        ------
        ValueError
            If there are no prompts, one lies outside the plane, or the embedding was
            made by other weights.
        """
        return self.predict_batch(embedding, [prompts], multimask, plane)[0]

    def predict_batch(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompts],
        multimask: bool | None = None,
        plane: Plane = 0,
    ) -> list[Prediction]:
        """Segment several objects of one plane, each by its own prompts.

        Parameters
        ----------
        embedding, multimask, plane
            As in `predict`.
        prompts : sequence of Prompts
            One for each object; kinds may differ.

        Returns
        -------
        list of Prediction
            In the order of the prompts, equal to `predict` one by one up to rounding.

        Raises
        ------
        ValueError
            As `predict`.
        """
        decoding.check_decodable(embedding, prompts, self.checksum)
        groups: dict[bool, list[int]] = {}
        for index, one in enumerate(prompts):
            three = one.default_multimask if multimask is None else multimask
            groups.setdefault(bool(three), []).append(index)
        found: dict[int, Prediction] = {}
        for three, indices in groups.items():
            logits, scores = self.decode(
                embedding, [prompts[i] for i in indices], three
            )
            for index, one_logits, one_scores in zip(
                indices, logits, scores, strict=True
            ):
                masks = self.masks(one_logits, embedding.plane_size)
                found[index] = Prediction(
                    masks, one_scores.numpy(), one_logits.numpy(), plane
                )
        return [found[index] for index in range(len(prompts))]

    @torch.inference_mode()
    def masks(self, logits: Tensor, plane_size: tuple[int, int]) -> NDArray[Any]:
        """Masks (C, H, W) in a plane's pixels of logits (C, 256, 256)."""
        return self._enlarger.masks(logits, plane_size)

    def decode(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompts],
        multimask: bool,
        min_score: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Decode prompts without resizing the answers.

        Parameters
        ----------
        embedding, prompts
            As in `predict_batch`.
        multimask : bool
            Three masks for each, or one.
        min_score : float, optional
            Predicted IoU that a prompt's best mask must exceed. Of others the logits
            are not made: they are -inf.

        Returns
        -------
        tuple of Tensor, float32, on the CPU
            Logits (B, M, 256, 256) and predicted IoU (B, M); M is 3 or 1.

        Raises
        ------
        ValueError
            As `predict`.
        """
        decoding.check_decodable(embedding, prompts, self.checksum)
        masks = 3 if multimask else 1
        logits = torch.full((len(prompts), masks, LOGITS_SIZE, LOGITS_SIZE), -torch.inf)
        scores = torch.empty(len(prompts), masks)

        def decode_some(indices: Sequence[int]) -> list[int]:
            batch = [prompts[i] for i in indices]
            made, found = self._decode(embedding, batch, multimask, min_score)
            part = torch.tensor(indices)
            scores[part] = found
            if min_score is not None:
                part = part[found.amax(1) > min_score]
            logits[part] = made
            return list(indices)

        self._in_groups(
            decode_some, decoding.groups_of(map(decoding.prompt_kind, prompts))
        )
        return logits, scores

    def decode_parts(
        self, embedding: ImageEmbedding, asked: Sequence[tuple[Prompts, decoding.Part]]
    ) -> list[tuple[Tensor, Tensor]]:
        """Decode each prompt as if a part of the plane were all there is.

        The time goes with the size of the part, and what lies outside cannot draw a
        mask there. Answers differ a little from those of `decode`.

        Parameters
        ----------
        embedding : ImageEmbedding
        asked : sequence of (Prompts, (slice, slice))
            Each with a mask; rows and columns of the answer (256 x 256), from and to a
            multiple of 4.

        Returns
        -------
        list of tuple of Tensor, float32, on the CPU
            Three masks' logits (3, rows, columns) of the part and predicted IoU (3,).

        Raises
        ------
        ValueError
            As `predict`.
        """
        decoding.check_decodable(embedding, [one for one, _ in asked], self.checksum)
        decoder = decoding.PartDecoder(embedding, asked)

        @torch.inference_mode()
        def decode_some(indices: Sequence[int]) -> list[int]:
            return decoder.decode(self.model, indices)

        self._in_groups(decode_some, decoder.groups)
        return decoder.answers

    def _in_groups(
        self, decode: decoding.Decode, groups: Iterable[Sequence[int]]
    ) -> None:
        at_once = CPU_PROMPTS if self.device.type == "cpu" else GPU_PROMPTS
        for indices in groups:
            in_batches(decode, indices, at_once, self._fall_back_to_cpu)

    @torch.inference_mode()
    def _decode(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompts],
        multimask: bool,
        min_score: float | None,
    ) -> tuple[Tensor, Tensor]:
        """Decode prompts of one kind as one batch."""
        points = decoding.point_tensors(prompts, embedding.plane_size, self.device)
        masks = decoding.mask_tensor(prompts, self.device)
        image = (
            self._kept_side.get(self.model, embedding.features, self.device)
            if masks is None
            else embedding.features.to(self.device)
        )
        logits, scores = self.model.decode(image, points, masks, multimask, min_score)
        return logits.float().cpu(), scores.float().cpu()

    def _fall_back_to_cpu(self) -> None:
        """Move to the CPU when an accelerator's memory cannot hold a single item."""
        if self.device.type == "cpu":
            raise MemoryError("there is not enough memory to segment this plane.")
        warnings.warn(
            f"out of memory on {self.device}: going on with the CPU, which is slower.",
            stacklevel=4,
        )
        self._kept_side = KeptImageSide()
        self.device = torch.device("cpu")
        # There is no float16 on a CPU, whatever was asked for on the accelerator.
        asked = self._asked_precision
        self.dtype = choose_dtype(self.device, "auto" if asked == "float16" else asked)
        self._place(self.model)
