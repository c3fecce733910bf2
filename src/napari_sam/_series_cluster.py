"""A series on many processes or machines, through dask.distributed.

Every plane is a task; another one puts the planes of an image together and writes its
labels. What a worker that dies was doing is done again by the others. Paths of images
and labels, and the directory of embeddings, must be the same on all machines.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

from distributed import (
    Client,
    Future,
    LocalCluster,
    WorkerPlugin,
    as_completed,
    get_worker,
)
from numpy.typing import NDArray

from napari_sam.series import (
    ImageSeries,
    ImageWork,
    SeriesImage,
    SeriesProgress,
    reason,
    write_into,
)

if TYPE_CHECKING:
    from pathlib import Path


Task: TypeAlias = "Future[Any]"

# Images whose planes are tasks at a time, for each worker: enough that none waits,
# few enough that the planes in memory are few.
IMAGES_AHEAD = 2


class WorkOnWorker(WorkerPlugin):
    """What each worker process keeps: the work, so a model is loaded once.

    Parameters
    ----------
    make_work : callable
        Pickled, and called in each worker process.

    Notes
    -----
    A process that takes the place of one that crashed gets it too.
    """

    def __init__(self, make_work: Callable[[], ImageWork]) -> None:
        self.name = f"napari-sam-{uuid4().hex}"
        self.make_work = make_work

    def setup(self, worker: Any) -> None:
        """Load the model, when the worker starts."""
        self.work = self.make_work()
        # A worker may have several threads, a model is used by one.
        self.lock = threading.Lock()

    def teardown(self, worker: Any) -> None:
        """Forget it."""
        del self.work


def _call(plugin: str, method: str, *arguments: Any) -> Any:
    """Do a part of the work in a worker process."""
    own: Any = get_worker().plugins[plugin]
    with own.lock:
        return getattr(own.work, method)(*arguments)


def _finish(
    plugin: str, path: Path, labels: Path, planes: Sequence[NDArray[Any]]
) -> None:
    write_into(labels, _call(plugin, "combine", path, planes))


@dataclass(eq=False)
class _Running:
    """An image in work, and its tasks."""

    image: SeriesImage
    listing: Task
    planes: list[Task] = field(default_factory=list)
    finish: Task | None = None
    done: int = 0
    has_ended: bool = False

    @property
    def futures(self) -> list[Task]:
        return [self.listing, *self.planes, *([self.finish] if self.finish else [])]


class _Conductor:
    """Keeps the workers busy, and the states of the images up to date."""

    def __init__(self, client: Client, series: ImageSeries, plugin: str) -> None:
        self.client, self.series, self.plugin = client, series, plugin
        self.waiting = deque(series.unfinished)
        self.failed: list[SeriesImage] = []
        self.owners: dict[Any, _Running] = {}
        self.tasks = as_completed()

    def run(self) -> Generator[SeriesProgress, None, list[SeriesImage]]:
        """Work to the end; when it is closed, what still runs is cancelled."""
        workers = len(self.client.scheduler_info()["workers"])
        try:
            for _ in range(IMAGES_AHEAD * max(workers, 1)):
                self._begin()
            for future in self.tasks:
                running = self.owners.pop(future.key)
                if not running.has_ended:
                    yield from self._advance(running, future)
        finally:
            open_ones = {id(one): one for one in self.owners.values()}
            for running in open_ones.values():
                if self.client.status == "running":
                    self.client.cancel(running.futures)
        return self.failed

    def _begin(self) -> None:
        if not self.waiting:
            return
        image = self.series.mark(self.waiting.popleft().name, "in work")
        listing = self._submit(_call, "planes", image.path)
        self._watch(_Running(image, listing), listing)

    def _submit(self, function: Callable[..., Any], *arguments: Any) -> Task:
        # Not pure: a task of an earlier run must not answer for this one.
        return self.client.submit(function, self.plugin, *arguments, pure=False)

    def _watch(self, running: _Running, future: Task) -> None:
        self.owners[future.key] = running
        self.tasks.add(future)

    def _advance(self, running: _Running, future: Task) -> Iterator[SeriesProgress]:
        """Go on with an image of which a task has ended."""
        image = running.image
        if future.status != "finished":
            yield self._end(running, future)
            return
        if future is running.finish:
            yield self._end(running, None)
            return
        if future is running.listing:
            for plane in future.result():
                task = self._submit(_call, "segment", image.path, plane)
                running.planes.append(task)
            for task in running.planes:
                self._watch(running, task)
        else:
            running.done += 1
            yield SeriesProgress(image, running.done, len(running.planes))
        if running.done == len(running.planes):
            paths = image.path, image.labels
            running.finish = self._submit(_finish, *paths, running.planes)
            self._watch(running, running.finish)

    def _end(self, running: _Running, failed: Task | None) -> SeriesProgress:
        """Note that an image is done, or why not, and begin the next."""
        running.has_ended = True
        name = running.image.name
        if failed is None:
            now = self.series.mark(name, "done")
        else:
            # Asked first: of a cancelled task the reason is gone.
            error = failed.exception() or RuntimeError("the task was cancelled")
            self.client.cancel(running.futures)
            now = self.series.mark(name, "failed", reason(error))
            self.failed.append(now)
        self._begin()
        return SeriesProgress(now)


def run_series_on(
    client: Client, series: ImageSeries, make_work: Callable[[], ImageWork]
) -> Generator[SeriesProgress, None, list[SeriesImage]]:
    """Work through a series as `napari_sam.run_series` does, on a cluster.

    Parameters
    ----------
    client : distributed.Client
    series : ImageSeries
    make_work : callable
        Pickled, and called once in each worker process.

    Yields
    ------
    SeriesProgress
        As `run_series`; images come in the order in which they are done.

    Returns
    -------
    list of SeriesImage
        Those that failed.

    Raises
    ------
    OSError
        If a state cannot be saved.
    """
    plugin = WorkOnWorker(make_work)
    client.register_plugin(plugin)
    try:
        return (yield from _Conductor(client, series, plugin.name).run())
    finally:
        # Closed late, the generator may outlive the connection.
        if client.status == "running":
            client.unregister_worker_plugin(plugin.name)


@contextmanager
def connected(scheduler: str) -> Iterator[Client]:
    """Connect to a cluster, or make one of processes on this machine.

    Parameters
    ----------
    scheduler : str
        Address of a dask scheduler, such as "tcp://host:8786"; "local" for one process
        a core of this machine, "local:4" for four.

    Yields
    ------
    distributed.Client

    Raises
    ------
    ValueError
        If a number of processes is none.
    OSError
        If there is no scheduler at the address.
    """
    kind, _, number = scheduler.partition(":")
    if kind != "local":
        with Client(scheduler) as client:
            yield client
        return
    if number and not (number.isdecimal() and int(number)):
        raise ValueError(f"scheduler must be local:N with N from 1, got {scheduler!r}.")
    count = int(number) if number else None
    with (
        LocalCluster(
            n_workers=count, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
