"""What a worker is asked to do, and in which order it does it; no Qt."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

Work = Callable[[], Any]


def _ignore(value: Any) -> None:
    """Do nothing with a value."""


@dataclass(frozen=True)
class Receiver:
    """Whom a job reports to, always in the thread of the runner.

    Parameters
    ----------
    done : callable
        Takes the result.
    failed : callable
        Takes the exception.
    stepped : callable
        Takes each value that a generator yields.
    """

    done: Callable[[Any], None] = _ignore
    failed: Callable[[Exception], None] = _ignore
    stepped: Callable[[Any], None] = _ignore


@dataclass(frozen=True, eq=False)
class Job:
    number: int
    work: Work
    receiver: Receiver
    is_idle: bool = False
    steps: Steps | None = None  # of long work
    is_cancelled: threading.Event = field(default_factory=threading.Event)
    is_stopped: threading.Event = field(default_factory=threading.Event)

    def stop(self, halfway: bool = True) -> None:
        """Ask it to end, in the middle of a step or after it."""
        self.is_cancelled.set()
        if halfway:
            self.is_stopped.set()


class Steps:
    """A generator that the worker begins, takes on and closes, and nobody else."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._generator: Generator[Any, None, Any] | None = None

    def take(self) -> Any:
        if self._generator is None:
            self._generator = self._work()
        return next(self._generator)

    def close(self) -> None:
        if self._generator is not None:
            self._generator.close()


class Mailbox:
    """What both threads know: the newest job, long ones, an idle one, what runs."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.waiting: Job | None = None
        self.long: deque[Job] = deque()  # the first one is underway
        self.idle: Job | None = None
        self.background: deque[Job] = deque()  # steps too, when all else is done
        self.running: Job | None = None
        self.is_closed = False

    def take(self) -> Job | None:
        """Wait for a job; None once the mailbox is closed."""
        with self.changed:
            self.changed.wait_for(
                lambda: (
                    self.is_closed
                    or self.waiting
                    or self.long
                    or self.idle
                    or self.background
                )
            )
            if self.is_closed:
                return None
            if self.waiting is not None:
                self.running, self.waiting = self.waiting, None
            elif self.long:
                self.running = self.long[0]
            elif self.idle is not None:
                self.running, self.idle = self.idle, None
            else:
                self.running = self.background[0]
            return self.running

    def put(self, job: Job, halfway: bool = True) -> None:
        """Replace what waits; anything asked for stops what was begun while idle."""
        with self.changed:
            self._stop_idle(halfway)
            if job.is_idle:
                self.idle = job
            elif job.steps is not None:
                self.long.append(job)
            else:
                self.waiting = job
            self.changed.notify()

    def put_background(self, job: Job | None) -> None:
        """Begin with a job in place of those before; None is none."""
        with self.changed:
            for other in self.background:
                other.stop()  # the worker closes it
            if job is not None:
                self.background.append(job)
            self.changed.notify()

    def _stop_idle(self, halfway: bool = True) -> None:
        self.idle = None
        if self.running is not None and self.running.is_idle:
            self.running.stop(halfway)

    def clear(self) -> None:
        """Empty the mailbox and ask what runs to stop."""
        with self.changed:
            self.waiting = None
            self._stop_idle()
            if self.running is not None and self.running.steps is None:
                self.running.stop()

    def cancel_long(self) -> None:
        """Ask long work to stop; the worker closes it."""
        with self.changed:
            for job in self.long:
                job.stop()

    def end(self, job: Job, is_over: bool) -> None:
        """Note that a job, or one step of long work, has ended."""
        if is_over or job.steps is not None:
            self.running = None
        if is_over and job.steps is not None:
            (self.long if job in self.long else self.background).remove(job)

    def close(self) -> None:
        """Clear, and let the worker end after its step."""
        with self.changed:
            self.clear()
            self.cancel_long()
            self.put_background(None)
            self.is_closed = True
            self.changed.notify()
