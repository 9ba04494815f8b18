"""Work spread over processes, where one item that kills its process costs that item only."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection
from typing import Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Crashed:
    """Stands for the result of an item whose process died (a codec's segmentation fault, say)."""

    detail: str


def map_in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, Result | Crashed]]:
    """Call `function` on every item, results as they come.

    A pool that breaks does not say which item broke it. No more items than processes are ever under
    way, so few are suspects: each of them runs again alone, and the others go on in a new pool.

    Args:
        function: a module-level function; exceptions that it raises are raised here.
        items: picklable items.
        workers: processes; 0 calls the function in this process.

    Raises:
        ValueError: for fewer than 0 workers.
    """
    if workers < 0:
        raise ValueError(f"{workers} workers, need 0 or more")
    if workers == 0:
        for item in items:
            yield item, function(item)
        return
    waiting = list(reversed(items))
    while waiting:
        suspects: list[Item] = []
        with _pool(min(workers, len(waiting))) as pool:
            yield from _until_broken(pool, function, waiting, suspects, workers)
        for item in suspects:
            yield item, _run_alone(function, item)


def _until_broken(
    pool: ProcessPoolExecutor,
    function: Callable[[Item], Result],
    waiting: list[Item],
    suspects: list[Item],
    workers: int,
) -> Iterator[tuple[Item, Result]]:
    """Take items off the end of `waiting`; those under way when the pool breaks go to `suspects`."""
    under_way: dict[Future[Result], Item] = {}
    while not suspects and (waiting or under_way):
        while waiting and len(under_way) < workers:
            item = waiting.pop()
            try:
                under_way[pool.submit(function, item)] = item
            except BrokenProcessPool:
                suspects.append(item)
                break
        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for future in done:
            item = under_way.pop(future)
            try:
                result = future.result()
            except BrokenProcessPool:
                suspects.append(item)
            else:
                yield item, result
    for future, item in under_way.items():  # every future of a broken pool ends at once
        if future.exception() is None:
            yield item, future.result()
        else:
            suspects.append(item)


def _run_alone(function: Callable[[Item], Result], item: Item) -> Result | Crashed:
    with _pool(1) as pool:
        try:
            return pool.submit(function, item).result()
        except BrokenProcessPool as error:
            return Crashed(str(error))


def default_workers() -> int:
    """One process a core that this process may use."""
    return len(os.sched_getaffinity(0))


def _pool(workers: int) -> ProcessPoolExecutor:
    # Spawned, not forked: MediaPipe and torch hold threads that a fork would leave behind.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare_worker)


# A pool has a process a core: a library that starts threads of its own in each of them only makes them
# wait for one another, and OpenBLAS's and OpenMP's wait by turning round, which costs CPU time.
ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def _prepare_worker() -> None:
    os.environ.update(GLOG_minloglevel="2")  # MediaPipe's chatter, not its errors
    os.environ.update(ONE_THREAD)  # read when numpy and torch are loaded: by the first item's function
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
