"""Resources of the assets: the root folder, and one resource for each section of settings."""

import os
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field
from upath import UPath

from evaluation.comparison.regressions import BaselineSettings
from evaluation.config import EvaluationConfig
from pipelines.forms import SettingsResource, resource_class
from preprocessing.dataset.joining import DatasetSettings
from preprocessing.orchestration.steps import PreprocessingSettings
from preprocessing.sources.remote import SourcePath, source_path, split_folders
from preprocessing.sources.stored_catalog import SourceSettings
from storage.root import open_root
from storage.settings import Settings
from training.jobs.config import TrainingConfig

VIDEOS_VARIABLE = "PDFGC_VIDEOS"


class WorkspaceSettings(Settings):
    """The root folder, and how a run executes."""

    root: str = Field(
        default="", description="Folder or s3://bucket/prefix; empty: PDFGC_ROOT, else ./pdfgc-root"
    )
    workers: int = Field(default=0, ge=0, description="Worker processes; 0: one per CPU core")
    force: bool = Field(default=False, description="Rebuild everything, even what is up to date")
    retry: bool = Field(
        default=False, description="Try every video again that failed or could not be read, however often"
    )


class WorkspaceResource(resource_class(WorkspaceSettings)):
    """The root folder, and how a run executes."""

    if TYPE_CHECKING:
        root: str = ""
        workers: int = 0
        force: bool = False
        retry: bool = False

    def open(self) -> UPath:
        """Open the root."""
        return open_root(self.root or None)

    def worker_count(self) -> int | None:
        """Worker processes; None for one per CPU core."""
        return self.workers or None


class SourcesResource(resource_class(SourceSettings)):
    """Where videos are scanned, which files are accepted and how they are grouped."""

    folders: list[str] = Field(
        default=[],
        description="Folders of videos (or s3://bucket/prefix), in addition to those scanned before; "
        "empty: PDFGC_VIDEOS (paths separated as in PATH)",
    )

    def all_folders(self) -> list[SourcePath]:
        """The folders of the form, else those of PDFGC_VIDEOS.

        Raises:
            ValueError: a URL is not of the form ``s3://bucket``.
        """
        named = self.folders or split_folders(os.environ.get(VIDEOS_VARIABLE, ""))
        return [source_path(entry) for entry in named if entry]


class PreprocessingResource(resource_class(PreprocessingSettings, degrees=True)):
    """Settings of every batch step; each is part of the fingerprint of its own step only."""


class DatasetResource(resource_class(DatasetSettings)):
    """Settings of the data set: splits, and whether labellers may be mixed."""


class TrainingResource(resource_class(TrainingConfig, left_out=("run",))):
    """Configuration of the training assets. The partition names the training run."""

    def to_config(self, run: str) -> TrainingConfig:
        """The configuration of a training run."""
        return self.to_settings().replace(run=run)


class EvaluationResource(resource_class(EvaluationConfig, left_out=("run",))):
    """Configuration of the evaluation assets. The partition names the training run."""

    def to_config(self, run: str) -> EvaluationConfig:
        """The configuration of a training run's evaluation."""
        return self.to_settings().replace(run=run)


class BaselineResource(resource_class(BaselineSettings)):
    """How runs are compared with the baseline run: tolerance and metrics."""


RESOURCES: Final[dict[str, type[SettingsResource[Any]]]] = {
    "workspace": WorkspaceResource,
    "sources": SourcesResource,
    "preprocessing": PreprocessingResource,
    "dataset_config": DatasetResource,
    "training_config": TrainingResource,
    "evaluation_config": EvaluationResource,
    "baseline": BaselineResource,
}
"""Every section of settings in the launchpad, by its name there."""
