"""``napari-sam evaluate``: how good a model is on labelled images."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.table import Table

from napari_sam._cli.console import (
    DeviceOption,
    ForceOption,
    PrecisionOption,
    check_output,
    output,
    progress,
    say,
)

if TYPE_CHECKING:
    from napari_sam._finetuning_data import LabelledImage
    from napari_sam.evaluation import LabelScore, ObjectScore
    from napari_sam.predictor import Predictor
    from napari_sam.types import Precision

ModelArgument = Annotated[
    str,
    typer.Argument(help="Name of a model, or a checkpoint file.", show_default=False),
]
DataArgument = Annotated[
    Path,
    typer.Argument(
        help="Folder or COCO file, as `finetune` takes it.", show_default=False
    ),
]
OutOption = Annotated[Path | None, typer.Option(help="JSON file with all figures.")]
PlotOption = Annotated[
    Path | None,
    typer.Option(
        help="PNG file: IoU after each number of clicks; with --automatic, also AP at "
        "each IoU."
    ),
]
AutomaticFlag = Annotated[
    bool,
    typer.Option(
        "--automatic",
        help="Also segment everything in each image, as auto does, and compare that "
        "with all labels; on a CPU half a minute for each image.",
    ),
]


def evaluate(
    model: ModelArgument,
    data: DataArgument,
    out: OutOption = None,
    plot: PlotOption = None,
    clicks: Annotated[int, typer.Option(help="Clicks on each object, 5 or more.")] = 10,
    objects: Annotated[int, typer.Option(help="Objects of each image.")] = 10,
    automatic: AutomaticFlag = False,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    force: ForceOption = False,
) -> None:
    """Score a model on labelled images, with simulated clicks and boxes.

    IoU after 1, 3 and 5 clicks and of a tight box, and the clicks it takes to reach
    an IoU of 0.85 and 0.90 (NoC). With --automatic also the average precision (AP) of
    automatic masks: found / (found + missed + not there), above an IoU of 0.5, of
    0.75, and the mean of 0.5 to 0.95.
    """
    from dataclasses import asdict

    from napari_sam._cli.evaluation_plot import draw_evaluation
    from napari_sam._finetuning_data import labelled_images
    from napari_sam.evaluation import EvaluationOptions, label_summary, summary
    from napari_sam.evaluation import evaluate as score

    for file in (out, plot):
        if file is not None:
            check_output(file, force)
    if plot is not None and plot.suffix.lower() != ".png":
        raise ValueError(f"--plot must end in .png, got {plot.name}.")
    options = EvaluationOptions(clicks, objects)
    images = labelled_images(data)
    predictor = _open(model, device, precision)
    scores: list[ObjectScore] = []
    with progress("Evaluating", len(images)) as step:
        for some in score(predictor, images, options):
            scores += some
            step()
    found = summary(scores)
    _print(predictor.name, found, clicks)
    about: dict[str, Any] = {"model": predictor.name, "data": str(data), "mean": found}
    labels: list[LabelScore] = []
    if automatic:
        labels = _segment_everything(predictor, images)
        found.update(label_summary(labels))
        _print_automatic(predictor.name, found, labels)
        about["automatic"] = [asdict(one) for one in labels]
    if out is not None:
        _write(out, about, scores)
    if plot is not None:
        title = f"{predictor.name}: {len(scores)} objects"
        draw_evaluation(scores, labels, title).save(plot)


def _segment_everything(
    predictor: "Predictor", images: "Sequence[LabelledImage]"
) -> "list[LabelScore]":
    from napari_sam.evaluation import score_labels
    from napari_sam.session import Session

    found = []
    with progress("Segmenting everything", len(images)) as step:
        for image in images:
            labels = Session(image.pixels, predictor).generate_masks()
            found.append(score_labels(labels, image.labels, image.name))
            step()
    return found


def _open(model: str, device: str, precision: str) -> "Predictor":
    from napari_sam import registry

    names = [spec.name for spec in registry.list_models()]
    checkpoint = None if model in names else model
    if checkpoint is not None and not Path(checkpoint).is_file():
        registry.get_spec(model)  # says which names there are
    name = model if checkpoint is None else "mobile_sam"
    return registry.load_model(name, checkpoint, device, cast("Precision", precision))


def _print(name: str, found: dict[str, float], clicks: int) -> None:
    table = Table(box=None, pad_edge=False)
    columns = ("1 click", "3 clicks", "5 clicks", "box", "NoC@85", "NoC@90", "objects")
    for column in ("model", *columns):
        table.add_column(column)
    ious = [f"{found[key]:.3f}" for key in ("click1", "click3", "click5", "box")]
    counts = [f"{found[key]:.2f}" for key in ("noc85", "noc90")]
    table.add_row(name, *ious, *counts, f"{found['objects']:.0f}")
    output().print(table)
    say(f"IoU; NoC: clicks to an IoU of 0.85 and 0.90, {clicks + 1} if never reached.")


def _print_automatic(
    name: str, found: dict[str, float], labels: "Sequence[LabelScore]"
) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("model", "AP50", "AP75", "AP", "objects", "masks"):
        table.add_column(column)
    precisions = [f"{found[key]:.3f}" for key in ("ap50", "ap75", "ap")]
    counts = [sum(one.objects for one in labels), sum(one.found for one in labels)]
    table.add_row(name, *precisions, *map(str, counts))
    output().print(table)
    say("AP of automatic masks: found / (found + missed + not there).")


def _write(path: Path, about: dict[str, Any], scores: "Sequence[ObjectScore]") -> None:
    from dataclasses import asdict

    from napari_sam._io_image import replacing

    content = {**about, "objects": [asdict(one) for one in scores]}
    with replacing(path) as part:
        part.write_text(json.dumps(content, indent=1), encoding="utf-8")
