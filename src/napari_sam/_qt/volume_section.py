"""The section "Volume": its controls, and what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_sam._layers_view import image_shape
from napari_sam._qt.volume import Volume
from napari_sam._qt.volume_controls import VolumeControls
from napari_sam._qt.volume_run import Run
from napari_sam._qt.volume_state import review_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam._qt.controller import Annotator


RUNNING = "Planes are written as they come; clicks and scrolling go on meanwhile."
AGREEING = "Labels are written at the end; clicks and scrolling go on meanwhile."


class VolumeSection(QObject):
    """Connects the controls for stacks to an annotator.

    Parameters
    ----------
    annotator : Annotator
    parent : QObject, optional
    """

    def __init__(self, annotator: Annotator, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._annotator = annotator
        self.volume = Volume(annotator, self)
        self.controls = VolumeControls()
        self.controls.setVisible(False)
        self._connect()

    def slots(self) -> dict[str, Callable[[], None]]:
        """Return what to call for each action that has a key."""
        own = self.volume
        return {
            "follow_object": own.follow_object,
            "follow_all": own.follow_all,
            "next_doubtful": own.next_doubtful,
            "approve": own.approve,
        }

    def _connect(self) -> None:
        own, controls = self.volume, self.controls
        own.changed.connect(self._refresh)
        controls.along.activated.connect(lambda index: own.choose(along=index))
        controls.extend.activated.connect(
            lambda _: own.choose(extend=controls.extend.currentData())
        )
        controls.between.valueChanged.connect(
            lambda values: own.choose(between=(int(values[0]), int(values[1])))
        )
        controls.consensus.toggled.connect(lambda on: own.choose(consensus=on))
        controls.cancel.clicked.connect(own.cancel)
        controls.plot.chosen.connect(own.go_to)
        for name, slot in self.slots().items():
            # Without what Qt says of the button.
            getattr(controls, name).clicked.connect(lambda _, slot=slot: slot())

    def _refresh(self) -> None:
        """Show what is known now."""
        own, controls, review = self.volume, self.controls, self.volume.review
        line = own.line
        image, view = self._annotator.image, self._annotator.scene.view
        is_stack = image is not None and len(image_shape(image)) > 2
        controls.setVisible(is_stack)
        if image is None or line is None or view is None:
            return
        labels = [image.axis_labels[axis] for axis in view.sliced_axes]
        lengths = [image_shape(image)[axis] for axis in view.sliced_axes]
        controls.show_axes(
            [
                f"{_axis_name(label)}: {length} planes"
                for label, length in zip(labels, lengths, strict=True)
            ],
            own.along,
        )
        controls.extend.setCurrentIndex(controls.extend.findData(own.choices.extend))
        controls.between.setVisible(own.choices.extend == "between")
        controls.show_between(own.choices.between, line.count)
        controls.consensus.setEnabled(own.may_agree)
        run = own.run
        controls.show_progress(
            0 if run is None else run.done,
            0 if run is None else len(run.request.planes),
            "" if run is None else run.doing,
        )
        controls.plot.show_review(review)
        controls.plot.setVisible(bool(review.masks))
        controls.next_doubtful.setEnabled(bool(review.doubtful))
        controls.approve.setEnabled(self._annotator.target is not None)
        controls.approve.setChecked(review.is_here_approved)
        about = f"{own.said} {review_text(review)}".lstrip()
        controls.about.setText(about if run is None else _running_text(run))
        size = own.size_text
        controls.measures.setText(size)
        controls.measures.setVisible(bool(size))


def _running_text(run: Run) -> str:
    """Say what goes on: a bar without an end has no text of its own."""
    if not run.request.consensus:
        return RUNNING
    return f"{run.doing}. {AGREEING}" if run.doing else AGREEING


def _axis_name(label: str) -> str:
    """Name of an axis in words; napari calls those without a name -3, -2, -1.

    Examples
    --------
    >>> _axis_name("t"), _axis_name("axis -3")
    ('t', 'axis -3')
    """
    return label if not label.lstrip("-").isdigit() else f"axis {label}"
