"""Take the pictures of the tutorial: the real widget, used on the sample data.

    xvfb-run -a -s "-screen 0 1400x900x24" python docs/make_screenshots.py

They are written into docs/images. `--all` takes every state of the widget, light and
dark, also those that the documentation does not show, into another folder.
`--only fine-tuning --minutes 15` takes only the picture of a training of 15 minutes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from napari import Viewer
from PIL import Image
from qtpy.QtWidgets import QApplication

from napari_sam._qt.annotation import SegmentAnythingWidget
from napari_sam._qt.engine import Engine
from napari_sam.embedding_cache import EmbeddingCache

WAIT_SECONDS = 600
WIDTH, HEIGHT = 1200, 800
# Of the sample "brain MR": a plane, and the box of a ventricle in it.
VENTRICLE = 63, (54.5, 64.5, 94.5, 82.5)
MINUTES = 3
"""Time of the training that is shown."""


def run_until(condition: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    """Turn the event loop until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the widget did not come to an end")
        QApplication.processEvents()
        time.sleep(0.005)


def run_for(seconds: float) -> None:
    """Turn the event loop for some time."""
    end = time.monotonic() + seconds
    run_until(lambda: time.monotonic() > end)


class Photographer:
    """A viewer with the widget, and where pictures of it go.

    Parameters
    ----------
    folder : Path
    cache : str
        Directory of embeddings.
    theme : {"dark", "light"}
    """

    def __init__(self, folder: Path, cache: str, theme: str = "dark") -> None:
        self.folder = folder
        self.viewer = Viewer(show=True)
        self.viewer.theme = theme
        self.viewer.window.resize(WIDTH, HEIGHT)
        self.widget = SegmentAnythingWidget(
            self.viewer, Engine(cache=EmbeddingCache(cache))
        )
        self.dock = self.viewer.window.add_dock_widget(
            self.widget, name="Segment Anything"
        )
        self.own = self.widget.annotator
        run_for(0.5)

    def take(self, name: str, of: str = "window") -> None:
        """Write a picture of the window, or of the widget alone."""
        run_for(0.4)
        seen = self.viewer.window._qt_window if of == "window" else self.widget
        path = self.folder / f"{name}.png"
        seen.grab().save(str(path))
        # A palette of 256 colours is enough, and a third of the size.
        Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)

    def narrow(self, width: int = 300) -> None:
        """Make the dock as narrow as on a small screen."""
        window = self.viewer.window._qt_window
        from qtpy.QtCore import Qt

        window.resizeDocks([self.dock], [width], Qt.Orientation.Horizontal)
        run_for(0.2)

    def scroll_to(self, part: Any) -> None:
        """Show a part of the widget at its top."""
        from qtpy.QtWidgets import QScrollArea

        bar = self.widget.findChild(QScrollArea).verticalScrollBar()
        bar.setValue(part.mapTo(self.widget.controls, part.rect().topLeft()).y())
        run_for(0.2)

    def settle(self) -> None:
        """Wait for the mask of the prompts of now."""
        run_for(0.2)
        run_until(lambda: not self.own.runner.is_busy)
        run_for(0.2)

    @property
    def points(self) -> Any:
        """Layer of the points that are prompts."""
        return next(x for x in self.viewer.layers if x.name.startswith("points: "))

    @property
    def shapes(self) -> Any:
        """Layer of the shapes that are prompts."""
        return next(x for x in self.viewer.layers if x.name.startswith("boxes: "))

    def close(self) -> None:
        """Close the viewer."""
        self.widget.close_work()
        self.viewer.close()


def tutorial(folder: Path, cache: str) -> None:
    """Pictures of docs/annotate.md, in its order."""
    own = Photographer(folder, cache)
    own.viewer.open_sample("napari-sam-stacks", "coins")
    own.settle()
    own.take("annotate-open")
    own.own.start()
    own.points.add([55, 45])
    own.settle()
    run_until(lambda: own.own.work.picture is not None)
    own.take("annotate-first-mask")
    own.own.accept()
    own.settle()
    own.shapes.add([[40, 90], [40, 140], [105, 140], [105, 90]])
    own.settle()
    own.take("annotate-box")
    own.close()


