"""The controls of the widget; they know nothing of layers or models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QStandardItemModel
from qtpy.QtWidgets import (
    QAbstractButton,
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_sam._qt.keys import ACTIONS
from napari_sam._qt.pictures import CacheBars, PlaneStrip, SeenPicture
from napari_sam._qt.progress_bar import ProgressBar
from napari_sam.sharpening import SharpMode

# Values that napari's Labels layers can count to and QSpinBox can show.
LARGEST_OBJECT = 2**31 - 1
# Property of a button: its tooltip with the key that we suggest.
_OWN_TOOLTIP = "napari-sam tooltip"


def button(text: str, tooltip: str, checkable: bool = False) -> QPushButton:
    """Make a button that leaves the keyboard to the canvas."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.setCheckable(checkable)
    made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    made.setMinimumWidth(24)
    return made


def choice(tooltip: str) -> QComboBox:
    """Make a chooser that may be narrower than its longest entry."""
    made = QComboBox()
    made.setToolTip(tooltip)
    made.setMinimumContentsLength(8)
    made.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    made.setSizeAdjustPolicy(
        QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
    )
    made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return made


def text(tooltip: str) -> QLabel:
    """Make a text of several lines."""
    made = QLabel()
    made.setToolTip(tooltip)
    made.setWordWrap(True)
    made.setTextFormat(Qt.TextFormat.PlainText)
    return made


def row(*widgets: QWidget) -> QHBoxLayout:
    """Put widgets beside each other."""
    layout = QHBoxLayout()
    layout.setSpacing(4)
    for widget in widgets:
        layout.addWidget(widget)
    return layout


def grey_out(box: QComboBox, row: int, reason: str | None) -> None:
    """Show why an entry cannot be chosen; None if it can."""
    model = box.model()
    item = model.item(row) if isinstance(model, QStandardItemModel) else None
    if item is not None:
        item.setEnabled(reason is None)
        item.setToolTip(reason or "")


def fill(
    box: QComboBox, entries: Sequence[tuple[str, object]], current: object
) -> None:
    """Set the entries of a chooser without telling anyone.

    Parameters
    ----------
    box : QComboBox
    entries : sequence of (text, value)
    current : object
        The value that is chosen; the first one if it is not among them.
    """
    now = [(box.itemText(i), box.itemData(i)) for i in range(box.count())]
    box.blockSignals(True)
    if len(now) != len(entries) or any(
        shown != name or value != wanted
        for (shown, value), (name, wanted) in zip(now, entries, strict=True)
    ):
        box.clear()
        for name, value in entries:
            box.addItem(name, value)
    values = [value for _, value in entries]
    index = next((i for i, value in enumerate(values) if value is current), -1)
    box.setCurrentIndex(index if index >= 0 else min(0, len(entries) - 1))
    box.blockSignals(False)


def status_widgets() -> tuple[QLabel, ProgressBar, QPushButton]:
    """Make a status line; a progress bar and Cancel, whose room stays if hidden."""
    status = text("What to do next")
    status.setFrameShape(QFrame.Shape.StyledPanel)
    status.setMinimumHeight(3 * status.fontMetrics().height())
    progress, cancel = ProgressBar(), button("Cancel", "Stop what is being done now")
    for widget in (progress, cancel):
        policy = widget.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        widget.setSizePolicy(policy)
        widget.setVisible(False)
    return status, progress, cancel


class MaskChoice(QWidget):
    """Up to three masks as small buttons with their scores.

    Notes
    -----
    `chosen` is sent with the index of the mask that was clicked.
    """

    chosen = Signal(int)
    COUNT = 3

    def __init__(self) -> None:
        super().__init__()
        self.buttons = [
            button(str(i + 1), "", checkable=True) for i in range(self.COUNT)
        ]
        layout = row(*self.buttons)
        layout.setContentsMargins(0, 0, 0, 0)
        self.setLayout(layout)
        self._group = QButtonGroup(self)
        for index, one in enumerate(self.buttons):
            self._group.addButton(one, index)
        self._group.idClicked.connect(self.chosen)
        self.key = ACTIONS["cycle_mask"].key
        self.show_scores([], 0)

    def show_scores(self, scores: Sequence[float], index: int) -> None:
        """Show the masks there are; the others are disabled.

        Parameters
        ----------
        scores : sequence of float
            Predicted intersection over union of each mask.
        index : int
            The mask that is chosen.
        """
        self._group.setExclusive(False)
        key = f" ({self.key}: next mask)" if self.key else ""
        for i, one in enumerate(self.buttons):
            is_there = i < len(scores)
            one.setEnabled(is_there)
            one.setChecked(is_there and i == index)
            one.setText(f"{i + 1}:  {scores[i]:.2f}" if is_there else f"{i + 1}")
            one.setToolTip(
                f"Mask {i + 1}; SAM expects an overlap of {scores[i]:.2f} with the "
                f"object{key}"
                if is_there
                else "A single click is ambiguous: then there are three masks"
            )
        self._group.setExclusive(True)


def show_keys(root: QWidget, bound: Mapping[str, list[str]]) -> None:
    """Name in the tooltips of buttons the keys that they have.

    Parameters
    ----------
    root : QWidget
        With all buttons within it whose tooltip is that of an action.
    bound : mapping of str to list of str
        Keys by name of the action; the first is named.
    """
    for one in root.findChildren(QAbstractButton):
        ours = one.property(_OWN_TOOLTIP) or one.toolTip()
        for action in ACTIONS.values():
            end = f" ({action.key})"
            if ours.endswith(end):
                one.setProperty(_OWN_TOOLTIP, ours)
                has = "".join(f" ({key})" for key in bound.get(action.name, [])[:1])
                one.setToolTip(ours.removesuffix(end) + has)


