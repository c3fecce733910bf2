"""COCO, SA-1B, GeoJSON and tables: others read them, and labels come back the same."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from napari.layers import Labels
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from skimage.draw import polygon2mask
from typer.testing import CliRunner

import napari_sam as ns
from napari_sam import _io_rle
from napari_sam._cli import app
from napari_sam._io_outlines import outlines, pixels_inside
from napari_sam._reader import get_reader
from napari_sam._writer import write_objects
from napari_sam.io import ImageFile, has_annotations, read_coco_images, read_labels

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (3, 12, 17)
planes = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9)).filter(np.any)
counts = st.lists(st.integers(0, 2**40), min_size=1, max_size=9)


def volume() -> ImageFile:
    """Make labels of several parts, with holes, one of them across all planes."""
    data = np.zeros(SHAPE, np.int16)
    data[:, 2:9, 3:12] = 7
    data[0, 4:6, 5:7] = data[0, 6, 7] = 0
    data[1, 5, 5] = -3
    data[2, 11, 16] = 300
    data[2, 0, 0] = 300
    units = ("micrometer",) * 3
    return ImageFile(data, "ZYX", (2.0, 0.5, 0.25), units=units)


WRITERS = {
    "coco.json": ns.write_coco,
    "lists.json": lambda path, labels: ns.write_coco(path, labels, compressed=False),
    "a.geojson": ns.write_geojson,
}


@settings(deadline=None, max_examples=60)
@given(planes)
def test_run_lengths_are_those_of_coco(mask: Any) -> None:
    """Our string is that of the COCO API, and each is read back."""
    found = _io_rle.encode(mask, (0, 0), mask.shape)
    text = _io_rle.compress(found)
    theirs = coco_mask.encode(np.asfortranarray(mask.astype("u1")))
    assert text.encode() == theirs["counts"]
    np.testing.assert_array_equal(_io_rle.decompress(text), found)
    again = np.zeros_like(mask)
    again[_io_rle.decode(found, mask.shape)] = True
    np.testing.assert_array_equal(again, mask)


@settings(deadline=None, max_examples=60)
@given(counts)
def test_run_lengths_of_any_size(values: list[int]) -> None:
    """Also numbers of many characters come back."""
    array = np.array(values, np.int64)
    back = _io_rle.decompress(_io_rle.compress(array))
    np.testing.assert_array_equal(back, array)


@settings(deadline=None, max_examples=100)
@given(planes)
def test_outlines_are_exact(mask: Any) -> None:
    """Rings are simple, holes count backwards, areas and pixels are the mask's."""
    again = np.zeros_like(mask)
    area = 0.0
    for polygon in outlines(mask):
        rings = [np.array(ring, float) for ring in polygon]
        areas = [signed_area(ring) for ring in rings]
        assert areas[0] > 0
        assert all(hole < 0 for hole in areas[1:])
        assert all(len({*ring}) == len(ring) for ring in polygon)
        area += sum(areas)
        again[pixels_inside(rings, mask.shape)] = True
    np.testing.assert_array_equal(again, mask)
    assert area == mask.sum()


def signed_area(ring: Any) -> float:
    """Area by the shoelace formula."""
    x, y = ring.T
    return float(x @ np.roll(y, -1) - np.roll(x, -1) @ y) / 2


def test_polygons_between_pixels_agree_with_skimage() -> None:
    """A pixel is inside if its centre is; what is outside the plane is cut off."""
    ring = np.array([[-3.2, 1.1], [14.3, 4.7], [9.6, 21.3], [2.2, 9.1]])
    mask = np.zeros((16, 12), bool)
    mask[pixels_inside([ring], mask.shape)] = True
    expected = polygon2mask(mask.shape, ring[:, ::-1] - 0.5)
    np.testing.assert_array_equal(mask, expected)
    assert len(pixels_inside([ring + 100], mask.shape)[0]) == 0


@pytest.mark.parametrize("name", WRITERS)
def test_labels_come_back_the_same(tmp_path: Path, name: str) -> None:
    """Pixels, type, spacing and units, of planes and of stacks."""
    for labels in (volume(), volume().data[1], np.zeros((4, 5), bool)):
        WRITERS[name](tmp_path / name, labels)
        back = read_labels(tmp_path / name)
        np.testing.assert_array_equal(back, labels)
        if isinstance(labels, ImageFile):
            assert (back.dtype, back.axes) == (np.int16, "ZYX")
            assert (back.spacing, back.units) == (labels.spacing, labels.units)


