"""The dock widget "Segment Anything"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# In the main thread, and before there is work: on Windows torch fails to load in a
# thread, or late, more often than not.
import torch  # noqa: F401
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QScrollArea, QVBoxLayout, QWidget

from napari_sam._layers import BACKGROUND, FOREGROUND, check_label
from napari_sam._layers_channels import channel_choices
from napari_sam._layers_view import image_shape
from napari_sam._qt import keys, workspace
from napari_sam._qt.activity import Activity
from napari_sam._qt.controller import Annotator
from napari_sam._qt.controls import Controls, fill, show_keys
from napari_sam._qt.dock_widget import DockWidget
from napari_sam._qt.drawing import DrawingPause
from napari_sam._qt.learning_controls import LearningControls
from napari_sam._qt.model_chooser import offer_models
from napari_sam._qt.pictures import ready_along
from napari_sam._qt.preferences import on_keys_changed, read_preferences
from napari_sam._qt.scene import size_text
from napari_sam._qt.session_controls import SessionControls
from napari_sam._qt.shared_cache import new_engine
from napari_sam._qt.state import (
    Choices,
    cache_text,
    sharp_names,
    shown_answer,
    status_text,
)
from napari_sam._qt.turns import timer_once
from napari_sam._qt.volume_section import VolumeSection
from napari_sam.registry import get_spec

if TYPE_CHECKING:
    import napari.viewer

    from napari_sam._qt.engine import Engine

# What is shorter than this needs no progress bar.
PATIENCE = 200
# About what a plane takes to encode, before one was.
PLANE_SECONDS = 3.0


class SegmentAnythingWidget(DockWidget):
    """From points and boxes to labels, plane by plane.

    Parameters
    ----------
    viewer : napari.Viewer
    engine : Engine, optional
        What computes; its own by default.
    parent : QWidget, optional
    """

    def __init__(
        self,
        viewer: napari.viewer.Viewer,  # napari looks for this very name
        engine: Engine | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.viewer = viewer
        # No child of this widget: it must live until it has been told to close.
        preferences = read_preferences()
        self.annotator = Annotator(viewer, engine or new_engine(preferences))
        self.annotator.choices = Choices(preferences.model)
        self.controls = Controls()
        self.volume = VolumeSection(self.annotator, self)
        self.learning = LearningControls(self.annotator.learning)
        self.controls.add_section(self.learning)
        self.controls.add_section(self.volume.controls)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(self.controls)
        self.sessions = SessionControls(self.annotator.autosave)
        self.controls.insert_sessions(self.sessions.restore, self.sessions)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(area)
        self.activity = Activity(self)
        self.drawing = DrawingPause(self)
        self._patience = timer_once(self, PATIENCE, self._show_progress)
        self.list_models()
        self._connect()
        self._keys: dict[str, list[str]] = {}
        self._bind_keys()
        self._stop_keys = on_keys_changed(self._bind_keys)
        self.annotator.refresh()

    def _slots(self) -> dict[str, Any]:
        """Return what to call for each action."""
        own = self.annotator
        return {
            "accept": own.accept,
            "discard": own.discard,
            "toggle_label": own.toggle_label,
            "cycle_mask": own.cycle_mask,
            "use_label": own.labels.use_label,
            "next_free_object": own.next_free_object,
            "next_object": lambda: own.step_object(1),
            "previous_object": lambda: own.step_object(-1),
            "undo": own.undo.undo,
            "redo": own.undo.redo,
            **self.volume.slots(),
        }

    def do(self, action: str) -> None:
        """Do what a key does, by the name of the action."""
        self._slots()[action]()

    def list_models(self) -> None:
        """Offer the models that there are now."""
        offer_models(self.controls.model, self.annotator.choices.model)

    def _bind_keys(self, event: Any = None) -> None:
        """Bind the keys of now, and name them in the tooltips."""
        keys.unbind(self.viewer, self._keys)
        self._keys = keys.bind(self.viewer, self._slots(), read_preferences().keys)
        self.controls.masks.key = "".join(self._keys["cycle_mask"][:1])
        show_keys(self, self._keys)

    def _connect(self) -> None:
        own, controls, slots = self.annotator, self.controls, self._slots()
        own.asked.connect(self.drawing.begin)
        own.changed.connect(self.drawing.end)
        own.changed.connect(self._refresh)
        own.runner.busy_changed.connect(self._on_busy)
        self.destroyed.connect(own.close)
        controls.image.activated.connect(
            lambda: own.set_image(controls.image.currentData())
        )
        controls.target.activated.connect(
            lambda: own.set_target(controls.target.currentData())
        )
        for name in ("model", "channel", "contrast", "sharp", "overlap"):
            box = getattr(controls, name)
            box.activated.connect(
                lambda _, name=name, box=box: own.choose(**{name: box.currentData()})
            )
        controls.start.clicked.connect(own.start)
        controls.foreground.clicked.connect(lambda: own.choose(label=FOREGROUND))
        controls.background.clicked.connect(lambda: own.choose(label=BACKGROUND))
        controls.object_id.valueChanged.connect(lambda n: own.choose(object_id=n))
        controls.previous.clicked.connect(slots["previous_object"])
        controls.next.clicked.connect(slots["next_object"])
        controls.free.clicked.connect(own.next_free_object)
        controls.masks.chosen.connect(own.choose_mask)
        controls.accept.clicked.connect(own.accept)
        controls.discard.clicked.connect(own.discard)
        controls.undo.clicked.connect(own.undo.undo)
        controls.redo.clicked.connect(own.undo.redo)
        controls.use_label.clicked.connect(own.labels.use_label)
        controls.widen.clicked.connect(own.labels.widen_target)
        controls.next_after_accept.toggled.connect(
            lambda on: own.choose(next_after_accept=on)
        )
        controls.cancel.clicked.connect(self._cancel)

    def _refresh(self) -> None:
        """Show in the controls what is known now."""
        own, controls = self.annotator, self.controls
        scene, choices, work = own.scene, own.choices, own.work
        self._refresh_choosers()
        spec = get_spec(choices.model)
        controls.about_model.setText(
            f"{spec.description} · {size_text(spec)} · {spec.license}"
        )
        controls.start.setText("Download" if scene.download else "Start")
        controls.start.setEnabled(own.image is not None)
        controls.foreground.setChecked(choices.label == FOREGROUND)
        controls.background.setChecked(choices.label == BACKGROUND)
        controls.object_id.blockSignals(True)
        controls.object_id.setValue(choices.object_id)
        controls.object_id.blockSignals(False)
        controls.next_after_accept.setChecked(choices.next_after_accept)
        answer = shown_answer(scene, choices, work)
        scores = [] if answer is None else answer.prediction.scores.tolist()
        controls.masks.show_scores(scores, work.mask_index)
        controls.accept.setEnabled(answer is not None)
        controls.discard.setEnabled(choices.object_id in scene.prompts)
        for name, text in zip(("undo", "redo"), own.undo.texts(), strict=True):
            controls.show_step(name, text)
        controls.use_label.setEnabled(own.target is not None)
        controls.widen.setVisible(self._is_target_narrow())
        controls.status.setText(status_text(scene, choices, work))
        controls.progress.setToolTip(work.doing)
        is_ready = (
            scene.source is not None
            and scene.view is not None
            and (scene.source, scene.view.plane) in own.ready
        )
        controls.cache.setText(cache_text(scene, is_ready, work.cache))
        controls.bars.show_report(work.cache)
        self._refresh_pictures()

    def _refresh_pictures(self) -> None:
        """Show what SAM sees of the displayed plane, and which planes are encoded."""
        own, scene, picture = self.annotator, self.annotator.scene, None
        seen, view = own.work.picture, scene.view
        if seen is not None and view is not None:
            is_here = (seen.source, seen.plane) == (scene.source, view.plane)
            picture = seen.pixels if is_here else None
        self.controls.picture.show_pixels(picture)
        if own.image is None or view is None or not view.index:
            self.controls.planes.show_planes(0, 0, ())
            return
        count = image_shape(own.image)[view.sliced_axes[-1]]
        ready = [plane for source, plane in own.ready if source == scene.source]
        along = ready_along(ready, view.index, count)
        self.controls.planes.show_planes(count, view.index[-1], along)

    def _refresh_choosers(self) -> None:
        own, controls = self.annotator, self.controls
        images = [(layer.name, layer) for layer in workspace.images_of(self.viewer)]
        fill(controls.image, images, own.image)
        labels = [
            (layer.name, layer)
            for layer in workspace.targets_of(self.viewer, own.image, own.scene.view)
        ]
        fill(controls.target, [(workspace.NEW_LABELS, None), *labels], own.target)
        channels = [("this image", "")]
        if own.image is not None:
            every = workspace.images_of(self.viewer)
            channels = channel_choices(own.image, every, own.scene.view)
        for mode, name in sharp_names(own.work.cache).items():
            controls.sharp.setItemText(controls.sharp.findData(mode), name)
        chosen = next((v for _, v in channels if v == own.choices.channel), "")
        fill(controls.channel, channels, chosen)
        for box, value in (
            (controls.channel, chosen),
            (controls.model, own.choices.model),
            (controls.contrast, own.choices.contrast),
            (controls.sharp, own.choices.sharp),
            (controls.overlap, own.choices.overlap),
        ):
            box.setCurrentIndex(box.findData(value))

    def _is_target_narrow(self) -> bool:
        """Whether the object's number does not fit into the chosen labels."""
        if self.annotator.target is None:
            return False
        try:
            check_label(self.annotator.target, self.annotator.choices.object_id)
        except ValueError:
            return True
        return False

    def _on_busy(self, is_busy: bool) -> None:
        if is_busy:
            self._patience.start()
            return
        self._patience.stop()
        self.activity.hide()
        self.controls.progress.setVisible(False)
        self.controls.cancel.setVisible(False)

    def _show_progress(self) -> None:
        """Show what takes long, here and in napari; look again after a while."""
        own, bar = self.annotator, self.controls.progress
        done, total = own.engine.transfer.done, own.engine.transfer.total
        bar.setVisible(True)
        if total:
            bar.show_done(done / total, own.work.doing)
        else:
            cache = own.work.cache
            seconds = PLANE_SECONDS if cache is None else cache.seconds
            bar.show_unknown(seconds or PLANE_SECONDS, own.work.doing)
        self.controls.cancel.setVisible(True)
        self.activity.show(own.work.doing or "Waiting", done >> 20, total >> 20)
        # napari handled events meanwhile: all this may have ended.
        if not self.is_open:
            self.activity.hide()
            return
        self._patience.start()
        if self.activity.is_cancelled:
            self._cancel()
        if not own.runner.is_busy:
            self._on_busy(False)

    def _cancel(self) -> None:
        self.annotator.engine.transfer.cancel()
        self.annotator.cancel()

    def _end_work(self) -> None:
        """Give keys back, too."""
        self._stop_keys()
        self._patience.stop()
        self.drawing.end()
        self.activity.hide()
        self.annotator.engine.transfer.cancel()
        keys.unbind(self.viewer, self._keys)
        self.annotator.close()
