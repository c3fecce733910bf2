"""Fine-tuning: a model learns from the user's own labels.

The training of Kirillov et al., "Segment Anything" (2023): objects are prompted as a
user would, answers are corrected, and the losses are those of the paper. A model is
kept only while it gets better on images that it is not trained on.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from napari_sam import __version__
from napari_sam._caching_predictor import CachingPredictor
from napari_sam._finetuning_check import Checker, merit
from napari_sam._finetuning_data import (
    LabelledImage,
    TrainingData,
    labelled_images,
    split_groups,
)
from napari_sam._finetuning_options import FinetuneOptions, HeldOut, TrainingStep
from napari_sam._finetuning_resume import Progress, identity_of, read, resume_path, save
from napari_sam._finetuning_trainer import Trainer
from napari_sam._io_image import replacing
from napari_sam._lora import DOWN, adapter_tensors, merged_state
from napari_sam._tuned_checkpoint import TunedAbout, changed_tensors, write_tuned
from napari_sam.embedding_cache import EmbeddingCache
from napari_sam.predictor import Predictor
from napari_sam.registry import (
    OpenedModel,
    build_from_state,
    open_base,
    recognise_encoder,
)

__all__ = [
    "FinetuneOptions",
    "HeldOut",
    "TrainingStep",
    "export_official",
    "finetune",
]

SHARES = (0.75, 0.5)
"""Where between the base and the tuned model better ones are looked for at the end."""
# Of the time there is, as much may be left for the checks at the end.
MOST_CLOSING = 0.25


def finetune(
    data: TrainingData,
    out: str | os.PathLike[str],
    model: str | os.PathLike[str] = "mobile_sam",
    options: FinetuneOptions | None = None,
    resume: bool = False,
) -> Generator[TrainingStep, None, None]:
    """Train a model on labelled images, and keep the best in a file.

    Parameters
    ----------
    data : path, or sequence of (image, labels)
        A folder, a COCO file, or pairs of arrays, napari layers or files; stacks are
        used plane by plane. See `docs/finetuning.md`.
    out : path
        The checkpoint to write, which ``load_model(checkpoint=out)`` opens. In
        `registry.models_directory` the widget and `load_model` find it by name.
    model : str or path
        What to start from: a name of `list_models`, or a checkpoint.
    options : FinetuneOptions, optional
    resume : bool
        Go on where a run with the same arguments was killed.

    Yields
    ------
    TrainingStep
        Closing the generator ends the training; the best model so far is in the file.

    Raises
    ------
    ValueError
        Before anything is done, if the data, the model or the place of the result are
        not as above; or if there is nothing to resume.
    OSError
        If the model or the result cannot be read or written.

    Notes
    -----
    No file is written if nothing better than the model at the start is found.

    Examples
    --------
    >>> import napari_sam as ns
    >>> from napari_sam.io import sample_path
    >>> pair = (sample_path("nuclei_2d.tif"), sample_path("nuclei_2d_labels.tif"))
    >>> options = ns.FinetuneOptions(steps=1, held_out=0, remember=0)
    >>> for step in ns.finetune([pair], "nuclei.pt", options=options):  # doctest: +SKIP
    ...     print(step.loss)
    """
    options = options or FinetuneOptions()
    if not isinstance(options, FinetuneOptions):
        kind = type(options).__name__
        raise ValueError(f"options must be FinetuneOptions, got {kind}.")
    target = check_target(out)
    images = labelled_images(data)
    base = open_base(model)
    trained, held_out = split_groups(images, options.held_out, options.seed)
    identity = identity_of(images, base.checksum, options)
    state = read(target, identity) if resume else None
    return _Run(base, (trained, held_out), options, target, identity).steps(state)


def check_target(out: str | os.PathLike[str]) -> Path:
    """Return where the result goes, or raise ValueError if it cannot go there."""
    if not isinstance(out, (str, os.PathLike)):
        raise ValueError(f"out must be a path, got {out!r}.")
    target = Path(out).expanduser()
    if target.suffix != ".pt":
        raise ValueError(f"out must end in .pt, got {target.name!r}.")
    if target.is_dir() or not target.parent.is_dir():
        raise ValueError(f"out must be a file in an existing directory, got {target}.")
    return target


class _Run:
    """One call of `finetune`."""

    def __init__(
        self,
        base: OpenedModel,
        split: tuple[list[LabelledImage], list[LabelledImage]],
        options: FinetuneOptions,
        target: Path,
        identity: str,
    ) -> None:
        self.base, self.options, self.target = base, options, target
        self.identity = identity
        self.trained, self.held_out = split
        self.progress = Progress()

    def steps(
        self, state: tuple[Progress, Mapping[str, Any]] | None
    ) -> Generator[TrainingStep, None, None]:
        """Train until time is up, or checks are in vain."""
        began = perf_counter()
        predictor = self._predictor()
        trainer = Trainer(predictor, self.trained, self.options)
        check = Checker(predictor, self.held_out, self.options)
        if state is None:
            now = self.progress
            checked = perf_counter()
            now.start = now.best = self._score(check, trainer.start)
            now.check_seconds = perf_counter() - checked
            yield TrainingStep(0, perf_counter() - began, held_out=now.start)
        else:
            now = self.progress = state[0]
            trainer.restore(state[1])
        before, last_check, last = now.seconds, now.number, None
        while not self._is_over(before + perf_counter() - began):
            now.number += 1
            losses = trainer.step(now.number, self._done())
            now.seconds = before + perf_counter() - began
            step = TrainingStep(now.number, now.seconds, *losses)
            # The first step changes much, at once.
            if now.number == 1 or now.number % self.options.check_every == 0:
                step = self._check(step, trainer, check)
                last_check, last = now.number, step.held_out
            yield step
        if now.number > last_check:
            step = TrainingStep(now.number, before + perf_counter() - began)
            step = self._check(step, trainer, check)
            last = step.held_out
            yield step
        yield from self._look_between(trainer, check, last)
        resume_path(self.target).unlink(missing_ok=True)

    def _predictor(self) -> Predictor:
        """Return the model at the start, in float32: gradients need it."""
        base = self.base
        model = build_from_state(base.state, base.source)
        return CachingPredictor(
            EmbeddingCache(),
            model,
            base.checksum,
            base.name,
            self.options.device,
            "float32",
        )

    def _is_over(self, seconds: float) -> bool:
        options, now = self.options, self.progress
        # The first step takes seconds and brings much: encoding may have taken longer.
        return now.number > 0 and (
            seconds >= self._training_seconds()
            or (options.steps is not None and now.number >= options.steps)
            or now.checks_in_vain >= options.patience
        )

    def _training_seconds(self) -> float:
        """Time to train: all there is, less what the checks at the end take."""
        seconds = 60 * self.options.minutes
        closing = (1 + len(SHARES)) * self.progress.check_seconds
        return seconds - min(closing, MOST_CLOSING * seconds)

    def _done(self) -> float:
        """How much of the run is done, 0 to 1."""
        options, now = self.options, self.progress
        # Steps, if they are counted: then a run that is resumed is the same one.
        if options.steps is not None:
            return (now.number - 1) / options.steps
        return now.seconds / self._training_seconds()

    def _score(self, check: Checker, weights: Mapping[str, Tensor]) -> HeldOut | None:
        """Score weights; on photographs only what could be the best."""
        found, now = check(weights), self.progress
        if found is None or now.best is None or now.start is None:
            return None if found is None else check.with_kept(found)
        if merit(found, now.start) <= merit(now.best, now.start):
            return found
        return check.with_kept(found)

    def _check(
        self, step: TrainingStep, trainer: Trainer, check: Checker
    ) -> TrainingStep:
        """Look at the images held out; keep the weights if they are the best yet."""
        now, began, weights = self.progress, perf_counter(), trainer.average
        if now.number > 1:  # the first step has just chosen
            weights, _ = trainer.choose(weights, now.number)
        held_out = self._score(check, weights)
        is_best = self._keep_if_best(held_out, weights, trainer)
        now.check_seconds = perf_counter() - began
        now.checks_in_vain = 0 if is_best else now.checks_in_vain + 1
        save(self.target, self.identity, now, trainer.state())
        return replace(step, held_out=held_out, is_best=is_best)

    def _keep_if_best(
        self, found: HeldOut | None, weights: Mapping[str, Tensor], trainer: Trainer
    ) -> bool:
        now = self.progress
        if found is not None and now.best is not None and now.start is not None:
            if merit(found, now.start) <= merit(now.best, now.start):
                return False
            now.best = found
        now.weights = {name: tensor.clone() for name, tensor in weights.items()}
        self._write(now.weights, trainer)
        return True

    def _look_between(
        self, trainer: Trainer, check: Checker, last: HeldOut | None
    ) -> Generator[TrainingStep, None, None]:
        """Look for something better between the base and a tuned model.

        That is the best one, or the last: it may know more, but have forgotten too
        much to be the best, and on the way there is less forgotten.
        """
        now = self.progress
        tuned = now.weights
        if now.best is None:
            return
        if last is not None and last.mean > now.best.mean:
            tuned = {name: one.clone() for name, one in trainer.average.items()}
        if tuned is None:
            return
        for share in SHARES:
            weights = trainer.between(share, tuned)
            weights, _ = trainer.choose(weights, now.number)
            held_out = self._score(check, weights)
            is_best = self._keep_if_best(held_out, weights, trainer)
            yield TrainingStep(
                now.number, now.seconds, held_out=held_out, is_best=is_best
            )

    def _write(self, weights: Mapping[str, Tensor], trainer: Trainer) -> None:
        # What is read off the model shares memory with it: written while it holds.
        with trainer.holding(weights), torch.no_grad():
            # Adapters are of the root's weights: on top of others they are merged.
            is_root = self.base.state is self.base.root_state
            adapters = adapter_tensors(trainer.model) if is_root else {}
            adapted = {n.removesuffix(DOWN) for n in adapters if n.endswith(DOWN)}
            state = merged_state(trainer.model)
            plain = {n: t for n, t in state.items() if n not in adapted}
            changed = changed_tensors(plain, self.base.root_state)
            write_tuned(self.target, self._about(), {**changed, **adapters})

    def _about(self) -> TunedAbout:
        now, base = self.progress, self.base
        figures = {
            name: {k: v for k, v in asdict(one).items() if v == v}
            for name, one in (("before", now.start), ("after", now.best))
            if one is not None
        }
        return TunedAbout(
            base.root,
            base.root_checksum,
            str(recognise_encoder(base.state)),
            self.options.train,
            date.today().isoformat(),
            {
                "train_images": len(self.trained),
                "held_out_images": len(self.held_out),
                "train_objects": count_objects(self.trained),
                "held_out_objects": count_objects(self.held_out),
                "steps": now.number,
                "minutes": round(now.seconds / 60, 2),
            },
            figures,
            base.license,
            __version__,
        )


def count_objects(images: Sequence[LabelledImage]) -> int:
    """Objects of all planes; one in several planes counts in each."""
    return sum(len(set(image.labels.ravel().tolist()) - {0}) for image in images)


def export_official(
    checkpoint: str | os.PathLike[str], out: str | os.PathLike[str]
) -> None:
    """Write a fine-tuned model as a checkpoint that the official code loads.

    Parameters
    ----------
    checkpoint : path
        As `finetune` wrote it.
    out : path
        A complete state dict, with the names and the types of the base model's file:
        ``sam_model_registry["vit_b"](checkpoint=out)``, or ``"vit_t"`` of MobileSAM.

    Raises
    ------
    ValueError
        If the file is no checkpoint, or its base is another model now.
    OSError
        If a file cannot be read or written.
    """
    target = check_target(out)
    opened = open_base(Path(checkpoint))
    build_from_state(opened.state, opened.source)  # refuses what does not fit
    # In the order and the types of the base's file.
    state = {
        name: opened.state[name].to(tensor.dtype).contiguous()
        for name, tensor in opened.root_state.items()
    }
    with replacing(target) as part:
        torch.save(state, part)
