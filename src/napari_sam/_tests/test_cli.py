"""The commands: what they write, what they refuse, and how they say so."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from skimage.draw import disk
from typer.testing import CliRunner

import napari_sam as ns
from napari_sam import registry
from napari_sam._cli import app, bench, demo_samples, viewer
from napari_sam._cli.console import CommandGroup
from napari_sam._cli.label_images import CleanOptions, clean, paint
from napari_sam._cli.overlay import Layout, Panel, colour_of, draw, outlines
from napari_sam._cli.prompts_file import Given, prompts_from_options, read_prompts
from napari_sam._tests.seeing_predictor import SeeingPredictor
from napari_sam._tests.test_architecture import run_python
from napari_sam.io import read_image, read_labels, sample_path, write_labels
from napari_sam.types import Prediction, Prompts

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

    from napari_sam.predictor import Predictor

SHAPE = (5, 40, 48)
SPACING = (3.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """One model for all commands of this file: loading takes seconds."""
    return ns.load_model("mobile_sam", device="cpu", precision="float32")


@pytest.fixture
def run(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command in this process; returns its exit code and output."""
    monkeypatch.setattr(registry, "load_model", lambda *_: predictor)

    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(a) for a in arguments])

    return invoke


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Write a volume with a bright cylinder through planes 1 to 3."""
    volume = np.full(SHAPE, 20, np.uint8)
    rows, columns = disk((18, 22), 9)
    volume[1:4, rows, columns] = 200
    write_labels(tmp_path / "stack.nii.gz", volume, SPACING)
    return tmp_path / "stack.nii.gz"


def cylinder() -> np.ndarray:
    """Return the plane of the cylinder of `stack`, as a mask."""
    plane = np.zeros(SHAPE[1:], bool)
    plane[disk((18, 22), 9)] = True
    return plane


def error_of(result: Result, code: int = 2) -> str:
    """Check that a command failed with one sentence and no traceback."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return " ".join(result.stderr.split())


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return float((a & b).sum() / (a | b).sum())


def test_version_and_help(run: Any) -> None:
    """The version is printed, and help lists every command."""
    assert run("--version").stdout == f"napari-sam {ns.__version__}\n"
    text = run("--help").stdout
    assert all(name in text for name in ("demo", "segment", "models", "bench"))
    assert run("segment", "--help").exit_code == 0


def test_importing_the_commands_is_light() -> None:
    """Help needs neither torch nor napari nor SimpleITK."""
    code = "import napari_sam._cli\nprint(*sys.modules)"
    loaded = {name.partition(".")[0] for name in run_python(code).split()}
    assert not loaded & {"torch", "napari", "SimpleITK", "skimage", "qtpy"}


def test_segment_points_of_one_object(run: Any, stack: Path, tmp_path: Path) -> None:
    """Points make one object in one plane, written in the image's place."""
    out, png = tmp_path / "labels.nii.gz", tmp_path / "overlay.png"
    result = run(
        *("segment", stack, "--out", out, "--plane", 2, "--point", "18,22"),
        *("--point", "15,20", "--background", "2,2", "--overlay", png),
        *("--fill-holes", "--smooth", 1, "--min-size", 4, "--keep-largest"),
    )
    assert result.exit_code == 0, result.output
    assert "1 object in 1 plane" in result.stdout
    labels = read_labels(out)
    assert labels.shape == SHAPE
    assert labels.spacing == SPACING
    assert np.unique(labels.data).tolist() == [0, 1]
    assert not labels.data[[0, 1, 3, 4]].any()
    assert iou(labels.data[2] == 1, cylinder()) > 0.8
    with Image.open(png) as picture:
        assert min(picture.size) > 300
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *("labels.nii.gz", "overlay.png", "stack.nii.gz"),
    ]


def test_segment_looks_closer(run: Any, tmp_path: Path, predictor: Predictor) -> None:
    """`--sharp auto` gives what a session gives that looks closer."""
    image = np.full((600, 600), 30, np.uint8)
    rows, columns = disk((310, 205), 7)
    image[rows, columns] = 220
    write_labels(tmp_path / "image.tif", image)
    found = {}
    for mode in ("off", "auto"):
        out = tmp_path / f"{mode}.tif"
        result = run(
            *("segment", tmp_path / "image.tif", "--out", out, "--sharp", mode),
            *("--box", "302,197,319,214", "--precision", "float32"),
        )
        assert result.exit_code == 0, result.output
        found[mode] = read_labels(out).data > 0
    session = ns.Session(image, predictor, sharp="auto")
    prediction = session.segment(ns.Prompts(box=[302, 197, 319, 214]))
    assert prediction.window is not None
    np.testing.assert_array_equal(found["auto"], prediction.best)
    assert (found["auto"] != found["off"]).any()
    wrong = ("segment", tmp_path / "image.tif", "--out", out, "--sharp", "very")
    assert run(*wrong).exit_code == 2


