"""From the layers of a viewer to a Labels layer, in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels

import napari_sam as ns
from napari_sam._layers import CommitOptions, segment_layers
from napari_sam.io import read_image, sample_path
from napari_sam.prompting import check_prompts
from napari_sam.session import Session

if TYPE_CHECKING:
    from napari_sam._tests.tiny_models import CountingPredictor
    from napari_sam.predictor import Predictor

pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")

SHAPE = (4, 30, 40)


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of SAM: boxes, and discs around the foreground points."""

    def segment(self: Session, prompts: ns.Prompts, plane: Any) -> ns.Prediction:
        check_prompts(prompts, self.plane_size)
        self.check_plane(plane)
        rows, columns = np.indices(self.plane_size)
        mask = np.zeros(self.plane_size, bool)
        if prompts.box is not None:
            top, left, bottom, right = np.rint(prompts.box).astype(int)
            mask[top:bottom, left:right] = True
        for row, column in prompts.points[prompts.point_labels == 1]:
            mask |= np.hypot(rows - row, columns - column) <= 2.5
        logits = np.zeros((1, 256, 256), np.float32)
        return ns.Prediction(mask[None], np.ones(1, np.float32), logits, plane)

    monkeypatch.setattr(Session, "segment", segment)


@pytest.fixture
def volume() -> np.ndarray:
    """Noise, different in each plane."""
    return np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.uint8)


@pytest.fixture
def viewer(volume: np.ndarray) -> ViewerModel:
    """Show plane 2 of a volume, with points of two objects there, one elsewhere."""
    viewer = ViewerModel()
    place = {"scale": (3, 0.5, 0.5), "translate": (0, 7, 0), "units": ("um",) * 3}
    viewer.add_image(volume, name="volume", **place)
    viewer.add_points(
        [[2, 10, 12], [2, 20, 30], [0, 5, 5]],
        features={"object": [1, 5, 9]},
        name="points",
        **place,
    )
    corners = [[2, 4.5, 4.5], [2, 4.5, 19.5], [2, 15.5, 19.5], [2, 15.5, 4.5]]
    viewer.add_shapes([corners], shape_type="rectangle", name="boxes", **place)
    viewer.dims.set_point(0, 6)
    return viewer


def test_equals_the_session(
    viewer: ViewerModel, volume: np.ndarray, tiny_predictor: CountingPredictor
) -> None:
    """The masks are those of a Session with the same prompts; one plane is encoded."""
    tiny_predictor.encoded = 0
    result = segment_layers(
        viewer, "volume", "points", "boxes", "result", predictor=tiny_predictor
    )
    assert tiny_predictor.encoded == 1
    session = Session(volume, tiny_predictor, contrast_limits=(0, 255))
    first = session.segment(ns.Prompts([[10, 12]], [1], [5, 5, 16, 20]), 2).best
    second = session.segment(ns.Prompts([[20, 30]]), 2).best
    expected = np.where(first, 1, np.where(second, 5, 0))
    assert expected.any()
    np.testing.assert_array_equal(result.data[2], expected)
    assert not result.data[[0, 1, 3]].any()
    assert viewer.layers["result"] is result
    image = viewer.layers["volume"]
    np.testing.assert_array_equal(result.scale, image.scale)
    np.testing.assert_array_equal(result.translate, image.translate)
    assert result.units == image.units


@pytest.mark.usefixtures("drawing")
def test_layers_or_names(
    viewer: ViewerModel, tiny_predictor: CountingPredictor
) -> None:
    """Both say the same; an existing Labels layer is written into, and kept."""
    by_name = segment_layers(viewer, "volume", "points", predictor=tiny_predictor)
    assert by_name.name == "segmentation"
    mine = Labels(np.zeros(SHAPE, np.uint8), name="mine")
    mine.scale, mine.translate = by_name.scale, by_name.translate
    mine.units = by_name.units
    data = mine.data
    viewer.add_layer(mine)
    count = len(viewer.layers)
    again = segment_layers(
        viewer,
        viewer.layers["volume"],
        points=viewer.layers["points"],
        labels=mine,
        predictor=tiny_predictor,
    )
    assert again is mine
    assert mine.data is data
    assert len(viewer.layers) == count
    np.testing.assert_array_equal(mine.data, by_name.data)
    mine.undo()
    assert not mine.data.any()


