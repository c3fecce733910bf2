"""Sessions on disk: written in one step, read with care."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam._history import DrawnPrompts
from napari_sam._label_changes import plane_change
from napari_sam.session_file import (
    MOST_DECODERS,
    Commit,
    Edit,
    SavedChoice,
    SavedDecoder,
    SavedImage,
    SavedModel,
    SavedObject,
    SavedRequest,
    SavedSession,
    SavedTarget,
    check_image,
    image_key,
    read_session,
    recorded_labels,
    start_labels,
    with_decoders,
    write_session,
)
from napari_sam.types import Prompts

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = np.random.default_rng(0).integers(0, 255, (3, 8, 9)).astype(np.uint8)


def example(seed: int = 0) -> SavedSession:
    """Make a session with everything in it."""
    rng = np.random.default_rng(seed)
    mask = rng.random((8, 9)) < 0.5
    mask[2, 3] = True
    labels = np.zeros((8, 9), np.uint16)
    wanted = rng.integers(1, 500, (8, 9)).astype(np.uint16)
    change = plane_change((1, 2), (1,), labels, wanted, mask)
    assert change is not None
    points = rng.normal(size=(20, 3)) * 10.0 ** rng.integers(-9, 9)
    what = SavedObject(3, 1, (1, 2), Prompts([[1.1, 2.2]], [1], [0, 0, 4, 5]), mask)
    request = SavedRequest(what, SavedModel("tiny", "x", "float32"), (0.1, 255.0))
    drawn = DrawnPrompts(
        (points,),
        {"object": (3,) * 20, "label": ("foreground",) * 20},
        shown=(True,) * 20,
    )
    shape = DrawnPrompts((np.ones((4, 3)),), {"object": (1,)}, ("polygon",))
    return SavedSession(
        SavedImage("cells", None, (3, 8, 9), "uint8", False, image_key(IMAGE, False)),
        drawn,
        shape,
        {"model": "tiny", "object_id": 3, "contrast_low": 0.5, "next": True},
        (what,),
        (SavedChoice(what, 2),),
        (request,),
        (SavedTarget("segmentation", (3, 8, 9), "uint16", True),),
        (Edit(0, (change,)), Commit(request, 1, "protect", 0, (change,))),
    )


@given(st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_what_is_written_is_read(tmp_path_factory: Any, seed: int) -> None:
    """Every number comes back bit for bit, coordinates and pixels alike."""
    path = tmp_path_factory.mktemp("s") / "deep" / "a.napari-sam"
    session = example(seed)
    write_session(path, session)
    again = read_session(path)
    assert again.points == session.points
    assert again.shapes == session.shapes
    assert again.choices == session.choices
    assert again.targets == session.targets
    what, other = session.corrections[0], again.corrections[0]
    assert (what.prompts, what.plane) == (other.prompts, other.plane)
    np.testing.assert_array_equal(what.mask, other.mask)
    assert again.chosen[0].mask_index == 2
    assert again.accepted[0].contrast_limits == (0.1, 255.0)
    np.testing.assert_array_equal(
        recorded_labels(again, 0), recorded_labels(session, 0)
    )
    assert recorded_labels(again, 0).any()
    assert again.saved > "2020"


def test_a_failed_save_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing half written, nothing left over."""
    path = tmp_path / "a.napari-sam"
    write_session(path, example())
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("napari_sam.session_file.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_session(path, example(1))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def refusal(path: Path) -> str:
    """Return what is said of a file; "" if it is read."""
    try:
        read_session(path)
    except ValueError as error:
        return str(error)
    return ""


def test_damage_is_one_sentence_and_the_file_stays(tmp_path: Path) -> None:
    """Cut off or changed anywhere: ValueError, never anything else."""
    path = tmp_path / "a.napari-sam"
    write_session(path, example())
    good = path.read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for i in range(60):
        bad = bytearray(good)
        if i % 2:
            bad = bad[: rng.integers(len(bad))]
        else:
            bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(bad))
        message = refusal(path)
        refused += bool(message)
        assert "\n" not in message
        assert message.endswith(".") or not message
        assert path.read_bytes() == bytes(bad)
    assert refused >= 45


def rewritten(path: Path, change: Any) -> None:
    """Write a session file whose JSON was changed."""
    write_session(path, example())
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    content = json.loads(files["session.json"])
    change(content)
    files["session.json"] = json.dumps(content).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(schema_version=3), "newer version of napari-sam"),
        (lambda c: c.update(schema_version="x"), "schema_version"),
        (lambda c: c.update(more=1), "more"),
        (lambda c: c.pop("image"), "image"),
        (lambda c: c["log"][0].update(target=1), "no target 1"),
        (lambda c: c["log"][0].update(kind="other"), "log"),
        (lambda c: c["targets"][0].update(shape=[3, 2, 9]), "outside labels"),
        (lambda c: c["log"][0]["changes"][0].update(count=2), "change of 2 pixels"),
        (lambda c: c["log"][0]["changes"][0].update(where="no"), "not in the file"),
        (lambda c: c["log"][0]["changes"][0].update(index=[-1]), "outside labels"),
        (lambda c: c["points"].update(data=[[["nan", 0, 0]] * 20]), "finite"),
        (lambda c: c["points"]["features"].update(object=[1]), "as many"),
        (lambda c: c["corrections"][0].update(object_id=0), "object_id"),
        (lambda c: c["chosen"][0]["what"]["prompts"].update(box=[3, 3, 1, 1]), "box"),
    ],
)
def test_a_file_that_does_not_fit_together_is_refused(
    tmp_path: Path, change: Any, message: str
) -> None:
    """The sentence says where."""
    path = tmp_path / "a.napari-sam"
    rewritten(path, change)
    with pytest.raises(ValueError, match=message):
        read_session(path)


