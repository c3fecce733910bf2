"""Where the viewer is, and coordinates from one layer to another."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points
from scipy.ndimage import map_coordinates

from napari_sam._layers_prompts import PromptLayers, prompts_from_layers
from napari_sam._layers_view import convert, is_same_grid, view_plane, world_matrix

# napari warns while a layer is not yet, or not to be, shown in its own plane.
pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")

SHAPES = {2: (9, 11), 3: (5, 9, 11), 4: (3, 5, 9, 7)}


@dataclass
class Scene:
    """An image whose voxels all differ, placed anywhere in the world, in a viewer."""

    viewer: ViewerModel
    image: Image
    matrix: np.ndarray
    index: tuple[int, ...]

    @property
    def shown(self) -> list[int]:
        """Displayed axes: rows, columns."""
        return list(self.viewer.dims.displayed)

    @property
    def sliced(self) -> list[int]:
        """Sliced axes in the order of the image."""
        return sorted(self.viewer.dims.not_displayed)


def homogeneous(linear: np.ndarray, offset: Any) -> np.ndarray:
    """Affine matrix of a linear part and a translation."""
    matrix = np.eye(len(linear) + 1)
    matrix[:-1, :-1], matrix[:-1, -1] = linear, offset
    return matrix


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Coordinates (N, D) through an affine matrix."""
    return points @ matrix[:-1, :-1].T + matrix[:-1, -1]


numbers = st.floats(-50, 50, allow_subnormal=False)
scales = st.builds(
    lambda size, sign: size * sign, st.floats(0.2, 4), st.sampled_from((-1, 1))
)


@st.composite
def scenes(draw: st.DrawFn, ndims: tuple[int, ...] = (2, 3, 4)) -> Scene:
    """Any scale, mirrored or not, and translation; rotation and shear in the plane."""
    ndim = draw(st.sampled_from(ndims))
    order = draw(st.permutations(range(ndim)))
    scale = np.array(draw(st.tuples(*[scales] * ndim)))
    translate = np.array(draw(st.tuples(*[numbers] * ndim)))
    angle, shear = draw(st.floats(-3.1, 3.1)), draw(st.floats(-1, 1))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = np.eye(ndim)
    linear[np.ix_(order[-2:], order[-2:])] = turn @ [[1, shear], [0, 1]]
    affine = homogeneous(linear, draw(st.tuples(*[numbers] * ndim)))
    shape = SHAPES[ndim]
    data = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)
    viewer = ViewerModel()
    image = viewer.add_image(data, scale=scale, translate=translate, affine=affine)
    viewer.dims.order = order
    sliced = sorted(order[:-2])
    index = tuple(draw(st.integers(0, shape[axis] - 1)) for axis in sliced)
    matrix = affine @ homogeneous(np.diag(scale), translate)
    at = np.zeros(ndim)
    at[sliced] = index
    viewer.dims.point = apply(matrix, at[None])[0]
    return Scene(viewer, image, matrix, index)


@settings(max_examples=40, deadline=None)
@given(scene=scenes(), seed=st.integers(0, 2**32 - 1))
def test_points_land_on_voxels_of_resampling(scene: Scene, seed: int) -> None:
    """Prompts land on the voxels that resampling the world's plane finds there."""
    rng = np.random.default_rng(seed)
    ndim, count = scene.image.ndim, 40
    # Points of the world's plane, some of them outside the image.
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in scene.image.data.shape]))
    reach = apply(scene.matrix, corners.reshape(ndim, -1).T)
    world = rng.uniform(reach.min(axis=0) - 1, reach.max(axis=0) + 1, (count, ndim))
    world[:, scene.sliced] = np.array(scene.viewer.dims.point)[scene.sliced]
    there = apply(np.linalg.inv(scene.matrix), world)
    clear = (np.abs(there - np.floor(there) - 0.5) > 1e-6).all(axis=1)
    world, there = world[clear], there[clear]
    resampled = map_coordinates(
        scene.image.data, there.T, order=0, mode="grid-constant", cval=0
    )
    # The prompts' layer lies anywhere, also turned out of the plane.
    turn, _ = np.linalg.qr(rng.normal(size=(ndim, ndim)))
    own = homogeneous(turn * rng.uniform(0.3, 3, ndim), rng.uniform(-9, 9, ndim))
    points = Points(
        apply(np.linalg.inv(own), world),
        affine=own,
        features={"object": np.arange(1, len(world) + 1)},
    )
    view = view_plane(scene.viewer.dims, scene.image)
    assert (view.plane_axes, view.index) == (tuple(scene.shown), scene.index)
    found = prompts_from_layers(scene.image, view, PromptLayers(points))
    pixels = view.read(scene.image.data, view.index)
    values = np.zeros(len(world))
    for number, prompts in found.items():
        row, column = np.rint(prompts.prompts.points[0]).astype(int)
        values[number - 1] = pixels[row, column]
    np.testing.assert_array_equal(values, resampled)


