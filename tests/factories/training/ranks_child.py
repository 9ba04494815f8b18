"""One process that trains one step of every stage, alone or as one of several ranks.

Started from a fork server that has imported this file, so that torch is not imported once per process.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any, Final, cast
from unittest import mock

import torch

from models.presets import PRESETS
from tests.factories.training import toy_run
from tests.factories.training.stages import TOY, TOY_LANDMARK_TRUNK
from tests.factories.training.toy_run import LOGGING, TOY_RUN, WARP_CONFIG
from training.engine.progress import HeldOutMetric
from training.engine.trainer import Trainer
from training.jobs.job import TrainingJob
from training.jobs.plan import RUN_PRESETS
from training.jobs.worker import train
from training.launch.local_ranks import rank_environment
from training.runs.preset import StageRun
from training.stage_catalog import STAGE_NAMES

ROWS: Final = 4  # of all ranks together
STEP_NAME: Final = "step.pt"
# Masks of dropout are drawn on each rank.
_TRUNK: Final = dataclasses.replace(TOY_LANDMARK_TRUNK, dropout=0.0)
_NETWORKS: Final = dataclasses.replace(
    TOY,
    motion=dataclasses.replace(TOY.motion, trunk=_TRUNK),
    perception=dataclasses.replace(TOY.perception, trunk=_TRUNK),
)


def run(folder: Path, root: str, rank: int, ranks: int) -> None:
    """Train one step of every stage in `folder`/<stage>; rank 0 writes `STEP_NAME` there."""
    _install()
    for stage in STAGE_NAMES:
        if ranks > 1:
            os.environ.update(rank_environment(rank, ranks, folder / f"{stage}.rendezvous"))
        work = folder / stage
        work.mkdir(parents=True, exist_ok=True)
        config = WARP_CONFIG.replace(steps=1, batch_size=ROWS // ranks, processes=ranks)
        with mock.patch.object(Trainer, "run", _run_and_write):
            train(TrainingJob(root=root, stage=stage, config=config, work=work))


def _install() -> None:
    toy_run.install()
    stages = {
        name: StageRun(run.settings, run.trainer.replace(gather_over_ranks=True))
        for name, run in TOY_RUN.stages.items()
    }
    logging = LOGGING.replace(workers=0, held_out_every_steps=0)
    presets = cast("dict[str, Any]", RUN_PRESETS)
    presets["tiny_cpu"] = dataclasses.replace(TOY_RUN, stages=stages, logging=logging)
    cast("dict[str, Any]", PRESETS)["tiny"] = _NETWORKS


_run = Trainer[Any].run


def _run_and_write(self: Trainer[Any]) -> list[HeldOutMetric]:
    metrics = _run(self)
    if self.distributed.is_first:
        modules = {"model": self.stage.model} | (
            {"adversary": self.stage.adversary} if self.stage.adversary is not None else {}
        )
        parameters = {f"{m}.{n}": p for m, module in modules.items() for n, p in module.named_parameters()}
        result = {
            "gradients": {name: value.grad for name, value in parameters.items() if value.grad is not None},
            "parameters": {name: value.detach() for name, value in parameters.items()},
            "buffers": {f"{m}.{n}": b for m, module in modules.items() for n, b in module.named_buffers()},
            "averages": {n: dict(network.state_dict()) for n, network in self.ema.networks.items()},
            "banks": self.stage.rank_state(),
        }
        torch.save(result, self.plan.work / STEP_NAME)
    return metrics
