"""The only threads of the package: each a worker behind a mailbox with one slot.

Work is a function without arguments that has captured all its inputs: values, never
layers. What takes long is a generator: iterating is progress, closing is cancel, and
what it returns is the result. What takes minutes is long work: between two of its steps
the worker does whatever else was asked for. Cancelled encodings end halfway.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Generator
from typing import Any, Literal

from qtpy.QtCore import QObject, Qt, Signal  # type: ignore[attr-defined]

from napari_sam._qt.mailbox import Job, Mailbox, Receiver, Steps, Work
from napari_sam.stopping import Stopped, stoppable

__all__ = ["Receiver", "Runner"]

_Event = Literal["step", "done", "failed", "cancelled"]


class _Relay(QObject):
    """Carries events into the thread of the runner."""

    posted = Signal(object, str, object)


def _serve(mailbox: Mailbox, relay: _Relay) -> None:
    """Work through a mailbox; the worker knows nothing else of the runner."""

    def post(job: Job, event: _Event, value: Any = None) -> None:
        # Under the lock, so that nothing is sent once close() has returned.
        with mailbox.changed:
            mailbox.end(job, is_over=event != "step")
            if not mailbox.is_closed:
                relay.posted.emit(job, event, value)

    while (job := mailbox.take()) is not None:
        if job.steps is None:
            _run(job, post)
        else:
            _run_step(job, job.steps, post)
        # Let go of the job's arrays before the wait for the next one.
        del job
    for left in (*mailbox.long, *mailbox.background):
        if left.steps is not None:
            left.steps.close()


def _run(job: Job, post: Callable[..., None]) -> None:
    try:
        with stoppable(job.is_stopped.is_set):
            result = job.work()
            if isinstance(result, Generator):
                result = _iterate(job, result, post)
    except Stopped:
        post(job, "cancelled")
    except Exception as error:
        post(job, "failed", error)
    else:
        post(job, "cancelled" if job.is_cancelled.is_set() else "done", result)


def _run_step(job: Job, steps: Steps, post: Callable[..., None]) -> None:
    """Take long work one step further."""
    try:
        if job.is_cancelled.is_set():
            steps.close()
            post(job, "cancelled")
        else:
            with stoppable(job.is_stopped.is_set):
                step = steps.take()
            post(job, "step", step)
    except StopIteration as end:
        post(job, "done", end.value)
    except Stopped:
        post(job, "cancelled")
    except Exception as error:
        post(job, "failed", error)


def _iterate(
    job: Job, steps: Generator[Any, None, Any], post: Callable[..., None]
) -> Any:
    """Run a generator to its end, or until it is cancelled; returns its result."""
    try:
        while not job.is_cancelled.is_set():
            post(job, "step", next(steps))
    except StopIteration as end:
        return end.value
    finally:
        steps.close()
    return None


def _end(mailbox: Mailbox, thread: threading.Thread) -> None:
    mailbox.close()
    # Python collects garbage in any thread, also in the worker itself.
    if thread is not threading.current_thread():
        thread.join()


class Runner(QObject):
    """Runs one job at a time in a thread of its own.

    A new job takes the place of the one that waits. What already runs goes on, so that
    prompts that change all the time still give pictures, unless it was begun as idle
    work. Results arrive in the thread in which the runner was made.

    Parameters
    ----------
    parent : QObject, optional

    Notes
    -----
    `busy_changed` is sent when work that was asked for, not idle work, begins or ends.
    """

    busy_changed = Signal(bool)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._mailbox = Mailbox()
        self._relay = _Relay()
        self._relay.posted.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        self._thread: threading.Thread | None = None
        self._submitted = 0
        self._floor = 0  # answers up to this number are not wanted any more
        self._was_busy = False

    @property
    def is_busy(self) -> bool:
        """Whether work that was asked for waits or runs."""
        return self._was_busy

    def submit(self, work: Work, receiver: Receiver, needs_idle: bool = False) -> int:
        """Run work as soon as the worker is free, unless newer work comes first.

        Parameters
        ----------
        work : callable
            Returns the result, or a generator that does.
        receiver : Receiver
        needs_idle : bool
            The step of idle work that runs now is of use for it: it goes on to its end.

        Returns
        -------
        int
            Number of the submission; later ones are larger.
        """
        return self._begin(self._job(work, receiver), halfway=not needs_idle)

    def submit_idle(self, work: Work, receiver: Receiver) -> int:
        """Run work while there is nothing else to do; any submission stops it."""
        return self._begin(self._job(work, receiver, is_idle=True))

    def submit_long(self, work: Work, receiver: Receiver) -> int:
        """Run work of many steps; whatever is submitted comes in between.

        Long work runs to its end or until `cancel_long`, one after the other; `cancel`
        does not touch it, and it does not make the runner busy.

        Parameters
        ----------
        work : callable
            Returns a generator.
        receiver : Receiver

        Returns
        -------
        int
        """
        return self._begin(self._job(work, receiver, steps=Steps(work)))

    def submit_background(self, work: Work, receiver: Receiver) -> int:
        """Run work of many small steps, each when there is nothing else to do.

        As `submit_long`, but everything else comes first, also idle work; and it
        takes the place of background work that was submitted before.
        """
        job = self._job(work, receiver, steps=Steps(work))
        self._mailbox.put_background(job)
        self._start()
        return job.number

    def cancel_background(self) -> None:
        """Stop background work before its next step; nothing more of it arrives."""
        self._mailbox.put_background(None)

    def _job(self, work: Work, receiver: Receiver, **how: Any) -> Job:
        self._submitted += 1
        return Job(self._submitted, work, receiver, **how)

    def _begin(self, job: Job, halfway: bool = True) -> int:
        self._mailbox.put(job, halfway)
        self._start()
        self._notice()
        return job.number

    def _start(self) -> None:
        if self._thread is not None or self._mailbox.is_closed:
            return
        self._thread = threading.Thread(
            target=_serve,
            args=(self._mailbox, self._relay),
            name="napari-sam worker",
            daemon=True,  # an idle worker must not keep Python from ending,
        )
        self._thread.start()
        # but one in mid-work is waited for: torch must not compute in a dying Python.
        weakref.finalize(self, _end, self._mailbox, self._thread)

    def cancel(self) -> None:
        """Drop what waits, stop what runs at its next step; no answer arrives."""
        self._floor = self._submitted
        self._mailbox.clear()
        self._notice()

    def cancel_long(self) -> None:
        """Stop long work before its next step; nothing more of it arrives."""
        self._mailbox.cancel_long()

    def close(self, timeout: float = 1.0) -> bool:
        """End the worker; nothing is delivered any more.

        Parameters
        ----------
        timeout : float
            Seconds to wait for it. A step that takes longer ends by itself: it knows
            only values.

        Returns
        -------
        bool
            Whether the worker has ended.
        """
        self._floor = self._submitted
        self._mailbox.close()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _deliver(self, job: Job, event: _Event, value: Any) -> None:
        """Hand an event on, if the job is still wanted."""
        is_current = job.number > self._floor or job.steps is not None
        is_wanted = is_current and not job.is_cancelled.is_set()
        if self._mailbox.is_closed:
            return
        if event != "step":
            self._notice()
        if not is_wanted:
            return
        if event == "step":
            job.receiver.stepped(value)
        elif event == "done":
            job.receiver.done(value)
        elif event == "failed":
            job.receiver.failed(value)

    def _notice(self) -> None:
        with self._mailbox.changed:
            running = self._mailbox.running
            is_asked = running is not None and running.steps is None
            is_running = running is not None and is_asked and not running.is_idle
            is_busy = is_running or self._mailbox.waiting is not None
        if is_busy != self._was_busy:
            self._was_busy = is_busy
            self.busy_changed.emit(is_busy)
