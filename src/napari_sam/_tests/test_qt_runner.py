"""The worker thread: the newest job wins, nothing is lost, nothing hangs."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from functools import partial
from typing import Any

import pytest

pytest.importorskip("qtpy.QtCore", exc_type=ImportError)

from napari_sam._qt.runner import Receiver, Runner
from napari_sam.stopping import may_stop


class Log:
    """What a runner reports, in order."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.failed: list[Exception] = []
        self.steps: list[Any] = []
        self.threads: set[threading.Thread] = set()

    @property
    def receiver(self) -> Receiver:
        """Note everything."""
        return Receiver(
            partial(self._note, self.done),
            partial(self._note, self.failed),
            partial(self._note, self.steps),
        )

    def _note(self, where: list[Any], value) -> None:
        where.append(value)
        self.threads.add(threading.current_thread())


@pytest.fixture
def log() -> Log:
    """Return an empty log."""
    return Log()


@pytest.fixture
def runner(qtbot):
    """Return a runner, closed after the test."""
    runner = Runner()
    yield runner
    assert runner.close(5)
    runner.deleteLater()


def gate() -> tuple[threading.Event, threading.Event]:
    """One event that says a job has begun, and one that lets it end."""
    return threading.Event(), threading.Event()


def held(begun: threading.Event, release: threading.Event, value=None):
    """Work that begins, waits and returns."""
    begun.set()
    assert release.wait(10)
    return value


def test_a_result_arrives_in_the_thread_that_made_the_runner(qtbot, runner, log):
    """Work happens elsewhere."""
    runner.submit(threading.current_thread, log.receiver)
    qtbot.waitUntil(lambda: len(log.done) == 1)
    assert log.threads == {threading.current_thread()}
    assert log.done[0] is not threading.current_thread()
    assert not runner.is_busy


def test_fifty_submissions_in_a_second_end_with_the_last(qtbot, runner, log):
    """Most of what waits is never begun, and answers come in order."""
    begun = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.1)
        return number

    for number in range(50):
        runner.submit(partial(work, number), log.receiver)
        qtbot.wait(15)
    qtbot.waitUntil(lambda: not runner.is_busy, timeout=5000)
    assert log.done[-1] == 49
    assert log.done == begun == sorted(begun)
    assert len(begun) < 20
    assert not log.failed


def test_the_waiting_job_is_replaced_and_the_running_one_answers(qtbot, runner, log):
    """One slot: of three jobs the middle one is never begun."""
    begun, release = gate()
    runner.submit(partial(held, begun, release, "first"), log.receiver)
    assert begun.wait(10)
    runner.submit(lambda: "second", log.receiver)
    runner.submit(lambda: "third", log.receiver)
    release.set()
    qtbot.waitUntil(lambda: log.done == ["first", "third"])


def test_an_exception_arrives_and_the_worker_goes_on(qtbot, runner, log):
    """Errors are delivered as they were raised, from work and from its steps."""

    def steps():
        yield 1
        raise ValueError("in a step")

    def fail():
        raise KeyError("at once")

    runner.submit(fail, log.receiver)
    qtbot.waitUntil(lambda: len(log.failed) == 1)
    runner.submit(steps, log.receiver)
    qtbot.waitUntil(lambda: len(log.failed) == 2)
    assert [type(error) for error in log.failed] == [KeyError, ValueError]
    runner.submit(lambda: "alive", log.receiver)
    qtbot.waitUntil(lambda: log.done == ["alive"])


def test_a_generator_reports_its_steps_and_its_result(qtbot, runner, log):
    """Iterating is progress; what is returned is the result."""

    def steps():
        yield from range(3)
        return "result"

    runner.submit(steps, log.receiver)
    qtbot.waitUntil(lambda: log.done == ["result"])
    assert log.steps == [0, 1, 2]


def test_cancel_stops_between_steps_and_no_answer_arrives(qtbot, runner, log):
    """The generator is closed, so that it can clean up."""
    closed = threading.Event()

    def endless():
        try:
            while True:
                time.sleep(0.01)
                yield "step"
        finally:
            closed.set()

    runner.submit(endless, log.receiver)
    qtbot.waitUntil(lambda: len(log.steps) > 2)
    runner.cancel()
    count = len(log.steps)
    assert closed.wait(5)
    qtbot.waitUntil(lambda: not runner.is_busy)
    assert len(log.steps) == count
    assert not log.done
    assert not log.failed


