"""Which networks took part in a run's training, and which judge it.

A network in a loss rewards pictures that it reads well, whether or not others do: values by a reader that
shares no network with training stand beside the others.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from upath import UPath

from evaluation.records import MODEL, MetricRecord
from storage.publishing import Published, current
from storage.root import local_copy
from training.jobs.config import STARTER_NAME
from training.jobs.job import TrainingJob
from training.jobs.stage_run import JOB_NAME
from training.stage_catalog import RENDERING_STAGE, stage_info
from weights.resolve import PRETRAINED_WEIGHTS_NAME

INDEPENDENT_READER: Final = "face_landmarker"
NO_INDEPENDENT_READER: Final = (
    "no reader without a part in training: pdfgc weights fetch face_landmarker, then evaluate with "
    "--face-landmarker-weights face_landmarker"
)
MEDIAPIPE: Final = "MediaPipe face_landmark and iris_landmark"
PERCEPTION: Final = "the run's perception stage, taught by the data set's labels"


@dataclass(frozen=True)
class Judges:
    """Networks of training and of evaluation.

    Attributes:
        trained: Names of the networks in the losses, or of what stood in for them.
        judged: Scorers of the run's videos.
    """

    trained: str
    judged: tuple[str, ...]

    @property
    def independent(self) -> str:
        """The scorer that took no part in training; the reason if there is none."""
        return next((name for name in self.judged if is_independent(name)), NO_INDEPENDENT_READER)


def is_independent(scorer: str) -> bool:
    """Whether a scorer's networks are in no loss and made no label of the default data set."""
    return scorer.partition(":")[0] == INDEPENDENT_READER


def find_judges(root: UPath, run: str, records: Sequence[MetricRecord]) -> Judges:
    """The networks that trained a run and those that measured `records`."""
    judged = dict.fromkeys(
        record.scorer for record in records if record.method == MODEL and record.value is not None
    )
    return Judges(_networks_of_training(root, run), tuple(judged))


def _networks_of_training(root: UPath, run: str) -> str:
    if run == STARTER_NAME:
        return "see weights/starter/README.md"
    published = current(root, RENDERING_STAGE, run)
    if published is None or JOB_NAME not in published.manifest.files:
        return "unknown: the run's stages are gone"
    config = TrainingJob.read(local_copy(published.directory) / JOB_NAME).config
    names = [_face_reader(published), *_pretrained_names(published)]
    for stage in stage_info(RENDERING_STAGE).parents:
        build = current(root, stage, config.parents_run or run)
        names += [] if build is None else _pretrained_names(build)
    if not any(name.startswith("vgg19") for name in names):
        names.append("fixed random filters as VGG-19")
    return ", ".join(dict.fromkeys(names))


def _face_reader(published: Published) -> str:
    """What reads faces in the losses, by the stage's setting `pictures.face_reader`."""
    stage = published.manifest.settings.get("stage")
    pictures = stage.get("pictures") if isinstance(stage, dict) else None
    reader = pictures.get("face_reader") if isinstance(pictures, dict) else None
    return MEDIAPIPE if reader == "mediapipe" else PERCEPTION


def _pretrained_names(published: Published) -> list[str]:
    if PRETRAINED_WEIGHTS_NAME not in published.manifest.files:
        return []
    entries = json.loads((local_copy(published.directory) / PRETRAINED_WEIGHTS_NAME).read_bytes())
    return [str(entry["weights"] or entry["setting"].removesuffix("_weights")) for entry in entries]
