"""TIFF, OME-TIFF and ImageJ TIFF, with their spacing."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from napari_sam._io_image import METRES, ImageFile, converted, explained, unit_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tifffile import TiffFile, TiffPage

# Screen and print settings that software writes without having measured anything.
_NO_MEASURE_DPI = (72, 96, 300)
_RESOLUTION_UNITS = {
    2: "inch",
    3: "centimeter",
    4: "millimeter",
    5: "micrometer",
}
_IMAGEJ_AXES = "TZCYX"
_IMAGEJ_SHORT = ("nm", "um", "mm", "cm", "m")
_IMAGEJ_MAX_BYTES = 2**32 - 2**25  # its offsets have 32 bits
_SHORT = {
    "angstrom": "Å",
    "nanometer": "nm",
    "micrometer": "µm",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
    "inch": "in",
    "second": "s",
    "millisecond": "ms",
    "minute": "min",
    "hour": "h",
    "day": "d",
    "pixel": "pixel",
}


class _Complaints(logging.Handler):
    """Collects what tifffile logs: a lost page is logged, never raised."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def _lost_pages_raise() -> Iterator[None]:
    log, complaints = logging.getLogger("tifffile"), _Complaints()
    log.addHandler(complaints)
    try:
        yield
    finally:
        log.removeHandler(complaints)
    for line in complaints.lines:
        if "invalid page offset" in line or "corrupted" in line:
            raise EOFError(line)


def read_tiff(path: Path) -> ImageFile:
    """Read the first series of a TIFF file, axes of length 1 left out.

    Raises
    ------
    ValueError
        If the file is not a TIFF, or is damaged or incomplete.
    """
    import tifffile

    with explained(path, "TIFF"), _lost_pages_raise(), tifffile.TiffFile(path) as file:
        series = file.series[0]
        data, axes = np.asarray(series.asarray()), series.axes
        spacing, units = _geometry(file)
    data, axes = _colour_last(data, _named_planes(axes))
    kept = axes.removesuffix("C")
    return ImageFile(
        data,
        axes,
        spacing=tuple(spacing.get(letter, 1.0) for letter in kept),
        units=tuple(units.get(letter, "pixel") for letter in kept),
    )


def _named_planes(axes: str) -> str:
    # tifffile calls the pages of a stack without metadata I (images) or Q (unknown).
    for letter in "QI":
        if "Z" not in axes and axes.count(letter) == 1:
            axes = axes.replace(letter, "Z")
    return axes


def _colour_last(data: Any, axes: str) -> tuple[Any, str]:
    # S, the samples of one pixel, may be stored as planes: (3, row, column).
    if "S" in axes:
        data = np.moveaxis(data, axes.index("S"), -1)
        # A channel axis beside colour keeps its letter, which then is not last.
        axes = axes.replace("S", "") + "C"
    return data, axes


def _geometry(file: TiffFile) -> tuple[dict[str, float], dict[str, str]]:
    """Spacing and unit of each axis the file says something about."""
    if file.is_ome and file.ome_metadata:
        return _ome_geometry(file.ome_metadata)
    shaped = (file.shaped_metadata or ({},))[0] if file.is_shaped else {}
    if {"axes", "spacing", "units"} <= shaped.keys():
        axes = shaped["axes"]
        spacing = dict(zip(axes, map(float, shaped["spacing"]), strict=False))
        return spacing, dict(zip(axes, map(unit_name, shaped["units"]), strict=False))
    header = (file.is_imagej and file.imagej_metadata) or {}
    return _baseline_geometry(file.pages.first, header)


def _ome_geometry(xml: str) -> tuple[dict[str, float], dict[str, str]]:
    pixels = ElementTree.fromstring(xml).find(".//{*}Pixels")
    attributes = {} if pixels is None else pixels.attrib
    spacing, units = {}, {}
    for axis in "XYZ":
        if float(attributes.get(f"PhysicalSize{axis}", 0)) > 0:
            spacing[axis] = float(attributes[f"PhysicalSize{axis}"])
            # The schema's default unit of length is the micrometre.
            units[axis] = unit_name(attributes.get(f"PhysicalSize{axis}Unit", "µm"))
    if float(attributes.get("TimeIncrement", 0)) > 0:
        spacing["T"] = float(attributes["TimeIncrement"])
        units["T"] = unit_name(attributes.get("TimeIncrementUnit", "s"))
    return spacing, units


