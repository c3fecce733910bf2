"""What the dock widget "Fine-tune" knows and says; no Qt, no layers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from napari_sam._finetuning_options import HeldOut, Trained, TrainingStep
from napari_sam._qt.finetune_engine import Tuned

WHAT: dict[Trained, tuple[str, str]] = {
    "decoder": (
        "decoder",
        "Recommended: what draws the masks learns, in minutes and without a GPU.",
    ),
    "decoder+prompt": (
        "decoder and prompts",
        "How clicks and boxes are read learns, too. As quick as the decoder alone.",
    ),
    "lora": (
        "decoder and adapters",
        "How images are seen learns a little, too: for images unlike any photograph. "
        "Needs a GPU.",
    ),
    "full": (
        "everything",
        "The whole model learns. Needs a GPU, many images and hours.",
    ),
}
"""What can be trained: its name, and a sentence about it."""

START, UNCHECKED = "Start", "Start without a check"
NAME = re.compile(r"\w[\w .-]*", re.ASCII)
# How much of the mean of the losses a new one is.
NEW_SHARE = 0.1


@dataclass(frozen=True)
class Course:
    """How a training went so far.

    Parameters
    ----------
    minutes : float
        Since it began.
    losses : tuple of (float, float)
        Minutes, and the running mean of the loss.
    checks : tuple of (float, HeldOut)
        Minutes, and how good the model was on the images held out.
    best : (float, HeldOut), optional
        The check whose model is in the file; of the base model's there is no file.
    """

    minutes: float = 0.0
    losses: tuple[tuple[float, float], ...] = ()
    checks: tuple[tuple[float, HeldOut], ...] = ()
    best: tuple[float, HeldOut] | None = None

    def after(self, step: TrainingStep) -> Course:
        """Return the course with one step more.

        Parameters
        ----------
        step : TrainingStep
        """
        now = replace(self, minutes=step.seconds / 60)
        if step.loss == step.loss:
            last = self.losses[-1][1] if self.losses else step.loss
            mean = last + NEW_SHARE * (step.loss - last)
            now = replace(now, losses=(*self.losses, (now.minutes, mean)))
        if step.held_out is not None:
            check = (now.minutes, step.held_out)
            now = replace(now, checks=(*self.checks, check))
            if step.is_best:
                now = replace(now, best=check)
        return now


def name_problem(name: str, taken: Sequence[str]) -> str:
    """Say in a sentence why a model cannot have a name; "" if it can.

    Parameters
    ----------
    name : str
    taken : sequence of str
        Names of the models that there are.

    Examples
    --------
    >>> name_problem("my/nuclei", [])
    'The name may have letters, digits, spaces, dots, - and _.'
    >>> name_problem("nuclei", ["nuclei"])
    'There is a model called nuclei already; choose another name.'
    """
    if not name:
        return "Give the new model a name."
    if not NAME.fullmatch(name):
        return "The name may have letters, digits, spaces, dots, - and _."
    if name.lower() in [one.lower() for one in taken]:
        return f"There is a model called {name} already; choose another name."
    return ""


def free_name(taken: Sequence[str]) -> str:
    """Return a name that no model has.

    Examples
    --------
    >>> free_name(["my model", "sam_vit_b"])
    'my model 2'
    """
    number, name = 1, "my model"
    while name in taken:
        number += 1
        name = f"my model {number}"
    return name


ONE_IMAGE = (
    "With only one image nothing can be held out: nobody can tell whether the model "
    "gets better, and the last one is kept. Label a second image, or press "
    f'"{UNCHECKED}".'
)


def progress_text(course: Course, minutes: float) -> str:
    """Say how far a training is.

    Parameters
    ----------
    course : Course
    minutes : float
        That it may take.
    """
    so_far = f"Training: {course.minutes:.1f} of {minutes:g} minutes."
    if not course.checks:
        return so_far
    if course.best is None:
        return f"{so_far} Nothing better than the old model yet."
    now, was = course.best[1].click1, course.checks[0][1].click1
    return f"{so_far} Held-out IoU of one click: {was:.2f} before, {now:.2f} now."


def result_text(tuned: Tuned, course: Course, model: str) -> str:
    """Say what came of it.

    Parameters
    ----------
    tuned : Tuned
    course : Course
    model : str
        The old one.
    """
    if tuned.path is None:
        return (
            f"Nothing better than {model} was found, so no model was written. Give it "
            "more minutes, or more labelled images."
        )
    if course.best is None or not course.checks:
        return f"{tuned.name} is ready; nothing was held out to check it on."
    was, now = course.checks[0][1], course.best[1]
    return (
        f"{tuned.name} is ready. On held-out images: one click {was.click1:.2f} -> "
        f"{now.click1:.2f}, five clicks {was.click5:.2f} -> {now.click5:.2f}, box "
        f"{was.box:.2f} -> {now.box:.2f}."
    )
