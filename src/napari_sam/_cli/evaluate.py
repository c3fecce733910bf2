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
    from PIL import Image

    from napari_sam.evaluation import ObjectScore
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
    Path | None, typer.Option(help="PNG file: IoU after each number of clicks.")
]
# Size of the plot in pixels, and its margins.
SIZE, MARGIN = (640, 420), (64, 48)


def evaluate(
    model: ModelArgument,
    data: DataArgument,
    out: OutOption = None,
    plot: PlotOption = None,
    clicks: Annotated[int, typer.Option(help="Clicks on each object, 5 or more.")] = 10,
    objects: Annotated[int, typer.Option(help="Objects of each image.")] = 10,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    force: ForceOption = False,
) -> None:
    """Score a model on labelled images, with simulated clicks and boxes.

    IoU after 1, 3 and 5 clicks and of a tight box, and the clicks it takes to reach
    an IoU of 0.85 and 0.90.
    """
    from napari_sam._finetuning_data import labelled_images
    from napari_sam.evaluation import EvaluationOptions, summary
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
    if out is not None:
        _write(out, {"model": predictor.name, "data": str(data), "mean": found}, scores)
    if plot is not None:
        _draw(scores, f"{predictor.name}: {len(scores)} objects").save(plot)


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


def _write(path: Path, about: dict[str, Any], scores: "Sequence[ObjectScore]") -> None:
    from dataclasses import asdict

    from napari_sam._io_image import replacing

    content = {**about, "objects": [asdict(one) for one in scores]}
    with replacing(path) as part:
        part.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _draw(scores: "Sequence[ObjectScore]", title: str) -> "Image.Image":
    """Plot the mean IoU after each click, and the tight box's as a line."""
    import numpy as np
    from PIL import Image, ImageDraw

    width, height = SIZE
    left, top = MARGIN
    picture = Image.new("RGB", SIZE, "white")
    pen = ImageDraw.Draw(picture)
    means = np.mean([one.clicks for one in scores], axis=0)
    box = float(np.mean([one.box for one in scores]))

    def at(click: float, iou: float) -> tuple[float, float]:
        x = left + (click - 1) / (len(means) - 1) * (width - 2 * left)
        return x, height - top - iou * (height - 2 * top)

    for tick in np.linspace(0, 1, 6):
        pen.line([at(1, tick), at(len(means), tick)], fill="#dddddd")
        x, y = at(1, tick)
        pen.text((x - 30, y - 6), f"{tick:.1f}", fill="black")
    for click in range(1, len(means) + 1):
        x, y = at(click, 0)
        pen.text((x - 4, y + 6), str(click), fill="black")
    pen.line([at(1, box), at(len(means), box)], fill="#d95f02", width=2)
    x, y = at(len(means), box)
    pen.text((x - 60, y + 4), f"box {box:.2f}", fill="#d95f02")
    curve = [at(click, iou) for click, iou in enumerate(means, 1)]
    pen.line(curve, fill="#1b6ca8", width=3)
    for x, y in curve:
        pen.ellipse([x - 4, y - 4, x + 4, y + 4], fill="#1b6ca8")
    pen.text((left, 16), title, fill="black")
    pen.text((width / 2 - 20, height - 22), "clicks", fill="black")
    pen.text((10, 16), "IoU", fill="black")
    return picture
