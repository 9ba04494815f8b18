"""Work spread over processes, where an item that kills its process or takes too much costs that item only."""

import logging
import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, Final, Generic, TypeVar

from preprocessing.worker_limits import (
    LOOK_SECONDS,
    SharedCounters,
    WorkerLimits,
    WorkerWatch,
    limit_this_process,
)

Item = TypeVar("Item")
Result = TypeVar("Result")

LONE_ATTEMPTS: Final = 2  # without other workers beside it

CRASHED: Final = "reader_crashed"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Crashed:
    """Stands for the result of an item whose process was ended.

    Attributes:
        detail: why, in a sentence.
        reason: `reader_crashed`: it died again and again, also without workers beside it: the item alone
            takes more memory than there is, or a codec runs into a segmentation fault; `out_of_memory` or
            `too_slow`: it exceeded its limits.
    """

    detail: str
    reason: str = CRASHED


def map_in_processes(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    limits: WorkerLimits | None = None,
) -> Iterator[tuple[Item, Result | Crashed]]:
    """Call `function` on every item and yield (item, result) in the order of completion.

    A process that dies may have been killed because all of them together took too much memory. So it is not
    replaced while there are others, and its item is tried again after all the others, with a lone worker,
    until that died `LONE_ATTEMPTS` times. A process that exceeds its limits is ended and replaced, and its
    item is not tried again.

    A broken `ProcessPoolExecutor` does not say which item broke it, so every worker is an executor of one
    process. (pebble's pool loses an item, and waits for it forever, whose process dies within milliseconds.)

    Args:
        function: a module-level function; exceptions that it raises are raised here. It may be called again
            with an item whose process died.
        items: picklable items.
        workers: number of processes; 0 calls the function in this process, without limits.
        limits: of every process while it works on one item.

    Raises:
        ValueError: `workers` is negative.
    """
    if workers < 0:
        raise ValueError(f"workers must be >= 0, got {workers}")
    if workers == 0 or not items:
        yield from ((item, function(item)) for item in items)
        return
    workers = min(workers, len(items))
    died: list[Item] = []
    for item, outcome in _map_beside(function, items, workers, limits):
        if isinstance(outcome, Crashed) and outcome.reason == CRASHED:
            died.append(item)
        else:
            yield item, outcome
    attempts = LONE_ATTEMPTS - (workers == 1)
    for number, item in enumerate(died, start=1):
        logger.warning("Trying %d of %d again whose process died, with one worker", number, len(died))
        yield item, _run_alone(function, item, attempts, limits)


def _map_beside(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, limits: WorkerLimits | None
) -> Iterator[tuple[Item, Result | Crashed]]:
    """Call `function` on every item once, with fewer workers after each that died."""
    idle: queue.SimpleQueue[_Worker[Item, Result]] = queue.SimpleQueue()
    for _ in range(workers):
        idle.put(_Worker(limits))
    lock, running = threading.Lock(), workers

    def may_replace() -> bool:
        nonlocal running
        with lock:
            is_last = running == 1
            running -= not is_last
        return is_last

    def run(item: Item) -> Result | Crashed:
        worker: _Worker[Item, Result] | None = idle.get()
        assert worker is not None
        try:
            outcome = worker.run(function, item)
            if isinstance(outcome, Crashed):
                worker.close()
                is_over_limit = outcome.reason != CRASHED
                worker = _Worker[Item, Result](limits) if is_over_limit or may_replace() else None
                logger.warning("A worker process died (%s); %d are left", outcome.detail, running)
            return outcome
        finally:
            if worker is not None:
                idle.put(worker)

    threads = ThreadPoolExecutor(workers)
    try:
        item_of = {threads.submit(run, item): item for item in items}
        for future in as_completed(list(item_of)):
            yield item_of.pop(future), future.result()
    finally:  # also after an error or an abandoned iteration: items that have not started are dropped
        threads.shutdown(cancel_futures=True)
        while not idle.empty():
            idle.get().close()


