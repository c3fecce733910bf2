"""``napari-sam demo``: the whole way on real images that come with the package."""

from pathlib import Path
from time import perf_counter
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from rich.table import Table

from napari_sam._cli.console import (
    DeviceOption,
    ModelChoice,
    ModelOption,
    PrecisionOption,
    check_output,
    load,
    output,
    say,
)
from napari_sam._cli.demo_samples import SampleResult, nuclei, spine
from napari_sam._cli.overlay import Layout, Panel, draw

FILES = (
    "nuclei_labels.tif",
    "nuclei_overlay.png",
    "spine_labels.nii.gz",
    "spine_overlay.png",
)
SPINE_COLUMNS = 3
SPINE_ZOOM = (7.0, 7.0)

_LEGEND = (
    "Coloured: labels. White: ground truth. Prompts simulated from the ground truth."
)


def demo(
    out: Annotated[
        Path, typer.Option(help="Directory for the results; made if need be.")
    ] = Path("napari-sam-demo"),
    viewer: Annotated[
        bool, typer.Option("--viewer", help="Open images, prompts, labels in napari.")
    ] = False,
    model: ModelOption = "mobile_sam",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
) -> None:
    """Segment nuclei, follow vertebrae: labels, pictures, and how good they are.

    Needs no files and no network. Prompts are simulated: clicks and boxes are
    taken from the ground truth of the samples, in place of a person's.
    Results of an earlier run in the same directory are replaced.
    """
    start = perf_counter()
    if viewer:
        from napari_sam._cli.viewer import check_viewer

        check_viewer()
    out.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        check_output(out / name, force=True)
    predictor = load(ModelChoice(model, None, device, precision))
    say(f"{predictor!r} loaded in {perf_counter() - start:.1f} s")
    results = [nuclei(predictor), spine(predictor)]
    output().print(agreement_table(results))
    say(
        "Prompts were simulated from the ground truth: read the numbers as how well "
        "SAM follows good prompts."
    )
    write(results[0], out / FILES[0], nuclei_picture(results[0]), out / FILES[1])
    write(results[1], out / FILES[2], spine_picture(results[1]), out / FILES[3])
    for name in FILES:
        say(str(out / name))
    say(f"Done in {perf_counter() - start:.1f} s.")
    if viewer:
        from napari_sam._cli.viewer import show

        show(results)


def agreement_table(results: list[SampleResult]) -> Table:
    """Tabulate how the labels agree with the ground truth.

    Parameters
    ----------
    results : list of SampleResult

    Returns
    -------
    rich.table.Table
    """
    table = Table(box=None, pad_edge=False)
    table.add_column("objects, prompts")
    for column in ("number", "mean IoU", "median", "IoU > 0.5", "mean Dice", "time"):
        table.add_column(column, justify="right")
    for result in results:
        for row in result.agreement:
            iou = row.ious
            is_last = row is result.agreement[-1]
            table.add_row(
                row.what,
                f"{len(iou)}",
                f"{iou.mean():.3f}",
                f"{np.median(iou):.3f}",
                f"{(iou > 0.5).mean():.0%}",
                f"{row.dice:.3f}",
                f"{result.seconds:.1f} s" if is_last else "",
                end_section=is_last,
            )
    return table


def write(result: SampleResult, labels: Path, picture: Image.Image, png: Path) -> None:
    """Write the labels, with the image's place in the world, and a picture of them."""
    from napari_sam._io_image import replacing
    from napari_sam.io import write_labels

    write_labels(labels, result.labels, like=result.image)
    with replacing(png) as part:
        picture.save(part)


def nuclei_picture(result: SampleResult) -> Image.Image:
    """Prompts on the left, the labels they gave on the right."""
    pixels = result.session.pixels()
    prompts = [(one.label, one.prompts) for one in result.planes[()]]
    total = result.agreement[-1]
    panels = [
        Panel(
            pixels,
            "Prompts: a click where a nucleus is alone, a box where it has neighbours",
            prompts=prompts,
        ),
        Panel(pixels, "Labels", result.labels, result.truth),
    ]
    title = f"{len(prompts)} nuclei, mean IoU {total.ious.mean():.2f}"
    legend = f"{result.session.predictor.name}. {_LEGEND}"
    return draw(panels, Layout(title, legend, 2, (2.0, 2.0)))


def spine_picture(result: SampleResult) -> Image.Image:
    """Every plane that was prompted or followed, in order."""
    session = result.session
    (along,) = session.axes.sliced
    prompted = [i for (i,) in result.planes]
    panels = []
    for i in range(min(prompted), max(prompted) + 1):
        prompts = [(one.label, one.prompts) for one in result.planes.get((i,), [])]
        how = "prompted" if prompts else "followed"
        labels, truth = (a.take(i, along) for a in (result.labels, result.truth))
        caption = f"Sagittal plane {i}, {how}"
        panels.append(Panel(session.pixels(i), caption, labels, truth, prompts))
    total = result.agreement[-1]
    title = (
        f"Lumbar spine, CT: {len(total.ious)} vertebrae prompted in {len(prompted)} "
        f"planes, followed through {len(panels) - len(prompted)}: "
        f"mean Dice {total.dice:.2f} there"
    )
    legend = f"{session.predictor.name}. {_LEGEND}"
    return draw(panels, Layout(title, legend, SPINE_COLUMNS, SPINE_ZOOM))
