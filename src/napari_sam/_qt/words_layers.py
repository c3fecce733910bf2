"""What words found, in layers: boxes with their words, and a table of the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Shapes

from napari_sam._layers_make import placement
from napari_sam._layers_view import image_shape
from napari_sam._qt.outline import box_corners
from napari_sam._qt.own_layer import OwnLayer
from napari_sam._qt.workspace import PREVIEW, ROLE, add_keeping_selection

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from napari.layers import Image, Labels

    from napari_sam._detections import TextBox
    from napari_sam._layers import ViewPlane
    from napari_sam._session_text import NamedObject

# One for each phrase, in order; distinct also without red and green.
COLOURS = ("#ffb000", "#2fc6f5", "#dc4fbd", "#7adb45", "#8f7dff", "#ff7043")
NUMBER = "number"
# Of the longest side of the image.
_EDGE_WIDTH = 0.003


class BoxLayer(OwnLayer[Shapes]):
    """Shows the boxes of one plane, coloured by phrase; the user may delete some.

    Parameters
    ----------
    viewer : napari.Viewer
    on_deleted : callable
        Called with the numbers of boxes that the user deleted.
    """

    def __init__(self, viewer: Any, on_deleted: Callable[[set[int]], None]) -> None:
        super().__init__(viewer)
        self._on_deleted = on_deleted
        self._shown: set[int] = set()
        self._is_drawing = False

    def show(
        self,
        boxes: Mapping[int, TextBox],
        phrases: Sequence[str],
        image: Image,
        view: ViewPlane,
    ) -> None:
        """Show boxes in the plane that is displayed.

        Parameters
        ----------
        boxes : mapping of int to TextBox
            By number.
        phrases : sequence of str
            All there are, which gives each its colour.
        image : Image layer
        view : ViewPlane
        """
        layer = self.layer
        if layer is None or not self.is_there or layer.ndim != image.ndim:
            self.remove()
            layer = self.layer = _new_layer(image)
            layer.events.data.connect(self._on_data)
            add_keeping_selection(self.viewer, layer, None)
        self._is_drawing = True
        try:
            _draw(layer, boxes, phrases, view)
        finally:
            self._is_drawing = False
        self._shown = set(boxes)
        self._set_visible(True)

    def _on_data(self, event: Any = None) -> None:
        layer = self.layer
        if self._is_drawing or layer is None or NUMBER not in layer.features:
            return
        gone = self._shown - set(layer.features[NUMBER].tolist())
        if gone and len(layer.data) < len(self._shown):
            self._shown -= gone
            self._on_deleted(gone)

    def remove(self) -> None:
        """Take the layer out of the viewer."""
        if self.layer is not None:
            self.layer.events.data.disconnect(self._on_data)
        super().remove()


def _new_layer(image: Image) -> Shapes:
    width = max(0.5, _EDGE_WIDTH * max(image_shape(image)[-2:]))
    layer = Shapes(
        ndim=image.ndim,
        name="found boxes",
        face_color="transparent",
        edge_width=width,
        **placement(image),
    )
    layer.metadata[ROLE] = (PREVIEW, str(image.unique_id))
    return layer


def _draw(
    layer: Shapes,
    boxes: Mapping[int, TextBox],
    phrases: Sequence[str],
    view: ViewPlane,
) -> None:
    shapes = [box_corners(one.box, view) for one in boxes.values()]
    layer.selected_data = set()
    layer.data = shapes
    if not shapes:
        return
    layer.features = {
        NUMBER: list(boxes),
        "phrase": [one.phrase for one in boxes.values()],
        "score": [round(one.score, 3) for one in boxes.values()],
    }
    layer.edge_color = [
        COLOURS[phrases.index(one.phrase) % len(COLOURS)] for one in boxes.values()
    ]
    layer.face_color = "transparent"
    layer.text = {
        "string": "{phrase} {score:.2f}",
        "color": "white",
        "size": 8,
        "anchor": "upper_left",
    }


def note_objects(labels: Labels, objects: Iterable[NamedObject]) -> None:
    """Add rows to the table of a Labels layer: who each label is.

    Parameters
    ----------
    labels : Labels layer
        napari shows phrase and score of the label under the pointer.
    objects : iterable of NamedObject
    """
    new = {
        one.label: {"phrase": one.phrase, "score": round(one.score, 3)}
        for one in objects
    }
    if not new:
        return
    known = _without(labels, new)
    count = len(known["index"])
    table: dict[str, list[Any]] = {"index": [*known["index"], *new]}
    for name in dict.fromkeys([*known, "phrase", "score"]):
        if name != "index":
            before = known.get(name, [None] * count)
            table[name] = [*before, *(row.get(name) for row in new.values())]
    labels.features = table


def forget_objects(labels: Labels, numbers: Sequence[int]) -> None:
    """Take rows out of the table of a Labels layer.

    Parameters
    ----------
    labels : Labels layer
    numbers : sequence of int
        Labels.
    """
    labels.features = _without(labels, numbers)


def _without(labels: Labels, numbers: Collection[int]) -> dict[str, list[Any]]:
    """Columns of the table without some labels; without numbers, row i is label i."""
    columns = {str(name): list(values) for name, values in labels.features.items()}
    columns = {"index": list(range(len(labels.features))), **columns}
    kept = [i for i, number in enumerate(columns["index"]) if number not in numbers]
    return {name: [values[i] for i in kept] for name, values in columns.items()}
