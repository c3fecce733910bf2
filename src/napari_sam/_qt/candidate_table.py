"""Objects that were found, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import (  # type: ignore[attr-defined]
    QAbstractTableModel,
    QModelIndex,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_sam._qt.automatic_choices import Found

NAMES = ("Object", "Score", "Stability", "Area", "Fits")
AREA, FITS = 3, 4
ABOUT = (
    "Number and colour in the layer of found objects",
    "Overlap with an object that SAM expects of its mask; a guess, at times over 1",
    "How little the mask depends on the threshold",
    "Area of the mask",
    "How well the words fit, 0 to 1",
)


class CandidateModel(QAbstractTableModel):
    """Numbers of the objects that are shown."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.values: NDArray[np.float64] = np.zeros((0, len(NAMES)))
        self._unit = ""

    def show(self, found: Found | None) -> None:
        """Show other objects.

        Parameters
        ----------
        found : Found, optional
        """
        self.beginResetModel()
        if found is None:
            self.values = np.zeros((0, len(NAMES)))
        else:
            pixel, self._unit = found.scale
            shown = found.shown
            columns = (
                found.numbers,
                shown.scores,
                shown.stabilities,
                shown.areas * pixel,
                found.fit_scores,
            )
            self.values = np.stack(columns, axis=1).astype(np.float64)
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Count the objects."""
        return len(self.values)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Count what is said of each."""
        return len(NAMES)

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """Text to show, or the number to sort by."""
        value = float(self.values[index.row(), index.column()])
        if role == Qt.ItemDataRole.UserRole:
            return value
        if role == Qt.ItemDataRole.DisplayRole:
            formats = (".0f", ".2f", ".2f", ".4g", ".2f")
            return "" if np.isnan(value) else format(value, formats[index.column()])
        return None

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:
        """Name of a column."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.ToolTipRole:
            return ABOUT[section]
        if role == Qt.ItemDataRole.DisplayRole:
            is_area = section == AREA and self._unit
            return f"{NAMES[section]} ({self._unit}²)" if is_area else NAMES[section]
        return None


class CandidateTable(QTableView):
    """Objects that were found; several can be selected.

    Notes
    -----
    `picked` is sent with the number of the object that was selected last.
    """

    picked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.candidates = CandidateModel(self)
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSourceModel(self.candidates)
        self._sorted.setSortRole(Qt.ItemDataRole.UserRole)
        self.setModel(self._sorted)
        self.setSortingEnabled(True)
        self.sortByColumn(1, Qt.SortOrder.DescendingOrder)
        self.setColumnHidden(FITS, True)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setToolTip(
            "Click to choose an object; with Ctrl or Shift several. A click on an "
            "object in the image chooses it here"
        )
        self.setMinimumHeight(150)
        sides: Any = self.verticalHeader()
        sides.setVisible(False)
        sides.setDefaultSectionSize(self.fontMetrics().height() + 6)
        top: Any = self.horizontalHeader()
        top.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        top.setMinimumSectionSize(40)
        selection: Any = self.selectionModel()
        selection.currentRowChanged.connect(self._on_row)

    def show_found(self, found: Found | None, chosen: int) -> None:
        """Show other objects; the chosen one stays selected.

        Parameters
        ----------
        found : Found, optional
        chosen : int
            0 for none.
        """
        self.candidates.show(found)
        was_hidden = self.isColumnHidden(FITS)
        is_hidden = found is None or not found.fits
        self.setColumnHidden(FITS, is_hidden)
        if was_hidden and not is_hidden:
            self.sortByColumn(FITS, Qt.SortOrder.DescendingOrder)
        self.select_number(chosen)

    @property
    def numbers(self) -> list[int]:
        """Objects that are selected."""
        selection: Any = self.selectionModel()
        rows = [self._sorted.mapToSource(i).row() for i in selection.selectedRows()]
        return [int(self.candidates.values[row, 0]) for row in rows]

    def select_number(self, number: int) -> None:
        """Select an object; 0 selects none."""
        if number in self.numbers:
            return
        selection: Any = self.selectionModel()
        (rows,) = np.nonzero(self.candidates.values[:, 0] == number)
        selection.blockSignals(True)
        self.clearSelection()
        if len(rows):
            index = self.candidates.index(int(rows[0]), 0)
            self.selectRow(self._sorted.mapFromSource(index).row())
            self.scrollTo(self._sorted.mapFromSource(index))
        selection.blockSignals(False)
        view: Any = self.viewport()
        view.update()

    def _on_row(self, current: QModelIndex, before: QModelIndex) -> None:
        if current.isValid():
            row = self._sorted.mapToSource(current).row()
            self.picked.emit(int(self.candidates.values[row, 0]))