@pytest.mark.parametrize("overlap", ["protect", "overwrite"])
@pytest.mark.usefixtures("drawing")
def test_other_labels_are_protected(
    viewer: ViewerModel, tiny_predictor: CountingPredictor, overlap: Any
) -> None:
    """Unless the user wants them overwritten."""
    result = segment_layers(
        viewer, "volume", None, "boxes", "result", predictor=tiny_predictor
    )
    mask = result.data[2] == 1
    result.data[:] = 7
    options = CommitOptions(overlap)
    segment_layers(
        viewer, "volume", None, "boxes", "result",
        predictor=tiny_predictor, options=options,
    )  # fmt: skip
    expected = np.where(mask & (overlap == "overwrite"), 1, 7)
    np.testing.assert_array_equal(result.data[2], expected)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (0, 2, 1)])
@pytest.mark.usefixtures("drawing")
def test_any_plane(
    viewer: ViewerModel,
    tiny_predictor: CountingPredictor,
    order: tuple[int, int, int],
) -> None:
    """XY, XZ, YZ and transposed, through the voxel of a point."""
    voxel = np.array([1, 14, 22])
    image = viewer.layers["volume"]
    viewer.add_points([image.data_to_world(voxel)], name="one", units=("um",) * 3)
    viewer.dims.order = order
    viewer.dims.point = image.data_to_world(voxel)
    result = segment_layers(viewer, "volume", "one", predictor=tiny_predictor)
    distance = np.moveaxis(np.indices(SHAPE), 0, -1) - voxel
    is_plane = distance[..., order[0]] == 0
    expected = is_plane & (np.linalg.norm(distance, axis=-1) <= 2.5)
    np.testing.assert_array_equal(result.data == 1, expected)


