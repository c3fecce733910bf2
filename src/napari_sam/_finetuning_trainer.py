"""One model being trained: its parts, a step, its running average."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from napari_sam import transforms
from napari_sam._finetuning_copy import copy_for_training
from napari_sam._finetuning_data import LabelledImage
from napari_sam._finetuning_guard import practice_prompts
from napari_sam._finetuning_losses import (
    Losses,
    distillation_loss,
    mask_iou,
    mean_losses,
    segmentation_losses,
)
from napari_sam._finetuning_options import FinetuneOptions, schedule
from napari_sam._finetuning_photographs import PRACTISED, Clicks, photographs
from napari_sam._finetuning_prompts import (
    ROUNDS,
    PromptBatch,
    corrective_points,
    first_prompts,
    mask_only_rounds,
)
from napari_sam._finetuning_replay import ScoreReplay
from napari_sam._finetuning_views import Target, Views
from napari_sam.modeling.precision import choose_dtype
from napari_sam.modeling.sam import Sam
from napari_sam.predictor import Predictor

AVERAGE = 0.99
"""Share of the running average that an update leaves; it evens out noise."""
LARGEST_GRADIENT = 1.0
BOX_SHARE = 0.4
# Most of what is learned is learned from the first prompts; a simulation of full
# length (Kirillov et al. 2023) takes ten times as long as one of them.
LENGTHS, LENGTH_SHARES = (1, 2, 3, 5, ROUNDS), (0.47, 0.25, 0.15, 0.1, 0.03)
# Clicks on objects, and anywhere in each photograph, that the choice is learned from.
OBJECT_CLICKS, PHOTOGRAPH_CLICKS = 64, 12


class StepLosses(NamedTuple):
    """Mean losses of a step: of the user's objects, or of the photographs."""

    loss: float = math.nan
    focal: float = math.nan
    dice: float = math.nan
    iou: float = math.nan
    remembered: float = math.nan


