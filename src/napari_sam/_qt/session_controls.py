"""Buttons for sessions: the offer to go on, opening and saving."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from napari_sam._qt.controls import button, row
from napari_sam.session_file import SUFFIX, Commit, SavedSession

if TYPE_CHECKING:
    from napari_sam._qt.autosave import Autosave

_FILES = f"Sessions (*{SUFFIX})"


class SessionControls(QWidget):
    """Goes on with saved work.

    Parameters
    ----------
    autosave : Autosave
    """

    def __init__(self, autosave: Autosave) -> None:
        super().__init__()
        self._autosave = autosave
        self.restore = button("Restore last work", "Go on where you stopped")
        self.restore.setStyleSheet("font-weight: bold")
        self.open = button(
            "Open session", "Go on with a session of this image that you saved"
        )
        self.save = button(
            "Save session",
            "Save a copy of prompts and accepted masks, for `napari-sam replay` or for "
            "another computer; they are saved by themselves on this one",
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.restore)
        layout.addLayout(row(self.open, self.save))
        # Not autosave.restore itself: clicked hands over whether it is checked.
        self.restore.clicked.connect(lambda: autosave.restore())
        self.open.clicked.connect(self._open)
        self.save.clicked.connect(self._save)
        autosave.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the offer, if there is one."""
        offer = self._autosave.offer
        self.restore.setVisible(offer is not None)
        if offer is not None:
            self.restore.setToolTip(
                f"{summary(offer)}. Labels come back as a new layer."
            )

    def _open(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Open session", "", _FILES)
        if name:
            self._autosave.restore(Path(name))

    def _save(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save session", "", _FILES)
        if name:
            path = Path(name)
            has_suffix = path.suffix == SUFFIX
            self._autosave.save_as(path if has_suffix else Path(f"{name}{SUFFIX}"))


def summary(session: SavedSession) -> str:
    """Say what a session holds.

    Parameters
    ----------
    session : SavedSession

    Returns
    -------
    str
    """
    prompts = len(session.points) + len(session.shapes)
    masks = sum(isinstance(entry, Commit) for entry in session.log)
    saved = datetime.fromisoformat(session.saved).replace(tzinfo=UTC).astimezone()
    return (
        f"{prompts} prompt{'s' * (prompts != 1)}, {masks} accepted "
        f"mask{'s' * (masks != 1)}, saved on {saved:%d %B %Y at %H:%M}"
    )
