"""The controls of "Words"; they know nothing of layers or models."""

from __future__ import annotations

from qtpy.QtWidgets import (
    QGroupBox,
    QPlainTextEdit,
    QVBoxLayout,
)

from napari_sam._detections import TextOptions
from napari_sam._qt.controls import button, choice, row, text
from napari_sam._qt.forms import form, slider
from napari_sam._qt.keys import UNDO_TIP
from napari_sam._qt.words_choices import split_words

# Boxes that score less are not offered.
LEAST_SCORE = 0.01
LINES = 4


class WordsControls:
    """All controls, and their layout, usable at a width of 300 pixels."""

    def __init__(self) -> None:
        self._make_search()
        self._make_filters()
        self._make_writing()
        self.layout = QVBoxLayout()
        self.layout.setSpacing(6)
        choosers = (
            ("Image", self.image),
            ("Model", self.model),
            ("Detector", self.detector),
            ("Words", self.words),
        )
        self.layout.addLayout(form(*choosers))
        self.layout.addWidget(self.about)
        self.layout.addLayout(row(self.find, self.find_stack))
        self.layout.addWidget(self.filters)
        self.layout.addWidget(self.counts)
        self.layout.addLayout(form(("Labels", self.target), ("Others", self.overlap)))
        self.layout.addLayout(row(self.accept, self.undo))

    def _make_search(self) -> None:
        self.image = choice("The image to search")
        self.model = choice("The model that makes masks of the boxes")
        self.detector = choice(
            "What finds boxes for words: downloaded once, or a folder with such a model"
        )
        self.about = text("What has to be there before words can be looked for")
        self.words = QPlainTextEdit()
        self.words.setPlaceholderText("nucleus\ndark spot")
        self.words.setToolTip(
            "What to look for: a word or a few in each line, or between commas; each "
            "is a class of its own. Say what it looks like: 'purple dot', 'dark ring'"
        )
        self.words.setTabChangesFocus(True)
        # napari's themes draw no edge around it; this one is there in all of them.
        self.words.setStyleSheet("border: 1px solid gray; border-radius: 2px;")
        height = self.words.fontMetrics().lineSpacing()
        self.words.setFixedHeight(LINES * height + 12)
        self.find = button("Find", "Look for the words in the displayed plane")
        self.find_stack = button(
            "Whole stack", "Look for the words in every plane; nothing is written yet"
        )

    def _make_filters(self) -> None:
        self.score = slider(LEAST_SCORE, "Boxes that fit their words less are hidden")
        self.overlap_limit = slider(
            0.0, "Of two boxes that overlap more than this, the better one is shown"
        )
        self.filters = QGroupBox("Show")
        self.filters.setToolTip("Followed at once: nothing is looked for anew")
        content = form(("Score from", self.score), ("Overlap to", self.overlap_limit))
        content.setContentsMargins(6, 6, 6, 6)
        self.filters.setLayout(content)
        self.counts = text("How many boxes are shown of each")
        self.show_options(TextOptions())

    def _make_writing(self) -> None:
        self.target = choice("Where accepted objects are written")
        self.overlap = choice("What happens where an object lies on another's label")
        self.overlap.addItem("keep other labels", "protect")
        self.overlap.addItem("overwrite other labels", "overwrite")
        self.accept = button(
            "Accept all",
            "Write what is shown into the labels, in all planes that were searched; "
            "words and scores go into the table of the labels",
        )
        self.undo = button(
            "Undo", f"Take back what was written into the labels last. {UNDO_TIP}"
        )

    @property
    def options(self) -> TextOptions:
        """Filters as the sliders say."""
        return TextOptions(self.score.value(), self.overlap_limit.value())

    def show_options(self, options: TextOptions) -> None:
        """Set the sliders."""
        self.score.setValue(options.min_score)
        self.overlap_limit.setValue(options.max_overlap)

    @property
    def phrases(self) -> list[str]:
        """Words as they are typed, without empty ones."""
        return split_words(self.words.toPlainText())