@settings(max_examples=25, deadline=None)
@given(scene=scenes((3, 4)), step=st.floats(-1.4, 1.4))
def test_prompts_on_other_planes_do_not_count(scene: Scene, step: float) -> None:
    """A point counts if it is at most half a plane away."""
    if abs(abs(step) - 0.5) < 1e-3:
        step = 0.4
    voxel = np.full(scene.image.ndim, 2.0)
    voxel[scene.sliced] = scene.index
    voxel[scene.sliced[0]] += step
    points = Points(apply(scene.matrix, voxel[None]))
    view = view_plane(scene.viewer.dims, scene.image)
    found = prompts_from_layers(scene.image, view, PromptLayers(points))
    assert bool(found) == (abs(step) < 0.5)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_order_of_displayed_axes(order: tuple[int, ...]) -> None:
    """Rows and columns are those displayed, transposed or not."""
    viewer = ViewerModel()
    data = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    image = viewer.add_image(data)
    viewer.dims.order = order
    viewer.dims.set_current_step(order[0], 3)
    view = view_plane(viewer.dims, image)
    assert (view.plane_axes, view.plane, view.sliced_axes) == (order[1:], 3, order[:1])
    np.testing.assert_array_equal(view.read(data, view.index), data.transpose(order)[3])


def test_slider_is_not_the_index() -> None:
    """A translated, coarser image beside another one: the world decides."""
    viewer = ViewerModel()
    viewer.add_image(np.zeros((40, 8, 8)))
    image = viewer.add_image(np.zeros((5, 8, 8)), scale=(3, 1, 1), translate=(10, 0, 0))
    viewer.dims.set_point(0, 17)
    assert view_plane(viewer.dims, image).plane == 2
    viewer.dims.set_point(0, 2)
    with pytest.raises(ValueError, match=r"planes 0 to 4, and the viewer is at -3\."):
        view_plane(viewer.dims, image)


def test_fewer_axes_than_the_viewer() -> None:
    """The last axes of the viewer are the image's."""
    viewer = ViewerModel()
    viewer.add_image(np.zeros((2, 3, 4, 5)))
    volume = viewer.add_image(np.zeros((3, 4, 5)))
    flat = viewer.add_image(np.zeros((4, 5)))
    viewer.dims.set_point((0, 1), (1, 2))
    assert view_plane(viewer.dims, volume).plane == 2
    assert view_plane(viewer.dims, flat).plane == 0
    assert view_plane(viewer.dims, flat).index == ()


def test_tzyx_planes_are_tuples() -> None:
    """Several sliders give a tuple, in the order of the data's axes."""
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((2, 3, 4, 5)))
    viewer.dims.set_point((0, 1), (1, 2))
    assert view_plane(viewer.dims, image).plane == (1, 2)
    viewer.dims.order = (2, 0, 1, 3)
    viewer.dims.set_point(2, 3)
    assert view_plane(viewer.dims, image).plane == (1, 3)


@pytest.mark.parametrize("shape", [(1, 8, 9), (3, 1, 9), (1, 1, 1)])
def test_singleton_axes(shape: tuple[int, ...]) -> None:
    """Axes of length one are axes."""
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros(shape))
    view = view_plane(viewer.dims, image)
    assert view.read(image.data, view.index).shape == shape[1:]


@pytest.mark.parametrize("turned", ["rotate", "shear", "affine", "permuted"])
def test_out_of_plane_is_refused(turned: str) -> None:
    """Planes that are oblique in the data are no planes SAM could be shown."""
    tilt = np.eye(4)
    tilt[0, 1] = 0.05  # a plane climbs by half a voxel in ten
    swap = np.eye(4)[[1, 0, 2, 3]]
    choices: dict[str, dict[str, Any]] = {
        "rotate": {"rotate": np.array([[0.6, 0, 0.8], [0, 1, 0], [-0.8, 0, 0.6]])},
        "shear": {"shear": (0.3, 0, 0)},  # rows move on with each plane
        "affine": {"affine": tilt},
        "permuted": {"affine": swap},
    }
    viewer = ViewerModel()
    data = np.zeros((20, 20, 20))
    image = viewer.add_image(data, name="tilted", **choices[turned])
    with pytest.raises(ValueError, match="'tilted' is rotated or sheared out of"):
        view_plane(viewer.dims, image)


