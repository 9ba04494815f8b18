"""Work spread over processes, where an item that kills its process costs that item only."""

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


@dataclass(frozen=True)
class Crashed:
    """Stands for the result of an item whose process died, such as by a codec's segmentation fault."""

    detail: str


def map_in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, Result | Crashed]]:
    """Call `function` on every item and yield (item, result) in the order of completion.

    A broken `ProcessPoolExecutor` does not say which item broke it, so every worker is an executor of one
    process. (pebble's pool loses an item, and waits for it forever, whose process dies within milliseconds.)

    Args:
        function: a module-level function; exceptions that it raises are raised here.
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
    idle: queue.SimpleQueue[ProcessPoolExecutor] = queue.SimpleQueue()
    for _ in range(min(workers, len(items))):
        idle.put(_one_process())

    def run(item: Item) -> Result | Crashed:
        process = idle.get()
        try:
            return process.submit(function, item).result()
        except BrokenProcessPool as error:
            process.shutdown()
            process = _one_process()
            return Crashed(str(error))
        finally:
            idle.put(process)

    threads = ThreadPoolExecutor(idle.qsize())
    try:
        item_of = {threads.submit(run, item): item for item in items}
        for future in as_completed(list(item_of)):
            yield item_of.pop(future), future.result()
    finally:  # also after an error or an abandoned iteration: items that have not started are dropped
        threads.shutdown(cancel_futures=True)
        while not idle.empty():
            idle.get().shutdown()


def _one_process() -> ProcessPoolExecutor:
    # Spawned, not forked: MediaPipe and torch hold threads that a fork would leave behind.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=_prepare_worker)


def default_workers() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


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