class Trainer:
    """Trains a copy of a model's decoder, adapters or all of it.

    Parameters
    ----------
    base : Predictor
        The model to start from, which stays as it is.
    images : sequence of LabelledImage
        To train on.
    options : FinetuneOptions
    """

    def __init__(
        self,
        base: Predictor,
        images: Sequence[LabelledImage],
        options: FinetuneOptions,
    ) -> None:
        self.base, self.options, self.device = base, options, base.device
        self.model, self.names = copy_for_training(base.model, options)
        parameters = dict(self.model.named_parameters())
        self.trained = {name: parameters[name] for name in self.names}
        self.start, self.average = self._weights(), self._weights()
        # No decay: towards zero it would pull what the base model knows, too.
        self.optimizer = torch.optim.AdamW(
            self.trained.values(), lr=options.rate, weight_decay=0.0
        )
        self.views = Views(images, options.seed)
        practised = PRACTISED if options.remember else ()
        self.practice = Views(photographs(practised), options.seed)
        self.replay = ScoreReplay(self.model.mask_decoder.iou_prediction_head)
        self._clicks: list[Clicks] = []
        self.updates = self.rounds = 0
        self._done = 0.0
        dtype = choose_dtype(self.device, options.precision)
        self._autocast = dtype if dtype != torch.float32 else None

    def choose(
        self, weights: Mapping[str, Tensor], number: int
    ) -> tuple[dict[str, Tensor], float]:
        """Learn which of the three masks a click means, from many clicks at once.

        Often one of them is right, and not the one that is shown: that is learned in
        seconds, without a change of the masks; and again after masks have changed.

        Parameters
        ----------
        weights : mapping of str to Tensor
            By name; what is trained meanwhile stays as it is.
        number : int
            Of the step; decides with the seed what is drawn.

        Returns
        -------
        tuple
            The weights, with another head for the scores, and its loss.
        """
        rng = np.random.default_rng((self.options.seed, number, 1))
        self.replay.clicks.clear()
        with self.holding(weights):
            with torch.no_grad():
                self._click_on_objects(number, rng)
                if self.options.remember:
                    self._click_on_photographs()
            loss = self.replay.fit(rng)
            return self._weights(), loss

    def _click_on_objects(self, number: int, rng: np.random.Generator) -> None:
        for _ in range(-(-OBJECT_CLICKS // self.options.batch)):
            targets = self._draw(number, rng)
            truth, weight = self._truth(targets)
            shown = [self.views.get(one.image, one.view) for one in targets]
            features, _ = self._features(shown)
            masks = np.stack([one.mask for one in targets])
            prompts = first_prompts(masks, "point", rng)
            logits, _ = self._decode(self.model, features, prompts)
            self.replay.add("labels", mask_iou(logits, truth, weight))

    def _click_on_photographs(self) -> None:
        """Have the same thing shown as by the base model."""
        if not self._clicks:
            rng = np.random.default_rng(self.options.seed)
            self._clicks = [
                Clicks.anywhere(self.base, shown, PHOTOGRAPH_CLICKS, rng)
                for shown in self.practice.images
            ]
        for clicks in self._clicks:
            features, _ = self._features([clicks.shown])
            logits, _ = self._decode(self.model, features, clicks.prompts)
            self.replay.add("photographs", clicks.wanted(logits))

    def step(self, number: int, done: float = 0.0) -> StepLosses:
        """Train on one batch of objects, or of prompts on a photograph.

        What is drawn depends on the seed and the number alone; the learning rate on
        how much of the run is done (0 to 1).
        """
        self._done = done
        rng = np.random.default_rng((self.options.seed, number))
        if number == 1:
            weights, loss = self.choose(self.average, number)
            self._load(weights)
            self._average(weights, 0.0)
            return StepLosses(loss=loss)
        if rng.random() < self.options.remember:
            return StepLosses(remembered=self._remember(number, rng))
        return StepLosses(*self._simulate(self._draw(number, rng), rng))

    def _draw(self, number: int, rng: np.random.Generator) -> list[Target]:
        """Draw objects from as many views as are seen in a step."""
        views = self.views.count(number) if self.options.augment else 1
        # With gradients through the encoder, the memory is enough for one image.
        most = 1 if self.options.trains_encoder else self.options.batch
        targets = self.views.draw(self.options.batch, views, rng, most)
        if not targets:
            raise ValueError(
                "data must hold objects large enough to be seen, all are too small."
            )
        return targets

    def _truth(self, targets: Sequence[Target]) -> tuple[Tensor, Tensor]:
        """Masks and valid cells (B, 1, 256, 256), float."""
        masks = np.stack([one.mask for one in targets])
        valid = np.stack([one.valid for one in targets])
        return (
            torch.from_numpy(masks[:, None]).float().to(self.device),
            torch.from_numpy(valid[:, None]).float().to(self.device),
        )

    def _simulate(
        self, targets: Sequence[Target], rng: np.random.Generator
    ) -> list[float]:
        """One interactive simulation for several objects, an update a round."""
        masks = np.stack([one.mask for one in targets])
        valid = np.stack([one.valid for one in targets])
        truth, weight = self._truth(targets)
        shown = [self.views.get(one.image, one.view) for one in targets]
        features, seen = self._features(shown)
        rounds = int(rng.choice(LENGTHS, p=LENGTH_SHARES))
        without_points = mask_only_rounds(rounds, rng)
        kind = "box" if rng.random() < BOX_SHARE else "point"
        prompts = first_prompts(masks, "box" if kind == "box" else "point", rng)
        parts: list[Losses] = []
        for number in range(rounds):
            asked = prompts.alone() if number in without_points else prompts
            answer = self._decode(self.model, seen, asked)
            if asked.is_ambiguous:
                self.replay.add("labels", mask_iou(answer[0], truth, weight))
            losses = segmentation_losses(answer, truth, weight)
            self._learn(losses.total, rng)
            parts.append(losses)
            logits = _best_logits(answer)
            prompts = PromptBatch(prompts.points, prompts.labels, prompts.boxes, logits)
            if number + 1 < rounds and number + 1 not in without_points:
                found = (logits[:, 0] > 0).cpu().numpy() & valid
                prompts = prompts.corrected(*corrective_points(found, masks, rng))
        self._learn_encoder(features, seen)
        return mean_losses(parts)

    def _remember(self, number: int, rng: np.random.Generator) -> float:
        """Repeat what the base model answers on a photograph, in step `number`."""
        views = self.practice.count(int(number * self.options.remember))
        image, view = (int(rng.integers(n)) for n in (len(self.practice.images), views))
        shown = self.practice.get(image, view)
        size = transforms.model_size(shown.size)
        prompts = practice_prompts(self.options.batch, size, rng)
        taught_features = self._base_features(shown)
        total = []
        for _ in range(2):
            with torch.no_grad():
                taught = self._decode(self.base.model, taught_features, prompts)
            features, seen = self._features([shown])
            answer = self._decode(self.model, seen, prompts)
            loss = distillation_loss(answer, taught)
            if prompts.is_ambiguous:
                told = Clicks.of(shown, prompts, taught)
                self.replay.add("photographs", told.wanted(answer[0]))
            self._learn(loss, rng)
            self._learn_encoder(features, seen)
            total.append(loss.item())
            # Then the answer is confirmed by a point inside it, as a user would.
            logits = _best_logits(taught)
            masks = (logits[:, 0] > 0).cpu().numpy()
            if not masks.any((1, 2)).all():
                break
            nothing = np.zeros_like(masks)
            points, labels = corrective_points(nothing, masks, rng)
            prompts = PromptBatch(
                prompts.points, prompts.labels, prompts.boxes, logits
            ).corrected(points, labels)
        return float(np.mean(total))

    def _base_features(self, shown: LabelledImage) -> Tensor:
        """Embedding of the base model, (1, 256, 64, 64)."""
        # Copied: tensors made in inference mode cannot take part in training.
        return self.base.embed(shown.pixels).features.clone()

    def _features(self, shown: Sequence[LabelledImage]) -> tuple[Tensor, Tensor]:
        """Embeddings (B, 256, 64, 64), or (1, ...) if they are all of one image.

        Twice: as they are computed, and cut off from that, for the decoder.
        """
        if not self.options.trains_encoder:
            features = torch.cat([self._base_features(one) for one in shown])
            return features, features
        mean, std = self.model.pixel_mean, self.model.pixel_std
        pixels = self.base.prepare(shown[0].pixels).pixels.to(self.device)
        frame = transforms.normalize_and_pad(pixels, mean, std)[None]
        with self._mixed(), nn.utils.parametrize.cached():
            features = self.model.image_encoder(
                frame.contiguous(memory_format=torch.channels_last)
            ).float()
        return features, features.detach().requires_grad_()

    def _decode(
        self, model: Sam, features: Tensor, prompts: PromptBatch
    ) -> tuple[Tensor, Tensor]:
        xy, labels = prompts.tokens()
        points = xy.to(self.device), labels.to(self.device)
        with self._mixed():
            logits, scores = model.decode(
                features, points, prompts.logits, prompts.is_ambiguous
            )
        return logits.float(), scores.float()

    def _mixed(self) -> torch.autocast:
        """Short number formats for products, where the hardware has them."""
        return torch.autocast(
            self.device.type,
            self._autocast or torch.bfloat16,
            enabled=self._autocast is not None,
        )

    def _learn(self, loss: Tensor, rng: np.random.Generator) -> None:
        """Add to the gradients, and update unless the encoder needs them first."""
        if self.replay.clicks:
            loss = loss + self.replay.loss(rng)
        (loss / self.options.accumulate).backward()
        if not self.options.trains_encoder:
            self._count()

    def _learn_encoder(self, features: Tensor, seen: Tensor) -> None:
        """Hand the decoder's gradients of all rounds on to the encoder, at once.

        Its weights must not change between the rounds and this.
        """
        if self.options.trains_encoder:
            features.backward(seen.grad)
            self._count()

    def _count(self) -> None:
        """Update once there are enough gradients."""
        self.rounds += 1
        if self.rounds % self.options.accumulate == 0:
            self._update()

    def _update(self) -> None:
        self.updates += 1
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.rate * schedule(self.updates, self._done)
        nn.utils.clip_grad_norm_(self.trained.values(), LARGEST_GRADIENT)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        # Shorter at first, or the average would be of the start for long.
        keep = min(AVERAGE, (1 + self.updates) / (10 + self.updates))
        self._average(self.trained, keep)

    def _average(self, weights: Mapping[str, Tensor], keep: float) -> None:
        """Move the running average to weights; of what it was, a share is kept."""
        for name, average in self.average.items():
            average.lerp_(weights[name].detach(), 1 - keep)

    def _weights(self) -> dict[str, Tensor]:
        """Copy of what is trained, as it is now."""
        return {name: one.detach().clone() for name, one in self.trained.items()}

    @contextmanager
    def holding(self, weights: Mapping[str, Tensor]) -> Iterator[None]:
        """For a while, the model has these weights; then those that it had."""
        live = self._weights()
        self._load(weights)
        try:
            yield
        finally:
            self._load(live)

    def _load(self, weights: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(weights[name])

    def between(self, share: float, tuned: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights between the start (0) and tuned ones (1).

        Wortsman et al., "Robust fine-tuning of zero-shot models" (2022): on the way,
        much of what is new is there, and little is forgotten.
        """
        return {n: self.start[n].lerp(tuned[n], share) for n in self.names}

    def state(self) -> dict[str, Any]:
        """All that is needed to go on from here."""
        return {
            "weights": self._weights(),
            "average": {n: t.clone() for n, t in self.average.items()},
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "replay": self.replay.state(),
            "updates": self.updates,
            "rounds": self.rounds,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self._load(state["weights"])
        self._average(state["average"], 0.0)
        self.optimizer.load_state_dict(state["optimizer"])
        self.replay.restore(state["replay"])
        self.updates, self.rounds = state["updates"], state["rounds"]


def _best_logits(answer: tuple[Tensor, Tensor]) -> Tensor:
    """Logits (B, 1, H, W) of the mask with the best predicted IoU, without gradient."""
    logits, scores = (part.detach() for part in answer)
    rows = torch.arange(len(logits), device=logits.device)
    return logits[rows, scores.argmax(1)][:, None]