def test_rounding_noise_is_no_rotation() -> None:
    """Directions in float32 may be off by 1e-7."""
    matrix = np.eye(4) + np.random.default_rng(0).normal(size=(4, 4)) * 1e-7
    matrix[3] = (0, 0, 0, 1)
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((20, 20, 20)), affine=matrix)
    assert view_plane(viewer.dims, image).plane == 9


def test_volume_view_is_refused() -> None:
    """In 3D there is no plane."""
    viewer = ViewerModel(ndisplay=3)
    image = viewer.add_image(np.zeros((4, 5, 6)))
    with pytest.raises(ValueError, match="dims must show 2 axes, got 3"):
        view_plane(viewer.dims, image)


def test_units_are_converted() -> None:
    """Points in nanometres on an image in micrometres, as napari shows them."""
    viewer = ViewerModel()
    image = viewer.add_image(
        np.zeros((9, 20, 20)), scale=(0.5, 0.1, 0.1), units=("um",) * 3
    )
    points = viewer.add_points([[1000, 300, 400]], units=("nm",) * 3)
    viewer.dims.set_point(0, 1000)  # the smaller unit is the viewer's
    view = view_plane(viewer.dims, image)
    assert view.plane == 2
    found = prompts_from_layers(image, view, PromptLayers(points))
    np.testing.assert_allclose(found[1].prompts.points, [[3, 4]])


def test_units_that_do_not_compare_are_numbers() -> None:
    """Pixels on micrometres: napari takes the numbers as they are, and so do we."""
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((9, 9)), units=("um", "um"), scale=(2, 2))
    points = viewer.add_points([[4, 6]])
    view = view_plane(viewer.dims, image)
    found = prompts_from_layers(image, view, PromptLayers(points))
    np.testing.assert_allclose(found[1].prompts.points, [[2, 3]])


def test_equal_transforms_do_not_round() -> None:
    """The same layer geometry gives the same numbers, to the last bit."""
    place: dict[str, Any] = {
        "scale": (0.3, 0.7, 0.7),
        "translate": (1e5, 3, 3),
        "rotate": (0, 0, 31),
    }
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((9, 20, 20)), **place)
    points = viewer.add_points([[4, 3.3, 4.4]], **place)
    view = view_plane(viewer.dims, image)
    assert convert(points.data, points, image, view) is points.data
    np.testing.assert_allclose(
        apply(world_matrix(points, None), points.data)[0],
        points.data_to_world(points.data[0]),
    )


@pytest.mark.parametrize("kind", ["dask", "zarr", "pyramid", "rgb"])
def test_lazy_and_colour_images(kind: str, tmp_path: Any) -> None:
    """No pixel is read to find the plane; pyramids count in full resolution."""
    shape = (6, 32, 24)
    reads: list[Any] = []

    def block(block_info: Any = None) -> np.ndarray:
        reads.append(block_info)
        return np.zeros((1, 32, 24))

    data: Any = {
        "dask": lambda: da.map_blocks(
            block, chunks=((1,) * 6, 32, 24), dtype=float, meta=np.zeros((0, 0, 0))
        ),
        "zarr": lambda: zarr.create_array(
            tmp_path / "a.zarr", shape=shape, dtype="u1", chunks=(1, 32, 24)
        ),
        "pyramid": lambda: [np.zeros(shape), np.zeros((6, 16, 12))],
        "rgb": lambda: np.zeros((*shape, 3), np.uint8),
    }[kind]()
    viewer = ViewerModel()
    image = viewer.add_image(
        data, rgb=kind == "rgb", multiscale=kind == "pyramid", contrast_limits=(0, 1)
    )
    viewer.dims.set_point(0, 4)
    reads.clear()
    view = view_plane(viewer.dims, image)
    assert (view.plane_axes, view.plane) == ((1, 2), 4)
    assert not reads


def test_same_grid() -> None:
    """Shape and place both count."""
    viewer = ViewerModel()
    place: dict[str, Any] = {"scale": (2, 0.5, 0.5), "rotate": (0, 0, 20)}
    image = viewer.add_image(np.zeros((3, 30, 20)), **place)
    view = view_plane(viewer.dims, image)
    like = np.zeros((3, 30, 20), np.uint8)
    assert is_same_grid(Labels(like, **place), image, view)
    assert not is_same_grid(Labels(like), image, view)
    assert not is_same_grid(Labels(like[:, :-1], **place), image, view)
    assert not is_same_grid(Labels(like, **place, translate=(0, 0.5, 0)), image, view)
