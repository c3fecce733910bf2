"""Encode planes and decode prompts: the one place where inference happens."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sam import transforms
from napari_sam.modeling.precision import choose_device, choose_dtype, set_precision
from napari_sam.modeling.prompt_encoder import BOX_MAX, BOX_MIN, PADDING
from napari_sam.modeling.sam import Sam
from napari_sam.types import (
    ImageEmbedding,
    Plane,
    Precision,
    Prediction,
    Prompts,
    Window,
)

Item = TypeVar("Item")
Result = TypeVar("Result")

# On a CPU the working set of a few prompts stays in the cache; a GPU wants many.
CPU_PROMPTS, GPU_PROMPTS = 4, 64
CPU_PLANES, GPU_PLANES = 1, 8


@dataclass(frozen=True, eq=False)
class ModelInput:
    """A plane as SAM sees it, before it is encoded.

    Parameters
    ----------
    pixels : Tensor of shape (1 or 3, h, w), uint8
        Resized to the model's frame, not padded.
    plane_size : tuple of int
        (rows, columns) of the plane or window.
    window : Window, optional
        Rectangle of the plane; the whole plane if None.
    """

    pixels: Tensor
    plane_size: tuple[int, int]
    window: Window | None = None


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
        self.model = set_precision(model.eval(), self.dtype).to(self.device)

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
            rows, columns = pixels.shape[:2]
            inside = window.row_min >= 0 and window.column_min >= 0
            if not inside or window.row_max > rows or window.column_max > columns:
                raise ValueError(
                    f"window must lie within the {rows} x {columns} plane, got {window}."
                )
            pixels = pixels[window.slices]
        size = (pixels.shape[0], pixels.shape[1])
        return ModelInput(transforms.resize_to_model(pixels), size, window)

    def key(self, plane: ModelInput) -> str:
        """Content key of an embedding: equal pixels, window and weights, equal key."""
        about = (
            transforms.PREPROCESSING_VERSION,
            self.checksum,
            str(self.dtype),
            plane.plane_size,
            tuple(plane.pixels.shape),
            plane.window,
        )
        digest = hashlib.sha256(repr(about).encode())
        digest.update(np.ascontiguousarray(plane.pixels.numpy()))
        return digest.hexdigest()

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
        return self._in_batches(self._encode, planes, at_once)

    def restore(self, features: Tensor, plane: ModelInput, key: str) -> ImageEmbedding:
        """Put stored features (1, 256, 64, 64) of a plane back into an embedding."""
        return ImageEmbedding(
            features, plane.plane_size, key, self.checksum, plane.window
        )

    @torch.inference_mode()
    def _encode(self, planes: Sequence[ModelInput]) -> list[ImageEmbedding]:
        mean, std = self.model.pixel_mean, self.model.pixel_std
        frames = torch.stack(
            [
                transforms.normalize_and_pad(plane.pixels.to(self.device), mean, std)
                for plane in planes
            ]
        ).to(self.dtype)
        features = self.model.image_encoder(
            frames.contiguous(memory_format=torch.channels_last)
        ).contiguous()
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
    def masks(self, logits: Tensor, plane_size: tuple[int, int]) -> NDArray[np.bool_]:
        """Masks (C, H, W) in a plane's pixels of logits (C, 256, 256)."""
        large = transforms.logits_to_plane(logits[None], plane_size)[0]
        masks: NDArray[np.bool_] = (large > 0).cpu().numpy()
        return masks

    def decode(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompts], multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Decode prompts without resizing the answers.

        Parameters
        ----------
        embedding, prompts
            As in `predict_batch`.
        multimask : bool
            Three masks for each, or one.

        Returns
        -------
        tuple of Tensor, float32, on the CPU
            Logits (B, M, 256, 256) and predicted IoU (B, M); M is 3 or 1.

        Raises
        ------
        ValueError
            As `predict`.
        """
        if embedding.model_checksum != self.checksum:
            raise ValueError(
                "embedding was made by another model; encode the plane with this one."
            )
        for one in prompts:
            check_prompts(one, embedding.plane_size)
        masks = 3 if multimask else 1
        # Prompts of one kind have equally many tokens and decode as one batch.
        groups: dict[tuple[int, bool, bool], list[int]] = {}
        for index, one in enumerate(prompts):
            kind = (len(one.points), one.box is not None, one.mask_logits is not None)
            groups.setdefault(kind, []).append(index)
        side = transforms.LOGITS_SIZE
        logits = torch.empty(len(prompts), masks, side, side)
        scores = torch.empty(len(prompts), masks)

        def decode_some(indices: Sequence[int]) -> list[int]:
            batch = [prompts[i] for i in indices]
            part = list(indices)
            logits[part], scores[part] = self._decode(embedding, batch, multimask)
            return part

        at_once = CPU_PROMPTS if self.device.type == "cpu" else GPU_PROMPTS
        for indices in groups.values():
            self._in_batches(decode_some, indices, at_once)
        return logits, scores

    @torch.inference_mode()
    def _decode(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompts], multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Decode prompts of one kind as one batch."""
        size = embedding.plane_size
        tokens = [prompt_points(one, size) for one in prompts]
        coordinates = torch.from_numpy(np.stack([xy for xy, _ in tokens])).float()
        labels = torch.from_numpy(np.stack([kinds for _, kinds in tokens]))
        masks = None
        if prompts[0].mask_logits is not None:
            stacked = np.stack([one.mask_logits for one in prompts if not one.is_empty])
            masks = torch.from_numpy(stacked)[:, None].to(self.device)
        logits, scores = self.model.decode(
            embedding.features.to(self.device),
            (coordinates.to(self.device), labels.to(self.device)),
            masks,
            multimask,
        )
        return logits.float().cpu(), scores.float().cpu()

    def _in_batches(
        self,
        function: Callable[[Sequence[Item]], list[Result]],
        items: Sequence[Item],
        at_once: int,
    ) -> list[Result]:
        """Apply a function to batches; out of memory, to smaller ones, then on CPU."""
        results: list[Result] = []
        while len(results) < len(items):
            try:
                results += function(items[len(results) : len(results) + at_once])
                continue
            except torch.OutOfMemoryError:
                if self.device.type == "cpu":
                    raise
            # Outside the handler, whose traceback would keep the tensors alive.
            torch.cuda.empty_cache()
            if at_once > 1:
                at_once //= 2
                warnings.warn(
                    f"out of memory on {self.device}: going on with batches of "
                    f"{at_once}.",
                    stacklevel=3,
                )
            else:
                self._fall_back_to_cpu()
        return results

    def _fall_back_to_cpu(self) -> None:
        warnings.warn(
            f"out of memory on {self.device}: going on with the CPU, which is slower.",
            stacklevel=4,
        )
        self.device = torch.device("cpu")
        self.dtype = choose_dtype(self.device, self._asked_precision)
        self.model = set_precision(self.model, self.dtype).to(self.device)


