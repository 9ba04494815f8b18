"""The weights of a trained run, stage by stage, with the facts that its networks are built from."""

from collections.abc import Mapping
from dataclasses import dataclass

from upath import UPath

from models.presets import NetworkPreset
from storage.publishing import current, published_partitions, verify
from storage.root import verified_copy
from training.data.sources import ExpressionWindowSettings
from training.engine.checkpoint import EMA_NAME, WEIGHTS_NAME
from training.engine.stage_weights import StageWeights, read_weights
from training.jobs.job import TrainingJob
from training.jobs.stage_run import JOB_NAME, read_settings
from training.jobs.worker import read_parents
from training.stage_catalog import RENDERING_STAGE
from training.stages.expression_model import ExpressionStageSettings
from training.stages.stage import StageContext


@dataclass(frozen=True)
class RunWeights:
    """What a talking head is built from.

    Attributes:
        networks: Sizes of the networks.
        stages: Weights by stage, moving averages where there are any.
        windows: Over which frames stage 3 averages the expression code.
        parents_run: Run of the earlier stages; empty: the same.
    """

    networks: NetworkPreset
    stages: Mapping[str, StageWeights]
    windows: ExpressionWindowSettings
    parents_run: str = ""

    @property
    def context(self) -> StageContext:
        """What the frozen encoders are built from."""
        return StageContext(self.networks, self.stages)

    def run_of(self, stage: str, run: str) -> str:
        """The run that trained a stage of a run."""
        return run if stage == RENDERING_STAGE else self.parents_run or run


def read_run(root: UPath, run: str) -> RunWeights:
    """Weights of a run as published.

    Raises:
        ValueError: the run or one of its stages is not trained, or is damaged.
    """
    published = None if "/" in run or not run else current(root, RENDERING_STAGE, run)
    if published is None:
        known = published_partitions(root, RENDERING_STAGE)
        runs = f"runs that have: {', '.join(known) or 'none'}"
        raise ValueError(
            f"{run!r} is neither a folder of released files nor a run that has trained {RENDERING_STAGE} "
            f"under {root}; {runs}"
        )
    if wrong := verify(published):
        raise ValueError(
            f"{RENDERING_STAGE} of run {run!r} is damaged (changed files: {wrong[:4]}), train it again"
        )
    folder = verified_copy(published.directory)
    config = TrainingJob.read(folder / JOB_NAME).config
    # As published with the run: the preset may have changed since.
    networks = read_settings(NetworkPreset, published, "networks")
    settings = read_settings(ExpressionStageSettings, published, "stage")
    tensors = dict(read_weights(folder / WEIGHTS_NAME).tensors)
    if (folder / EMA_NAME).is_file():
        tensors |= read_weights(folder / EMA_NAME).tensors
    last = StageWeights(f"{RENDERING_STAGE} of run {run!r}", tensors)
    stages = read_parents(root, RENDERING_STAGE, config) | {RENDERING_STAGE: last}
    return RunWeights(networks, stages, settings.windows, config.parents_run)
