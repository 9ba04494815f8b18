"""The toy root, once a session, and the toy run in this process; a bucket, as the storage's tests have it."""

import pytest
import torch
from upath import UPath

from models.presets import PRESETS
from tests.factories.training.stages import TOY
from tests.factories.training.toy_run import MEASURED_FRAMES, TOY_RUN, make_root
from tests.storage.conftest import bucket, object_store, store
from training.jobs.plan import RUN_PRESETS
from training.stages import stage1_motion, stage3_expression

__all__ = ["bucket", "object_store", "store"]


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory: pytest.TempPathFactory) -> UPath:
    """A root with a toy data set and untrained parents; who publishes there names a run of their own."""
    return make_root(tmp_path_factory.mktemp("toy") / "root")


@pytest.fixture
def toy_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tiny_cpu` means the toy run, and one thread computes, so that sums have one order."""
    monkeypatch.setitem(RUN_PRESETS, "tiny_cpu", TOY_RUN)
    monkeypatch.setitem(PRESETS, "tiny", TOY)
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def few_measured_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages 1 and 3 measure features on a few frames."""
    for stage in (stage1_motion, stage3_expression):
        monkeypatch.setattr(stage, "MEASURED_FRAMES", MEASURED_FRAMES)
