"""The script and the widget write the same labels, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

from napari_sam import segment_layers
from napari_sam._tests.test_qt_annotation import counting, user  # noqa: F401
from napari_sam._tests.test_qt_steps import DiscPredictor, image


def pyramid(data: np.ndarray) -> list[np.ndarray]:
    """Three resolutions of a stack."""
    return [data[:, ::step, ::step] for step in (1, 2, 4)]


CASES = {
    "turned": (image(48, 64), {"rotate": 20, "scale": (0.5, 0.25)}),
    "colour": (np.stack([image(48, 64, seed=i) for i in range(3)], -1), {"rgb": True}),
    "pyramid": (pyramid(image(5, 64, 96)), {"multiscale": True}),
}


@pytest.mark.parametrize("name", CASES)
def test_script_and_widget_give_equal_labels(user, name):  # noqa: F811
    """Of a turned image, of colour, and of a pyramid, seen in full resolution."""
    viewer, (data, kinds) = user.viewer, CASES[name]
    layer = viewer.add_image(data, name=name, **kinds)
    user.settle()
    user.start()
    plane = [2] * (layer.ndim - 2)
    if plane:
        viewer.dims.set_current_step(0, 2)
    user.points.add([*plane, 20, 24])
    user.annotator.choose(object_id=2)
    user.points.add([*plane, 40, 50])
    user.settle()
    user.press("accept")
    user.annotator.choose(object_id=1)
    user.settle()
    user.press("accept")
    written = user.layer("segmentation").data
    found = segment_layers(
        viewer, name, user.points.name, labels="script", predictor=DiscPredictor()
    )
    assert set(np.unique(written)) == {0, 1, 2}
    np.testing.assert_array_equal(written, found.data)
    assert written.dtype == found.data.dtype
