"""The backends of a label step: how they are named and opened, and the record of the labellers of a folder.

A step's table (`BACKENDS` in `preprocessing.labels.pose` and its neighbours) holds one `Backend` for each
choice of the setting `backend`, the default included. `docs/extending.md` shows how to add one.
"""

import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, Protocol, Self, TypeVar

from pydantic import Field, model_validator

from storage.fingerprint import WEIGHTS_DIGITS
from storage.settings import Settings
from weights.resolve import ResolvedWeights, write_pretrained_weights

LABELLERS_NAME: Final = "labellers.json"
PREPARED_CLIPS: Final = 2  # decoded ahead of the network; 64 frames at 448 px take 39 MB

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")
Labels = TypeVar("Labels")


class ClipLabeller(ABC, Generic[Item, Prepared, Labels]):
    """An open backend that labels clips, in a part for the CPU and a part for the network."""

    @abstractmethod
    def prepare(self, item: Item) -> Prepared:
        """Decode what `label` needs of a clip. Called in a thread of its own, ahead of `label`."""

    @abstractmethod
    def label(self, prepared: Prepared) -> Labels:
        """Label a prepared clip."""

    def close(self) -> None:
        """Free what the backend holds."""


class SupportsClose(Protocol):
    """Anything with `close`."""

    def close(self) -> None:
        """Free what it holds."""
        ...


Opened_co = TypeVar("Opened_co", bound=SupportsClose, covariant=True)


@dataclass(frozen=True)
class WeightsRequest:
    """Pretrained weights that a backend needs."""

    name: str  # in `weights.catalog`, or the path of a file
    setting: str  # the catalog's name of what takes the file, such as `deep3d_weights`


@dataclass(frozen=True)
class Backend(Generic[Opened_co]):
    """One way to make the labels of a step.

    `factory` is called with the file of weights, where `weights` is set, and then with the values of the
    `settings` fields. It raises FileNotFoundError or ValueError where the file is missing or does not fit.
    """

    name: str  # written into samples, with the version
    version: str  # raise it when the labels of the same clip change
    factory: Callable[..., Opened_co]
    settings: tuple[str, ...] = ()  # fields of the step's settings that belong to this backend
    weights: WeightsRequest | None = None

    def labeller_name(self, weights: ResolvedWeights | None = None) -> str:
        """Name, version and the start of the weights' sha256, as samples hold it."""
        name = f"{self.name} {self.version}"
        return name if weights is None else f"{name} weights {weights.sha256[:WEIGHTS_DIGITS]}"

    def open(self, settings: object, weights: Path | None = None) -> Opened_co:
        """Open the backend with the step's settings and a file of weights; the caller closes it.

        Raises:
            FileNotFoundError: the file of weights does not exist.
            ValueError: the backend needs weights and got none, or the file is not what it runs.
        """
        values = [getattr(settings, name) for name in self.settings]
        if self.weights is None:
            return self.factory(*values)
        if weights is None:
            raise ValueError(
                f"backend {self.name} needs {self.weights.setting} ({self.weights.name}), got no file"
            )
        return self.factory(weights, *values)


class BackendSettings(Settings):
    """Settings of a step that has backends."""

    backends: ClassVar[Mapping[str, Backend[Any]]] = {}  # the step's table; the subclass sets it

    backend: str = ""
    weights: str = Field(
        default="",
        description="Pretrained weights of the backend: a name of `pdfgc weights`, or a path; empty: the "
        "backend's own",
    )

    @model_validator(mode="after")
    def _check_backend(self) -> Self:
        if self.backend not in self.backends:
            raise ValueError(f"backend must be one of {', '.join(self.backends)}, got {self.backend!r}")
        if self.weights and self.selected_backend.weights is None:
            raise ValueError(f"backend {self.backend} uses no weights, got weights {self.weights!r}")
        return self

    @property
    def selected_backend(self) -> Backend[Any]:
        """The backend that `backend` names."""
        return self.backends[self.backend]

    @property
    def requested_weights(self) -> WeightsRequest | None:
        """The weights that the backend needs; None where it needs none."""
        request = self.selected_backend.weights
        if request is None or not self.weights:
            return request
        return WeightsRequest(self.weights, request.setting)

    def deciding_settings(self) -> dict[str, Any]:
        """The settings that decide the labels: all but the other backends' and the location of the weights.

        A step's recipe holds the weights' sha256 among its inputs.
        """
        of_backends = {name for backend in self.backends.values() for name in backend.settings}
        ignored = (of_backends - set(self.selected_backend.settings)) | {"weights"}
        return {name: value for name, value in self if name not in ignored}


def label_clips(
    items: Iterator[Item],
    labeller: ClipLabeller[Item, Any, Labels],
    on_error: Callable[[Item, Exception], None],
) -> Generator[tuple[Item, Labels]]:
    """Label clips in order, with up to `PREPARED_CLIPS` of them read and decoded ahead.

    Errors of reading clips are raised. A clip whose preparing or labelling raises is left out, and given to
    `on_error` with its exception.
    """

    def prepare_next() -> tuple[Item, Any] | None:
        item = next(items, None)
        if item is None:
            return None
        try:
            return item, labeller.prepare(item)
        except Exception as error:  # noqa: BLE001  (a clip must not end the work on all others)
            return item, _Unprepared(error)

    pool = ThreadPoolExecutor(1, thread_name_prefix="prepare_clips")
    try:
        waiting = deque(pool.submit(prepare_next) for _ in range(PREPARED_CLIPS))
        while (ready := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(prepare_next))
            item, prepared = ready
            if isinstance(prepared, _Unprepared):
                on_error(item, prepared.error)
                continue
            try:
                labels = labeller.label(prepared)
            except Exception as error:  # noqa: BLE001  (as above)
                on_error(item, error)
                continue
            yield item, labels
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Unprepared:
    error: Exception


def write_labellers(
    folder: Path, labellers: Mapping[str, str], weights: ResolvedWeights | None = None
) -> None:
    """Write `labellers.json` (label -> labeller name) and, where weights were used, their record."""
    text = json.dumps(dict(labellers), indent=1, sort_keys=True)
    (folder / LABELLERS_NAME).write_text(text, "utf-8")
    write_pretrained_weights(folder, [weights])


def read_labellers(folder: Path) -> dict[str, str]:
    """Label -> labeller name of a step's folder; {} where the step wrote no record."""
    path = folder / LABELLERS_NAME
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}