def check_prompts(prompts: Prompts, plane_size: tuple[int, int]) -> None:
    """Refuse prompts that say nothing, or nothing about this plane.

    Parameters
    ----------
    prompts : Prompts
    plane_size : (H, W)

    Raises
    ------
    ValueError
        If there is no point, box or mask; a point lies outside the plane; or a box
        does not touch it.
    """
    if not isinstance(prompts, Prompts):
        raise ValueError(f"prompts must be Prompts, got {type(prompts).__name__}.")
    if prompts.is_empty:
        raise ValueError("prompts must have at least one point, a box or a mask.")
    rows, columns = plane_size
    limits = np.array(plane_size) - 0.5
    outside = ((prompts.points < -0.5) | (prompts.points > limits)).any(axis=1)
    if outside.any():
        point = prompts.points[outside][0].tolist()
        raise ValueError(
            f"points must lie within the {rows} x {columns} plane, got {point}."
        )
    box = prompts.box
    if box is not None and ((box[:2] >= plane_size).any() or (box[2:] <= 0).any()):
        raise ValueError(
            f"box must overlap the {rows} x {columns} plane, got {box.tolist()}."
        )


def prompt_points(
    prompts: Prompts, plane_size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Points and box corners as the prompt encoder takes them.

    Parameters
    ----------
    prompts : Prompts
        A box is cut to the plane.
    plane_size : (H, W)

    Returns
    -------
    tuple of ndarray
        (x, y) of shape (N, 2) in the model frame, and labels (N,). Without a box a
        padding point is appended, as in the official prompt encoder; a mask alone
        has no points at all.
    """
    xy = transforms.points_to_model(prompts.points, plane_size)
    labels = prompts.point_labels
    if prompts.box is not None:
        box = np.clip(prompts.box, 0, [*plane_size, *plane_size])
        xy = np.concatenate([xy, transforms.box_to_model(box, plane_size)])
        labels = np.append(labels, [BOX_MIN, BOX_MAX])
    elif len(xy):
        xy = np.concatenate([xy, np.zeros((1, 2))])
        labels = np.append(labels, PADDING)
    return xy, labels
