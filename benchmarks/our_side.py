"""napari_sam through its public API, as a script would call it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from cases import Answer, Case, as_array, grid_points, network_input

import napari_sam as ns


class OurSide:
    """The work of a case, by this package."""

    def __init__(self, case: Case, setup: dict[str, Any], precision: str) -> None:
        checkpoint = setup["checkpoints"][case.model]
        self.predictor = ns.load_model(
            "mobile_sam", checkpoint, setup["device"], precision
        )
        self.precision = str(self.predictor.dtype).removeprefix("torch.")
        self.image = np.load(setup["image"])
        points = grid_points(case.count, self.image.shape)
        self.prompts = [ns.Prompts(points=point[None]) for point in points]
        if case.work == "network":
            self._prepare_network()
        elif case.work not in ("encoder", "new_image"):
            self.embedding = self.predictor.embed(self.image)
        self.run = getattr(self, case.work)

    def _prepare_network(self) -> None:
        model = self.predictor.model
        mean, std = model.pixel_mean.cpu(), model.pixel_std.cpu()
        frame = network_input(self.image, mean, std)
        frame = frame.to(self.predictor.device, self.predictor.dtype)
        self.input = frame.contiguous(memory_format=torch.channels_last)

    def encoder(self) -> Answer:
        """From pixels to the embedding."""
        return as_array(self.predictor.embed(self.image).features)

    @torch.inference_mode()
    def network(self) -> Answer:
        """Run the bare image encoder."""
        return as_array(self.predictor.model.image_encoder(self.input))

    def decoder(self) -> Answer:
        """Prompts to low-resolution logits, without resizing."""
        logits, scores = self.predictor.decode(self.embedding, self.prompts, True)
        return list(zip(as_array(logits), as_array(scores), strict=True))

    def predict(self) -> Answer:
        """One prompt to masks in the image's pixels."""
        prediction = self.predictor.predict(self.embedding, self.prompts[0])
        return [(prediction.masks, prediction.scores)]

    def new_image(self) -> Answer:
        """From pixels to the masks of the first prompt."""
        self.embedding = self.predictor.embed(self.image)
        return self.predict()

    def predict_batch(self) -> Answer:
        """Many prompts to masks in the image's pixels."""
        predictions = self.predictor.predict_batch(self.embedding, self.prompts)
        return [(one.masks, one.scores) for one in predictions]