class Controls(QWidget):
    """All controls, one below the other, usable at a width of 300 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self._make_choosers()
        self._make_prompting()
        self._make_labels()
        self._make_status()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(6)
        layout.addLayout(
            self._form(
                ("Image", self.image),
                ("Model", self.model),
                ("Channels", self.channel),
                ("Contrast", self.contrast),
                ("Closer look", self.sharp),
                ("SAM sees", self.picture),
            )
        )
        layout.addWidget(self.about_model)
        layout.addWidget(self.start)
        layout.addLayout(row(self.foreground, self.background))
        layout.addLayout(
            row(QLabel("Object"), self.previous, self.object_id, self.next, self.free)
        )
        layout.addWidget(self.masks)
        layout.addLayout(row(self.accept, self.discard))
        layout.addLayout(row(self.undo, self.redo))
        layout.addLayout(self._form(("Labels", self.target), ("Others", self.overlap)))
        layout.addWidget(self.use_label)
        layout.addWidget(self.widen)
        layout.addWidget(self.next_after_accept)
        layout.addWidget(self.status)
        layout.addLayout(row(self.progress, self.cancel))
        layout.addWidget(self.cache)
        layout.addWidget(self.planes)
        layout.addWidget(self.bars)
        layout.addStretch(1)

    def add_section(self, section: QWidget) -> None:
        """Add more controls above the status line."""
        layout = self.layout()
        if isinstance(layout, QVBoxLayout):
            layout.insertWidget(layout.indexOf(self.status), section)

    @staticmethod
    def _form(*rows: tuple[str, QWidget]) -> QFormLayout:
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        for name, widget in rows:
            form.addRow(name, widget)
        return form

    def _make_choosers(self) -> None:
        self.image = choice("The image to segment")
        self.model = choice("The model; microscopy and medical ones are on offer, too")
        self.channel = choice(
            "Which colours SAM sees: one of a colour image, or two images of the same "
            "size together, as red and green"
        )
        self.contrast = choice(
            "What SAM sees black and white: the layer's contrast limits, or the 0.5th "
            "to the 99.5th percentile of the image"
        )
        self.contrast.addItem("as displayed", "layer")
        self.contrast.addItem("percentiles", "percentiles")
        self.sharp = choice(
            "Look at the plane mirrored, too, and again at an object in a window of "
            "its own, for a sharper mask; objects share planes and windows, and "
            "further clicks cost nothing"
        )
        for name in get_args(SharpMode):
            self.sharp.addItem(name, name)
        self.picture = SeenPicture()
        self.about_model = text("What the model was trained on, its size and licence")
        self.start = button("Start", "Make layers for points and boxes on the image")

    def _make_prompting(self) -> None:
        toggle = ACTIONS["toggle_label"].key
        self.foreground = button(
            "Foreground", f"The next prompts mark the object ({toggle})", True
        )
        self.background = button(
            "Background",
            f"The next prompts mark what is not the object ({toggle})",
            True,
        )
        self._labels = QButtonGroup(self)
        self._labels.addButton(self.foreground)
        self._labels.addButton(self.background)
        self.previous = button("<", ACTIONS["previous_object"].tooltip)
        self.next = button(">", ACTIONS["next_object"].tooltip)
        self.free = button("New", ACTIONS["next_free_object"].tooltip)
        self.object_id = QSpinBox()
        self.object_id.setRange(1, LARGEST_OBJECT)
        self.object_id.setKeyboardTracking(False)
        self.object_id.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
        self.object_id.setToolTip("Number of the object, and of its label")
        self.object_id.setMinimumWidth(50)
        self.masks = MaskChoice()

    def _make_labels(self) -> None:
        self.accept = button("Accept", ACTIONS["accept"].tooltip)
        self.discard = button("Discard", ACTIONS["discard"].tooltip)
        self.undo = button("Undo", ACTIONS["undo"].tooltip)
        self.redo = button("Redo", ACTIONS["redo"].tooltip)
        self.target = choice("Where accepted masks are written")
        self.overlap = choice(
            "What happens where the mask lies on another object's label"
        )
        self.overlap.addItem("keep other labels", "protect")
        self.overlap.addItem("overwrite other labels", "overwrite")
        self.use_label = button("Correct its label", ACTIONS["use_label"].tooltip)
        self.widen = button(
            "Convert the labels", "Keep all labels in a type that holds larger numbers"
        )
        self.next_after_accept = QCheckBox("New object after accepting")
        self.next_after_accept.setToolTip(
            "Go on with the next free number once a mask is accepted; switch it off to "
            "mark one object plane after plane"
        )
        self.next_after_accept.setFocusPolicy(Qt.FocusPolicy.NoFocus)

    def insert_sessions(self, offer: QWidget, others: QWidget) -> None:
        """Put the offer to go on with a session on top, and the rest at the end."""
        layout = self.layout()
        if isinstance(layout, QVBoxLayout):
            layout.insertWidget(layout.indexOf(self.start), offer)
            layout.insertWidget(layout.count() - 1, others)

    def show_step(self, name: str, text: str | None) -> None:
        """Say in the tooltip of a button, "undo" or "redo", what it would do."""
        made: QPushButton = getattr(self, name)
        made.setEnabled(text is not None)
        about = made.toolTip().rpartition("\n")[2]  # with the user's own key
        made.setToolTip(about if text is None else f"Next: {text}\n{about}")

    def _make_status(self) -> None:
        self.status, self.progress, self.cancel = status_widgets()
        self.cache = text(
            "Whether the displayed plane is encoded, so that masks come at once, and "
            "how many planes are kept in memory"
        )
        self.planes = PlaneStrip()
        self.bars = CacheBars()
