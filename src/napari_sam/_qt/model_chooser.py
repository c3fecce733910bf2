"""The chooser of models, as all widgets that segment have it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from qtpy.QtWidgets import QApplication

from napari_sam._qt.controls import fill, grey_out
from napari_sam.registry import is_available, list_models, missing_extra

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtpy.QtWidgets import QComboBox

    from napari_sam.types import ModelSpec

FOLDER = "a folder of your own …"


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


def offer_text_models(
    box: QComboBox, known: Mapping[str, ModelSpec], chosen: str
) -> None:
    """Offer models that know words, and a folder; grey without the library.

    Parameters
    ----------
    box : QComboBox
    known : mapping of str to ModelSpec
    chosen : str
        Name or folder of the one that is chosen.
    """
    entries: list[tuple[str, object]] = [(name, name) for name in known]
    if chosen not in known:
        entries.append((Path(chosen).name, chosen))
    entries.append((FOLDER, None))
    fill(box, entries, chosen)
    reason = missing_extra(next(iter(known.values())))
    for index in range(len(entries)):
        grey_out(box, index, reason)
    box.setCurrentIndex(box.findData(chosen))
    box.setToolTip(reason or (chosen if chosen not in known else box.currentText()))


def lacking_for_words(known: Mapping[str, ModelSpec]) -> str:
    """Say what must be installed before models can be used; "" if nothing."""
    if missing_extra(next(iter(known.values()))) is None:
        return ""
    return (
        "Words need the transformers library; install it, and start napari again: "
        'pip install "napari-sam-stacks[text]"'
    )


def text_download(known: Mapping[str, ModelSpec], chosen: str) -> str:
    """Say what will be downloaded before a model is used first; "" if nothing."""
    spec = known.get(chosen)
    if spec is None or is_available(spec):
        return ""
    return (
        f"Downloads {spec.name} once: {spec.size}, licence {spec.license}. "
        "Without a network, choose a folder with its files."
    )
