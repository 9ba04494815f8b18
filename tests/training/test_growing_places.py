"""A new training stage and a new loss: one new file each, and its lines in one existing file."""

from pathlib import Path

from upath import UPath

from tests.factories.pipelines.checkout import Checkout

STAGE = '''"""Stage 4 (toy): regression of the mean colour of a frame."""

from collections.abc import Iterable
from typing import Final

from torch import Tensor, nn
from typing_extensions import override

from storage.settings import Settings
from training.data.batches import LabelledFrames
from training.data.index import ClipIndex
from training.data.sources import LabelledFrameSource
from training.engine.progress import HeldOutMetric
from training.engine.settings import OptimizerSettings
from training.losses.distances import mean_absolute_difference
from training.stages.stage import LossModule, Stage, StageContext, StepResult


class ColourStageSettings(Settings):
    weight: float = 2.0
    optimizer: OptimizerSettings = OptimizerSettings()


class ColourModel(LossModule):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)

    @override
    def forward(self, batch: LabelledFrames) -> StepResult:
        colour = batch.frames.float().mean(dim=(2, 3)) / 255
        return StepResult({"colour": mean_absolute_difference(self.head(colour), colour)})


class ColourStage(Stage[LabelledFrames]):
    name = "stage4_colour"
    version = "1"
    settings_type = ColourStageSettings

    def __init__(self, context: StageContext, settings: ColourStageSettings) -> None:
        self.model = self.colour_model = ColourModel()
        self.loss_weights = {"colour": settings.weight}
        self.optimizer = settings.optimizer
        self.saved = {"colour_head": self.colour_model.head}

    @override
    def source(self, index: ClipIndex) -> LabelledFrameSource:
        return LabelledFrameSource(index)

    @override
    def held_out(self, batches: Iterable[LabelledFrames]) -> list[HeldOutMetric]:
        losses = [self.model(batch).losses["colour"].item() for batch in batches]
        return [HeldOutMetric("colour error", sum(losses) / len(losses), 0.5, higher_is_better=False)]


STAGE: Final = ColourStage
'''

LOSS = '''"""Blinks are equal in both eyes."""

from torch import Tensor


def symmetry_loss(blink: Tensor) -> Tensor:
    """The mean absolute difference of both eyes of blinks [B, 2]."""
    return (blink[:, 0] - blink[:, 1]).abs().mean()
'''

TRAIN = """
import json
from tests.factories.training import toy_run
from storage.root import local_copy, open_root
from training.engine.progress import METRICS_NAME, read_held_out_metrics, read_metrics
from training.jobs.job import TrainingJob
from training.jobs.stage_run import run_stage
from training.jobs.worker import train

toy_run.install()
root, stage = open_root(sys.argv[1]), sys.argv[2]
config = toy_run.CONFIG.replace(run="grown", steps=2, workers=0)
published = run_stage(root, stage, config, lambda job, _: train(TrainingJob.read(job)))
folder = local_copy(published.directory)
result = {
    "steps": published.manifest.counts["steps"],
    "files": sorted(published.manifest.files),
    "losses": [line["losses"] for line in read_metrics(folder / METRICS_NAME) if "losses" in line],
    "metrics": [metric.name for metric in read_held_out_metrics(folder)],
}
"""

DEFINITIONS = """
from dagster import AssetKey
from pipelines.definitions import definitions
node = definitions.resolve_asset_graph().get(AssetKey(stage))
result["description"] = node.description
result["parents"] = [key.to_user_string() for key in node.parent_keys]
result["job"] = definitions.resolve_job_def(f"train_{stage}").name
"""


def test_stage_is_one_file_and_one_line(tmp_path: Path, toy_root: UPath) -> None:
    checkout = Checkout(tmp_path, "training")
    checkout.add_file("training/stages/stage4_colour.py", STAGE)
    row = '    StageInfo("stage4_colour", "The mean colour.", labels=("faces", "pose")),'
    checkout.add_line("training/stage_catalog.py", before=")", line=row)
    assert checkout.added_lines() == {"training/stage_catalog.py": 1}

    script = TRAIN + DEFINITIONS + "print(json.dumps(result))"
    result = checkout.run(script, Path(str(toy_root)), Path("stage4_colour"))
    assert result["steps"] == 2
    assert {"weights.safetensors", "held_out_metrics.json", "checkpoint/manifest.json"} <= {*result["files"]}
    assert [set(losses) for losses in result["losses"]] == [{"colour"}, {"colour"}]
    assert result["metrics"] == ["colour error"]
    assert result["description"] == "The mean colour."
    assert result["parents"] == ["dataset"]
    assert result["job"] == "train_stage4_colour"


def test_loss_is_one_file_and_three_lines_of_its_stage(tmp_path: Path, toy_root: UPath) -> None:
    checkout = Checkout(tmp_path, "training")
    checkout.add_file("training/losses/symmetry.py", LOSS)
    stage = "training/stages/perception.py"
    checkout.add_line(
        stage,
        before="from training.losses.distances import mean_absolute_difference",
        line="from training.losses.symmetry import symmetry_loss",
    )
    checkout.add_line(
        stage,
        before='blink: float = Field(default=2.0, ge=0, description="Blink loss")',
        line='    symmetry: float = Field(default=1.0, ge=0, description="Equal blinks")',
    )
    checkout.add_line(
        stage,
        before='"blink": blink_loss(perceived.blink, batch.blink),',
        line='                "symmetry": symmetry_loss(perceived.blink),',
    )
    assert checkout.added_lines() == {stage: 3}

    result = checkout.run(TRAIN + "print(json.dumps(result))", Path(str(toy_root)), Path("perception"))
    assert [set(losses) for losses in result["losses"]] == [
        {"landmarks", "pose", "gaze", "blink", "symmetry"},
        {"landmarks", "pose", "gaze", "blink", "symmetry"},
    ]
