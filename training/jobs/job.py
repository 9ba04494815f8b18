"""One stage's training job, handed to its processes as a JSON file. Imports no torch."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from storage.atomic import write_atomically
from training.jobs.config import TrainingChoice
from training.stage_catalog import stage_info


@dataclass(frozen=True)
class TrainingJob:
    """What the processes of a job are told."""

    root: str  # of the data set and of the parents' weights
    stage: str
    choice: TrainingChoice
    work: Path  # local folder that the job fills and resumes from

    def __post_init__(self) -> None:
        stage_info(self.stage)

    def write(self, file: Path) -> None:
        """Write it as JSON."""
        values = dataclasses.asdict(self) | {"work": str(self.work)}
        with write_atomically(file) as partial:
            partial.write_text(json.dumps(values, indent=1), "utf-8")

    @staticmethod
    def read(file: Path) -> "TrainingJob":
        """Read what `write` wrote.

        Raises:
            ValueError: a newer version wrote it, with settings that this one does not know.
        """
        values = json.loads(file.read_text("utf-8"))
        known = {field.name for field in dataclasses.fields(TrainingChoice)}
        if unknown := sorted(values["choice"].keys() - known):
            raise ValueError(f"{file} has settings unknown here, {', '.join(unknown)}: of a newer pdfgc")
        return TrainingJob(
            root=values["root"],
            stage=values["stage"],
            choice=TrainingChoice(**values["choice"]),
            work=Path(values["work"]),
        )
