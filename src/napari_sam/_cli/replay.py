"""``napari-sam replay``: a session of the widget again, without a window."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from napari_sam._cli.console import (
    CheckpointOption,
    DeviceOption,
    ForceOption,
    ModelChoice,
    check_output,
    load,
    progress,
    say,
)
from napari_sam._generators import result_of

if TYPE_CHECKING:
    from napari_sam.predictor import Predictor
    from napari_sam.session_file import SavedModel

SessionArgument = Annotated[
    Path,
    typer.Argument(help="Session file that the widget saved.", show_default=False),
]
ImageOption = Annotated[
    Path, typer.Option(help="The image it was made on.", show_default=False)
]
OutOption = Annotated[
    Path,
    typer.Option(
        help="Label file to write: .tif, .ome.tif, .nii.gz, .nrrd or .mha.",
        show_default=False,
    ),
]
LabelsOption = Annotated[
    Path | None,
    typer.Option(help="Labels that were in the layer before the session."),
]
LayerOption = Annotated[
    str | None,
    typer.Option(help="Labels layer, if the session wrote into several."),
]
PrecisionOption = Annotated[
    str | None, typer.Option(help="Instead of the session's own.")
]


def replay(
    session: SessionArgument,
    image: ImageOption,
    out: OutOption,
    labels: LabelsOption = None,
    layer: LayerOption = None,
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = None,
    force: ForceOption = False,
) -> None:
    """Run what a session accepted again, and write the labels.

    The result is compared with the pixels that the session recorded.
    """
    from napari_sam.io import read_image, read_labels, write_labels
    from napari_sam.replay import find_target, replay_steps
    from napari_sam.session_file import read_session, recorded_labels

    check_output(out, force)
    if out.resolve() in (image.resolve(), session.resolve()):
        raise ValueError(f"{out} is what is read; name another file.")
    saved = read_session(session)
    opened = read_image(image)
    start = None if labels is None else np.asarray(read_labels(labels).data)

    def load_saved(model: "SavedModel") -> "Predictor":
        return load(
            ModelChoice(model.name, checkpoint, device, precision or model.precision)
        )

    steps = replay_steps(saved, opened.data, load_saved, layer, start)
    with progress("Replaying", len(saved.log)) as step:
        result = result_of(steps, lambda _: step())
    write_labels(out, result, like=opened)
    recorded = recorded_labels(saved, find_target(saved, layer), start)
    differing = int(np.count_nonzero(result != recorded))
    same = f"{differing} pixels differ from what was recorded"
    if not differing:
        same = "the labels that were recorded"
    say(f"{out}: {len(saved.log)} steps replayed, {same}")