def test_time_series_colour_and_dask(tiny_predictor: CountingPredictor) -> None:
    """TZYX in colour, lazily: of the volume one plane is read."""
    data = np.random.default_rng(1).integers(0, 255, (2, 3, 30, 40, 3)).astype("u1")
    reads: list[Any] = []

    def read(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        if block_info:
            reads.append(block_info[0]["chunk-location"][:2])
        return block

    lazy = da.from_array(data, chunks=(1, 1, 30, 40, 3)).map_blocks(
        read, dtype="u1", meta=np.zeros((0,) * 5, "u1")
    )
    viewer = ViewerModel()
    viewer.add_image(lazy, rgb=True, name="movie", cache=False)
    viewer.add_points([[1, 2, 10, 20]], name="points")
    viewer.dims.set_point((0, 1), (1, 2))
    reads.clear()
    result = segment_layers(viewer, "movie", "points", predictor=tiny_predictor)
    assert set(reads) == {(1, 2)}
    assert result.data.shape == (2, 3, 30, 40)
    session = Session(data, tiny_predictor)
    expected = session.segment(ns.Prompts([[10, 20]]), (1, 2)).best
    np.testing.assert_array_equal(result.data[1, 2], expected)
    assert np.count_nonzero(result.data) == expected.sum()


def test_labels_as_prompts_correct_in_place(
    viewer: ViewerModel, volume: np.ndarray, tiny_predictor: CountingPredictor
) -> None:
    """A label is the prompt for its own better mask."""
    result = segment_layers(viewer, "volume", "points", predictor=tiny_predictor)
    result.data[:] = 0
    result.data[2, 8:14, 9:20] = 6
    rough = result.data[2] == 6
    segment_layers(
        viewer, "volume", labels=result, masks=result, predictor=tiny_predictor
    )
    session = Session(volume, tiny_predictor, contrast_limits=(0, 255))
    from napari_sam.transforms import mask_to_logits

    prompts = ns.Prompts(box=[8, 9, 14, 20], mask_logits=mask_to_logits(rough))
    np.testing.assert_array_equal(result.data[2] == 6, session.segment(prompts, 2).best)


@pytest.mark.usefixtures("drawing")
def test_large_number_widens_a_new_layer(
    viewer: ViewerModel, tiny_predictor: CountingPredictor
) -> None:
    """A layer that is made for the masks holds their numbers."""
    viewer.layers["points"].features = {"object": [70000, 70000, 1]}
    result = segment_layers(viewer, "volume", "points", predictor=tiny_predictor)
    assert result.data.dtype == np.uint32
    assert result.data.max() == 70000


def arrange(viewer: ViewerModel, name: str) -> dict[str, Any]:
    """Arguments that are wrong in one way."""
    removed = viewer.add_points([[2, 3, 4]], name="removed")
    viewer.layers.remove(removed)
    small = viewer.add_labels(np.zeros((4, 30, 30), np.uint8), name="small")
    byte = viewer.add_labels(np.zeros(SHAPE, np.uint8), name="byte")
    for layer in (small, byte):
        layer.scale, layer.translate = (3, 0.5, 0.5), (0, 7, 0)
        layer.units = ("um",) * 3
    if name == "too large":
        viewer.layers["points"].features = {"object": [300, 1, 1]}
    if name == "background":
        viewer.layers["points"].features = {"label": [0, 0, 0]}
    if name == "empty plane":
        viewer.dims.set_point(0, 3)
    if name == "volume view":
        viewer.dims.ndisplay = 3
    changes: dict[str, dict[str, Any]] = {
        "unknown": {"points": "clicks"},
        "not an image": {"image": "points"},
        "not points": {"points": "volume"},
        "not a layer": {"shapes": 3},
        "removed": {"points": removed},
        "not labels": {"labels": "points"},
        "other grid": {"labels": "small"},
        "too large": {"labels": "byte"},
        "no prompts": {"points": None},
    }
    return {"image": "volume", "points": "points", **changes.get(name, {})}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unknown", r"points must be one of \['volume', .*\], got 'clicks'"),
        ("not an image", "image must be a layer of type Image or its name, got Points"),
        ("not points", "points must be a layer of type Points or its name, got Image"),
        ("not a layer", "shapes must be a layer of type Shapes or its name, got int"),
        ("removed", "points must be in the viewer, got 'removed'"),
        ("not labels", "labels must be a layer of type Labels or its name, got Points"),
        ("other grid", "'small' must have the shape and transforms of image 'volume'"),
        ("too large", "object_id must be at most 255 in the uint8 layer 'byte'"),
        ("no prompts", "must mark an object in plane 2 of 'volume'"),
        ("background", "must mark an object in plane 2 of 'volume'"),
        ("empty plane", "must mark an object in plane 1 of 'volume'"),
        ("volume view", "dims must show 2 axes, got 3: switch the viewer to 2D"),
    ],
)
def test_bad_input_changes_nothing(
    viewer: ViewerModel, tiny_predictor: CountingPredictor, name: str, message: str
) -> None:
    """One sentence; no layer is made or changed, and nothing was encoded for it."""
    arguments = arrange(viewer, name)
    names = [layer.name for layer in viewer.layers]
    tiny_predictor.encoded = 0
    with pytest.raises(ValueError, match=message):
        segment_layers(viewer, **arguments, predictor=tiny_predictor)
    assert [layer.name for layer in viewer.layers] == names
    assert not viewer.layers["byte"].data.any()
    assert tiny_predictor.encoded == 0


def test_viewer_must_be_a_viewer(tiny_predictor: CountingPredictor) -> None:
    """Not a layer, not an array."""
    with pytest.raises(ValueError, match="viewer must be a napari viewer, got ndarray"):
        segment_layers(np.zeros((8, 8)), "image", predictor=tiny_predictor)


def test_whole_stack_needs_a_stack(tiny_predictor: CountingPredictor) -> None:
    """There is nothing to follow an object through."""
    viewer = ViewerModel()
    viewer.add_image(np.zeros((8, 8), np.uint8), name="flat")
    viewer.add_points([[3, 3]], name="points")
    with pytest.raises(ValueError, match="whole_stack must be False for the 2D image"):
        segment_layers(
            viewer, "flat", "points", whole_stack=True, predictor=tiny_predictor
        )


