"""Clean-up steps: the same as the functions, only where needed, saved and reused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from typer.testing import CliRunner

import napari_sam as ns
from napari_sam import cleanup, postprocess
from napari_sam._cli import app
from napari_sam.cleanup import OPERATIONS, CleanupStep, apply_steps, clean_up

if TYPE_CHECKING:
    from pathlib import Path

SPACING = (2.0, 0.5, 0.5)
LENGTH = {"length": 0.9, "size": 1.2, "count": 1, "flag": True}
# Thirty-two pixels with up to three labels, far enough apart to be groups, or not.
volumes = arrays(np.uint8, (3, 7, 16), elements=st.sampled_from([0, 0, 0, 0, 1, 2, 9]))
operations = st.sampled_from(sorted(OPERATIONS))
GROWING = {"dilate", "closing", "smooth"}
ONCE = {
    *("fill_holes", "remove_small_objects", "keep_largest", "split_components"),
    *("opening", "closing"),
}


def step_of(operation: str, **more: Any) -> CleanupStep:
    """Make a step with a value for every parameter but the flags."""
    values = {
        one.name: LENGTH[one.kind]
        for one in OPERATIONS[operation]
        if one.kind != "flag"
    }
    return CleanupStep(operation, values, **more)


def whole(step: CleanupStep, labels: Any, spacing: Any) -> Any:
    """Return what the function does to the whole image at once."""
    if not labels.any():
        return labels
    keywords = dict(step.parameters)
    if step.operation not in ("keep_largest", "split_components"):
        keywords["spacing"] = spacing
    return getattr(postprocess, step.operation)(labels, **keywords)


@settings(deadline=None, max_examples=60)
@given(volumes, operations)
def test_boxes_give_what_the_whole_gives(labels: Any, operation: str) -> None:
    """Worked on group by group, every pixel is as if the image were done at once."""
    step = step_of(operation)
    before = labels.copy()
    np.testing.assert_array_equal(
        clean_up(labels, [step], SPACING), whole(step, labels, SPACING)
    )
    np.testing.assert_array_equal(labels, before)


@settings(deadline=None, max_examples=40)
@given(volumes, operations)
def test_planes_are_done_by_themselves(labels: Any, operation: str) -> None:
    """In 2D a plane does not depend on the others."""
    step = step_of(operation, dimensions=2)
    cleaned = clean_up(labels, [step], SPACING)
    for got, plane in zip(cleaned, labels, strict=True):
        np.testing.assert_array_equal(got, whole(step, plane, SPACING[1:]))


@settings(deadline=None, max_examples=60)
@given(volumes, operations)
def test_what_a_step_promises(labels: Any, operation: str) -> None:
    """Labels stay, what does not grow stays in its box, what is done is done."""
    step = step_of(operation)
    cleaned = clean_up(labels, [step], SPACING)
    ids = {*np.unique(labels).tolist()} - {0}
    kept = {*np.unique(cleaned).tolist()} - {0}
    if operation == "remove_small_objects":
        assert kept <= ids
    else:
        assert ids <= kept
    if operation not in GROWING and operation != "split_components":
        for label in kept:
            where, old = np.argwhere(cleaned == label), np.argwhere(labels == label)
            assert (where.min(0) >= old.min(0)).all()
            assert (where.max(0) <= old.max(0)).all()
    if operation in ONCE:
        again = clean_up(cleaned, [step], SPACING)
        if operation not in ("opening", "closing") or len(ids) == 1:
            np.testing.assert_array_equal(again, cleaned)


@settings(deadline=None, max_examples=40)
@given(volumes, operations, st.sampled_from([1e-3, 0.25, 8.0]))
def test_units_do_not_matter(labels: Any, operation: str, factor: float) -> None:
    """Everything in another unit, the same pixels."""
    step = step_of(operation)
    kinds = {one.name: one.kind for one in OPERATIONS[operation]}
    power = {"length": 1, "size": 3}
    values = {
        name: value * factor ** power[kinds[name]] if kinds[name] in power else value
        for name, value in step.parameters.items()
    }
    scaled = CleanupStep(operation, values)
    other = tuple(width * factor for width in SPACING)
    np.testing.assert_array_equal(
        clean_up(labels, [scaled], other), clean_up(labels, [step], SPACING)
    )


def scattered() -> Any:
    """Twelve squares with a hole each, far from each other."""
    labels = np.zeros((60, 80), np.uint16)
    for number in range(12):
        row, column = 20 * (number // 4), 20 * (number % 4)
        labels[row + 2 : row + 9, column + 2 : column + 9] = number + 1
        labels[row + 5, column + 5] = 0
    return labels


def test_selected_labels_only() -> None:
    """One, some or all; labels that are not there are passed over."""
    labels = scattered()
    filled = clean_up(labels, [CleanupStep("fill_holes", labels="this")], this=3)
    assert {*np.argwhere(filled != labels).ravel().tolist()} == {5, 45}
    step = CleanupStep("fill_holes", labels="selected")
    some = clean_up(labels, [step], selected=[1, 2, 99])
    assert np.count_nonzero(some != labels) == 2
    np.testing.assert_array_equal(clean_up(labels, [step]), labels)
    assert np.count_nonzero(clean_up(labels, [CleanupStep("fill_holes")])) == 12 * 49


def test_progress_and_box() -> None:
    """A part for each object that can meet no other; the box is what changed."""
    labels = scattered()
    steps = [CleanupStep("fill_holes"), CleanupStep("dilate", {"radius": 2})]
    work = apply_steps(labels, steps)
    seen = []
    while True:
        try:
            seen.append(next(work))
        except StopIteration as end:
            result = end.value
            break
    assert [(one.step, one.done) for one in seen] == [
        (step, done) for step in (0, 1) for done in range(1, 13)
    ]
    assert {one.total for one in seen} == {12}
    assert result.box == (slice(0, 51), slice(0, 71))
    stopped = apply_steps(labels, steps)
    next(stopped)
    stopped.close()
    planes = [*apply_steps(np.stack([labels] * 3), [step_of("erode", dimensions=2)])]
    assert [(one.done, one.total) for one in planes] == [(1, 3), (2, 3), (3, 3)]
    assert cleanup.changed_box(labels, labels) is None
    assert [*apply_steps(np.zeros((4, 4), int), steps)] == []


def test_only_boxes_of_objects_are_computed(monkeypatch: Any) -> None:
    """Of a large image with a small object, a small part is worked on."""
    seen = []
    erode = postprocess.erode

    def watched(part: Any, **keywords: Any) -> Any:
        seen.append(part.shape)
        return erode(part, **keywords)

    monkeypatch.setattr(postprocess, "erode", watched)
    labels = np.zeros((500, 500), np.uint8)
    labels[100:110, 200:220] = 1
    clean_up(labels, [step_of("erode")])
    assert seen == [(12, 22)]


def test_a_wide_margin_goes_to_the_nearest() -> None:
    """Also if it is far wider than the image."""
    labels = np.zeros((3, 9), np.uint8)
    labels[1, 1], labels[1, 7] = 1, 2
    wide = postprocess.dilate(labels, 1e12)
    np.testing.assert_array_equal(wide, postprocess.dilate(labels, 20))
    assert wide[0].tolist() == [1, 1, 1, 1, 1, 2, 2, 2, 2]


def test_steps_are_saved_and_read(tmp_path: Path) -> None:
    """As they were, also by hand with what is usual left out."""
    steps = [step_of(name, dimensions=2, labels="selected") for name in OPERATIONS]
    ns.write_steps(tmp_path / "steps.json", steps)
    assert ns.read_steps(tmp_path / "steps.json") == steps
    text = '{"schema_version": 1, "steps": [{"operation": "fill_holes"}]}'
    (tmp_path / "hand.json").write_text(text)
    assert ns.read_steps(tmp_path / "hand.json") == [CleanupStep("fill_holes")]


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"schema_version": 2, "steps": []}'),
        '{"schema_version": 1, "steps": [{}]}',
        '{"schema_version": 1, "steps": [{"operation": "paint"}]}',
        '{"schema_version": 1, "steps": [{"operation": "erode", "color": 1}]}',
        '{"schema_version": 1, "steps": [3]}',
        '{"schema_version": 1, "steps": [{"operation": []}]}',
    ],
)
def test_bad_step_files(tmp_path: Path, text: str) -> None:
    """Refused in a sentence that names the file."""
    (tmp_path / "steps.json").write_text(text)
    with pytest.raises(ValueError, match=r"steps.json must hold clean-up steps"):
        ns.read_steps(tmp_path / "steps.json")
    with pytest.raises(ValueError, match="existing file"):
        ns.read_steps(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("paint",), "operation must be one of"),
        (("erode",), "radius of erode must be a positive number, got None"),
        (("erode", {"radius": -1}), "positive number"),
        (("erode", {"radius": np.nan}), "positive number"),
        (("erode", {"radius": True}), "positive number"),
        (("erode", {"radius": "1"}), "positive number"),
        (("erode", {"radius": 1, "drop_vanished": 1}), "true or false"),
        (("erode", {"sigma": 1}), "must be among"),
        (("erode", 3), "must be a dict"),
        (("keep_largest", {"count": 1.5}), "whole number"),
        (("fill_holes", {}, 4), "dimensions must be 2 or 3"),
        (("fill_holes", {}, 3, "some"), "labels must be"),
    ],
)
def test_bad_steps(arguments: Any, words: str) -> None:
    """Refused when they are made."""
    with pytest.raises(ValueError, match=words):
        CleanupStep(*arguments)


@pytest.mark.parametrize("steps", [None, "erode", [3], CleanupStep])
def test_what_is_no_step(steps: Any) -> None:
    """Refused, before anything is done."""
    with pytest.raises(ValueError, match="steps must be a list of CleanupStep, got"):
        ns.clean_up(np.ones((3, 3), int), steps)


@pytest.mark.parametrize(
    ("labels", "spacing", "words"),
    [
        (np.zeros((3, 3)), None, "bool or integer"),
        (np.zeros((0, 3), int), None, "pixels"),
        (np.ones((3, 3), int), (1,), "spacing must be 2 numbers"),
        (np.ones((3, 3), int), (1, 0), "spacing must be"),
        (np.ones((3, 3), int), None, "this must be a label"),
    ],
)
def test_bad_images(labels: Any, spacing: Any, words: str) -> None:
    """Refused before anything is done."""
    with pytest.raises(ValueError, match=words):
        clean_up(labels, [CleanupStep("fill_holes", labels="this")], spacing)


def test_command(tmp_path: Path) -> None:
    """Steps from a file, in the unit of the image; labels by number."""
    ns.write_labels(tmp_path / "a.tif", scattered(), spacing=(0.5, 0.5))
    ns.write_steps(
        tmp_path / "steps.json",
        [CleanupStep("fill_holes"), CleanupStep("dilate", {"radius": 0.5}, 3, "this")],
    )

    def run(*more: Any) -> Any:
        files = [tmp_path / "a.tif", "--steps", tmp_path / "steps.json"]
        return CliRunner().invoke(
            app, ["clean", *map(str, files), "--out", str(tmp_path / "b.tif"), *more]
        )

    assert "--label must be given" in run().stderr
    done = run("--label", "2")
    assert done.exit_code == 0, done.output
    labels = ns.read_image(tmp_path / "b.tif")
    assert np.count_nonzero(labels) == 12 * 49 + 28
    assert labels.spacing == (0.5, 0.5)
    assert done.stdout.endswith("2 steps, 40 pixels changed\n")
    assert "exists" in run("--label", "2").stderr


def test_command_takes_times_one_by_one(tmp_path: Path) -> None:
    """What is small at each time stays small, however long it is there."""
    labels = np.zeros((3, 2, 6, 7), np.uint8)
    labels[:, 0, 2, 3] = 1
    labels[1, :, 4, 5] = 2
    ns.write_labels(tmp_path / "a.tif", labels)
    step = CleanupStep("remove_small_objects", {"min_size": 2})
    ns.write_steps(tmp_path / "s.json", [step])
    files = [tmp_path / "a.tif", "--steps", tmp_path / "s.json", "--out"]
    done = CliRunner().invoke(app, ["clean", *map(str, files), str(tmp_path / "b.tif")])
    assert done.exit_code == 0, done.output
    cleaned = np.asarray(ns.read_image(tmp_path / "b.tif"))
    np.testing.assert_array_equal(cleaned, np.where(labels == 2, labels, 0))
