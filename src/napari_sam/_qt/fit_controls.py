"""Controls that compare what was found with words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QGroupBox, QLineEdit, QVBoxLayout

from napari_sam._qt.controls import button, choice, row, text
from napari_sam._qt.forms import form, slider
from napari_sam._qt.model_chooser import offer_text_models, text_download
from napari_sam._qt.words_choices import split_words
from napari_sam.text_ranker import AGAINST, RANKERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam._qt.automatic_choices import FindChoices


class FitControls(QGroupBox):
    """Words, what they compete with, and how well they must fit."""

    def __init__(self) -> None:
        super().__init__("Only what words fit")
        self.setToolTip(
            "CLIP or SigLIP says how well words fit each object. They were trained on "
            "photographs: look at the order before you trust a score"
        )
        self.phrases = QLineEdit()
        self.phrases.setPlaceholderText("nucleus")
        self.phrases.setToolTip("What to keep: a word or a few, between commas")
        self.against = QLineEdit(", ".join(AGAINST))
        self.against.setCursorPosition(0)
        self.against.setToolTip(
            "What else is in the image; with CLIP the words compete with these"
        )
        for one in (self.phrases, self.against):
            one.setMinimumWidth(50)
        self.ranker = choice(
            "What compares: downloaded once, or a folder with such a model"
        )
        self.min_fit = slider(0.0, "Objects that the words fit less are hidden")
        self.about = text("What has to be there before words can be compared")
        self.compare = button(
            "Compare", "Say how well the words fit the objects that are shown"
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(6)
        self._form = form(
            ("Words", self.phrases),
            ("Against", self.against),
            ("By", self.ranker),
            ("Fits from", self.min_fit),
        )
        layout.addLayout(self._form)
        layout.addWidget(self.about)
        layout.addLayout(row(self.compare))

    def connect_choices(self, choose: Callable[..., None]) -> None:
        """Have a function told what is chosen, by the names in `FindChoices`."""
        for name in ("phrases", "against"):
            line = getattr(self, name)
            line.textChanged.connect(
                lambda words, name=name: choose(**{name: tuple(split_words(words))})
            )
        self.min_fit.valueChanged.connect(lambda value: choose(min_fit=value))

    def show_state(self, choices: FindChoices, reason: str, can_compare: bool) -> None:
        """Offer the models; without words there is no more to see than their line.

        Parameters
        ----------
        choices : FindChoices
        reason : str
            What is lacking; "" if nothing.
        can_compare : bool
        """
        offer_text_models(self.ranker, RANKERS, choices.ranker)
        has_words = bool(choices.phrases)
        for one in (self.against, self.ranker, self.min_fit):
            self._form.setRowVisible(one, has_words)
        about = reason or text_download(RANKERS, choices.ranker)
        self.about.setText(about)
        self.about.setVisible(bool(reason or (about and has_words)))
        self.compare.setVisible(has_words)
        self.compare.setEnabled(can_compare and has_words and not reason)