@pytest.mark.usefixtures("drawing")
@pytest.mark.parametrize("axis", [0, 1])
def test_whole_stack_follows_every_object(
    viewer: ViewerModel,
    monkeypatch: pytest.MonkeyPatch,
    tiny_predictor: CountingPredictor,
    axis: int,
) -> None:
    """Seeds of all planes, by object, go to the session; its labels are written."""
    seen: list[Any] = []
    volume = np.zeros(SHAPE, np.uint16)
    volume[:, 5:9, 6:10], volume[1:, 20:22, 30:33] = 1, 5

    def propagate_objects(self: Session, seeds: Any, along: int) -> Any:
        seen.append((self.axes.sliced, along, seeds))
        yield from ((i, volume.take(i, axis).astype(int)) for i in self.planes)

    monkeypatch.setattr(Session, "propagate_objects", propagate_objects)
    viewer.dims.order = (axis, *sorted({0, 1, 2} - {axis}))
    result = segment_layers(
        viewer, "volume", "points", whole_stack=True, predictor=tiny_predictor
    )
    ((sliced, along, seeds),) = seen
    assert (sliced, along) == ((axis,), 0)
    planes = [{1: [2], 5: [2], 9: [0]}, {1: [10], 5: [20], 9: [5]}][axis]
    assert {number: list(seeds[number]) for number in seeds} == planes
    first = seeds[1][planes[1][0]]
    assert first == ns.Prompts([[[10, 12], [2, 12]][axis]])
    np.testing.assert_array_equal(result.data, volume)
    result.undo()
    assert not result.data.any()


def test_whole_stack_equals_the_session(
    viewer: ViewerModel, volume: np.ndarray, tiny_predictor: CountingPredictor
) -> None:
    """The labels are those of `Session.segment_objects`, from prompts of any plane."""
    result = segment_layers(
        viewer, "volume", "points", whole_stack=True, predictor=tiny_predictor
    )
    session = Session(volume, tiny_predictor, contrast_limits=(0, 255))
    seeds = {
        1: {2: ns.Prompts([[10, 12]])},
        5: {2: ns.Prompts([[20, 30]])},
        9: {0: ns.Prompts([[5, 5]])},
    }
    np.testing.assert_array_equal(result.data, session.segment_objects(seeds))


def test_whole_stack_of_one_time_point(tiny_predictor: CountingPredictor) -> None:
    """TZYX: along z, at the time displayed; prompts of other times do not count."""
    data = np.random.default_rng(1).integers(0, 255, (2, 3, 30, 40)).astype("u1")
    viewer = ViewerModel()
    viewer.add_image(data, name="movie")
    viewer.add_points(
        [[1, 2, 10, 20], [0, 2, 5, 5]], features={"object": [4, 8]}, name="points"
    )
    viewer.dims.set_point((0, 1), (1, 0))
    result = segment_layers(
        viewer, "movie", "points", whole_stack=True, predictor=tiny_predictor
    )
    session = Session(data[1], tiny_predictor)
    expected = session.segment_objects({4: {2: ns.Prompts([[10, 20]])}})
    np.testing.assert_array_equal(result.data[1], expected)
    assert not result.data[0].any()


def test_real_model_on_a_turned_image(predictor: Predictor) -> None:
    """A box on another grid around a nucleus of a turned, mirrored image finds it."""
    image = np.asarray(read_image(sample_path("nuclei_2d.tif")).data)
    truth = np.asarray(read_image(sample_path("nuclei_2d_labels.tif")).data)
    sizes = np.bincount(truth.ravel())
    nucleus = truth == int(sizes[1:].argmax()) + 1
    rows, columns = np.nonzero(nucleus)
    low = np.array([rows.min(), columns.min()]) - 0.5
    high = np.array([rows.max(), columns.max()]) + 0.5
    corners = np.array([low, (low[0], high[1]), high, (high[0], low[1])])
    viewer = ViewerModel()
    viewer.add_image(image, name="nuclei", rotate=90, scale=(-2, 3))
    drawn = [viewer.layers["nuclei"].data_to_world(corner) for corner in corners]
    viewer.add_shapes([np.array(drawn)], shape_type="rectangle", name="box")
    result = segment_layers(viewer, "nuclei", shapes="box", predictor=predictor).data
    assert (result & nucleus).sum() / (result | nucleus).sum() > 0.8
