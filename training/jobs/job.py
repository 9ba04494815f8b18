"""One stage's training job, given to its processes as a JSON file. Imports no torch."""

import json
from pathlib import Path

from pydantic import Field, model_validator

from storage.atomic import write_atomically
from storage.settings import Settings, SettingsError
from training.jobs.config import TrainingConfig
from training.stage_catalog import stage_info


class TrainingJob(Settings):
    """What every process of a job needs to know.

    Raises:
        SettingsError: there is no such stage, or a value is out of its bounds.
    """

    root: str = Field(description="Folder or URL of the data set and of the parents' weights")
    stage: str
    config: TrainingConfig
    work: Path = Field(description="Local folder that the job fills and resumes from")

    @model_validator(mode="after")
    def _check_stage(self) -> "TrainingJob":
        stage_info(self.stage)
        return self

    def write(self, file: Path) -> None:
        """Write it as JSON."""
        with write_atomically(file) as partial:
            partial.write_text(self.model_dump_json(indent=1), "utf-8")

    @staticmethod
    def read(file: Path) -> "TrainingJob":
        """Read what `write` wrote.

        Raises:
            ValueError: another version wrote it, whose settings are not those of this one.
        """
        try:
            return TrainingJob.model_validate(json.loads(file.read_text("utf-8")))
        except SettingsError as error:
            raise ValueError(f"{file} was written by another version of pdfgc: {error}") from error