def test_segment_boxes_across_other_axes(run: Any, tmp_path: Path) -> None:
    """Several boxes are an object each; --axes may swap rows and columns."""
    image = np.full((48, 40, 3), 20, np.uint16)
    image[5:20, 8:30, 1] = 900
    image[28:44, 10:34, 1] = 900
    write_labels(tmp_path / "image.tif", image)
    out = tmp_path / "labels.tif"
    result = run(
        *("segment", tmp_path / "image.tif", "--out", out, "--axes", "1,0"),
        *("--plane", 1, "--box", "8,5,30,20", "--box", "10,28,34,44"),
        *("--contrast", 0, 1000),
    )
    assert result.exit_code == 0, result.output
    labels = read_labels(out).data
    assert labels.shape == image.shape
    assert not labels[..., [0, 2]].any()
    for label, rows in ((1, slice(0, 24)), (2, slice(24, 48))):
        truth = image[..., 1] > 500
        truth[[i for i in range(48) if not rows.start <= i < rows.stop]] = False
        assert iou(labels[..., 1] == label, truth) > 0.8


def test_segment_prompts_file(run: Any, stack: Path, tmp_path: Path) -> None:
    """A JSON file prompts several objects in several planes, in any order."""
    objects = [
        {"id": 300, "plane": 3, "box": [9, 13, 28, 32]},
        {"id": 7, "plane": [1], "points": [[18, 22], [1, 1]], "point_labels": [1, 0]},
    ]
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps({"schema_version": 1, "objects": objects}))
    out = tmp_path / "labels.tif"
    result = run("segment", stack, "--out", out, "--prompts", prompts)
    assert result.exit_code == 0, result.output
    assert "2 objects in 2 planes" in result.stdout
    labels = read_labels(out).data
    assert labels.dtype == np.uint16
    assert iou(labels[3] == 300, cylinder()) > 0.8
    assert iou(labels[1] == 7, cylinder()) > 0.6
    assert not labels[[0, 2, 4]].any()


def test_segment_overwrites_only_if_told(run: Any, stack: Path, tmp_path: Path) -> None:
    """An existing file is kept without --force, and the image always."""
    out = tmp_path / "labels.tif"
    out.write_text("precious")
    command = ("segment", stack, "--plane", 2, "--box", "9,13,28,32")
    assert "--force" in error_of(run(*command, "--out", out))
    assert out.read_text() == "precious"
    assert "image itself" in error_of(run(*command, "--out", stack, "--force"))
    assert run(*command, "--out", out, "--force").exit_code == 0
    assert read_labels(out).shape == SHAPE


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "at least one --point or --box"),
        (["--point", "1"], "--point must be R,C"),
        (["--point", "a,b"], "--point must be R,C"),
        (["--point", "nan,3"], "finite"),
        (["--point", "400,3"], "within the 40 x 48 plane"),
        (["--background", "1,2,3"], "--background must be R,C"),
        (["--box", "1,2,3"], "--box must be ROW_MIN"),
        (["--box", "9,9,2,2"], "row_min < row_max"),
        (["--box", "90,90,99,99"], "overlap"),
        (["--box", "1,1,9,9", "--box", "2,2,9,9", "--point", "3,3"], "--prompts"),
        (["--point", "3,3", "--plane", "9"], "0 to 4"),
        (["--point", "3,3", "--plane", "1,2"], "one index"),
        (["--point", "3,3", "--plane", "x"], "whole numbers"),
        (["--point", "3,3", "--axes", "0"], "plane_axes must be two"),
        (["--point", "3,3", "--axes", "1,1"], "different axes"),
        (["--point", "3,3", "--contrast", "5", "5"], "low < high"),
        (["--point", "3,3", "--smooth", "-1"], "--smooth must be 0 or more"),
        (["--point", "3,3", "--prompts", "p.json"], "without --point"),
        (["--point", "3,3", "--overlay", "x.jpg"], ".png"),
        (["--point", "3,3", "--model", "sam_vit_xxl"], "model must be one of"),
    ],
)
def test_segment_refuses_bad_options(
    run: Any, stack: Path, tmp_path: Path, options: list[str], words: str
) -> None:
    """Bad options end in one sentence, exit code 2, and no file."""
    if "--plane" not in options:
        options = [*options, "--plane", "2"]
    if "--prompts" in options:
        options = options[:-2]
    out = tmp_path / "labels.tif"
    assert words in error_of(run("segment", stack, "--out", out, *options))
    assert [p.name for p in tmp_path.iterdir()] == [stack.name]


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("labels.png", "must end in"),
        ("labels", "must end in"),
        ("no/such/labels.tif", "no such directory"),
        (".", "directory"),
    ],
)
def test_segment_refuses_bad_outputs(
    run: Any, stack: Path, tmp_path: Path, out: str, words: str
) -> None:
    """A file that cannot be written is refused before any work."""
    command = ("segment", stack, "--plane", 2, "--point", "3,3", "--out")
    assert words in error_of(run(*command, tmp_path / out))


