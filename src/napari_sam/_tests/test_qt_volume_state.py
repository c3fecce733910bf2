"""What follows from seeds, ranges and results along a line of planes; the plot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

from napari_sam._layers_prompts import ObjectPrompts
from napari_sam._qt.confidence_plot import DECIDED, DOUBTED, TRUSTED, ConfidencePlot
from napari_sam._qt.volume_state import (
    ChosenMask,
    Followed,
    Review,
    StackLine,
    affected_planes,
    begin_all,
    certain_planes,
    review_text,
    shows_object,
    wanted_planes,
)
from napari_sam.review import MaskPatch
from napari_sam.types import Prompts

few = settings(deadline=None, max_examples=60)
COUNT = 12
ABSENT = MaskPatch.of(np.zeros((4, 4), bool))
SQUARE = MaskPatch.of(np.ones((4, 4), bool))
POINT = ObjectPrompts(Prompts([[1, 1]], [1]))
STOP = ObjectPrompts(Prompts([[1, 1]], [0]))
KINDS = [SQUARE, ABSENT, POINT, STOP, ChosenMask(POINT, 1), ChosenMask(POINT, 2)]
seeds = st.dictionaries(st.integers(0, COUNT - 1), st.sampled_from(KINDS))


@given(seeds, seeds)
@few
def test_planes_are_affected_up_to_the_seeds_that_stay(before, after):
    """The definition, plane by plane."""
    found = affected_planes(before, after, COUNT)
    kept = {p for p in before if p in after and before[p] is after[p]}
    changed = (set(before) | set(after)) - kept
    for plane in range(COUNT):
        low = max((p for p in kept if p <= plane), default=-1)
        high = min((p for p in kept if p >= plane), default=COUNT)
        between = any(low < p < high for p in changed) and plane not in kept
        assert (plane in found) == between
    assert affected_planes(after, before, COUNT) == found
    assert affected_planes(before, before, COUNT) == set()


@given(seeds, seeds, st.sets(st.integers(0, COUNT - 1)), st.booleans())
@few
def test_a_run_does_what_is_left_to_do(before, after, done, is_same):
    """What is stale or missing, within what is wanted; else all of it again."""
    record = Followed("old", dict(before))
    for plane in done:
        record.take(plane, SQUARE, 0.5)
    wanted = range(3, 9)
    basis = "old" if is_same else "new"
    stale = affected_planes(before, after, COUNT) if is_same else set(range(COUNT))
    expected = {p for p in wanted if p in stale or p not in done} or set(wanted)
    found = begin_all({1: record}, basis, {1: after}, wanted)
    assert found == {1: expected}
    assert set(record.masks) == done - stale - expected
    assert set(record.scores) == set(record.masks)
    assert record.pending(basis, after, wanted) == expected
    assert record.seeds == after


def test_only_objects_with_something_to_do_are_run():
    """Unless there is nothing to do for any."""
    done, fresh = Followed("a", {0: SQUARE}), Followed("a")
    for plane in range(3):
        done.take(plane, SQUARE, 1)
    own = {1: {0: SQUARE}, 2: {0: POINT}}
    found = begin_all({1: done, 2: fresh}, "a", own, range(3))
    assert found == {2: {0, 1, 2}}


@pytest.mark.parametrize(
    ("seed", "shows", "is_certain"),
    [
        (SQUARE, True, True),
        (ABSENT, False, True),
        (POINT, True, False),
        (STOP, False, True),
        (ChosenMask(POINT, 1), True, False),
    ],
)
def test_what_seeds_say(seed, shows, is_certain):
    """Where the object is, that it is not there, and whether that is decided."""
    assert shows_object(seed) == shows
    assert (certain_planes({3: seed}) == {3}) == is_certain


@given(
    st.sampled_from(["whole", "onwards", "between"]),
    st.integers(0, COUNT - 1),
    st.tuples(st.integers(-3, COUNT + 3), st.integers(-3, COUNT + 3)),
)
@few
def test_ranges_lie_in_the_stack(extend, here, between):
    """In order, whichever end was moved."""
    found = wanted_planes(extend, here, between, COUNT)
    assert found == wanted_planes(extend, here, between[::-1], COUNT)
    assert all(0 <= p < COUNT for p in found)
    if extend == "whole":
        assert len(found) == COUNT
    if extend == "onwards":
        assert found[0] == here


@given(st.integers(1, 3), st.data())
@few
def test_lines_name_their_planes(axes, data):
    """There and back, and no plane of another line."""
    index = tuple(data.draw(st.integers(0, 4)) for _ in range(axes))
    along = data.draw(st.integers(0, axes - 1))
    line = StackLine(
        (axes, axes + 1), along, (*index[:along], 0, *index[along + 1 :]), 5
    )
    assert line.at(index[along]) == index
    for position in range(5):
        assert line.position(line.plane(position)) == position
    if axes > 1:
        other = list(index)
        other[along - 1] += 1
        assert line.position(tuple(other)) is None
    assert line.position((0,) * (axes + 1)) is None


def test_texts_say_what_to_do_next():
    """From nothing to what is left to compute."""
    nothing = Review(count=9)
    assert review_text(nothing).startswith("Mark object 1")
    marked = Review(count=9, seeds={2: POINT, 4: POINT, 5: STOP})
    assert "marked in 2 planes" in review_text(marked)
    lost = Review(count=9, seeds={2: POINT}, masks={3: ABSENT})
    assert "was not found" in review_text(lost)
    fine = Review(9, 9, 0, {2: POINT}, {2: SQUARE}, {2: 0.9}, 1)
    assert (
        review_text(fine)
        == "No plane is doubtful. 1 plane to compute: follow it again."
    )
    doubted = Review(9, 9, 0, {2: POINT}, {2: SQUARE}, {2: 0.1})
    assert "Next doubtful" in review_text(doubted)


@pytest.mark.parametrize("count", [1, 9, 1000])
def test_the_plot_shows_every_plane(qtbot, count):
    """Where it was clicked is what was drawn there; of many the least certain."""
    plot = ConfidencePlot()
    qtbot.addWidget(plot)
    plot.resize(240, 64)
    plot.grab()  # without planes
    confidence = dict.fromkeys(range(count), 0.9)
    confidence[count // 2] = 0.1
    seeds = {0: SQUARE, count - 1: STOP}
    plot.show_review(Review(1, count, count // 3, seeds, {}, confidence))
    assert all(
        plot.position(plot.left(p) + 0.5 * plot.left(1)) == p for p in range(count)
    )
    assert plot.position(-5) == 0
    assert plot.position(9999) == count - 1
    image = plot.grab().toImage()
    colours = {
        image.pixelColor(x, y).name()
        for x in range(image.width())
        for y in range(image.height())
    }
    expected = {DECIDED} if count == 1 else {TRUSTED, DOUBTED, DECIDED}
    assert expected <= colours
    low = [value for _, _, value, _ in plot._bars()]
    assert min(low) == 0.1
    assert len(low) == min(count, 240)
