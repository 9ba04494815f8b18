"""Networks that label clips: while one is looked at, the next ones are read and their pictures decoded."""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, TypeVar

from preprocessing.schema import Clip

AHEAD_CLIPS: Final = 2  # that wait, decoded: at 448 px one of 64 frames takes 39 MB
Ready = TypeVar("Ready")
Told_co = TypeVar("Told_co", covariant=True)


class ClipNetwork(Protocol[Ready, Told_co]):
    """A labeller in two parts: one for the CPU, one for the network."""

    def prepare(self, clip: Clip) -> Ready:
        """All that labelling a clip takes, its pictures decoded; called in another thread."""
        ...

    def label(self, ready: Ready) -> Told_co:
        """The labels of a clip that was prepared."""
        ...


def label_clips(
    clips: Iterator[Clip], network: ClipNetwork[Ready, Told_co]
) -> Generator[tuple[Clip, Told_co]]:
    """Label clips in their order, at most `AHEAD_CLIPS` of them prepared ahead.

    Errors of reading, preparing and labelling are raised at the clip that they are of.
    """

    def prepare_next() -> tuple[Clip, Ready] | None:
        clip = next(clips, None)
        return None if clip is None else (clip, network.prepare(clip))

    pool = ThreadPoolExecutor(1, thread_name_prefix="prepare_clips")
    try:
        waiting = deque(pool.submit(prepare_next) for _ in range(AHEAD_CLIPS))
        while (prepared := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(prepare_next))
            clip, ready = prepared
            yield clip, network.label(ready)
    finally:
        pool.shutdown(cancel_futures=True)
