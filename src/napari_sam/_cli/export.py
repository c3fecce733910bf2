"""``napari-sam export``: labels as COCO, GeoJSON, SA-1B or a table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from napari_sam._cli.console import ForceOption, check_output, say

if TYPE_CHECKING:
    from napari_sam.io import ImageFile

# A .json file is COCO's unless it is said to be SA-1B's.
FORMATS = {"coco": ".json", "csv": ".csv", "geojson": ".geojson", "sa1b": ".json"}

LabelsArgument = Annotated[
    Path,
    typer.Argument(
        help="Label image of any format, or COCO or GeoJSON annotations of one.",
        show_default=False,
    ),
]
OutOption = Annotated[
    Path,
    typer.Option(
        help="File to write: .json, .csv, .geojson, or a label image.",
        show_default=False,
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="coco, csv, geojson or sa1b; by default what the name of --out says.",
    ),
]
ImageOption = Annotated[
    Path | None,
    typer.Option(
        help="The image itself: its name for COCO and SA-1B, for a table "
        "where to measure brightness."
    ),
]


def export(
    labels: LabelsArgument,
    out: OutOption,
    image: ImageOption = None,
    kind: FormatOption = None,
    force: ForceOption = False,
) -> None:
    """Write labels as COCO, GeoJSON, SA-1B or a table of objects.

    A stack has one COCO image a plane; each object is measured as a whole.
    """
    from napari_sam.io import read_labels

    kind = _kind(kind, out)
    check_output(out, force)
    if out.resolve() in (labels.resolve(), image and image.resolve()):
        raise ValueError(f"{out} is what is to be read; name another file.")
    opened = read_labels(labels)
    _write(kind, out, opened, image)
    objects = int(np.count_nonzero(np.unique(opened.data)))
    say(f"{out}: {objects} object{'s' * (objects != 1)}")


def _kind(kind: str | None, out: Path) -> str:
    """Format to write, "labels" for a label image."""
    if kind is None:
        endings = {ending: name for name, ending in reversed(FORMATS.items())}
        return endings.get(out.suffix.lower(), "labels")
    if kind not in FORMATS:
        raise ValueError(f"--format must be one of {', '.join(FORMATS)}, got {kind}.")
    return kind


def _write(kind: str, out: Path, labels: "ImageFile", image: Path | None) -> None:
    from napari_sam import io

    if kind == "coco":
        name = image.name if image else out.stem
        io.write_coco(out, {name: labels})
    elif kind == "sa1b":
        io.write_sa1b(out, labels, file_name=image.name if image else None)
    elif kind == "geojson":
        io.write_geojson(out, labels)
    elif kind == "csv":
        io.write_table(out, labels, None if image is None else io.read_image(image))
    else:
        io.write_labels(out, labels)
