"""A root with a toy data set and a toy run of which every stage is there, as an evaluation finds them."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from upath import UPath

from evaluation.config import EvaluationConfig
from models.presets import PRESETS
from tests.factories.evaluation.head_files import publish_toy_run
from tests.factories.training.stages import TOY
from tests.factories.training.toy_run import CONFIG, TOY_RUN, make_root
from training.jobs.plan import RUN_PRESETS

# Of the toy data set's split train three people have clips that are long enough: 12, 14 and 10 frames.
TOY_EVALUATION = EvaluationConfig(
    run=CONFIG.run, split="train", self_videos=3, cross_videos=1, control_bases=1, device="cpu"
)


@contextmanager
def evaluation_root(folder: Path) -> Generator[UPath]:
    """The root, for as long as the toy networks stand in for the tiny ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RUN_PRESETS, "tiny_cpu", TOY_RUN)
        patch.setitem(PRESETS, "tiny", TOY)
        torch.set_num_threads(1)
        root = make_root(folder)
        publish_toy_run(folder, CONFIG.run)
        yield root
