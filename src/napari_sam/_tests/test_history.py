"""Steps that are undone and done again, as values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.layers import Points, Shapes

from napari_sam._history import DrawnPrompts, History, State, Step, continues, kind_of
from napari_sam._layers_history import drawn_prompts, put_prompts


def points(*rows: tuple[float, float], object_id: int = 1) -> State:
    """Make a state of points."""
    data = (np.array(rows, dtype=float).reshape(-1, 2),)
    features = {"object": (object_id,) * len(rows)}
    return State(DrawnPrompts(data, features, shown=(True,) * len(rows)))


def shapes(*outlines: list[list[float]]) -> State:
    """Make a state of polygons."""
    data = tuple(np.array(rows, dtype=float) for rows in outlines)
    return State(shapes=DrawnPrompts(data, {}, ("polygon",) * len(data)))


@given(st.lists(st.sampled_from(["do", "undo", "redo"]), max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_history_is_a_list_with_a_position(actions: list[str]) -> None:
    """Whatever one does, the state is the one at the position of a list of states."""
    history, states, position = History(), [State()], 0
    for number, action in enumerate(actions, start=1):
        if action == "do":
            after = State(object_id=number + 1)
            history = history.pushed(Step("", "other", states[position], after))
            states = [*states[: position + 1], after]
            position += 1
        elif action == "undo" and history.past:
            assert history.past[-1].before is states[position - 1]
            history, position = history.undone(), position - 1
        elif action == "redo" and history.future:
            assert history.future[-1].after is states[position + 1]
            history, position = history.redone(), position + 1
        assert len(history.past) == position
        assert len(history.future) == len(states) - position - 1


def test_a_history_is_bounded() -> None:
    """The oldest steps go, by number and by bytes; the newest always stays."""
    history = History()
    for i in range(300):
        history = history.pushed(Step(str(i), "other", State(), State()))
    assert [history.past[0].text, history.past[-1].text] == ["100", "299"]
    large = points(*[(i, i) for i in range(1000)])
    step = Step("large", "add", State(), large)
    assert step.nbytes > 16000
    assert [s.text for s in history.pushed(step, max_bytes=100).past] == ["large"]
    assert len(history.pushed(step, max_bytes=step.nbytes + 5000).past) == 6


def test_states_share_what_is_equal() -> None:
    """What did not change is kept once, and costs nothing in a step."""
    before, after = points((1, 2)), points((1, 2), (3, 4))
    shared = points((1, 2)).sharing(before)
    assert shared.points is before.points
    assert Step("", "other", before, shared).nbytes == 1000
    assert Step("", "add", before, after).nbytes > 1000


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (points(), points((1, 2)), "add"),
        (points((1, 2), (3, 4)), points((1, 2)), "remove"),
        (points((1, 2)), points((1, 3)), "move"),
        (points((1, 2)), points((1, 2), object_id=2), "other"),
        (State(), State(corrections={1: 2}), "label"),
        (State(), State(chosen={1: (2, 0)}), "mask"),
        (State(), State(accepted=frozenset({1})), "other"),
    ],
)
def test_what_was_done_has_a_name(before: State, after: State, kind: str) -> None:
    """The kind of a step is read off the two states."""
    assert kind_of(before, after) == kind


def test_drags_and_drawings_go_on_with_a_step() -> None:
    """The same point soon after; the shape that is being drawn; nothing else."""
    a, b, c = (points((0, 0), (5, i)) for i in range(3))
    drag = Step("", "move", a, b)
    assert continues(drag, b, c, is_recent=True, is_drawing=False)
    assert not continues(drag, b, c, is_recent=False, is_drawing=False)
    other = points((1, 0), (5, 1))
    assert not continues(drag, b, other, is_recent=True, is_drawing=False)
    assert not continues(
        Step("", "add", State(), b), b, c, is_recent=True, is_drawing=True
    )
    one = shapes([[0, 0], [0, 5], [5, 5]])
    more = shapes([[0, 0], [0, 5], [5, 5], [9, 0]])
    drawn = Step("", "add", State(), one)
    assert continues(drawn, one, more, is_recent=False, is_drawing=True)
    assert not continues(drawn, one, more, is_recent=True, is_drawing=False)
    # Given up: the step is as if it had never been.
    assert continues(drawn, one, State(), is_recent=False, is_drawing=True)
    history = History().pushed(drawn)
    assert history.merged(Step("", "remove", one, State())).past == ()
    assert history.merged(Step("", "move", one, more)).past[0].after is more


def test_layers_hold_again_what_they_held() -> None:
    """Coordinates, features of any kind, types of shapes, points that are not shown."""
    layer = Points(
        [[1, 2], [3, 4], [5, 6]],
        features={"object": [1, 2, 1], "note": ["a", None, "c"], "size": [1.5, 2, 3]},
    )
    layer.shown = [True, False, True]
    held = drawn_prompts(layer)
    layer.selected_data = {1}
    layer.remove_selected()
    put_prompts(layer, held)
    assert drawn_prompts(layer) == held
    assert layer.shown.tolist() == [True, False, True]
    put_prompts(layer, DrawnPrompts())
    assert drawn_prompts(layer) == DrawnPrompts() == drawn_prompts(None)
    drawn = Shapes(
        [[[0, 0], [5, 5], [0, 9]], [[1, 1], [1, 4], [4, 4], [4, 1]]],
        shape_type=["path", "ellipse"],
        features={"object": [3, 4]},
        edge_width=2,
    )
    held = drawn_prompts(drawn)
    drawn.add([[0, 0], [9, 9]], shape_type="line")
    drawn.selected_data = {0}
    drawn.remove_selected()
    put_prompts(drawn, held)
    assert drawn_prompts(drawn) == held
    assert drawn.edge_width == [2, 2]
