"""Someone who looks for objects with the widget "Automatic masks"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

# Without Qt, whoever looks into every file for doctests passes this one over.
pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

from napari_sam._qt.automatic import AutomaticMasksWidget
from napari_sam._qt.automatic_engine import Filters
from napari_sam._tests.test_qt_steps import DiscPredictor, JobUser

if TYPE_CHECKING:
    from pathlib import Path


class CountingDiscs(DiscPredictor):
    """Counts the prompts that it decodes."""

    decoded = 0

    @classmethod
    def _disc(cls, prompts: Any, plane_size: Any, radius: float) -> Any:
        """Logits that are steep at the edge: stable masks."""
        return 10 * super()._disc(prompts, plane_size, radius)

    def decode(self, embedding: Any, prompts: Any, *how: Any, **options: Any) -> Any:
        """Decode, and count."""
        self.decoded += len(prompts)
        return super().decode(embedding, prompts, *how, **options)


def load_discs(monkeypatch: Any, folder: Path) -> CountingDiscs:
    """Have the widget load a model of discs, and keep its cache in a folder."""
    predictor = CountingDiscs()
    monkeypatch.setattr("napari_sam._qt.engine.load_model", lambda name: predictor)
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(folder))
    return predictor


class Finding(JobUser):
    """Someone with the widget in a viewer."""

    def __init__(self, viewer: Any, qtbot: Any, widget: Any = None) -> None:
        widget = widget or AutomaticMasksWidget(viewer)
        super().__init__(viewer, qtbot, widget, widget.finder)

    def find(self, points: int = 8, **filters: float) -> None:
        """Look for objects with a coarse grid."""
        self.choose("grid", points)
        wanted = {"score": 0.6, "stability": 0.7, **filters}
        self.controls.show_filters(Filters(**wanted))
        self.press("run")

    @property
    def shown(self) -> set[int]:
        """Numbers of the objects in the list; those in the layer are among them."""
        numbers = set(self.own.found.numbers.tolist())
        drawn = set(np.unique(self.own.preview.layer.data).tolist()) - {0}
        assert drawn <= numbers
        assert bool(drawn) == bool(numbers)
        return numbers

    @property
    def rows(self) -> int:
        """Number of rows of the table."""
        return self.controls.table.model().rowCount()
