"""The chooser of models: which cannot be chosen, and why."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox

from napari_sam._qt.controls import fill, grey_out


def test_what_cannot_be_chosen_is_grey_and_says_why(qtbot):
    """Until it can; other entries stay as they are."""
    box = QComboBox()
    qtbot.addWidget(box)
    fill(box, [("mobile_sam", "mobile_sam"), ("sam3", "sam3")], "mobile_sam")
    grey_out(box, 1, "needs a library")
    model = box.model()
    assert [model.item(row).isEnabled() for row in (0, 1)] == [True, False]
    assert model.item(1).toolTip() == "needs a library"
    grey_out(box, 1, None)
    assert model.item(1).isEnabled()
    assert model.item(1).toolTip() == ""