def test_an_answer_that_was_cancelled_is_dropped(qtbot, runner, log):
    """Also of work that cannot be stopped."""
    begun, release = gate()
    runner.submit(partial(held, begun, release, "late"), log.receiver)
    assert begun.wait(10)
    runner.cancel()
    release.set()
    runner.submit(lambda: "wanted", log.receiver)
    qtbot.waitUntil(lambda: log.done == ["wanted"])


def test_idle_work_runs_last_and_any_submission_stops_it(qtbot, runner, log):
    """Prefetching never delays a click by more than a step."""
    begun, release = gate()
    closed = threading.Event()

    def prefetch():
        try:
            while True:
                time.sleep(0.01)
                yield "prefetched"
        finally:
            closed.set()

    idle = Log()
    runner.submit(partial(held, begun, release, "click"), log.receiver)
    assert begun.wait(10)
    runner.submit_idle(prefetch, idle.receiver)
    assert not idle.steps
    release.set()
    qtbot.waitUntil(lambda: len(idle.steps) > 2)
    assert log.done == ["click"]
    assert not runner.is_busy  # idle work is nobody's wait
    runner.submit(lambda: "next", log.receiver)
    assert closed.wait(5)
    qtbot.waitUntil(lambda: log.done == ["click", "next"])
    assert not idle.done


def test_idle_work_that_waits_is_dropped_by_a_submission(qtbot, runner, log):
    """It was meant for a plane that may not be shown any more."""
    begun, release = gate()
    runner.submit(partial(held, begun, release), log.receiver)
    assert begun.wait(10)
    runner.submit_idle(lambda: "idle", log.receiver)
    runner.submit(lambda: "asked for", log.receiver)
    release.set()
    qtbot.waitUntil(lambda: "asked for" in log.done)
    qtbot.wait(50)
    assert "idle" not in log.done


def test_busy_is_told_once_per_change(qtbot, runner, log):
    """From the first submission to the last answer."""
    changes: list[bool] = []
    runner.busy_changed.connect(changes.append)
    begun, release = gate()
    runner.submit(partial(held, begun, release), log.receiver)
    runner.submit(lambda: None, log.receiver)
    release.set()
    qtbot.waitUntil(lambda: changes == [True, False])


@pytest.mark.parametrize("is_generator", [False, True])
def test_close_in_mid_work_delivers_nothing_more(qtbot, log, is_generator):
    """The thread ends, and nobody is told anything afterwards."""
    begun, release = gate()

    def steps():
        begun.set()
        while True:
            time.sleep(0.01)
            yield

    work = steps if is_generator else partial(held, begun, release, "late")
    runner = Runner()
    runner.submit(work, log.receiver)
    assert begun.wait(10)
    ended_at_once = runner.close(0.0 if not is_generator else 5.0)
    assert ended_at_once == is_generator
    count = len(log.steps)
    release.set()
    assert runner.close(5)
    qtbot.wait(50)
    assert not log.done
    assert not log.failed
    assert len(log.steps) == count
    assert runner.submit(lambda: "after", log.receiver) > 0
    qtbot.wait(20)
    assert not log.done


def test_a_runner_that_is_forgotten_ends_its_thread(qtbot, log):
    """Nothing keeps a thread, or its arrays, alive."""
    runner = Runner()
    runner.submit(lambda: None, log.receiver)
    qtbot.waitUntil(lambda: len(log.done) == 1)
    thread, gone = runner._thread, weakref.ref(runner)
    del runner
    gc.collect()
    assert gone() is None
    thread.join(5)
    assert not thread.is_alive()


def test_a_job_is_let_go_when_it_is_done(qtbot, runner, log):
    """A volume that was closed does not stay in memory until the next click."""

    class Big:
        pass

    big = Big()
    gone = weakref.ref(big)
    runner.submit(partial(lambda value: None, big), log.receiver)
    del big
    qtbot.waitUntil(lambda: len(log.done) == 1)

    def is_gone() -> bool:
        gc.collect()
        return gone() is None

    qtbot.waitUntil(is_gone)


def test_long_work_lets_everything_else_in_between(qtbot, runner, log):
    """It goes on after what was asked for, is not cancelled with it, and returns."""
    begun, release = gate()
    asked = Log()

    def long():
        yield held(begun, release, "first")
        yield "second"
        return "end"

    runner.submit_long(long, log.receiver)
    assert begun.wait(5)
    assert not runner.is_busy
    runner.submit_idle(lambda: asked.steps.append("idle"), Receiver())
    runner.submit(lambda: "dropped", asked.receiver)
    runner.cancel()
    runner.submit(lambda: len(log.steps), asked.receiver)
    assert runner.is_busy
    release.set()
    qtbot.waitUntil(lambda: log.done == ["end"])
    assert log.steps == ["first", "second"]
    assert asked.done in ([0], [1])  # before the second step
    assert not asked.failed


