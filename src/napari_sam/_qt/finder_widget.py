"""What the dock widgets have in common that find objects and write them into labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog

from napari_sam._qt import workspace
from napari_sam._qt.controls import fill
from napari_sam._qt.job_widget import JobWidget
from napari_sam._qt.model_chooser import offer_models

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtpy.QtWidgets import QComboBox, QWidget

    from napari_sam._qt.object_finder import ObjectFinder


class FinderWidget(JobWidget):
    """A dock widget whose controls choose for an `ObjectFinder`, and show its state.

    Parameters
    ----------
    finder : ObjectFinder
        No child of this widget: it must live until it has been told to close.
    controls : object
        With choosers ``image``, ``target`` and ``model``, and a button ``undo``.
    parent : QWidget, optional
    """

    def __init__(
        self, finder: ObjectFinder, controls: Any, parent: QWidget | None = None
    ) -> None:
        self.finder, self.controls = finder, controls
        super().__init__(finder.runner, finder.close, parent)
        self.finder.changed.connect(self.refresh)
        self.connect_layers(image=controls.image, target=controls.target)
        for name, box in self.choosers.items():
            box.activated.connect(
                lambda _, name=name, box=box: finder.choose(**{name: box.currentData()})
            )
        controls.undo.clicked.connect(finder.undo)
        self.cancel.clicked.connect(finder.cancel)

    @property
    def choosers(self) -> Mapping[str, QComboBox]:
        """Choosers of what is not a layer, by the name of the choice."""
        raise NotImplementedError

    def connect_layers(self, **boxes: QComboBox) -> None:
        """Have choosers of layers choose, by the name of the layer."""
        for name, box in boxes.items():
            box.activated.connect(
                lambda _, name=name, box=box: self.finder.set_layers(
                    **{name: box.currentData()}
                )
            )

    def connect_text_models(self, **boxes: tuple[QComboBox, str]) -> None:
        """Have choosers of models that know words choose, by the name of the choice.

        Parameters
        ----------
        **boxes : (QComboBox, str)
            The chooser, and the title of the dialogue that asks for a folder.
        """
        for name, (box, title) in boxes.items():
            box.activated.connect(
                lambda _, name=name, box=box, title=title: self._on_text_model(
                    name, box.currentData(), title
                )
            )

    def _on_text_model(self, name: str, chosen: str | None, title: str) -> None:
        if chosen is not None:
            self.finder.choose(**{name: chosen})
        else:
            folder = QFileDialog.getExistingDirectory(self, title)
            if folder:
                self.finder.choose_folder(folder)
        self.refresh()

    def begin(self, choices: Any) -> None:
        """Show what is chosen at first, and what the viewer holds."""
        self.finder.choices = choices
        self.list_models()
        self.finder.refresh()

    def list_models(self) -> None:
        """Offer the models that there are now."""
        offer_models(self.controls.model, self.finder.choices.model)

    def refresh_choosers(self) -> None:
        """Offer the layers that there are, and show what is chosen."""
        own, controls = self.finder, self.controls
        images = [(layer.name, layer) for layer in workspace.images_of(own.viewer)]
        fill(controls.image, images, own.image)
        targets = workspace.targets_of(own.viewer, own.image, own.view)
        labels: list[tuple[str, Any]] = [(layer.name, layer) for layer in targets]
        fill(controls.target, [(workspace.NEW_LABELS, None), *labels], own.target)
        for name, box in self.choosers.items():
            box.setCurrentIndex(box.findData(getattr(own.choices, name)))

    def refresh_progress(self) -> None:
        """Show how far the work is, or the download that it waits for."""
        progress = self.finder.progress
        done = progress.done or self.finder.engine.transfer.fraction
        self.show_progress(done, progress.text)

    def _on_patience(self) -> None:
        super()._on_patience()
        # A download tells nobody how far it is; it is looked at as long as it lasts.
        self.refresh_progress()
        self._patience.start()
