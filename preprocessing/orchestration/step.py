"""What a batch step is. Each step's module describes itself with a `Step`; `steps.STEPS` lists them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import pyarrow as pa

from preprocessing.labellers.backend import BackendSettings, WeightsRequest
from preprocessing.sources.lists.segments import Segment
from preprocessing.sources.remote import SourcePath
from storage.fingerprint import JsonValue
from storage.publishing import BuildReport, Published
from weights.resolve import ResolvedWeights

SettingsT = TypeVar("SettingsT")


@dataclass(frozen=True)
class SourceVideo:
    """A video of a batch, as the catalog knows it."""

    video_id: str  # first 16 hex digits of the source's sha256
    path: SourcePath
    relative_path: str  # below the scanned folder
    identity: str
    segments: tuple[Segment, ...] = ()  # parts that a list names; () for all of the video
    picture_px: tuple[int, int] = (0, 0)  # displayed width and height


def people_text(first: str, count: int) -> str:
    """The first of some people, and how many others there are."""
    others = count - 1
    return first if not others else f"{first} and {others} other {'person' if others == 1 else 'people'}"


@dataclass(frozen=True)
class VideoBatch:
    """A fixed group of videos: one partition of the batch assets."""

    key: str
    videos: tuple[SourceVideo, ...]

    @property
    def title(self) -> str:
        """Who is in it, for people: ``ann and 3 other people, 12 videos``."""
        people, count = sorted({video.identity for video in self.videos}), len(self.videos)
        return f"{people_text(people[0], len(people)) if people else 'nobody'}, {count} videos"


@dataclass(frozen=True)
class StepRun(Generic[SettingsT]):
    """The arguments of a step's `build`."""

    batch: VideoBatch
    settings: SettingsT  # the step's own
    upstream: Mapping[str, Path]  # step -> local folder of its published files
    folder: Path  # to write to
    workers: int | None = None  # processes; None for one a core, 0 for none
    weights: ResolvedWeights | None = None  # of the step's backend
    upstream_settings: Mapping[str, Mapping[str, JsonValue]] = field(default_factory=dict)
    """Step -> the settings that its files were built with."""
    previous: Path | None = None  # files of the same recipe, to keep except those of `retried`
    retried: tuple[str, ...] = ()  # ids of the videos to try again
    retry_all: bool = False  # asked for: attempts are counted from 1 again


def no_source_facts(_: VideoBatch) -> JsonValue:
    """For steps that depend on their upstream steps alone."""
    return None


def no_retries(_: VideoBatch, __: Published, ___: bool) -> tuple[str, ...]:
    """For steps that read no source."""
    return ()


@dataclass(frozen=True, kw_only=True)
class Step(Generic[SettingsT]):
    """One batch step: how its files are made, when they are stale, and how its asset looks.

    A step is stale when its code version, its backend's version, its settings, the sha256 of its weights, its
    source facts or the content of its upstream steps changed.
    """

    name: str  # also the field of `PreprocessingSettings` that holds its settings
    upstream: tuple[str, ...] = ()
    settings: type[SettingsT]
    code_version: str  # raise it when the output for the same input changes
    build: Callable[[StepRun[SettingsT]], BuildReport]
    source_facts: Callable[[VideoBatch], JsonValue] = no_source_facts  # of the videos, what it depends on
    backend_settings: Callable[[SettingsT], BackendSettings] | None = (
        None  # where `settings` only contains them
    )
    recipe_settings: Callable[[SettingsT], object] | None = None  # None: all of them, or the backend's
    to_retry: Callable[[VideoBatch, Published, bool], tuple[str, ...]] = no_retries
    """The videos of current files to try again: those whose reason may have passed, or (True) all."""
    description: str
    group: str  # of assets in Dagster's UI
    kinds: frozenset[str]  # icons in Dagster's UI
    columns: pa.Schema  # of its main table

    def full_code_version(self, settings: SettingsT) -> str:
        """The step's code version, with that of the selected backend."""
        selected = self._backend_settings(settings)
        if selected is None:
            return self.code_version
        return f"{self.code_version}+{selected.selected_backend.labeller_name()}"

    def requested_weights(self, settings: SettingsT) -> WeightsRequest | None:
        """The weights that the selected backend needs; None where it needs none."""
        selected = self._backend_settings(settings)
        return None if selected is None else selected.requested_weights

    def deciding_settings(self, settings: SettingsT) -> object:
        """The part of the settings that decides the step's files."""
        if self.recipe_settings is not None:
            return self.recipe_settings(settings)
        return settings.deciding_settings() if isinstance(settings, BackendSettings) else settings

    def _backend_settings(self, settings: SettingsT) -> BackendSettings | None:
        if self.backend_settings is not None:
            return self.backend_settings(settings)
        return settings if isinstance(settings, BackendSettings) else None
