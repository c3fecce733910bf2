"""``napari-sam text``: an image and words in, a label file out."""

from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from napari_sam._cli.console import (
    CheckpointOption,
    DeviceOption,
    ForceOption,
    ModelChoice,
    ModelOption,
    PrecisionOption,
    check_output,
    load,
    say,
)
from napari_sam._cli.planes import assemble
from napari_sam._cli.prompts_file import whole_numbers
from napari_sam._cli.segment import ImageArgument, OutOption, open_image, rehearse

PhrasesArgument = Annotated[
    list[str],
    typer.Argument(help="What to look for, each a class of its own: nucleus vesicle"),
]
DetectorOption = Annotated[
    str,
    typer.Option(
        help="owlv2_base, grounding_dino_tiny, or the folder of such a model."
    ),
]
ScoreOption = Annotated[
    float, typer.Option(help="Score from 0 to 1 that a box must exceed.")
]
OverlapOption = Annotated[
    float, typer.Option(help="Overlap (IoU) above which the worse box goes.")
]
ClassesOption = Annotated[
    bool,
    typer.Option("--classes", help="Write 1 for the first phrase, 2 for the second …"),
]
PlaneOption = Annotated[
    str | None,
    typer.Option(help="Only this plane: 12, or 3,12. All planes by default."),
]


def text(
    image: ImageArgument,
    phrases: PhrasesArgument,
    out: OutOption,
    plane: PlaneOption = None,
    classes: ClassesOption = False,
    detector: DetectorOption = "owlv2_base",
    min_score: ScoreOption = 0.2,
    max_overlap: OverlapOption = 0.5,
    model: ModelOption = "mobile_sam",
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    force: ForceOption = False,
) -> None:
    """Segment what words name, in every plane or in one.

    Needs the extra "text": pip install "napari-sam-stacks[text]".
    """
    from napari_sam.io import write_labels
    from napari_sam.session import Session
    from napari_sam.text_detector import TextOptions, check_phrases, load_detector

    options = TextOptions(min_score, max_overlap)
    names = check_phrases(phrases)
    check_output(out, force)
    opened = open_image(image)
    rehearse(out, opened.ndim - opened.is_rgb)
    finder = load_detector(detector, device)
    predictor = load(ModelChoice(model, checkpoint, device, precision))
    session = Session(opened.data, predictor, rgb=opened.is_rgb)
    planes = session.planes if plane is None else [whole_numbers("plane", plane)]
    labelled: dict[tuple[int, ...], NDArray[Any]] = {}
    counts = dict.fromkeys(names, 0)
    total = 0
    for one in planes:
        index = session.check_plane(one)
        found = session.segment_text(names, index, finder, options)
        labels = found.classes() if classes else found.labels()
        # Objects keep different numbers in different planes.
        labelled[index] = labels if classes else np.where(labels, labels + total, 0)
        total += len(found)
        for box in found.boxes:
            counts[box.phrase] += 1
    write_labels(out, assemble(session, labelled), like=opened)
    what = ", ".join(f"{count} {name}" for name, count in counts.items())
    say(f"{out}: {what} in {len(planes)} plane{'s' * (len(planes) != 1)}")