def test_segment_refuses_bad_images(run: Any, tmp_path: Path) -> None:
    """A missing or damaged image is one sentence, too."""
    command = ("--point", "3,3", "--out", tmp_path / "labels.tif")
    assert "existing file" in error_of(run("segment", tmp_path / "no.tif", *command))
    (tmp_path / "bad.tif").write_bytes(b"II*\0 not a picture")
    assert "bad.tif" in error_of(run("segment", tmp_path / "bad.tif", *command))
    assert not (tmp_path / "labels.tif").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "JSON"),
        ('{"objects": []}', "schema_version"),
        ('{"schema_version": 2, "objects": [{"id": 1}]}', "schema_version"),
        ('{"schema_version": 1, "objects": []}', "objects"),
        ('{"schema_version": 1, "objects": [{"id": 0}]}', "objects.0.id"),
        ('{"schema_version": 1, "objects": [{"id": "1"}]}', "objects.0.id"),
        ('{"schema_version": 1, "objects": [{"id": 1, "pts": []}]}', "objects.0.pts"),
        (
            '{"schema_version": 1, "objects": [{"id": 1, "points": [[1, 2, 3]]}]}',
            "objects.0.points.0",
        ),
        (
            '{"schema_version": 1, "objects": [{"id": 1, "point_labels": [1]}]}',
            "objects.0: point_labels",
        ),
        (
            '{"schema_version": 1, "objects": [{"id": 1, "box": [5, 5, 1, 1]}]}',
            "objects.0: box",
        ),
        (
            '{"schema_version": 1, "objects": [{"id": 1, "plane": 3, "box": [0, 0, 1, '
            '1]}, {"id": 1, "plane": [3], "box": [0, 0, 2, 2]}]}',
            "once in a plane",
        ),
    ],
)
def test_prompts_files_are_checked(tmp_path: Path, content: str, words: str) -> None:
    """The sentence says where in the file the fault is."""
    path = tmp_path / "prompts.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=re.escape(words)):
        read_prompts(path)
    with pytest.raises(ValueError, match="existing JSON file"):
        read_prompts(tmp_path / "none.json")


def test_points_refine_one_box() -> None:
    """With one box the points belong to it."""
    (one,) = prompts_from_options(Given(["1,2"], ["3,4"], ["0,0,9,9"]), 5)
    assert one.label == 1
    assert one.plane == 5
    assert one.prompts == Prompts([[1, 2], [3, 4]], [1, 0], [0, 0, 9, 9])


def test_paint_lets_the_surer_win() -> None:
    """Where masks overlap the higher score is on top; of equals, the first."""
    left, right = np.zeros((2, 1, 4), bool)
    left[:, :3], right[:, 1:] = True, True

    def prediction(mask: np.ndarray, score: float) -> Prediction:
        logits = np.zeros((1, 256, 256), np.float32)
        return Prediction(mask[None], np.array([score], np.float32), logits)

    for scores, expected in (
        ((0.9, 0.5), [1, 1, 1, 2]),
        ((0.5, 0.9), [1, 2, 2, 2]),
        ((0.5, 0.5), [1, 1, 1, 2]),
    ):
        pair = [(1, prediction(left, scores[0])), (2, prediction(right, scores[1]))]
        assert paint(pair, (1, 4)).tolist() == [expected]