@settings(deadline=None, max_examples=25)
@given(arrays(np.uint8, (2, 5, 6), elements=st.integers(0, 3)))
def test_any_labels_come_back(tmp_path_factory: Any, labels: Any) -> None:
    """Whatever touches whatever."""
    folder = tmp_path_factory.mktemp("a")
    for name, write in WRITERS.items():
        write(folder / name, labels)
        np.testing.assert_array_equal(read_labels(folder / name), labels)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_pycocotools_reads_coco(tmp_path: Path) -> None:
    """Masks, areas and boxes as the COCO API computes them."""
    labels = volume()
    scores = {7: {"score": np.float32(0.5)}, 300: {"score": np.nan}}
    ns.write_coco(tmp_path / "a.json", {"a.tif": labels}, scores, category="cell")
    coco = COCO(tmp_path / "a.json")
    assert [cat["name"] for cat in coco.loadCats(coco.getCatIds())] == ["cell"]
    images = coco.loadImgs(coco.getImgIds())
    assert [image["plane"] for image in images] == [[0], [1], [2]]
    again = np.zeros_like(labels.data)
    for image in images:
        for one in coco.loadAnns(coco.getAnnIds(image["id"])):
            mask = coco.annToMask(one).astype(bool)
            again[image["plane"][0]][mask] = one["label"]
            rle = coco.annToRLE(one)
            assert one["area"] == coco_mask.area(rle)
            np.testing.assert_array_equal(one["bbox"], coco_mask.toBbox(rle))
            assert one.get("score") == (0.5 if one["label"] == 7 else None)
    np.testing.assert_array_equal(again, labels)


def test_coco_of_many_images(tmp_path: Path) -> None:
    """One file for a series; each image is found by its name."""
    many = {"a.png": np.eye(3, dtype="u1"), "b.png": np.full((2, 5), 4)}
    ns.write_coco(tmp_path / "a.json", many)
    assert len(COCO(tmp_path / "a.json").getImgIds()) == 2
    for name, labels in many.items():
        np.testing.assert_array_equal(ns.read_coco(tmp_path / "a.json", name), labels)
    with pytest.raises(ValueError, match=r"image must be one of a.png, b.png"):
        ns.read_coco(tmp_path / "a.json")


def test_foreign_coco(tmp_path: Path) -> None:
    """Polygons, masks of both kinds; numbered as they come, the smaller on top."""
    lists = {"size": [4, 6], "counts": [0, 24]}
    string = {"size": [4, 6], "counts": _io_rle.compress(np.array([0, 2, 22]))}
    content = {
        "images": [{"id": 8, "file_name": "x.jpg", "height": 4, "width": 6}],
        "annotations": [
            {"id": 1, "image_id": 8, "segmentation": [[3, 1, 5, 1, 5, 3, 3, 3]]},
            {"id": 2, "image_id": 8, "segmentation": lists},
            {"id": 3, "image_id": 8, "segmentation": string},
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    labels = np.full((4, 6), 2)
    labels[1:3, 3:5] = 1
    labels[:2, 0] = 3
    np.testing.assert_array_equal(ns.read_coco(tmp_path / "a.json"), labels)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_sa1b(tmp_path: Path) -> None:
    """The names of the dataset; read back like COCO; one plane only."""
    labels = volume().data[0]
    known = {7: {"score": 0.9, "stability": 0.8}}
    ns.write_sa1b(tmp_path / "sa_1.json", labels, known)
    content = json.loads((tmp_path / "sa_1.json").read_text())
    assert content["image"]["file_name"] == "sa_1.jpg"
    (one,) = content["annotations"]
    assert (one["predicted_iou"], one["stability_score"]) == (0.9, 0.8)
    assert one["crop_box"] == [0, 0, 17, 12]
    mask = coco_mask.decode(one["segmentation"])
    np.testing.assert_array_equal(mask * 7, labels)
    np.testing.assert_array_equal(ns.read_coco(tmp_path / "sa_1.json"), labels)
    with pytest.raises(ValueError, match="one plane for SA-1B"):
        ns.write_sa1b(tmp_path / "sa_1.json", volume())


def test_geojson_is_as_the_standard_says(tmp_path: Path) -> None:
    """Closed rings, outer ones counted positive, holes; a plane each in a stack."""
    ns.write_geojson(tmp_path / "a.geojson", volume(), {7: {"score": 0.5}})
    content = json.loads((tmp_path / "a.geojson").read_text())
    first, *_, last = content["features"]
    outer, touching, hole = first["geometry"]["coordinates"]
    assert outer[0] == outer[-1]
    assert {*map(tuple, outer)} == {(3, 2), (12, 2), (12, 9), (3, 9)}
    assert signed_area(np.array(outer[:-1])) == 63
    assert signed_area(np.array(hole[:-1])) == -4
    assert signed_area(np.array(touching[:-1])) == -1
    assert first["properties"]["score"] == 0.5
    assert last["geometry"]["type"] == "MultiPolygon"
    assert last["geometry"]["plane"] == {"c": 0, "z": 2, "t": 0}


def test_foreign_geojson(tmp_path: Path) -> None:
    """Without labels they are numbered; points are left out; the size is asked for."""
    square = [[1.2, 1.0], [4.0, 1.0], [4.0, 3.0], [1.2, 3.0], [1.2, 1.0]]
    content = {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 1]}},
            {"type": "Feature", "geometry": None, "properties": None},
            {
                "type": "Feature",
                "properties": None,
                "geometry": {"type": "Polygon", "coordinates": [square]},
            },
        ],
    }
    (tmp_path / "a.geojson").write_text(json.dumps(content))
    labels = np.zeros((5, 6), int)
    labels[1:3, 1:4] = 1
    np.testing.assert_array_equal(
        ns.read_geojson(tmp_path / "a.geojson", (5, 6)), labels
    )
    with pytest.raises(ValueError, match="shape must be given"):
        ns.read_geojson(tmp_path / "a.geojson")
    assert not has_annotations(tmp_path / "a.geojson")


