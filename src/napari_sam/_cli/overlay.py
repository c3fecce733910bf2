"""Pictures of what was segmented: planes with outlines, prompts and a legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFont

from napari_sam.types import Prompts

Colour = tuple[int, int, int]

# Distinct on grey and from each other for most kinds of colour vision; cyan first,
# as the outlines of fluorescence and CT are usually seen.
PALETTE: tuple[Colour, ...] = (
    (64, 196, 255),
    (255, 176, 59),
    (190, 132, 255),
    (88, 224, 150),
    (255, 112, 146),
    (240, 228, 66),
    (98, 146, 255),
    (255, 138, 92),
    (72, 222, 214),
    (236, 122, 232),
    (170, 226, 82),
    (255, 205, 160),
)
WHITE: Colour = (255, 255, 255)
INSIDE: Colour = (60, 230, 90)
OUTSIDE: Colour = (255, 70, 70)
BACKGROUND: Colour = (17, 19, 24)
TEXT: Colour = (222, 226, 232)
DIM_TEXT: Colour = (150, 157, 168)

FILL = 0.28
MARGIN = 20
HEADING = 100
CAPTION = 34
# Drawn at twice the size and reduced, which smooths lines and circles.
SUPERSAMPLING = 2


@dataclass(frozen=True, eq=False)
class Panel:
    """One plane of a picture.

    Parameters
    ----------
    pixels : ndarray of shape (H, W) or (H, W, 3), uint8
    caption : str
    labels : ndarray of shape (H, W), int, optional
        Drawn filled and outlined, each label in its colour.
    truth : ndarray of shape (H, W), int, optional
        Drawn as thin white outlines.
    prompts : sequence of (int, Prompts)
        Label and prompts: boxes in the label's colour, points green and red.
    """

    pixels: NDArray[np.uint8]
    caption: str
    labels: NDArray[Any] | None = None
    truth: NDArray[Any] | None = None
    prompts: Sequence[tuple[int, Prompts]] = ()


@dataclass(frozen=True)
class Layout:
    """How panels are put together.

    Parameters
    ----------
    title : str
    legend : str
        A line below the title.
    columns : int
        Panels side by side.
    zoom : (float, float)
        Pixels of the picture for one row and one column of a plane.
    """

    title: str
    legend: str
    columns: int
    zoom: tuple[float, float]


def colour_of(label: int) -> Colour:
    """Return the colour a label is drawn in."""
    return PALETTE[(label - 1) % len(PALETTE)]


def fitting_zoom(
    plane_size: tuple[int, int], spacing: Sequence[float], width: int
) -> tuple[float, float]:
    """Zoom that makes a plane this many pixels large, its pixels as they are spaced.

    Parameters
    ----------
    plane_size : (H, W)
    spacing : (float, float)
        Of rows and columns.
    width : int
        Pixels of the picture for the longer side.

    Returns
    -------
    (float, float)
        As `Layout.zoom`.

    Examples
    --------
    >>> fitting_zoom((10, 50), (2.0, 1.0), 500)
    (20.0, 10.0)
    """
    longer = max(n * s for n, s in zip(plane_size, spacing, strict=True))
    rows, columns = (width * s / longer for s in spacing)
    return rows, columns


def draw(panels: Sequence[Panel], layout: Layout) -> Image.Image:
    """Draw panels in rows under a title.

    Parameters
    ----------
    panels : sequence of Panel
        At least one.
    layout : Layout

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    tiles = [draw_panel(panel, layout.zoom) for panel in panels]
    large, small = ImageFont.load_default(30), ImageFont.load_default(20)
    rows = [
        range(first, min(first + layout.columns, len(tiles)))
        for first in range(0, len(tiles), layout.columns)
    ]
    heights = [max(tiles[i].height for i in row) + CAPTION + MARGIN for row in rows]
    width = max(tile.width for tile in tiles) + MARGIN
    size = MARGIN + len(rows[0]) * width, HEADING + sum(heights)
    picture = Image.new("RGB", size, BACKGROUND)
    pen = ImageDraw.Draw(picture)
    pen.text((MARGIN, MARGIN - 4), layout.title, TEXT, large)
    pen.text((MARGIN, MARGIN + 40), layout.legend, DIM_TEXT, small)
    y = HEADING
    for row, height in zip(rows, heights, strict=True):
        for x, i in enumerate(row):
            corner = MARGIN + x * width, y
            pen.text(corner, panels[i].caption, TEXT, small)
            picture.paste(tiles[i], (corner[0], y + CAPTION))
        y += height
    return picture


