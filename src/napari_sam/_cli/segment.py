"""``napari-sam segment``: an image and prompts in, a label file out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
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
    load,
    messages,
    say,
)
from napari_sam._cli.label_images import CleanOptions, clean
from napari_sam._cli.planes import (
    PlaneIndex,
    assemble,
    by_plane,
    label_planes,
    predict_planes,
)
from napari_sam._cli.prompts_file import (
    Given,
    PromptedObject,
    prompts_from_options,
    read_prompts,
    whole_numbers,
)

if TYPE_CHECKING:
    from PIL import Image

    from napari_sam.io import ImageFile
    from napari_sam.session import Session

Planes = Mapping[PlaneIndex, Sequence[PromptedObject]]

ImageArgument = Annotated[
    Path,
    typer.Argument(
        help="TIFF, NIfTI, NRRD, MHA, PNG, JPEG, DICOM folder or zarr.",
        show_default=False,
    ),
]
OutOption = Annotated[
    Path,
    typer.Option(
        help="Label file to write: .tif, .ome.tif, .nii.gz, .nrrd or .mha; in the "
        "image's shape, with its spacing.",
        show_default=False,
    ),
]
PointsOption = Annotated[
    list[str] | None,
    typer.Option("--point", metavar="R,C", help="Inside the object. Repeatable."),
]
BackgroundOption = Annotated[
    list[str] | None,
    typer.Option("--background", metavar="R,C", help="Outside it. Repeatable."),
]
BoxesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--box",
        metavar="R0,C0,R1,C1",
        help="Row and column of two corners, pixel edges. Repeatable: several boxes "
        "are an object each.",
    ),
]
PromptsOption = Annotated[
    Path | None,
    typer.Option(
        help="JSON file of prompts, for several objects and planes, instead of the "
        "options above."
    ),
]
PlaneOption = Annotated[
    str | None,
    typer.Option(metavar="N or I,J", help="Index along each axis but rows, columns."),
]
AxesOption = Annotated[
    str,
    typer.Option(
        metavar="ROWS,COLUMNS",
        help="Axes that make a plane, colour not counted: of (z, y, x) -2,-1 is XY, "
        "0,2 is XZ, 0,1 is YZ.",
    ),
]
ContrastOption = Annotated[
    tuple[float, float] | None,
    typer.Option(metavar="LOW HIGH", help="Values that SAM sees black and white."),
]


class Sharp(StrEnum):
    """Values of --sharp, those of `SharpMode`."""

    OFF = "off"
    AUTO = "auto"
    ALWAYS = "always"


SharpOption = Annotated[
    Sharp,
    typer.Option(
        help="Look at planes mirrored, too, and again at small objects (auto), or at "
        "all that can be seen larger (always), in windows of their own: sharper, an "
        "encoding more for each plane and window."
    ),
]
CLEANING = "Cleaning, in the image's units"
FillHolesOption = Annotated[
    bool,
    typer.Option("--fill-holes", help="Fill holes.", rich_help_panel=CLEANING),
]
KeepLargestOption = Annotated[
    bool,
    typer.Option(
        "--keep-largest",
        help="Keep one part of each object.",
        rich_help_panel=CLEANING,
    ),
]
OpeningOption = Annotated[
    float,
    typer.Option(help="Radius: cut thin bridges.", rich_help_panel=CLEANING),
]
ClosingOption = Annotated[
    float,
    typer.Option(help="Radius: close narrow gaps.", rich_help_panel=CLEANING),
]
SmoothOption = Annotated[
    float,
    typer.Option(help="Width of a Gaussian.", rich_help_panel=CLEANING),
]
MinSizeOption = Annotated[
    float,
    typer.Option(
        help="Remove parts of less area in a plane.", rich_help_panel=CLEANING
    ),
]
OverlayOption = Annotated[
    Path | None, typer.Option(help="Write a picture (PNG) of the result here, too.")
]

OVERLAY_PLANES = 12
OVERLAY_WIDTH = 1800


@dataclass(frozen=True)
class Outputs:
    """Files to write.

    Parameters
    ----------
    labels : Path
    overlay : Path, optional
    """

    labels: Path
    overlay: Path | None = None


def segment(
    image: ImageArgument,
    out: OutOption,
    point: PointsOption = None,
    background: BackgroundOption = None,
    box: BoxesOption = None,
    prompts: PromptsOption = None,
    plane: PlaneOption = None,
    axes: AxesOption = "-2,-1",
    contrast: ContrastOption = None,
    sharp: SharpOption = Sharp.OFF,
    fill_holes: FillHolesOption = False,
    opening: OpeningOption = 0,
    closing: ClosingOption = 0,
    smooth: SmoothOption = 0,
    min_size: MinSizeOption = 0,
    keep_largest: KeepLargestOption = False,
    overlay: OverlayOption = None,
    model: ModelOption = "mobile_sam",
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    force: ForceOption = False,
) -> None:
    """Segment what points and boxes mark, and write a label file.

    Coordinates are row,column in pixels of the plane, pixel centres at whole
    numbers. All points are one object, and with one box they refine it;
    several boxes are an object each. Anything more goes into a JSON file:

    {"schema_version": 1, "objects": [{"id": 1, "plane": 12, "points":
    [[30, 40]], "point_labels": [1], "box": [10, 20, 50, 70]}, ...]}
    """
    from napari_sam.session import Session

    start = perf_counter()
    given = Given(point or (), background or (), box or ())
    objects = _collect(prompts, plane, given)
    cleaning = CleanOptions(
        fill_holes, opening, closing, smooth, min_size, keep_largest
    )
    outputs = Outputs(out, overlay)
    check_outputs(outputs, image, force)
    opened = open_image(image)
    rehearse(out, opened.ndim - opened.is_rgb)
    plane_axes = whole_numbers("axes", axes)
    predictor = load(ModelChoice(model, checkpoint, device, precision))
    session = Session(
        opened.data, predictor, plane_axes, opened.is_rgb, contrast, sharp=sharp.value
    )
    planes = by_plane(session, objects)
    labelled = label_planes(session, planes, predict_planes(session, planes))
    spacing = tuple(opened.spacing[axis] for axis in session.axes.plane)
    labelled = {
        index: clean(labels, cleaning, spacing) for index, labels in labelled.items()
    }
    _report_empty(planes, labelled)
    picture = _picture(session, planes, labelled, spacing) if overlay else None
    _write(outputs, assemble(session, labelled), opened, picture)
    _summarise(out, planes, perf_counter() - start)


def _collect(
    file: Path | None, plane: str | None, given: Given
) -> list[PromptedObject]:
    """Prompts of the file or of the options, but not of both."""
    if file is None:
        index = None if plane is None else whole_numbers("plane", plane)
        return prompts_from_options(given, index)
    if plane is not None or given != Given():
        raise ValueError(
            "--prompts holds points, boxes and planes; give it without --point, "
            "--background, --box and --plane."
        )
    return read_prompts(file)


def check_outputs(outputs: Outputs, image: Path, force: bool) -> None:
    """Refuse, before any work is done, files that could not be written at the end."""
    files = [outputs.labels, *([outputs.overlay] if outputs.overlay else [])]
    for file in files:
        check_output(file, force)
        if file.resolve() == image.resolve():
            raise ValueError(f"{file} is the image itself; name another file.")
    if len({file.resolve() for file in files}) < len(files):
        raise ValueError(f"--out and --overlay must be two files, got {files[0]}.")
    if outputs.overlay and outputs.overlay.suffix.lower() != ".png":
        raise ValueError(f"--overlay must end in .png, got {outputs.overlay.name}.")


def open_image(path: Path) -> "ImageFile":
    """Read an image of grey values or colour; ValueError for other channels."""
    from napari_sam.io import read_image

    image = read_image(path)
    if image.axes.endswith("C") and not image.is_rgb:
        raise ValueError(
            f"{path} has {image.shape[-1]} channels in its last axis, which is neither "
            "grey nor colour; save one channel."
        )
    return image


def rehearse(out: Path, ndim: int) -> None:
    """Write a tiny file of the same name, so that its format is refused at once."""
    from napari_sam.io import write_labels

    with TemporaryDirectory() as folder:
        write_labels(Path(folder) / out.name, np.zeros((1,) * ndim, np.uint8))


def _report_empty(planes: Planes, labelled: dict[PlaneIndex, NDArray[Any]]) -> None:
    for index, objects in planes.items():
        here = set(np.unique(labelled[index]).tolist())
        for label in sorted({one.label for one in objects} - here):
            where = f" of plane {','.join(map(str, index))}" if index else ""
            say(f"Warning: object {label}{where} has no pixels.", messages())


def _picture(
    session: "Session",
    planes: Planes,
    labelled: dict[PlaneIndex, NDArray[Any]],
    spacing: Sequence[float],
) -> "Image.Image":
    from napari_sam._cli.overlay import Layout, Panel, draw, fitting_zoom

    panels = [
        Panel(
            session.pixels(index),
            f"plane {', '.join(map(str, index))}" if index else "",
            labelled[index],
            prompts=[(one.label, one.prompts) for one in objects],
        )
        for index, objects in list(planes.items())[:OVERLAY_PLANES]
    ]
    columns = min(len(panels), 1 if len(panels) == 1 else 3)
    zoom = fitting_zoom(session.plane_size, spacing, OVERLAY_WIDTH // columns)
    more = len(planes) - len(panels)
    title = f"{session.predictor.name}: {len(planes)} plane{'s' * (len(planes) > 1)}"
    legend = "Prompts: boxes, points inside (green) and outside (red)."
    if more > 0:
        legend += f" {more} more planes are not shown."
    return draw(panels, Layout(title, legend, columns, zoom))


def _write(
    outputs: Outputs,
    labels: NDArray[Any],
    image: "ImageFile",
    picture: "Image.Image | None",
) -> None:
    from napari_sam._io_image import replacing
    from napari_sam.io import write_labels

    if outputs.overlay is None or picture is None:
        write_labels(outputs.labels, labels, like=image)
        return
    # The picture is complete before the labels are written, and moved after them.
    with replacing(outputs.overlay) as part:
        picture.save(part)
        write_labels(outputs.labels, labels, like=image)


def _summarise(out: Path, planes: Planes, seconds: float) -> None:
    count = len({one.label for objects in planes.values() for one in objects})
    many = len(planes)
    say(
        f"{out}: {count} object{'s' * (count > 1)} in {many} plane{'s' * (many > 1)}, "
        f"{seconds:.1f} s"
    )
