"""The plot of ``napari-sam evaluate``: IoU by clicks, and AP by IoU."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from napari_sam.evaluation import (
    AP_THRESHOLDS,
    LabelScore,
    ObjectScore,
    precision_curve,
)

# Size of a panel in pixels, and its margins.
SIZE, MARGIN = (640, 420), (64, 48)
CLICKS, BOX, AUTOMATIC = "#1b6ca8", "#d95f02", "#2a7f3f"
Points = Sequence[tuple[float, float]]


class Panel:
    """Axes from 0 to 1 upwards, and over some range to the right.

    Parameters
    ----------
    title, along, up : str
        Above the axes, and names of the axes.
    ticks : sequence of (float, str)
        Places to the right and what is written there; the first and the last are the
        ends of the axis.
    """

    def __init__(
        self, title: str, along: str, up: str, ticks: Sequence[tuple[float, str]]
    ) -> None:
        self.picture = Image.new("RGB", SIZE, "white")
        self.pen = ImageDraw.Draw(self.picture)
        self.ends = ticks[0][0], ticks[-1][0]
        for height in np.linspace(0, 1, 6):
            ends = [self.at(end, height) for end in self.ends]
            self.pen.line(ends, fill="#dddddd")
            x, y = ends[0]
            self.pen.text((x - 30, y - 6), f"{height:.1f}", fill="black")
        for place, text in ticks:
            x, y = self.at(place, 0)
            self.pen.text((x, y + 6), text, fill="black", anchor="ma")
        width, height = SIZE
        self.pen.text((MARGIN[0], 16), title, fill="black")
        self.pen.text((width / 2, height - 22), along, fill="black", anchor="ma")
        self.pen.text((10, 16), up, fill="black")

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixel (x, y) of a place."""
        (width, height), (left, top) = SIZE, MARGIN
        share = (x - self.ends[0]) / (self.ends[1] - self.ends[0])
        return left + share * (width - 2 * left), height - top - y * (height - 2 * top)

    def curve(self, points: Points, colour: str) -> None:
        """Draw a line with a dot at each point."""
        line = [self.at(*point) for point in points]
        self.pen.line(line, fill=colour, width=3)
        for x, y in line:
            self.pen.ellipse([x - 4, y - 4, x + 4, y + 4], fill=colour)

    def level(self, height: float, text: str, colour: str) -> None:
        """Draw a line across, with a text at its end."""
        ends = [self.at(end, height) for end in self.ends]
        self.pen.line(ends, fill=colour, width=2)
        x, y = ends[1]
        self.pen.text((x, y + 4), text, fill=colour, anchor="ra")


def draw_evaluation(
    scores: Sequence[ObjectScore], labels: Sequence[LabelScore], title: str
) -> Image.Image:
    """Plot the mean IoU after each click and of the tight box, and AP if there is any.

    Parameters
    ----------
    scores : sequence of ObjectScore
    labels : sequence of LabelScore
        Of automatic masks; may be empty.
    title : str
    """
    means = np.mean([one.clicks for one in scores], axis=0)
    counts = range(1, len(means) + 1)
    panel = Panel(title, "clicks", "IoU", [(n, str(n)) for n in counts])
    box = float(np.mean([one.box for one in scores]))
    panel.level(box, f"box {box:.2f}", BOX)
    panel.curve(list(zip(counts, means.tolist(), strict=True)), CLICKS)
    if not labels:
        return panel.picture
    second = automatic_panel(labels)
    both = Image.new("RGB", (2 * SIZE[0], SIZE[1]), "white")
    both.paste(panel.picture, (0, 0))
    both.paste(second.picture, (SIZE[0], 0))
    return both


def automatic_panel(labels: Sequence[LabelScore]) -> Panel:
    """Plot the average precision of automatic masks by the IoU that is asked for."""
    objects, found = (
        sum(getattr(one, name) for one in labels) for name in ("objects", "found")
    )
    title = f"automatic: {objects} objects, {found} masks"
    ticks = [(t, f"{t:.2f}") for t in AP_THRESHOLDS]
    panel = Panel(title, "IoU asked for", "AP", ticks)
    precisions = precision_curve(labels)
    mean = float(np.mean(precisions))
    panel.level(mean, f"mean {mean:.2f}", BOX)
    panel.curve(list(zip(AP_THRESHOLDS, precisions, strict=True)), AUTOMATIC)
    return panel
