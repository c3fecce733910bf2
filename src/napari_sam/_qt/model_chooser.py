"""The chooser of models, as all widgets that segment have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from qtpy.QtWidgets import QApplication

from napari_sam._qt.controls import fill, grey_out
from napari_sam.registry import list_models, missing_extra

if TYPE_CHECKING:
    from qtpy.QtWidgets import QComboBox


@runtime_checkable
class _OffersModels(Protocol):
    """A dock widget with a chooser of models."""

    is_open: bool

    def list_models(self) -> None: ...


def offer_new_models() -> None:
    """Tell the open widgets of all viewers that there may be other models."""
    for widget in QApplication.allWidgets():
        if isinstance(widget, _OffersModels) and widget.is_open:
            widget.list_models()


def offer_models(box: QComboBox, chosen: str) -> None:
    """Offer the models that there are now; those that lack a library are grey.

    Parameters
    ----------
    box : QComboBox
    chosen : str
        Name of the one that is chosen.
    """
    models = list_models()
    fill(box, [(spec.name, spec.name) for spec in models], chosen)
    for row, spec in enumerate(models):
        grey_out(box, row, missing_extra(spec))
    box.setCurrentIndex(box.findData(chosen))
