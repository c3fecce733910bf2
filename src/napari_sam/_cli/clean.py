"""``napari-sam clean``: a label image through saved clean-up steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from napari_sam._cli.console import ForceOption, check_output, progress, say
from napari_sam._generators import result_of

if TYPE_CHECKING:
    from napari_sam.cleanup import CleanupStep
    from napari_sam.io import ImageFile

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
        help="A label that steps for selected labels work on, and the first one those "
        "for this label. Repeatable.",
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
    from napari_sam.cleanup import read_steps
    from napari_sam.io import read_labels, write_labels

    todo = read_steps(steps)
    check_output(out, force)
    chosen = label or []
    if not chosen and any(step.labels != "all" for step in todo):
        raise ValueError("--label must be given: there are steps for selected labels.")
    opened = read_labels(labels)
    cleaned = _cleaned(opened, todo, chosen)
    write_labels(out, cleaned, like=opened)
    changed = int((cleaned != opened.data).sum())
    say(f"{out}: {len(todo)} steps, {changed} pixels changed")


def _cleaned(
    labels: "ImageFile", steps: Sequence["CleanupStep"], chosen: Sequence[int]
) -> NDArray[Any]:
    """Apply steps to each time point, and each channel, by itself."""
    from napari_sam.cleanup import apply_steps

    this = chosen[0] if chosen else None
    cleaned = np.array(labels.data)
    apart = labels.ndim - len(labels.axes.lstrip("TC"))
    every = [*np.ndindex(labels.shape[:apart])]
    with progress("Cleaning", len(every) * len(steps)) as advance:
        for index in every:
            space = labels.spacing[apart:]
            work = apply_steps(cleaned[index], steps, space, chosen, this)
            state = result_of(work, lambda state: advance(state.done == state.total))
            cleaned[index] = state.labels
    return cleaned
