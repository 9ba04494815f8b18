"""The published builds of one batch, for its checks and pictures."""

from dataclasses import dataclass
from pathlib import Path

from upath import UPath

from preprocessing.orchestration.steps import PreprocessingSettings
from storage.publishing import Published, require_current
from storage.root import local_copy


@dataclass(frozen=True)
class BatchBuilds:
    """The builds of one batch."""

    root: UPath
    batch: str
    settings: PreprocessingSettings

    def published(self, step: str) -> Published:
        """The current build of a step. Raises ValueError: there is none."""
        return require_current(self.root, step, self.batch)

    def folder(self, step: str) -> Path:
        """The files of a step, on this machine."""
        return local_copy(self.published(step).directory)