def test_clean_counts_in_units_of_the_spacing() -> None:
    """Sizes are areas, not numbers of pixels; ids and dtype stay."""
    labels = np.zeros((12, 12), np.uint16)
    labels[1:6, 1:6], labels[3, 3], labels[9, 9] = 500, 0, 500
    cleaned = clean(labels, CleanOptions(fill_holes=True, min_size=2), (2.0, 0.5))
    assert cleaned.dtype == labels.dtype
    assert cleaned[3, 3] == 500
    assert cleaned[9, 9] == 0
    assert clean(labels, CleanOptions(min_size=2), (2.0, 2.0))[9, 9] == 500
    assert clean(labels, CleanOptions(keep_largest=True), (9.0, 9.0))[9, 9] == 0


def test_overlay_draws_labels_where_they_are() -> None:
    """Inside a label its colour shows, outside it does not; holes stay open."""
    pixels = np.full((20, 30), 100, np.uint8)
    labels = np.zeros((20, 30), int)
    labels[4:16, 5:25] = 2
    labels[8:12, 12:18] = 0
    prompts = [(2, Prompts([[6, 8]], [1])), (2, Prompts([[18, 28]], [0], [4, 5, 9, 9]))]
    panel = Panel(pixels, "", labels, labels, prompts)
    drawn = np.asarray(draw([panel], Layout("title", "legend", 3, (10.0, 10.0))))
    tile = drawn[-220:-20, -320:-20].astype(int)  # the margin is 20 wide
    tint = np.sign(np.subtract(colour_of(2), 100))
    assert (np.sign(tile[140, 100] - 100) == tint).all()
    assert (tile[100, 150] == 100).all()
    assert (tile[10, 10] == 100).all()
    assert tile[65, 85, 1] > tile[65, 85, 0]  # a green point
    assert tile[185, 285, 0] > tile[185, 285, 1]  # a red one
    assert [len(lines) for lines in outlines(labels).values()] == [2]


def test_objects_are_followed_between_labelled_planes() -> None:
    """An object that moves is found between the planes, and nothing beyond them."""
    image = np.full((7, 64, 72), 40, np.uint8)
    for z in range(len(image)):
        image[z, 10 + 2 * z : 26 + 2 * z, 20:44] = 200
    truth = np.where(image > 100, 3, 0).astype(np.uint8)
    session = ns.Session(image, SeeingPredictor())
    labels = demo_samples.follow_between(session, {1: truth[1], 5: truth[5]})
    assert labels.dtype == np.uint8
    assert labels.shape == image.shape
    assert not labels[0].any()
    assert not labels[6].any()
    assert iou(labels[2:5] == 3, truth[2:5] == 3) > 0.85
    np.testing.assert_array_equal(labels[[1, 5]], truth[[1, 5]])