def test_no_file_and_no_session(tmp_path: Path) -> None:
    """Neither a directory, nor a missing file, nor another ZIP."""
    with pytest.raises(ValueError, match="must be an existing file"):
        read_session(tmp_path)
    with pytest.raises(ValueError, match="must be an existing file"):
        read_session(tmp_path / "none")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(ValueError, match="damaged or no session"):
        read_session(tmp_path / "other.zip")


def test_another_image_is_refused() -> None:
    """Other shape, other type, other pixels in any of a few planes."""
    session = example()
    check_image(session, IMAGE, False)
    with pytest.raises(ValueError, match=r"shape \(3, 8, 9\) and type uint8"):
        check_image(session, IMAGE[:2], False)
    with pytest.raises(ValueError, match="uint16"):
        check_image(session, IMAGE.astype(np.uint16), False)
    other = IMAGE.copy()
    other[2, 0, 0] ^= 1
    with pytest.raises(ValueError, match="'cells': the pixels differ"):
        check_image(session, other, False)


@pytest.mark.parametrize("shape", [(1, 1), (4, 5), (4, 5, 3), (2, 3, 4, 5), (40, 2, 2)])
def test_images_have_keys(shape: tuple[int, ...]) -> None:
    """2D, colour, series of stacks; the same pixels give the same key."""
    image = np.random.default_rng(0).random(shape)
    assert image_key(image, shape[-1] == 3) == image_key(image.copy(), shape[-1] == 3)
    assert image_key(image, False) != image_key(image + 1, False)


def test_labels_before_the_session_must_fit() -> None:
    """Shape and numbers."""
    session = example()
    kept = start_labels(session, 0, np.full((3, 8, 9), 7))
    assert kept.dtype == np.uint16
    assert (kept == 7).all()
    with pytest.raises(ValueError, match="must have the shape of layer"):
        start_labels(session, 0, np.zeros((8, 9), int))
    with pytest.raises(ValueError, match="must fit into uint16"):
        start_labels(session, 0, np.full((3, 8, 9), 70000))
    assert replace(session, log=()).is_empty is False


def test_very_large_planes_are_known_by_their_middle():
    """They are never read as a whole."""
    read = []

    class Plane:
        shape, dtype = (20_000, 30_000), np.dtype(np.uint8)

        def __getitem__(self, index):
            rows, columns = (part.stop - part.start for part in index)
            read.append((index, rows * columns))
            return np.zeros((rows, columns), np.uint8)

    assert image_key(Plane(), False) == image_key(Plane(), False)
    assert len(read) == 2
    index, pixels = read[0]
    assert pixels == 2048**2
    assert index[0].start + index[0].stop == 20_000
    assert index[1].start + index[1].stop == 30_000


def decoder(version: str) -> SavedDecoder:
    """Something that a decoder may have learned."""
    changes = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float16)
    return SavedDecoder(
        version,
        SavedModel("tiny", "x", "float32"),
        {"iou_token.weight": changes, "one": np.array([1e-4], np.float16)},
        {"before": 0.5},
    )


def learned(*versions: str) -> SavedSession:
    """Make a session with a commit by each of these decoders; the last is in force."""
    session = example()
    commit = next(entry for entry in session.log if isinstance(entry, Commit))
    log = tuple(
        replace(
            commit,
            request=replace(
                commit.request, model=replace(commit.request.model, decoder=version)
            ),
        )
        for version in versions
    )
    return replace(session, log=log, decoder=versions[-1])


def test_what_a_decoder_learned_is_in_the_file(tmp_path: Path) -> None:
    """To the bit; without it, the file is refused."""
    path = tmp_path / "a.napari-sam"
    session = with_decoders(learned("", "a", "b"), {n: decoder(n) for n in "abc"})
    write_session(path, session)
    read = read_session(path)
    assert read.decoder == "b"
    assert [one.version for one in read.decoders] == ["b", "a"]
    for name, change in decoder("a").changes.items():
        found = read.decoders[1].changes[name]
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found, change)
    write_session(path, learned("", "a"))
    with pytest.raises(ValueError, match="there is no decoder 'a'"):
        read_session(path)
    other = replace(decoder("a"), model=SavedModel("tiny", "y", "float32"))
    write_session(path, with_decoders(learned("a"), {"a": other}))
    with pytest.raises(ValueError, match="decoder 'a' belongs to another model"):
        read_session(path)


def test_masks_of_old_decoders_are_kept_as_pixels() -> None:
    """So the file stays small, and the labels are the same."""
    versions = [str(number) for number in range(MOST_DECODERS + 2)]
    before = learned(*versions)
    session = with_decoders(before, {n: decoder(n) for n in versions})
    kinds = [entry.kind for entry in session.log]
    assert kinds == ["edit"] * 2 + ["commit"] * MOST_DECODERS
    assert {one.version for one in session.decoders} == set(versions[2:])
    np.testing.assert_array_equal(
        recorded_labels(session, 0), recorded_labels(before, 0)
    )


def test_files_of_the_first_version_open(tmp_path: Path) -> None:
    """As they were written before anything could be learned."""

    def as_before(content: Any) -> None:
        content["schema_version"] = 1
        del content["decoder"], content["decoders"]
        models = [e["request"]["model"] for e in content["log"] if "request" in e]
        models += [one["model"] for one in content["accepted"]]
        for model in models:
            del model["decoder"]

    path = tmp_path / "a.napari-sam"
    rewritten(path, as_before)
    assert read_session(path).decoder == ""
