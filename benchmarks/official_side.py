"""The official implementations, as their authors would call them; always float32."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cases import Answer, Case, as_array, grid_points, network_input
from torch import Tensor

# Last on the path, so that a torchvision or timm that is installed comes first.
sys.path.append(str(Path(__file__).parent / "_stubs"))


def load_official(model: str, checkpoint: str | Path, device: str = "cpu") -> Any:
    """Make an official `SamPredictor` of a checkpoint.

    Parameters
    ----------
    model : {"mobile_sam", "vit_b"}
    checkpoint : path
        State dict with the official names.
    device : str
        A torch device.
    """
    # Each package has its own classes, so both are imported only when needed.
    if model == "mobile_sam":
        from mobile_sam import SamPredictor, sam_model_registry

        sam = sam_model_registry["vit_t"]()
    else:
        from segment_anything import SamPredictor, sam_model_registry

        sam = sam_model_registry[model]()
    sam.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
    # eval() after loading: TinyViT gathers its attention biases in it, and those of
    # the random weights would stay, with no error, if it were only called before.
    return SamPredictor(sam.to(device).eval())


def save_random_vit_b(path: str | Path, seed: int = 0) -> None:
    """Write a ViT-B of random weights, the relative positions among them."""
    from segment_anything import sam_model_registry

    torch.manual_seed(seed)
    state = sam_model_registry["vit_b"]().state_dict()
    for name, tensor in state.items():
        # The constructor leaves these at zero, which would hide errors in their use.
        if "pos_embed" in name or "rel_pos" in name:
            tensor.normal_(std=0.2)
    torch.save(state, path)


class OfficialSide:
    """The work of a case, by the official code."""

    def __init__(self, case: Case, setup: dict[str, Any], precision: str) -> None:
        if precision != "float32":
            raise ValueError(f"the official code is float32, got {precision!r}.")
        checkpoint = setup["checkpoints"][case.model]
        self.predictor = load_official(case.model, checkpoint, setup["device"])
        self.model = self.predictor.model
        self.precision = "float32"
        self.image = np.load(setup["image"])
        self.points = grid_points(case.count, self.image.shape)[:, ::-1].copy()  # x, y
        self.input = network_input(
            self.image, self.model.pixel_mean.cpu(), self.model.pixel_std.cpu()
        ).to(setup["device"])
        if case.work in ("decoder", "predict", "predict_batch"):
            self.predictor.set_image(self.image)
        self.run = getattr(self, case.work)

    def encoder(self) -> Answer:
        """From pixels to the embedding."""
        self.predictor.set_image(self.image)
        return as_array(self.predictor.features)

    @torch.inference_mode()
    def network(self) -> Answer:
        """Run the bare image encoder."""
        return as_array(self.model.image_encoder(self.input))

    def _prompts(self) -> tuple[Tensor, Tensor]:
        size = self.predictor.original_size
        xy = self.predictor.transform.apply_coords(self.points, size)
        device = self.predictor.device
        points = torch.as_tensor(xy, dtype=torch.float, device=device)[:, None]
        return points, torch.ones(len(points), 1, dtype=torch.int, device=device)

    @torch.inference_mode()
    def decoder(self) -> Answer:
        """Prompts to low-resolution logits, without resizing."""
        encoder = self.model.prompt_encoder
        sparse, dense = encoder(points=self._prompts(), boxes=None, masks=None)
        logits, scores = self.model.mask_decoder(
            image_embeddings=self.predictor.features,
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
        return list(zip(as_array(logits), as_array(scores), strict=True))

    def predict(self) -> Answer:
        """One prompt to masks in the image's pixels."""
        labels = np.ones(len(self.points), dtype=int)
        masks, scores, _ = self.predictor.predict(self.points, labels)
        return [(masks, scores)]

    def new_image(self) -> Answer:
        """From pixels to the masks of the first prompt."""
        self.predictor.set_image(self.image)
        return self.predict()

    def predict_batch(self) -> Answer:
        """Many prompts to masks in the image's pixels."""
        masks, scores, _ = self.predictor.predict_torch(*self._prompts())
        return list(zip(as_array(masks), as_array(scores), strict=True))
