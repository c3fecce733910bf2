"""``napari-sam clean``: a label image through saved clean-up steps."""

from pathlib import Path
from typing import Annotated

import typer

from napari_sam._cli.console import ForceOption, check_output, progress, say

LabelsArgument = Annotated[Path, typer.Argument(help="Label image.")]
StepsOption = Annotated[
    Path,
    typer.Option(help="JSON file of steps; lengths in the image's unit."),
]
OutOption = Annotated[Path, typer.Option(help="Label file to write.")]
LabelOption = Annotated[
    list[int] | None,
    typer.Option(
        "--label",
        help="A label that steps for this or for selected labels work on. Repeatable.",
    ),
]


def clean(
    labels: LabelsArgument,
    steps: StepsOption,
    out: OutOption,
    label: LabelOption = None,
    force: ForceOption = False,
) -> None:
    """Clean a label image up, step by step.

    The steps are a file such as

    {"schema_version": 1, "steps": [{"operation": "fill_holes"}, {"operation":
    "opening", "parameters": {"radius": 1.5}, "dimensions": 2, "labels": "all"}]}
    """
    from napari_sam.cleanup import apply_steps, read_steps
    from napari_sam.io import read_labels, write_labels

    todo = read_steps(steps)
    check_output(out, force)
    chosen = label or []
    if not chosen and any(step.labels != "all" for step in todo):
        raise ValueError("--label must be given: there are steps for selected labels.")
    opened = read_labels(labels)
    this = chosen[0] if len(chosen) == 1 else None
    work = apply_steps(opened.data, todo, opened.spacing, chosen, this)
    with progress("Cleaning", len(todo)) as step:
        while True:
            try:
                state = next(work)
            except StopIteration as end:
                cleaned = end.value
                break
            step(state.done == state.total)
    write_labels(out, cleaned.labels, like=opened)
    changed = int((cleaned.labels != opened.data).sum())
    say(f"{out}: {len(todo)} steps, {changed} pixels changed")