def test_models_are_listed(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every model with its encoder, and where downloads go."""
    monkeypatch.setenv(registry.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "160")
    listed = run("models").stdout
    assert listed == run("models", "list").stdout
    for spec in ns.list_models():
        assert re.search(rf"^{spec.name} +{spec.encoder}", listed, re.MULTILINE)
    assert "included, 41 MB" in listed
    assert "to download" in listed
    assert run("models", "path").stdout.strip() == str(tmp_path / "cache")
    path = run("models", "path", "mobile_sam").stdout.strip()
    assert path.endswith("mobile_sam.pt")
    assert "model must be one of" in error_of(run("models", "path", "nothing"))


def test_models_download(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The licence comes first; no network is exit code 1, an unknown model 2."""
    monkeypatch.setenv(registry.CACHE_VARIABLE, str(tmp_path))
    assert run("models", "download", "mobile_sam").stdout.endswith("mobile_sam.pt\n")
    assert "model must be one of" in error_of(run("models", "download", "nothing"))

    def no_network(*_: Any, **__: Any) -> str:
        raise OSError("no network")

    monkeypatch.setattr("pooch.retrieve", no_network)
    error = error_of(run("models", "download", "sam_vit_b"), 1)
    assert error.index("Licence: Apache-2.0") < error.index("Error: could not download")


def test_bench_reports_medians(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each task has its times, in a table and in a file."""
    monkeypatch.setattr(bench, "MANY", 4)  # for time
    file = tmp_path / "bench.json"
    result = run("bench", "--repeats", 1, "--size", 64, "--json", file)
    assert result.exit_code == 0, result.output
    assert bench.processor() in result.stdout
    report = json.loads(file.read_text())
    assert report["precision"] == "float32"
    assert report["size"] == 64
    times = report["milliseconds"]
    assert [len(each) for each in times.values()] == [1] * 5
    assert "decode 4 prompts" in times
    assert all(f"{each[0]:.1f}" in result.stdout for each in times.values())
    assert "--force" in error_of(run("bench", "--json", file))
    assert run("bench", "--repeats", 0).exit_code == 2


@pytest.mark.timeout(400)
def test_demo_runs_on_real_samples(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo writes labels in the image's place, pictures, and true figures."""
    monkeypatch.setattr(demo_samples, "SPINE_PLANES", (33, 35))  # for time
    out = tmp_path / "new" / "demo"
    result = run("demo", "--out", out)
    assert result.exit_code == 0, result.output
    assert "simulated from the ground truth" in result.stdout
    truth = read_labels(sample_path("nuclei_2d_labels.tif")).data
    labels = read_labels(out / "nuclei_labels.tif").data
    ids = np.unique(truth)[1:].tolist()
    mean = demo_samples.ious(labels, truth, ids).mean()
    assert mean > 0.7
    assert re.search(rf"all nuclei +{len(ids)} +{mean:.3f}", result.stdout)
    spine, image = (
        read_labels(out / "spine_labels.nii.gz"),
        read_image(sample_path("spine_ct.nii.gz")),
    )
    assert spine.shape == image.shape
    assert spine.spacing == image.spacing
    assert spine.origin == pytest.approx(image.origin)
    assert np.allclose(spine.direction, image.direction)
    assert np.flatnonzero(spine.data.any(axis=(1, 2))).tolist() == [33, 34, 35]
    truth = read_labels(sample_path("spine_ct_labels.nii.gz")).data
    overlaps = demo_samples.ious(spine.data[34], truth[34], [21, 22, 23])
    dice = demo_samples.Agreement("", overlaps).dice
    assert dice > 0.7
    assert re.search(rf"all vertebrae, followed +3 .* {dice:.3f} ", result.stdout)
    for name in ("nuclei_overlay.png", "spine_overlay.png"):
        with Image.open(out / name) as picture:
            assert picture.width >= 1000


def test_demo_layers(predictor: Predictor) -> None:
    """The viewer gets image, labels and prompts, boxes around what they are of."""
    components = pytest.importorskip("napari.components")
    from napari_sam._cli.planes import by_plane

    truth = read_labels(sample_path("spine_ct_labels.nii.gz")).data
    image = read_image(sample_path("spine_ct.nii.gz"))
    session = ns.Session(
        image.data, predictor, (2, 0), contrast_limits=demo_samples.SPINE_CONTRAST
    )
    objects = demo_samples.spine_prompts(truth.transpose(1, 2, 0))
    result = demo_samples.SampleResult(
        "spine", image, session, by_plane(session, objects), truth, truth, [], 0.0
    )
    model = components.ViewerModel()
    viewer.add_layers(model, result)
    names = ["spine", "ground truth", "labels", "boxes", "points"]
    assert [layer.name for layer in model.layers] == names
    assert tuple(model.dims.order) == (1, 2, 0)
    points = model.layers["points"].data
    assert len(points) == len(objects) == len(model.layers["boxes"].data)
    # The click of each object lies on it, in the image's own order of axes.
    found = truth[tuple(points.astype(int).T)]
    assert found.tolist() == [one.label for one in objects]


def test_viewer_needs_qt_and_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a display or Qt, --viewer says so before any work."""
    with pytest.raises(OSError, match="needs a display"):
        viewer.check_viewer({}, "linux")
    monkeypatch.setitem(__import__("sys").modules, "napari.qt", None)
    with pytest.raises(ImportError, match="install"):
        viewer.check_viewer({"DISPLAY": ":0"}, "linux")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("a b"), 2),
        (FileNotFoundError("a b"), 2),
        (OSError("a b"), 1),
        (RuntimeError("a\n b"), 1),
        (MemoryError("a b"), 1),
    ],
)
def test_failures_are_one_sentence(error: Exception, code: int) -> None:
    """What goes wrong is one line; a defect keeps its traceback."""
    import typer

    def fail() -> None:
        raise error

    failing = typer.Typer(cls=CommandGroup, pretty_exceptions_enable=False)
    failing.command()(fail)
    failing.callback()(lambda: None)
    result = CliRunner().invoke(failing, ["fail"])
    assert result.exit_code == code
    assert result.stderr == "Error: a b\n"
    error = TypeError("a defect")
    assert isinstance(CliRunner().invoke(failing, ["fail"]).exception, TypeError)
