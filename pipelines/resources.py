"""What the assets share: where everything lies, and the settings of preprocessing and training."""

import os
from typing import TYPE_CHECKING

from dagster import Config, ConfigurableResource
from pydantic import Field
from upath import UPath

from evaluation.config import EvaluationConfig
from pipelines.config_form import form_of, settings_from
from pipelines.deployed_settings import deployed
from preprocessing.dataset.joining import DatasetSettings
from preprocessing.orchestration.steps import PreprocessingSettings
from preprocessing.sources.remote import SourcePath, source_path, split_folders
from preprocessing.sources.stored_catalog import SourceSettings
from storage.root import open_root
from training.jobs.config import TrainingConfig

VIDEOS_VARIABLE = "PDFGC_VIDEOS"

if TYPE_CHECKING:  # the forms are made at run time from the settings' dataclasses
    SourceForm = Config
    PreprocessingForm = Config
    DatasetForm = Config
    TrainingForm = Config
    EvaluationForm = Config
else:
    SourceForm = form_of(SourceSettings, deployed=deployed(SourceSettings))
    PreprocessingForm = form_of(PreprocessingSettings, deployed=deployed(PreprocessingSettings))
    DatasetForm = form_of(DatasetSettings, deployed=deployed(DatasetSettings))
    TrainingForm = form_of(TrainingConfig, left_out=("run",), deployed=deployed(TrainingConfig))
    EvaluationForm = form_of(EvaluationConfig, left_out=("run",), deployed=deployed(EvaluationConfig))


class WorkspaceResource(ConfigurableResource):  # type: ignore[type-arg]
    """The root, and how hard to work."""

    root: str = Field(
        default="", description="Folder or s3://bucket/prefix; empty: PDFGC_ROOT, else ./pdfgc-root"
    )
    workers: int = Field(default=0, ge=0, description="Worker processes; 0: one a core")
    force: bool = Field(default=False, description="Make everything anew, even what is up to date")

    def open(self) -> UPath:
        """The opened root."""
        return open_root(self.root or None)

    def worker_count(self) -> int | None:
        """Processes, None for one a core."""
        return self.workers or None


class SourcesResource(ConfigurableResource):  # type: ignore[type-arg]
    """Where the talking videos come from."""

    folders: list[str] = Field(
        default=[],
        description="Folders of videos (or s3://bucket/prefix), beside those scanned before. "
        "Empty: PDFGC_VIDEOS (written like PATH)",
    )
    settings: SourceForm = Field(
        default=SourceForm(), description="Which files are taken and how they are grouped"
    )

    def all_folders(self) -> list[SourcePath]:
        """The folders named here, else those of PDFGC_VIDEOS.

        Raises:
            ValueError: a URL that is no ``s3://bucket``.
        """
        named = self.folders or split_folders(os.environ.get(VIDEOS_VARIABLE, ""))
        return [source_path(entry) for entry in named if entry]

    def to_settings(self) -> SourceSettings:
        """The settings that the form tells."""
        return settings_from(SourceSettings, self.settings)


class PreprocessingResource(ConfigurableResource):  # type: ignore[type-arg]
    """Settings of every batch step; each belongs to the fingerprint of its own step only."""

    settings: PreprocessingForm = Field(default=PreprocessingForm(), description="Settings by step")

    def to_settings(self) -> PreprocessingSettings:
        """The settings that the form tells."""
        return settings_from(PreprocessingSettings, self.settings)


class DatasetResource(ConfigurableResource):  # type: ignore[type-arg]
    """Settings of the whole data set."""

    settings: DatasetForm = Field(default=DatasetForm(), description="Splits and what may be mixed")

    def to_settings(self) -> DatasetSettings:
        """The settings that the form tells."""
        return settings_from(DatasetSettings, self.settings)


class TrainingResource(ConfigurableResource):  # type: ignore[type-arg]
    """Configuration of the training assets. The partition names the training run."""

    settings: TrainingForm = Field(
        default=TrainingForm(), description="Preset, and the values that override it"
    )

    def to_config(self, run: str) -> TrainingConfig:
        """The configuration of a training run."""
        return settings_from(TrainingConfig, self.settings).replace(run=run)


class EvaluationResource(ConfigurableResource):  # type: ignore[type-arg]
    """Configuration of the evaluation assets. The partition names the training run."""

    settings: EvaluationForm = Field(
        default=EvaluationForm(), description="Videos to generate and pretrained weights to measure them with"
    )

    def to_config(self, run: str) -> EvaluationConfig:
        """The configuration of a training run's evaluation."""
        return settings_from(EvaluationConfig, self.settings).replace(run=run)
