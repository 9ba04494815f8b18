"""Work spread over processes, where an item that kills its process costs that item only."""

import logging
import multiprocessing
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection
from typing import Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

LONE_ATTEMPTS: Final = 2  # without other workers beside it

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Crashed:
    """Stands for the result of an item whose process died again and again, also without workers beside it.

    The item alone takes more memory than there is, or a codec runs into a segmentation fault.
    """

    detail: str


def map_in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, Result | Crashed]]:
    """Call `function` on every item and yield (item, result) in the order of completion.

    A process that dies may have been killed because all of them together took too much memory. So it is not
    replaced while there are others, and its item is tried again after all the others, with a lone worker,
    until that died `LONE_ATTEMPTS` times.

    A broken `ProcessPoolExecutor` does not say which item broke it, so every worker is an executor of one
    process. (pebble's pool loses an item, and waits for it forever, whose process dies within milliseconds.)

    Args:
        function: a module-level function; exceptions that it raises are raised here. It may be called again
            with an item whose process died.
        items: picklable items.
        workers: number of processes; 0 calls the function in this process.

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
    for item, outcome in _map_beside(function, items, workers):
        if isinstance(outcome, Crashed):
            died.append(item)
        else:
            yield item, outcome
    attempts = LONE_ATTEMPTS - (workers == 1)
    for number, item in enumerate(died, start=1):
        logger.warning("Trying %d of %d again whose process died, with one worker", number, len(died))
        yield item, _run_alone(function, item, attempts)


def _map_beside(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, Result | Crashed]]:
    """Call `function` on every item once, with fewer workers after each that died."""
    idle: queue.SimpleQueue[ProcessPoolExecutor] = queue.SimpleQueue()
    for _ in range(workers):
        idle.put(_one_process())
    lock, running = threading.Lock(), workers

    def may_replace() -> bool:
        nonlocal running
        with lock:
            is_last = running == 1
            running -= not is_last
        return is_last

    def run(item: Item) -> Result | Crashed:
        process: ProcessPoolExecutor | None = idle.get()
        assert process is not None
        try:
            return process.submit(function, item).result()
        except BrokenProcessPool as error:
            process.shutdown()
            process = _one_process() if may_replace() else None
            logger.warning("A worker process died; %d are left", running)
            return Crashed(str(error))
        finally:
            if process is not None:
                idle.put(process)

    threads = ThreadPoolExecutor(workers)
    try:
        item_of = {threads.submit(run, item): item for item in items}
        for future in as_completed(list(item_of)):
            yield item_of.pop(future), future.result()
    finally:  # also after an error or an abandoned iteration: items that have not started are dropped
        threads.shutdown(cancel_futures=True)
        while not idle.empty():
            idle.get().shutdown()


def _run_alone(function: Callable[[Item], Result], item: Item, attempts: int) -> Result | Crashed:
    detail = ""
    for _ in range(attempts):
        process = _one_process()
        try:
            return process.submit(function, item).result()
        except BrokenProcessPool as error:
            detail = str(error)
        finally:
            process.shutdown()
    return Crashed(detail)


def _one_process() -> ProcessPoolExecutor:
    # Spawned, not forked: MediaPipe and torch hold threads that a fork would leave behind.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=_prepare_worker)


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


def _prepare_worker() -> None:
    os.environ.update(GLOG_minloglevel="2")  # MediaPipe logs errors only
    os.environ.update(ONE_THREAD)  # read when the first item's function loads numpy or torch
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
