"""Work spread over processes, where one item that kills its process costs that item only."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TypeVar

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

    Args:
        function: a module-level function; exceptions that it raises are raised here.
        items: picklable items.
        workers: processes; 0 calls the function in this process.
    """
    if workers == 0:
        for item in items:
            yield item, function(item)
        return
    suspects: list[Item] = []
    with _pool(min(workers, max(1, len(items)))) as pool:
        futures: dict[Future[Result], Item] = {pool.submit(function, item): item for item in items}
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except BrokenProcessPool:
                suspects.append(futures[future])
    # A broken pool does not say which item broke it: each left over runs alone.
    for item in suspects:
        with _pool(1) as pool:
            try:
                result: Result | Crashed = pool.submit(function, item).result()
            except BrokenProcessPool as error:
                result = Crashed(str(error))
        yield item, result


def default_workers() -> int:
    """One process a core that this process may use."""
    return len(os.sched_getaffinity(0))


def _pool(workers: int) -> ProcessPoolExecutor:
    # Spawned, not forked: MediaPipe and torch hold threads that a fork would leave behind.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare_worker)


def _prepare_worker() -> None:
    os.environ["GLOG_minloglevel"] = "2"  # MediaPipe's chatter, not its errors
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
