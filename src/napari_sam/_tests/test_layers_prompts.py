"""What points, shapes and labels say about the objects of a plane."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points, Shapes
from skimage.draw import disk, polygon2mask

from napari_sam._layers_features import set_next_prompt
from napari_sam._layers_make import make_points_layer, make_shapes_layer
from napari_sam._layers_prompts import (
    ObjectPrompts,
    PromptLayers,
    prompts_from_layers,
    seeds_from_layers,
)
from napari_sam._layers_shapes import fill, innermost, outline, spread
from napari_sam._layers_view import ViewPlane, view_plane
from napari_sam._mask_boxes import tight_box
from napari_sam.transforms import mask_to_logits
from napari_sam.types import Prompts

pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")

SIZE = (40, 50)


def stack(planes: int = 5, at: int = 2, **keywords: Any) -> tuple[Image, ViewPlane]:
    """Show one plane of an image in a viewer."""
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((planes, *SIZE), np.uint8), **keywords)
    viewer.dims.set_current_step(0, at)
    return image, view_plane(viewer.dims, image)


def corners(top: float, left: float, bottom: float, right: float) -> np.ndarray:
    """Corners of a rectangle in plane 2."""
    rows_columns = [(top, left), (top, right), (bottom, right), (bottom, left)]
    return np.array([(2, row, column) for row, column in rows_columns])


def read_shapes(shapes: Shapes) -> dict[int, ObjectPrompts]:
    """Prompts of shapes in plane 2."""
    image, view = stack()
    return prompts_from_layers(image, view, PromptLayers(shapes=shapes))


def test_points_carry_object_and_sign() -> None:
    """Features say for which object a point is, and whether for or against."""
    image, view = stack()
    points = Points(
        [[2, 1, 2], [2, 3, 4], [1.6, 5, 6], [4, 7, 8]],
        features={
            "object": [7, 3, 7, 7],
            "label": ["foreground", "foreground", "background", "background"],
        },
    )
    found = prompts_from_layers(image, view, PromptLayers(points))
    assert list(found) == [3, 7]
    assert found[7].prompts == Prompts([[1, 2], [5, 6]], [1, 0])
    assert found[3].prompts == Prompts([[3, 4]], [1])
    assert found[7].to_prompts() is found[7].prompts


@pytest.mark.parametrize("labels", [[1, 0], [True, False], [1.0, 0.0]])
def test_labels_may_be_numbers(labels: list[Any]) -> None:
    """1 and 0 as in Prompts, True and False."""
    image, view = stack()
    points = Points([[2, 1, 2], [2, 3, 4]], features={"label": labels})
    found = prompts_from_layers(image, view, PromptLayers(points))
    assert found[1].prompts.point_labels.tolist() == [1, 0]


def test_missing_features_are_defaults() -> None:
    """What napari fills with NaN is foreground of object 1."""
    image, view = stack()
    features = {"object": [np.nan, 2.0], "label": [None, "background"]}
    points = Points([[2, 1, 2], [2, 3, 4]], features=features)
    found = prompts_from_layers(image, view, PromptLayers(points))
    assert found[1].prompts == Prompts([[1, 2]], [1])
    assert not found[2].has_foreground


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"object": [0]}, "whole numbers from 1, got 0"),
        ({"object": [1.5]}, r"whole numbers from 1, got 1\.5"),
        ({"object": ["cell"]}, "whole numbers from 1, got 'cell'"),
        ({"label": ["inside"]}, "'foreground' or 'background', got 'inside'"),
        ({"label": [2]}, "'foreground' or 'background', got 2"),
    ],
)
def test_bad_features_are_refused(features: dict[str, Any], message: str) -> None:
    """One sentence with the layer, the feature, what it was and what is allowed."""
    image, view = stack()
    points = Points([[2, 1, 2]], features=features, name="clicks")
    with pytest.raises(ValueError, match=f"of layer 'clicks' must be {message}"):
        prompts_from_layers(image, view, PromptLayers(points))


@pytest.mark.parametrize(
    "point",
    [
        [2, np.nan, 3],
        [np.nan, 3, 3],
        [2, -0.6, 3],
        [2, 3, 49.6],
        [2, 400, 3],
        [-0.6, 3, 3],
        [4.6, 3, 3],
        [np.inf, 3, 3],
    ],
)
def test_points_that_do_not_count(point: list[float]) -> None:
    """NaN, and what lies outside the image."""
    image, view = stack()
    points = Points([[0, 0, 0]])
    points.data = np.array([point])
    assert prompts_from_layers(image, view, PromptLayers(points)) == {}
    assert seeds_from_layers(image, view, PromptLayers(points)) == {}


def test_points_that_are_not_shown_do_not_count() -> None:
    """Points.shown hides single points."""
    image, view = stack()
    points = Points([[2, 1, 2], [2, 3, 4]], shown=[False, True])
    found = prompts_from_layers(image, view, PromptLayers(points))
    assert found[1].prompts.points.tolist() == [[3, 4]]


def test_empty_layers_and_none_give_nothing() -> None:
    """Layers without data are fine."""
    image, view = stack()
    layers = PromptLayers(
        make_points_layer(image, "p"),
        make_shapes_layer(image, "s"),
        Labels(np.zeros((5, *SIZE), int)),
    )
    assert prompts_from_layers(image, view, layers) == {}
    assert prompts_from_layers(image, view, PromptLayers()) == {}
    assert seeds_from_layers(image, view, layers) == {}


def test_flat_layer_on_a_stack_counts_where_the_viewer_is() -> None:
    """2D points lie in every plane; they mean the displayed one."""
    image, view = stack()
    layers = PromptLayers(Points([[3, 4]]))
    assert prompts_from_layers(image, view, layers)[1].prompts.points.tolist() == [
        [3, 4]
    ]
    assert list(seeds_from_layers(image, view, layers)[1]) == [2]


def test_flat_layer_lacks_a_displayed_axis() -> None:
    """In XZ a (row, column) point has no row."""
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, *SIZE)), name="volume")
    viewer.dims.order = (1, 0, 2)
    view = view_plane(viewer.dims, image)
    with pytest.raises(ValueError, match="'volume', which has 3, got 2"):
        prompts_from_layers(image, view, PromptLayers(Points([[3, 4]])))


def test_layer_with_more_axes_counts_where_the_viewer_is() -> None:
    """Points of other times are not those of this time."""
    viewer = ViewerModel()
    viewer.add_image(np.zeros((4, 5, *SIZE)))
    volume = viewer.add_image(np.zeros((5, *SIZE)))
    viewer.dims.set_point((0, 1), (3, 2))
    view = view_plane(viewer.dims, volume)
    layers = PromptLayers(Points([[3, 2, 6, 7], [1, 2, 8, 9], [3, 4, 1, 1]]))
    found = prompts_from_layers(volume, view, layers)
    assert found[1].prompts.points.tolist() == [[6, 7]]
    assert list(seeds_from_layers(volume, view, layers)[1]) == [2, 4]


def test_seeds_of_all_planes() -> None:
    """Prompts by object and plane, of tuples for more sliders."""
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((2, 3, *SIZE)))
    points = Points(
        [[0, 1, 5, 5], [1, 2, 6, 6], [1, 2, 7, 7]], features={"object": [1, 2, 1]}
    )
    view = view_plane(viewer.dims, image)
    seeds = seeds_from_layers(image, view, PromptLayers(points))
    assert {number: list(planes) for number, planes in seeds.items()} == {
        1: [(0, 1), (1, 2)],
        2: [(1, 2)],
    }
    chosen = seeds_from_layers(image, view, PromptLayers(points), [(1, 2)])
    assert {number: list(planes) for number, planes in chosen.items()} == {
        1: [(1, 2)],
        2: [(1, 2)],
    }


@pytest.mark.parametrize("value", [0.5, 2.0])
def test_rectangle_is_a_box_of_pixel_edges(value: float) -> None:
    """Drawn around pixels 3..8 and 5..9, from edge to edge; on any grid."""
    drawn = corners(2.5, 4.5, 8.5, 9.5) * [1, value, value]
    shapes = Shapes([drawn], shape_type="rectangle", scale=(1, 1 / value, 1 / value))
    box = read_shapes(shapes)[1].prompts.box
    np.testing.assert_allclose(box, [3, 5, 9, 10])


def test_rectangle_is_cut_at_the_border() -> None:
    """What is left outside the plane does not exist."""
    layer = Shapes([corners(-9, 30, 5.5, 80)], shape_type="rectangle")
    np.testing.assert_allclose(read_shapes(layer)[1].prompts.box, [0, 30.5, 6, 50])


@pytest.mark.parametrize("kind", ["rectangle", "ellipse", "polygon"])
def test_shapes_outside_or_across_planes_do_not_count(kind: str) -> None:
    """Far away, on another plane, or drawn in another view."""
    other = np.add(corners(5, 5, 15, 15), [1, 0, 0])
    across = corners(5, 5, 15, 15)
    across[:2, 0] = 0
    far = corners(100, 100, 120, 120)
    assert read_shapes(Shapes([far, other, across], shape_type=kind)) == {}


def test_degenerate_rectangle_does_not_count() -> None:
    """One that is just being drawn, from nothing."""
    assert read_shapes(Shapes([corners(5, 5, 5, 9)], shape_type="rectangle")) == {}


def test_boxes_of_an_object_are_enclosed() -> None:
    """SAM takes one box."""
    shapes = Shapes(
        [corners(1.5, 1.5, 4.5, 4.5), corners(9.5, 9.5, 19.5, 29.5)],
        shape_type="rectangle",
    )
    np.testing.assert_allclose(read_shapes(shapes)[1].prompts.box, [2, 2, 20, 30])


def test_ellipse_is_mask_and_box() -> None:
    """The pixels within, at any size and place."""
    shapes = Shapes([corners(10, 10, 30, 30)], shape_type="ellipse")
    found = read_shapes(shapes)[1]
    expected = np.zeros(SIZE, bool)
    expected[disk((20, 20), 9.99)] = True
    assert np.count_nonzero(found.mask ^ expected) <= 8  # a polygon of 128 corners
    np.testing.assert_allclose(found.prompts.box, tight_box(found.mask))
    prompts = found.to_prompts()
    np.testing.assert_array_equal(prompts.mask_logits, mask_to_logits(found.mask))
    np.testing.assert_array_equal(prompts.box, found.prompts.box)


def test_polygon_on_a_turned_layer() -> None:
    """A square drawn on a layer turned by 90 degrees lands where it is seen."""
    turn = np.array([[0, 1], [-1, 0]])
    drawn = np.array([[-10, 5], [-10, 15], [-20, 15], [-20, 5]]) + 0.5
    image, view = stack()
    shapes = Shapes([drawn], shape_type="polygon", rotate=turn)
    found = prompts_from_layers(image, view, PromptLayers(shapes=shapes))
    seen = drawn @ turn.T
    rows, columns = np.nonzero(found[1].mask)
    assert rows.min() == np.ceil(seen[:, 0].min())
    assert columns.max() == np.floor(seen[:, 1].max())
    assert found[1].mask.sum() == 100


def test_background_area_is_left_out_and_clicked() -> None:
    """Cut from the mask of the same object, with a background point inside."""
    shapes = Shapes(
        [corners(5, 5, 30, 30), corners(9.5, 9.5, 19.5, 19.5)],
        shape_type=["polygon", "rectangle"],
        features={"label": ["foreground", "background"]},
    )
    found = read_shapes(shapes)[1]
    assert not found.mask[10:20, 10:20].any()
    assert found.mask[7, 7]
    assert found.prompts.point_labels.tolist() == [0]
    assert (np.abs(found.prompts.points[0] - 14.5) <= 1).all()


@pytest.mark.parametrize("kind", ["path", "line"])
@pytest.mark.parametrize("label", ["foreground", "background"])
def test_lines_are_points(kind: str, label: str) -> None:
    """At most 8, evenly from end to end, those outside the plane left out."""
    drawn = np.array([[2, 10, 0], [2, 10, 70]])
    shapes = Shapes([drawn], shape_type=kind, features={"label": [label]})
    prompts = read_shapes(shapes)[1].prompts
    np.testing.assert_allclose(prompts.points[:, 1], np.arange(5) * 10)
    assert set(prompts.point_labels.tolist()) == {int(label == "foreground")}


@settings(max_examples=30, deadline=None)
@given(
    vertices=st.lists(
        st.tuples(st.floats(-10, 60), st.floats(-10, 60)), min_size=2, max_size=6
    )
)
def test_spread_stays_on_the_line(vertices: list[tuple[float, float]]) -> None:
    """Ends are kept, steps are equal along the line, never more than 8 points."""
    line = np.array(vertices)
    points = spread(line)
    assert 1 <= len(points) <= 8
    np.testing.assert_allclose(points[0], line[0])
    if len(points) > 1:
        np.testing.assert_allclose(points[-1], line[-1])
        length = np.linalg.norm(np.diff(line, axis=0), axis=1).sum()
        steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        assert steps.max() <= length / (len(points) - 1) + 1e-6


def test_spread_of_a_dot() -> None:
    """A line without length is one point."""
    assert spread(np.array([[3.0, 4.0], [3.0, 4.0]])).tolist() == [[3, 4]]


def test_outline_of_an_ellipse_that_is_turned() -> None:
    """Every vertex of a turned circle has the radius."""
    angle = np.pi / 6
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    square = np.array([[-5.0, -5], [-5, 5], [5, 5], [5, -5]]) @ turn.T + 20
    radii = np.linalg.norm(outline(square, "ellipse") - 20, axis=1)
    np.testing.assert_allclose(radii, 5)


@settings(max_examples=40, deadline=None)
@given(
    vertices=st.lists(
        st.tuples(st.floats(-9, 29), st.floats(-9, 29)), min_size=3, max_size=9
    )
)
def test_fill_equals_scikit_image(vertices: list[tuple[float, float]]) -> None:
    """Also if the outline crosses itself or leaves the plane; not near its edges."""
    corners = np.array(vertices)
    if (np.ptp(corners, axis=0) <= 1).any():
        return
    expected = polygon2mask((20, 20), corners)
    wrong = np.argwhere(fill(corners, (20, 20)) != expected)
    start, step = corners, np.roll(corners, -1, axis=0) - corners
    for pixel in wrong:
        squared = np.maximum((step**2).sum(axis=1), 1e-12)
        along = np.clip(((pixel - start) * step).sum(axis=1) / squared, 0, 1)
        nearest = start + along[:, None] * step
        assert np.linalg.norm(nearest - pixel, axis=1).min() < 1e-6


def test_tiny_polygon_is_one_pixel() -> None:
    """Between pixel centres, but not nothing; outside the plane, nothing."""
    tiny = np.array([[3.1, 4.1], [3.1, 4.4], [3.4, 4.4]])
    assert np.argwhere(fill(tiny, (9, 9))).tolist() == [[3, 4]]
    assert not fill(tiny + 20, (9, 9)).any()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_innermost_is_inside(seed: int) -> None:
    """Also in masks with holes, at the border of the plane."""
    mask = np.random.default_rng(seed).random((7, 9)) > 0.6
    mask[3, 3] = True
    row, column = innermost(mask).astype(int)
    assert mask[row, column]


def test_labels_are_masks_of_their_objects() -> None:
    """Each label in the plane, or the chosen ones, with the box around."""
    image, view = stack()
    data = np.zeros((5, *SIZE), np.uint8)
    data[2, 3:6, 7:9], data[2, 20:22, 20:30], data[1] = 4, 9, 1
    layers = PromptLayers(labels=Labels(data))
    found = prompts_from_layers(image, view, layers)
    assert list(found) == [4, 9]
    np.testing.assert_array_equal(found[4].mask, data[2] == 4)
    assert found[4].prompts.box.tolist() == [3, 7, 6, 9]
    chosen = PromptLayers(labels=Labels(data), label_ids=[9, 200])
    assert list(prompts_from_layers(image, view, chosen)) == [9]
    seeds = seeds_from_layers(image, view, layers)
    assert {number: list(planes) for number, planes in seeds.items()} == {
        1: [1],
        4: [2],
        9: [2],
    }


def test_labels_on_another_grid_are_resampled() -> None:
    """Half the resolution, moved, mirrored, and smaller than the image."""
    image, view = stack()
    data = np.zeros((5, 10, 10), np.uint16)
    data[2, 2:4, 3:6] = 300
    place = {"scale": (1, -2, 2), "translate": (0, 30, 4)}
    labels = Labels(data, **place)
    mask = prompts_from_layers(image, view, PromptLayers(labels=labels))[300].mask
    expected = np.zeros(SIZE, bool)
    for row, column in np.ndindex(*SIZE):
        at = np.rint(labels.world_to_data((2, row, column))).astype(int)
        if (at >= 0).all() and (at < data.shape).all():
            expected[row, column] = data[tuple(at)] == 300
    assert expected.any()
    np.testing.assert_array_equal(mask, expected)


def test_flat_labels_on_a_stack() -> None:
    """A painted plane counts where the viewer is."""
    image, view = stack()
    data = np.zeros(SIZE, np.uint8)
    data[4:9, 4:9] = 2
    layers = PromptLayers(labels=Labels(data))
    np.testing.assert_array_equal(
        prompts_from_layers(image, view, layers)[2].mask, data == 2
    )
    assert list(seeds_from_layers(image, view, layers)[2]) == [2]


def test_lazy_labels_are_read_one_plane_at_a_time() -> None:
    """The displayed plane only."""
    reads: list[int] = []

    def block(block_info: Any = None) -> np.ndarray:
        reads.append(block_info[None]["chunk-location"][0])
        return np.ones((1, *SIZE), np.uint8)

    data = da.map_blocks(
        block, chunks=((1,) * 5, *SIZE), dtype=np.uint8, meta=np.zeros((0, 0, 0), "u1")
    )
    labels = Labels(data)
    image, view = stack()
    reads.clear()
    assert prompts_from_layers(image, view, PromptLayers(labels=labels))[1].mask.all()
    assert reads == [2]


def test_equal_prompts_are_equal() -> None:
    """So that the widget can tell whether anything changed."""
    mask = np.eye(5, dtype=bool)
    one, same = (ObjectPrompts(Prompts([[1, 2]]), mask.copy()) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    assert one != ObjectPrompts(Prompts([[1, 2]]))
    assert one != ObjectPrompts(Prompts([[1, 2]]), ~mask)
    assert one != ObjectPrompts(Prompts([[1, 3]]), mask)
    assert one != "prompts"


def test_layers_for_prompts_lie_on_the_image() -> None:
    """All transforms, units and axes; what is drawn there needs no conversion."""
    image, _view = stack(
        scale=(2, -0.5, 0.5),
        translate=(1, 2, 3),
        rotate=(0, 0, 33),
        shear=(0, 0, 0.4),
        affine=np.diag([1, 2, 2, 1]),
        units=("um",) * 3,
        axis_labels=("z", "y", "x"),
    )
    for layer in (make_points_layer(image, "p"), make_shapes_layer(image, "s")):
        np.testing.assert_array_equal(
            layer.data_to_world((1, 2, 3)), image.data_to_world((1, 2, 3))
        )
        assert (layer.units, layer.axis_labels) == (image.units, image.axis_labels)
        assert len(layer.data) == 0


def test_next_prompts_say_what_they_are_for() -> None:
    """What is drawn takes the sign and object, and the colour of the sign."""
    image, view = stack()
    points, shapes = make_points_layer(image, "p"), make_shapes_layer(image, "s")
    for number, label in ((5, "background"), (6, "foreground"), (6, "background")):
        set_next_prompt(points, number, label)
        set_next_prompt(shapes, number, label)
        points.add([2, 3, 4])
        shapes.add_rectangles(corners(2, 2, 9, 9))
    for layer in (points, shapes):
        assert layer.features["object"].tolist() == [5, 6, 6]
        assert layer.features["label"].tolist()[0] == "background"
    for colour in (points.face_color, shapes.edge_color):
        np.testing.assert_array_equal(colour[0], colour[2])
        assert colour[0, 0] > 0.5 > colour[0, 1]
        assert colour[1, 1] > 0.5 > colour[1, 0]
    found = prompts_from_layers(image, view, PromptLayers(points, shapes))
    assert found[6].prompts.box is not None
    assert found[6].prompts.point_labels.tolist() == [1, 0, 0]


@pytest.mark.parametrize(("number", "label"), [(0, "foreground"), (1, "maybe")])
def test_next_prompt_must_be_valid(number: int, label: str) -> None:
    """Before napari stores what cannot be read again."""
    image, _view = stack()
    with pytest.raises(ValueError, match=r"must be (whole numbers|'foreground')"):
        set_next_prompt(make_points_layer(image, "p"), number, label)
