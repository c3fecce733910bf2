"""``napari-sam text``: an image and words in, a label file out."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    fetch,
    load,
    say,
)
from napari_sam._cli.planes import PlaneIndex, assemble
from napari_sam._cli.prompts_file import whole_numbers
from napari_sam._cli.segment import ImageArgument, OutOption, open_image, rehearse

if TYPE_CHECKING:
    from napari_sam._session_text import NamedObject, TextObjects

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
LinkOption = Annotated[
    bool,
    typer.Option(
        "--link",
        help="Give objects that overlap from plane to plane one number, and fill in "
        "those that are missing in one plane.",
    ),
]
TableOption = Annotated[
    Path | None,
    typer.Option(help="Write a CSV file with phrase and score of each label, too."),
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
    link: LinkOption = False,
    table: TableOption = None,
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
    from napari_sam._detections import TextOptions, check_phrases
    from napari_sam.io import write_labels
    from napari_sam.session import Session
    from napari_sam.text_detector import DETECTORS, load_detector

    options = TextOptions(min_score, max_overlap)
    names = check_phrases(phrases)
    check_output(out, force)
    if table is not None:
        check_output(table, force)
        if classes:
            raise ValueError("--table lists objects; leave --classes out.")
    opened = open_image(image)
    rehearse(out, opened.ndim - opened.is_rgb)
    if detector in DETECTORS:
        fetch(detector, DETECTORS)
    finder = load_detector(detector, device)
    predictor = load(ModelChoice(model, checkpoint, device, precision))
    session = Session(opened.data, predictor, rgb=opened.is_rgb)
    planes = session.planes if plane is None else [whole_numbers("plane", plane)]
    if link and (classes or len(planes) < 2):
        raise ValueError("--link needs several planes, and no --classes.")
    steps = session.segment_text_planes(names, planes, finder, options)
    found = {session.check_plane(one): objects for one, objects in steps}
    labelled, objects = _numbered(found, classes, link)
    write_labels(out, assemble(session, labelled), like=opened)
    if table is not None:
        _write_table(table, objects)
    counts = Counter(box.phrase for one in found.values() for box in one.boxes)
    what = ", ".join(f"{counts[name]} {name}" for name in names)
    linked = f", linked to {len(objects)} objects" if link else ""
    say(f"{out}: {what} in {len(planes)} plane{'s' * (len(planes) != 1)}{linked}")


def _numbered(
    found: "Mapping[PlaneIndex, TextObjects]", classes: bool, link: bool
) -> "tuple[dict[PlaneIndex, NDArray[Any]], Sequence[NamedObject]]":
    """Label images, and who the labels are; different numbers in different planes."""
    from napari_sam._session_text import NamedObject, link_objects

    if classes:
        return {index: one.classes() for index, one in found.items()}, ()
    labels = [one.labels() for one in found.values()]
    boxes = [one.boxes for one in found.values()]
    if link:
        linked, objects = link_objects(labels, boxes)
        return dict(zip(found, linked, strict=True)), objects
    named: list[NamedObject] = []
    numbered: dict[PlaneIndex, NDArray[Any]] = {}
    for (index, one), plane in zip(found.items(), labels, strict=True):
        numbered[index] = np.where(plane, plane + len(named), 0)
        first = len(named) + 1
        named += [
            NamedObject(first + i, box.phrase, box.score)
            for i, box in enumerate(one.boxes)
        ]
    return numbered, named


def _write_table(path: Path, objects: "Sequence[NamedObject]") -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["label", "phrase", "score"])
        rows.writerows((one.label, one.phrase, f"{one.score:.4f}") for one in objects)
