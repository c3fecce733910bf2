"""Labels of successive planes become objects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_sam import AutomaticOptions
from napari_sam._linking import link_planes

STACKS = arrays(np.int64, (6, 8, 9), elements=st.integers(0, 4))
EVERY = AutomaticOptions(link_gap=0, min_planes=1)


def link(planes, **options):
    """Linked planes as a volume."""
    return np.stack(list(link_planes(list(planes), AutomaticOptions(**options))))


def boxes(*places, size=(20, 40)):
    """Draw one label image: (row, column, height, width) of each label in turn."""
    labels = np.zeros(size, np.int64)
    for label, (row, column, height, width) in enumerate(places, 1):
        labels[row : row + height, column : column + width] = label
    return labels


@given(STACKS, st.integers(0, 2), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_linking_keeps_planes_apart_and_objects_whole(stack, gap, least):
    """No object is cut within a plane, none merged, and all are long enough."""
    linked = link(stack, link_gap=gap, min_planes=least)
    assert linked.shape == stack.shape
    labels = np.unique(linked[linked > 0])
    assert labels.tolist() == list(range(1, len(labels) + 1))
    for label in labels:
        planes = np.flatnonzero((linked == label).any(axis=(1, 2)))
        assert planes[-1] - planes[0] + 1 >= least
    for before, after in zip(stack, linked, strict=True):
        for label in np.unique(before[before > 0]):
            assert len(np.unique(after[before == label])) == 1
        seen = after[before > 0]
        for label in np.unique(seen[seen > 0]):
            assert len(np.unique(before[(after == label) & (before > 0)])) == 1


@given(STACKS, st.permutations(range(1, 5)))
@settings(max_examples=30, deadline=None)
def test_numbers_of_the_planes_do_not_matter(stack, order):
    """Renumbering every plane changes no object."""
    renumbered = np.array([0, *order])[stack] * 1000
    ours, theirs = link(stack, min_planes=1), link(renumbered, min_planes=1)
    for label in np.unique(ours[ours > 0]):
        assert len(np.unique(theirs[ours == label])) == 1
    assert ours.max() == theirs.max()


def test_best_pairs_together_not_one_after_the_other():
    """The greedy choice would leave the second object without a partner."""
    first = boxes((2, 2, 10, 10), (2, 12, 10, 10))
    second = boxes((2, 8, 10, 8), (2, 16, 10, 6))
    linked = link([first, second], link_overlap=0.1)
    assert linked[1][5, 9] == linked[0][5, 5]
    assert linked[1][5, 20] == linked[0][5, 20]


def test_a_split_and_a_merger_go_on_as_the_part_that_fits_best():
    """And the other part is an object of its own."""
    whole, parts = boxes((2, 2, 10, 20)), boxes((2, 2, 10, 13), (2, 16, 10, 6))
    split = link([whole, parts, parts], min_planes=1)
    assert split[1][5, 5] == split[0][5, 5] != split[1][5, 18] > 0
    merged = link([parts, parts, whole], min_planes=1)
    assert merged[2][5, 18] == merged[1][5, 5]


@pytest.mark.parametrize(("gap", "is_one"), [(1, False), (2, True)])
def test_gaps_are_closed_up_to_a_length(gap, is_one):
    """Filled with the shapes between, and never over another object."""
    ends, empty = boxes((4, 4, 10, 10)), boxes()
    other = np.where(boxes((0, 0, 6, 40)), 5, 0)
    linked = link([ends, other, empty, 3 * ends], link_gap=gap, min_planes=1)
    assert (linked[0][5, 5] == linked[3][5, 5]) == is_one
    assert (linked[2] == linked[0][5, 5]).sum() == (100 if is_one else 0)
    assert (linked[1][other > 0] == linked[1][0, 0]).all()


def test_objects_in_too_few_planes_are_dropped():
    """Counted from the first to the last plane, gaps included."""
    one = boxes((2, 2, 5, 5))
    stack = [one, boxes(), boxes(), one, one, one]
    assert (link(stack, min_planes=3) > 0).any(axis=(1, 2)).tolist() == 3 * [
        False
    ] + 3 * [True]
    assert not link(stack[:4], min_planes=2).any()


def test_planes_are_read_when_they_are_needed():
    """So many are held back as are needed to know, and no more."""
    read = []

    def planes():
        for number in range(10):
            read.append(number)
            yield boxes((2, 2, 5, 5))

    steps = link_planes(planes(), AutomaticOptions(link_gap=2, min_planes=3))
    next(steps)
    assert read == [0, 1, 2, 3, 4]