def damaged(name: str, change: Any, folder: Path) -> Path:
    """Write labels, and the file again with something changed."""
    path = folder / name
    WRITERS[name](path, volume())
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("coco.json", lambda c: c["annotations"][0].pop("image_id")),
        ("coco.json", lambda c: c["annotations"][0].update(image_id=99)),
        ("coco.json", lambda c: c["annotations"][0]["segmentation"].update(counts="0")),
        ("coco.json", lambda c: c["annotations"][0]["segmentation"].update(counts="é")),
        ("coco.json", lambda c: c["annotations"][0]["segmentation"].update(size=[1])),
        ("lists.json", lambda c: c["annotations"][0]["segmentation"].update(counts=[])),
        ("lists.json", lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3]])),
        ("coco.json", lambda c: c["images"][1].update(plane=[5])),
        ("coco.json", lambda c: c["images"][1].update(plane=[-1])),
        ("coco.json", lambda c: c["images"][0]["label_image"].update(shape=[9**9] * 5)),
        ("coco.json", lambda c: c["images"][0]["label_image"].update(dtype="float32")),
        ("coco.json", lambda c: c["images"][0]["label_image"].pop("spacing")),
        ("coco.json", lambda c: c["annotations"][0].update(label=1 << 70)),
        ("a.geojson", lambda c: c["features"][0].pop("geometry")),
        ("a.geojson", lambda c: c["features"][0]["geometry"].update(coordinates=[[1]])),
        ("a.geojson", lambda c: c["features"][0]["properties"].update(plane=[9])),
        ("a.geojson", lambda c: c["label_image"].update(units=None)),
    ],
)
def test_damaged_annotations(tmp_path: Path, name: str, change: Any) -> None:
    """A sentence with the name of the file, never another kind of error."""
    with pytest.raises(ValueError, match=r"holds damaged (annotations|features)"):
        read_labels(damaged(name, change, tmp_path))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", "3", '{"images": []}', "[" * 9999]
)
def test_other_json(tmp_path: Path, text: str) -> None:
    """What is no annotation is said to be none, and left to other readers."""
    for name in ("a.json", "a.geojson"):
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=r"must (hold COCO|be a)"):
            read_labels(tmp_path / name)
        assert get_reader(str(tmp_path / name)) is None
        with pytest.raises(ValueError, match="existing file"):
            read_labels(tmp_path / f"no_{name}")


@pytest.mark.parametrize(
    ("labels", "features", "words"),
    [
        (np.zeros((0, 4), int), None, "none of them empty"),
        (np.zeros(4, int), None, "2 to 5 axes"),
        (np.zeros((4, 4)), None, "integers or bool"),
        (np.zeros((4, 4), complex), None, "integers or bool"),
        (ImageFile(np.zeros((4, 4, 3), "u1"), "YXC", (1, 1)), None, "a picture"),
        (np.eye(4, dtype=int), {1: 3}, "dict of label"),
        (np.eye(4, dtype=int), [1], "dict of label"),
        (np.eye(4, dtype=int), {1: {"score": np.inf}}, "score is inf"),
        (np.eye(4, dtype=int), {1: {"score": [1]}}, "score is"),
    ],
)
def test_bad_input_leaves_files_alone(
    tmp_path: Path, labels: Any, features: Any, words: str
) -> None:
    """Refused in a sentence; the file that was there stays."""
    target = tmp_path / "a"
    target.write_text("before")
    for write in (ns.write_coco, ns.write_geojson, ns.write_sa1b):
        with pytest.raises(ValueError, match=words):
            write(target, labels, features)
    with pytest.raises(ValueError, match=words):
        ns.write_table(target, labels, features=features)
    assert target.read_text() == "before"