def draw_panel(panel: Panel, zoom: tuple[float, float]) -> Image.Image:
    """Draw one plane, enlarged, with what lies on it.

    Parameters
    ----------
    panel : Panel
    zoom : (float, float)
        Pixels for one row and one column.

    Returns
    -------
    PIL.Image.Image
        RGB, of the size of the plane times the zoom.
    """
    rows, columns = panel.pixels.shape[:2]
    size = max(1, round(columns * zoom[1])), max(1, round(rows * zoom[0]))
    large = size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING
    scale = np.array([large[1] / rows, large[0] / columns])
    picture = Image.fromarray(panel.pixels).convert("RGB")
    picture = picture.resize(large, Image.Resampling.BICUBIC)
    if panel.labels is not None:
        for label, contours in outlines(panel.labels).items():
            _fill(picture, contours, scale, colour_of(label))
            _trace(picture, contours, scale, colour_of(label), 2 * SUPERSAMPLING)
    if panel.truth is not None:
        for contours in outlines(panel.truth).values():
            _trace(picture, contours, scale, WHITE, SUPERSAMPLING)
    for label, prompts in panel.prompts:
        _draw_prompts(picture, prompts, scale, colour_of(label))
    return picture.resize(size, Image.Resampling.LANCZOS)


def outlines(labels: NDArray[Any]) -> dict[int, list[NDArray[np.float64]]]:
    """Outline each label, as closed lines between its pixels and the others'.

    Parameters
    ----------
    labels : ndarray of shape (H, W), int

    Returns
    -------
    dict of int to list of ndarray of shape (N, 2)
        (row, column), pixel centres at integers.
    """
    from scipy.ndimage import find_objects
    from skimage.measure import find_contours

    found: dict[int, list[NDArray[np.float64]]] = {}
    # Labels may be few and large: numbered afresh, they make a short list of boxes.
    values, numbered = np.unique(labels, return_inverse=True)
    numbered = numbered.reshape(labels.shape) + 1
    for value, box in zip(values, find_objects(numbered), strict=True):
        if value == 0:
            continue
        # A pixel more on each side closes outlines at the edge of the plane.
        mask = np.pad(labels[box] == value, 1).astype(np.float64)
        corner = np.array([box[0].start, box[1].start]) - 1
        lines = find_contours(mask, 0.5)  # type: ignore[no-untyped-call]
        found[int(value)] = [line + corner for line in lines]
    return found


def _xy(line: NDArray[np.float64], scale: NDArray[np.float64]) -> list[float]:
    # Each vertex moves half way to its neighbours: the steps of the pixels are rounded.
    ring = line[:-1]
    ring = ring / 2 + np.roll(ring, 1, axis=0) / 4 + np.roll(ring, -1, axis=0) / 4
    line = np.concatenate([ring, ring[:1]])
    # Half a pixel: in a picture the first pixel's centre is at 0.5.
    flat: list[float] = ((line + 0.5) * scale)[:, ::-1].ravel().tolist()
    return flat


def _fill(
    picture: Image.Image,
    contours: Sequence[NDArray[np.float64]],
    scale: NDArray[np.float64],
    colour: Colour,
) -> None:
    """Tint the inside of outlines; one within another is a hole."""
    polygons = [np.reshape(_xy(line, scale), (-1, 2)) for line in contours]
    every = np.concatenate(polygons)
    # Only the part of the picture that is tinted is worked on.
    left, top = (int(v) for v in np.floor(every.min(axis=0)))
    size = tuple(int(v) for v in np.ceil(every.max(axis=0)) - (left, top) + 1)
    cover = Image.new("1", (size[0], size[1]))
    for polygon in polygons:
        part = Image.new("1", cover.size)
        ImageDraw.Draw(part).polygon((polygon - (left, top)).ravel().tolist(), fill=1)
        cover = ImageChops.logical_xor(cover, part)
    strength = cover.convert("L").point(lambda on: round(on * FILL))
    picture.paste(colour, (left, top, left + size[0], top + size[1]), strength)


def _trace(
    picture: Image.Image,
    contours: Sequence[NDArray[np.float64]],
    scale: NDArray[np.float64],
    colour: Colour,
    width: int,
) -> None:
    pen = ImageDraw.Draw(picture)
    for line in contours:
        pen.line(_xy(line, scale), colour, width, joint="curve")


def _draw_prompts(
    picture: Image.Image,
    prompts: Prompts,
    scale: NDArray[np.float64],
    colour: Colour,
) -> None:
    pen = ImageDraw.Draw(picture)
    if prompts.box is not None:
        # Edges of pixels, so no half pixel is added.
        (top, left), (bottom, right) = prompts.box.reshape(2, 2) * scale
        pen.rectangle((left, top, right, bottom), None, colour, SUPERSAMPLING)
    radius = 5 * SUPERSAMPLING
    for point, inside in zip(prompts.points, prompts.point_labels, strict=True):
        y, x = (point + 0.5) * scale
        circle = (x - radius, y - radius, x + radius, y + radius)
        fill = INSIDE if inside else OUTSIDE
        pen.ellipse(circle, fill, WHITE, SUPERSAMPLING + 1)
