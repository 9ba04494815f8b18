"""Presets of toy size."""

import pytest

from models.presets import PRESETS
from tests.factories.training.stages import TOY
from tests.factories.training.toy_run import TOY_RUN
from training.jobs.plan import RUN_PRESETS


@pytest.fixture
def toy_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUN_PRESETS, "tiny_cpu", TOY_RUN)
    monkeypatch.setitem(PRESETS, "tiny", TOY)
