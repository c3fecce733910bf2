"""What the transformers library's models for video remember of an object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_sam._square_frame import square_to_answer
from napari_sam.types import LOGITS_SIZE, ImageEmbedding

if TYPE_CHECKING:
    import numpy as np

# Of what the library keeps of each plane: a megapixel, and the features of the memory.
_LARGE = ("high_res_masks", "pred_masks")
_FEATURES = ("maskmem_features", "maskmem_pos_enc")


class VideoMemory:
    """One object's memory, on top of the library's session for videos.

    The library is handed features that are encoded already, and what it keeps of planes
    that are out of its reach is let go: memory does not grow with the stack.

    Parameters
    ----------
    model : Sam2VideoModel, Sam3TrackerVideoModel or EdgeTamVideoModel
    planes : int
        Of the stack.
    split : callable
        Embedding to its levels (1, C, h, w), the coarse one first.
    """

    def __init__(
        self, model: Any, planes: int, split: Callable[[ImageEmbedding], list[Tensor]]
    ) -> None:
        import transformers

        self._model, self._split = model, split
        self._device = next(model.parameters()).device
        # Of Sam2VideoModel it is Sam2VideoInferenceSession, and so on.
        kind = type(model).__name__.removesuffix("Model") + "InferenceSession"
        self._session: Any = getattr(transformers, kind)(
            inference_device=self._device,
            inference_state_device=self._device,
            dtype=torch.float32,
        )
        # It wants to know how many there are; the pixels it never asks for.
        self._session.processed_frames = dict.fromkeys(range(max(2, planes)))
        self._object = self._session.obj_id_to_idx(1)
        self._step = 0

    @property
    def _tracked(self) -> dict[int, dict[str, Any]]:
        kept: dict[str, dict[int, dict[str, Any]]] = self._session.output_dict_per_obj[
            self._object
        ]
        return kept["non_cond_frame_outputs"]

    @torch.inference_mode()
    def show(
        self, plane: int, embedding: ImageEmbedding, mask: NDArray[np.bool_]
    ) -> None:
        """Remember the object as a mask (H, W) of a plane."""
        side = self._model.image_size
        pixels = torch.from_numpy(mask)[None, None].float().to(self._device)
        square = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
        # An object of a few pixels in a large plane is still there.
        square = square > min(0.5, float(square.max()) / 2)
        self._session.add_mask_inputs(self._object, plane, square)
        self._session.obj_with_new_inputs = [1]
        self._look(plane, embedding, 1)
        shown = self._session.output_dict_per_obj[self._object]["cond_frame_outputs"]
        shown[plane].pop("high_res_masks", None)

    @torch.inference_mode()
    def find(
        self, plane: int, embedding: ImageEmbedding, step: int
    ) -> tuple[NDArray[np.float32], float]:
        """Find the object in a plane: logits (256, 256), and how sure it is there."""
        if step != self._step:  # the way down begins at the seeds, as the way up did
            self._tracked.clear()
            self._step = step
        found = self._look(plane, embedding, step)
        self._let_go(plane)
        logits = square_to_answer(
            found.pred_masks.float(), embedding.plane_size, LOGITS_SIZE
        )
        score = found.object_score_logits.float().sigmoid().item()
        return logits[0, 0].cpu().numpy(), float(score)

    def _look(self, plane: int, embedding: ImageEmbedding, step: int) -> Any:
        coarse, *finer = (
            level.to(self._device, torch.float32) for level in self._split(embedding)
        )
        flat = [_flat(level) for level in (*reversed(finer), coarse)]
        # Embeddings are those of a single image; memories are made without this.
        flat[-1] = flat[-1] - self._model.no_memory_embedding
        self._session.cache.clear_all()
        self._session.cache.cache_vision_features(
            plane,
            {
                "vision_feats": flat,
                "vision_pos_embeds": [self._positions(coarse.shape)],
            },
        )
        return self._model(self._session, frame_idx=plane, reverse=step < 0)

    def _positions(self, shape: Sequence[int]) -> Tensor:
        encode = self._model.vision_encoder.neck.position_encoding
        return _flat(encode(torch.Size(shape), self._device, torch.float32))

    def _let_go(self, plane: int) -> None:
        config, tracked = self._model.config, self._tracked
        for name in _LARGE:
            tracked[plane].pop(name, None)
        for other in list(tracked):
            distance = abs(other - plane)
            if distance >= config.max_object_pointers_in_encoder:
                del tracked[other]
            elif distance >= config.num_maskmem:
                for name in _FEATURES:
                    tracked[other].pop(name, None)


def _flat(level: Tensor) -> Tensor:
    """(1, C, h, w) to (h w, 1, C), as the library has it."""
    return level.flatten(2).permute(2, 0, 1)