def _run_alone(
    function: Callable[[Item], Result], item: Item, attempts: int, limits: WorkerLimits | None
) -> Result | Crashed:
    outcome: Result | Crashed = Crashed("")
    for _ in range(attempts):
        worker = _Worker[Item, Result](limits)
        try:
            outcome = worker.run(function, item)
        finally:
            worker.close()
        if not isinstance(outcome, Crashed) or outcome.reason != CRASHED:
            break
    return outcome


def ignore(_: int) -> None:
    """Look at nothing."""


class _Worker(Generic[Item, Result]):
    """One process. Spawned, not forked: MediaPipe and torch hold threads that a fork would leave behind."""

    def __init__(self, limits: WorkerLimits | None) -> None:
        context = multiprocessing.get_context("spawn")
        self._watch = None if limits is None else WorkerWatch(limits, context)
        self.has_ended = False
        self._executor = ProcessPoolExecutor(
            1,
            mp_context=context,
            initializer=_prepare_worker,
            initargs=(limits, self._watch and self._watch.shared),
        )

    def run(
        self, function: Callable[[Item], Result], item: Item, on_look: Callable[[int], None] = ignore
    ) -> Result | Crashed:
        """Result of the item, or why its process ended; it is of no use after that.

        `on_look` as in `LimitedProcess.call`.
        """
        exceeded: tuple[str, str] | None = None
        try:
            future = self._executor.submit(function, item)
            if self._watch is not None:
                self._watch.begin()
                while exceeded is None and not wait([future], LOOK_SECONDS).done:
                    exceeded = self._watch.end_if_over()
                    self._look(self._watch, on_look)
            return future.result()
        except BrokenProcessPool as error:
            self.has_ended = True
            if exceeded is None:
                return Crashed(str(error))
            reason, detail = exceeded
            return Crashed(detail, reason)

    def _look(self, watch: WorkerWatch, on_look: Callable[[int], None]) -> None:
        try:
            on_look(watch.done)
        except BaseException:
            self.has_ended = True
            while not watch.end():
                time.sleep(LOOK_SECONDS)  # until it has started
            raise

    def close(self) -> None:
        """End the process."""
        self._executor.shutdown()


class LimitedProcess:
    """A process with limits for one call after the other, replaced when it ended; thread-safe.

    It starts with the first call and is kept, so that libraries are loaded once.
    """

    def __init__(self, limits: WorkerLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._worker: _Worker[Any, Any] | None = None

    def call(
        self, function: Callable[[Item], Result], item: Item, on_look: Callable[[int], None] = ignore
    ) -> Result | Crashed:
        """The result of a function, or why its process ended.

        Args:
            function: a module-level function; exceptions that it raises are raised here.
            item: picklable.
            on_look: called a few times a second with the count of `worker_limits.note_done`. What it raises
                ends the process and is raised here.
        """
        with self._lock:
            worker = self._worker = self._worker or _Worker(self._limits)
            try:
                return worker.run(function, item, on_look)
            finally:
                if worker.has_ended:
                    self._close()

    def close(self) -> None:
        """End the process after its call; the next one would start another."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None


WORKERS_VARIABLE: Final = "PDFGC_WORKERS"


def default_workers() -> int:
    """PDFGC_WORKERS (a scheduler's share of the machine), else the number of CPU cores this process may use.

    Raises:
        ValueError: PDFGC_WORKERS is not a whole number above 0.
    """
    given = os.environ.get(WORKERS_VARIABLE, "")
    if not given:
        return len(os.sched_getaffinity(0))
    if not given.isdecimal() or int(given) < 1:
        raise ValueError(f"{WORKERS_VARIABLE} must be a whole number of processes >= 1, got {given!r}")
    return int(given)


# With a process a core, threads that a library starts in each process only wait for one another, and
# OpenBLAS and OpenMP wait by spinning, which costs CPU time.
ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def _prepare_worker(limits: WorkerLimits | None, shared: SharedCounters | None) -> None:
    os.environ.update(GLOG_minloglevel="2")  # MediaPipe logs errors only
    os.environ.update(ONE_THREAD)  # read when the first item's function loads numpy or torch
    if limits is not None and shared is not None:
        limit_this_process(limits, shared)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