def _baseline_geometry(
    page: TiffPage, imagej: dict[str, Any]
) -> tuple[dict[str, float], dict[str, str]]:
    """Spacing from the resolution tags, and from ImageJ's header if there is one."""
    tag_unit = _RESOLUTION_UNITS.get(int(page.tags.valueof("ResolutionUnit", 1)))
    # As in ImageJ, the unit in its header holds whatever the tag says.
    unit = unit_name(imagej.get("unit")) if "unit" in imagej else tag_unit or "pixel"
    spacing = {}
    for axis, tag in (("X", "XResolution"), ("Y", "YResolution")):
        pixels, length = page.tags.valueof(tag, (1, 1))
        arbitrary = unit == "inch" and pixels in [n * length for n in _NO_MEASURE_DPI]
        if pixels and length and not arbitrary:
            spacing[axis] = length / pixels
    if float(imagej.get("spacing", 0)) > 0:
        spacing["Z"] = float(imagej["spacing"])
    units = dict.fromkeys(spacing, unit)
    if float(imagej.get("finterval", 0)) > 0:
        spacing["T"] = float(imagej["finterval"])
        units["T"] = unit_name(imagej.get("tunit", "second"))
    return spacing, units


def write_tiff(path: Path, image: ImageFile) -> None:
    """Write labels, losslessly compressed, with their spacing.

    A name ending in .ome.tif(f) gets OME metadata. Others get ImageJ's, as far as
    ImageJ's own format can hold the labels (uint8 and uint16, less than 4 GB), else
    OME's, or tifffile's where OME has no such type (64-bit integers).

    Raises
    ------
    ValueError
        If 64-bit labels are to become OME-TIFF.
    """
    import tifffile

    named_ome = path.name.lower().endswith((".ome.tif", ".ome.tiff"))
    if named_ome and image.dtype.itemsize == 8:
        raise ValueError(
            f"labels must have at most 32 bits in OME-TIFF, got {image.dtype}; "
            "a name that ends in .tif alone keeps them."
        )
    options: dict[str, Any] = {"compression": "zlib", "photometric": "minisblack"}
    if image.dtype.itemsize == 8:
        options["metadata"] = {
            "axes": image.axes,
            "spacing": image.spacing,
            "units": image.units,
        }
        options["bigtiff"] = image.data.nbytes > _IMAGEJ_MAX_BYTES
    elif named_ome or not _imagej(image):
        options |= {"ome": True, "metadata": _ome_metadata(image)}
        options["bigtiff"] = image.data.nbytes > _IMAGEJ_MAX_BYTES
    else:
        options |= {"imagej": True, **_imagej_options(image)}
    tifffile.imwrite(path, image.data, **options)


def _imagej(image: ImageFile) -> bool:
    """Whether ImageJ's own format can hold these labels."""
    in_order = image.axes == "".join(x for x in _IMAGEJ_AXES if x in image.axes)
    return (
        image.dtype in (np.uint8, np.uint16)
        and image.data.nbytes < _IMAGEJ_MAX_BYTES
        and in_order
        # tifffile takes the last axis for that of colour samples if it is 1.
        and image.shape[-1] > 1
        # Outside, a ratio of two 32-bit numbers is no longer exact enough.
        and all(1e-4 < x < 1e4 for x in image.spacing)
    )


def _imagej_options(image: ImageFile) -> dict[str, Any]:
    units = dict(zip(image.axes, image.units or (), strict=True))
    # ImageJ has one unit for all lengths: that of the columns.
    spacing = {
        axis: converted(value, units[axis], units["X"])
        for axis, value in zip(image.axes, image.spacing, strict=True)
    }
    metadata: dict[str, Any] = {"axes": image.axes}
    if units["X"] in METRES:
        # Its header is ASCII, and "in" means nothing to it.
        short = _SHORT[units["X"]].replace("µ", "u")
        metadata["unit"] = short if short in _IMAGEJ_SHORT else units["X"]
    if "Z" in spacing:
        metadata["spacing"] = spacing["Z"]
    if "T" in spacing and units["T"] == "second":
        metadata["finterval"] = spacing["T"]
    return {
        "metadata": metadata,
        "resolution": (_pixels_per_unit(spacing["X"]), _pixels_per_unit(spacing["Y"])),
        "resolutionunit": "NONE",
    }


def _pixels_per_unit(spacing: float) -> tuple[int, int]:
    # As a fraction, 0.3 is kept as 10 pixels in 3 units, which a float cannot do.
    length = Fraction(spacing).limit_denominator(int(2**31 / max(1.0, spacing)))
    return length.denominator, length.numerator


def _ome_metadata(image: ImageFile) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": image.axes}
    for axis, spacing, unit in zip(
        image.axes, image.spacing, image.units or (), strict=True
    ):
        if axis in "XYZ":
            metadata[f"PhysicalSize{axis}"] = spacing
            metadata[f"PhysicalSize{axis}Unit"] = _SHORT[unit]
        elif axis == "T" and unit not in METRES and unit != "pixel":
            metadata["TimeIncrement"] = spacing
            metadata["TimeIncrementUnit"] = _SHORT[unit]
    return metadata