def sessions(folder: Path, cache: str) -> None:
    """Pictures of docs/annotate.md and docs/sessions.md: a stack, and work restored."""
    own = Photographer(folder, cache)
    own.viewer.open_sample("napari-sam-stacks", "brain_mr")
    own.viewer.dims.set_current_step(0, VENTRICLE[0])
    own.settle()
    own.own.start()
    top, left, bottom, right = VENTRICLE[1]
    corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
    own.shapes.add_rectangles([[(VENTRICLE[0], *corner) for corner in corners]])
    own.settle()
    volume = own.widget.volume
    volume.controls.title.setChecked(True)
    volume.volume.choose(extend="between", between=(VENTRICLE[0], VENTRICLE[0] + 3))
    volume.volume.follow_object()
    run_until(lambda: volume.volume.run is None)
    own.settle()
    own.scroll_to(volume.controls)
    own.take("annotate-stack")
    own.own.accept()
    own.settle()
    run_for(2)  # until it is saved
    own.close()
    again = Photographer(folder, cache)
    again.viewer.open_sample("napari-sam-stacks", "brain_mr")
    again.settle()
    run_until(lambda: again.own.autosave.offer is not None)
    again.take("session-restore", "widget")
    again.close()


def fine_tuning(folder: Path, minutes: float) -> None:
    """Picture of docs/finetuning.md: a training on halves of the spine sample.

    Every third sagittal plane of either side; the other side is held out.
    """
    from napari_sam._qt.finetune import FineTuneWidget
    from napari_sam.io import read_image, read_labels, sample_path

    image = np.asarray(read_image(sample_path("spine_ct.nii.gz")).data)
    labels = np.asarray(read_labels(sample_path("spine_ct_labels.nii.gz")).data)
    viewer = Viewer(show=True)
    viewer.window.resize(WIDTH, 900)
    for side, planes in (("one", slice(6, 37, 3)), ("other", slice(37, 68, 3))):
        limits = (-150, 400)
        viewer.add_image(image[planes], name=f"{side} side", contrast_limits=limits)
        viewer.add_labels(labels[planes], name=f"vertebrae, {side} side")
    widget = FineTuneWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Fine-tune")
    run_for(0.5)
    widget.controls.minutes.setValue(minutes)
    widget.controls.name.setText("vertebrae")
    widget.start()
    run_until(widget.controls.start.isEnabled, 60 * minutes + WAIT_SECONDS)
    run_for(0.5)
    path = folder / "finetune-done.png"
    viewer.window._qt_window.grab().save(str(path))
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)
    widget.close_work()
    viewer.close()


def states(folder: Path, cache: str, theme: str) -> None:
    """Every state of the widget, to look at."""
    from skimage.data import cell

    own = Photographer(folder, cache, theme)
    own.take(f"{theme}-1-empty", "widget")
    own.viewer.add_image(cell(), name="cell")
    own.settle()
    own.take(f"{theme}-2-image", "widget")
    own.own.start()
    own.take(f"{theme}-3-started", "widget")
    own.points.add([378, 428])
    run_for(0.3)
    own.take(f"{theme}-4-loading", "widget")
    own.settle()
    run_for(1.5)
    own.take(f"{theme}-5-masks")
    own.narrow()
    own.take(f"{theme}-6-narrow", "widget")
    own.own.accept()
    own.settle()
    own.take(f"{theme}-7-accepted")
    own.own.choose(model="sam_vit_b")
    own.take(f"{theme}-8-download", "widget")
    own.own.choose(model="mobile_sam")
    own.own.set_target(own.viewer.add_labels(np.zeros(cell().shape, np.uint8)))
    own.own.choose(object_id=300)
    own.points.add([378, 428])
    own.settle()
    own.own.accept()
    own.take(f"{theme}-9-error")
    own.viewer.dims.ndisplay = 3
    own.take(f"{theme}-10-problem", "widget")
    own.close()


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path)
    parts = ("all", "tutorial", "sessions", "fine-tuning")
    parser.add_argument("--only", choices=parts, default="all")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["NAPARI_SAM_SESSIONS"] = str(Path(cache) / "sessions")
        if options.all is None:
            folder = Path(__file__).parent / "images"
            folder.mkdir(exist_ok=True)
            os.environ["NAPARI_SAM_MODELS"] = cache  # none of the user's own
            if options.only in ("all", "tutorial"):
                tutorial(folder, cache)
            if options.only in ("all", "sessions"):
                sessions(folder, cache)
            if options.only in ("all", "fine-tuning"):
                fine_tuning(folder, options.minutes)
            return
        options.all.mkdir(parents=True, exist_ok=True)
        for theme in ("dark", "light"):
            states(options.all, cache, theme)


if __name__ == "__main__":
    main()
