"""``napari-sam finetune``: labelled images in, a better model out."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.table import Table

from napari_sam._cli.console import (
    DeviceOption,
    ForceOption,
    check_output,
    messages,
    output,
    progress,
    say,
)

if TYPE_CHECKING:
    from napari_sam._finetuning_options import HeldOut, Trained, TrainingStep

DataArgument = Annotated[
    Path,
    typer.Argument(
        help="Folder with images/ and labels/, with x.tif and x_labels.tif, or with "
        ".npz files; or a COCO .json file.",
        show_default=False,
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        help="Checkpoint to write, ending in .pt. By default my_model.pt where the "
        "widget and --model find it by name."
    ),
]
ModelOption = Annotated[
    str, typer.Option(help="Model to start from: a name or a checkpoint file.")
]
TrainOption = Annotated[
    str,
    typer.Option(
        help="decoder (quick, no GPU needed), decoder+prompt, lora or full.",
    ),
]
MinutesOption = Annotated[float, typer.Option(help="Time for training.")]
SeedOption = Annotated[int, typer.Option(help="Equal seeds give equal results.")]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on where the same command was killed.")
]


def finetune(
    data: DataArgument,
    out: OutOption = None,
    model: ModelOption = "mobile_sam",
    train: TrainOption = "decoder",
    minutes: MinutesOption = 10.0,
    held_out: Annotated[
        float, typer.Option(help="Fraction of the images to check the model on.")
    ] = 0.2,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    resume: ResumeOption = False,
    force: ForceOption = False,
) -> None:
    """Train a model on your own labels.

    A part of the images, never of the planes of one volume, is held out: the model is
    kept only while it gets better on those. Ctrl+C ends the training; the best model
    so far is in the file.
    """
    from napari_sam import finetuning, registry

    if out is None:
        folder = registry.models_directory()
        folder.mkdir(parents=True, exist_ok=True)
        out = folder / "my_model.pt"
    check_output(out, force or resume)
    options = finetuning.FinetuneOptions(
        train=cast("Trained", train),
        minutes=minutes,
        held_out=held_out,
        seed=seed,
        device=device,
    )
    steps = finetuning.finetune(data, out, model, options, resume)
    first, best = _follow(steps, minutes)
    if not out.is_file() or (first is not None and best is None):
        say("Nothing better than the model at the start was found.", messages())
        raise typer.Exit(1)
    if first is not None and best is not None:
        output().print(figures_table(first, best))
    say(f"{out}: open it by name with --model {out.stem}, or with --checkpoint.")


def _follow(
    steps: "Iterable[TrainingStep]", minutes: float
) -> "tuple[HeldOut | None, HeldOut | None]":
    """Show a bar of the time; return the figures at the start and of the best."""
    first: HeldOut | None = None
    best: HeldOut | None = None
    seconds = 0.0
    with progress("Training (s)", round(60 * minutes)) as advance:
        try:
            for step in steps:
                advance(step.seconds - seconds)
                seconds = step.seconds
                if step.held_out is None:
                    continue
                first = first or step.held_out
                if step.is_best:
                    best = step.held_out
                    say(_sentence(step.number, best), messages())
        except KeyboardInterrupt:
            say("Stopped; the best model so far is kept.", messages())
    return first, best


def _sentence(number: int, held_out: "HeldOut") -> str:
    return (
        f"Step {number}: better, IoU after 1, 3, 5 clicks {held_out.click1:.2f}, "
        f"{held_out.click3:.2f}, {held_out.click5:.2f}, of a box {held_out.box:.2f}"
    )


def figures_table(before: "HeldOut", after: "HeldOut") -> Table:
    """Table of the figures on the images held out, before and after."""
    table = Table(box=None, pad_edge=False, title="IoU on the images held out")
    for column in ("", "1 click", "3 clicks", "5 clicks", "box"):
        table.add_column(column)
    for name, one in (("before", before), ("after", after)):
        figures = (one.click1, one.click3, one.click5, one.box)
        table.add_row(name, *(f"{figure:.3f}" for figure in figures))
    return table