def test_long_work_is_closed_by_the_worker(qtbot, runner, log):
    """Cancelled before its next step, after which the next long work begins."""
    closed = []

    def long():
        try:
            while True:
                time.sleep(0.01)
                yield 1
        finally:
            closed.append(threading.current_thread())

    runner.submit_long(long, log.receiver)
    runner.submit_long(lambda: iter([2]), log.receiver)
    qtbot.waitUntil(lambda: len(log.steps) >= 2)
    assert set(log.steps) == {1}
    runner.cancel_long()
    runner.submit_long(lambda: iter([3]), log.receiver)
    qtbot.waitUntil(lambda: bool(log.done))
    assert log.steps[-1] == 3
    assert 2 not in log.steps
    assert len(closed) == 1
    assert closed[0] is not threading.current_thread()


def test_closing_ends_long_work(qtbot, log):
    """Nothing arrives afterwards, and its generator is closed."""
    runner, closed = Runner(), threading.Event()

    def long():
        try:
            while True:
                time.sleep(0.01)
                yield 1
        finally:
            closed.set()

    runner.submit_long(long, log.receiver)
    qtbot.waitUntil(lambda: bool(log.steps))
    assert runner.close(5)
    assert closed.is_set()
    count = len(log.steps)
    qtbot.wait(50)
    assert len(log.steps) == count


def test_a_fault_in_long_work_is_reported(qtbot, runner, log):
    """And the worker goes on."""
    runner.submit_long(lambda: (1 / i for i in (1, 0)), log.receiver)
    qtbot.waitUntil(lambda: bool(log.failed))
    assert isinstance(log.failed[0], ZeroDivisionError)
    runner.submit(lambda: "next", log.receiver)
    qtbot.waitUntil(lambda: log.done == ["next"])


def test_background_work_gives_way_and_goes_on(qtbot, runner, log):
    """A click waits for one small step; newer background work takes the place."""
    begun, go_on = gate()
    ended: list[str] = []

    def learn(name: str, count: int):
        try:
            for number in range(count):
                begun.set()
                assert go_on.wait(10)
                yield name, number
        finally:
            ended.append(name)
        return name

    clicks = Log()
    runner.submit_background(partial(learn, "first", 1000000), log.receiver)
    assert begun.wait(10)
    runner.submit(lambda: "click", clicks.receiver)
    assert not runner.is_busy or not clicks.done
    go_on.set()
    qtbot.waitUntil(lambda: clicks.done == ["click"], timeout=10000)
    seen = len(log.steps)
    qtbot.waitUntil(lambda: len(log.steps) > seen, timeout=10000)
    runner.submit_background(partial(learn, "second", 3), log.receiver)
    qtbot.waitUntil(lambda: log.done == ["second"], timeout=10000)
    assert ended == ["first", "second"]
    assert not log.failed


@pytest.mark.parametrize("is_long", [False, True])
def test_work_can_be_stopped_halfway(runner, log, qtbot, is_long):
    """Idle work ends in mid-step for what is asked for; long work when cancelled."""
    begun = threading.Event()

    def work():
        yield "first"
        begun.set()
        while True:  # until it is stopped
            may_stop()
            time.sleep(0.001)

    (runner.submit_long if is_long else runner.submit_idle)(work, log.receiver)
    assert begun.wait(5)
    if is_long:
        runner.cancel_long()
    runner.submit(lambda: "asked for", log.receiver)
    qtbot.waitUntil(lambda: log.done == ["asked for"])
    assert log.failed == []


@pytest.mark.parametrize("is_needed", [False, True])
def test_a_step_that_is_needed_goes_on_to_its_end(runner, log, qtbot, is_needed):
    """Idle work that does half of what is asked for is not begun again."""
    begun, release = gate()
    ended: list[str] = []

    def prefetch():
        begun.set()
        assert release.wait(5)
        may_stop()
        ended.append("first")
        yield
        ended.append("second")

    runner.submit_idle(prefetch, Receiver())
    assert begun.wait(5)
    runner.submit(lambda: list(ended), log.receiver, is_needed)
    release.set()
    qtbot.waitUntil(lambda: len(log.done) == 1)
    assert log.done == [["first"] if is_needed else []]