def test_measurements() -> None:
    """Physical size, box, centroid and brightness, against the definition."""
    labels = volume()
    image = np.arange(labels.data.size).reshape(SHAPE).astype(float)
    found = ns.measure_objects(labels, image, {7: {"score": 0.5}})
    assert [one.label for one in found] == [-3, 7, 300]
    for one in found:
        where = np.argwhere(labels.data == one.label)
        assert one.pixel_count == len(where)
        assert one.size == pytest.approx(len(where) * 0.25)
        assert one.box == (*where.min(0), *where.max(0) + 1)
        np.testing.assert_allclose(one.centroid, where.mean(0))
        expected = image[labels.data == one.label].mean()
        assert one.mean_intensity == pytest.approx(expected)
    assert found[1].features == {"score": 0.5}
    colour = np.stack([image] * 3, -1)
    again = ns.measure_objects(labels, colour)
    assert again[0].mean_intensity == pytest.approx(found[0].mean_intensity)
    with pytest.raises(ValueError, match="shape of labels"):
        ns.measure_objects(labels, image[0])
    with pytest.raises(ValueError, match="real numbers"):
        ns.measure_objects(labels, image * 1j)


def test_table(tmp_path: Path) -> None:
    """A row an object; each time point by itself; the unit is named."""
    labels = ImageFile(volume().data, "TYX", (60, 0.5, 0.5), units=("s", "um", "um"))
    ns.write_table(tmp_path / "a.csv", labels, features={7: {"score": 0.5}})
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = "label time pixel_count area unit centroid_row centroid_column row_min"
    assert list(rows[0]) == [
        *names.split(),
        "column_min",
        "row_max",
        "column_max",
        "score",
    ]
    assert [(row["label"], row["time"]) for row in rows] == [
        *(("7", "0"), ("-3", "1"), ("7", "1"), ("7", "2"), ("300", "2"))
    ]
    assert (rows[0]["area"], rows[0]["unit"]) == ("14.5", "micrometer^2")
    assert (rows[0]["score"], rows[1]["score"]) == ("0.5", "")


def test_layers_are_written_and_opened(tmp_path: Path) -> None:
    """A Labels layer with features goes out and comes back where it was."""
    layer = Labels(
        volume().data,
        scale=(2, 0.5, 0.25),
        units=("micrometer",) * 3,
        features={"index": [0, 7], "score": [np.nan, 0.5]},
    )
    data, meta, _ = layer.as_layer_data_tuple()
    for name in ("a.json", "a.geojson", "a.csv"):
        assert write_objects(str(tmp_path / name), data, meta) == [str(tmp_path / name)]
    content = json.loads((tmp_path / "a.json").read_text())
    assert [one.get("score") for one in content["annotations"]].count(0.5) == 3
    for name in ("a.json", "a.geojson"):
        read = get_reader(str(tmp_path / name))
        assert read is not None
        ((back, keywords, kind),) = read(str(tmp_path / name))
        np.testing.assert_array_equal(back, volume())
        assert (kind, keywords["scale"]) == ("labels", (2, 0.5, 0.25))
        assert keywords["units"] == ("micrometer",) * 3
    assert [*read_coco_images(tmp_path / "a.json")] == ["a"]
    with pytest.raises(ValueError, match=r"must end in .json, .geojson, .csv"):
        write_objects(str(tmp_path / "a.txt"), data, meta)


def test_command(tmp_path: Path) -> None:
    """Each format, also back into a label image; refusals are a sentence."""
    ns.write_labels(tmp_path / "labels.tif", volume().data[:1], spacing=(2, 0.5, 0.5))

    def run(*arguments: Any) -> Any:
        return CliRunner().invoke(app, ["export", *map(str, arguments)])

    labels, image = tmp_path / "labels.tif", tmp_path / "image.tif"
    ns.write_labels(image, np.full((1, 12, 17), 9, np.uint8))
    stack = tmp_path / "stack.nrrd"
    ns.write_labels(stack, volume())
    for name in ("a.json", "a.geojson", "a.csv"):
        done = run(labels, "--out", tmp_path / name, "--image", image)
        assert done.exit_code == 0, done.output
        assert done.stdout.endswith(f"{name}: 1 object\n")
    assert "9.0" in (tmp_path / "a.csv").read_text()
    assert [*read_coco_images(tmp_path / "a.json")] == ["image.tif"]
    done = run(tmp_path / "a.geojson", "--out", tmp_path / "b.tif")
    assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(read_labels(tmp_path / "b.tif"), read_labels(labels))
    for arguments, words in (
        ((labels, "--out", tmp_path / "a.csv"), "exists"),
        ((labels, "--out", labels, "--force"), "is what is to be read"),
        ((labels, "--out", tmp_path / "x.csv", "--format", "xml"), "must be one of"),
        ((stack, "--out", tmp_path / "x.json", "--format", "sa1b"), "one plane"),
        ((labels, "--out", tmp_path / "x.doc"), "path must end in"),
    ):
        refused = run(*arguments)
        assert refused.exit_code == 2
        assert words in refused.stderr
