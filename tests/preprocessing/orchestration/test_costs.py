"""Costs and refusals as manifests tell them."""

import pytest

from preprocessing.orchestration.costs import step_cost
from storage.manifest import Manifest


def manifest(asset: str, counts: dict[str, int | float], refusals: dict[str, int]) -> Manifest:
    return Manifest(
        asset=asset,
        partition="b",
        fingerprint="f",
        code_version="1",
        settings={},
        inputs={},
        files={},
        counts=counts,
        refusals=refusals,
        seconds=4.0,
        cpu_seconds=6.0,
        finished_at="2026-01-01T00:00:00",
        peak_memory_mebibytes=123.0,
    )


def test_step_cost_has_speed_and_cpu_time_of_frames() -> None:
    cost = step_cost(manifest("clips", {"frames": 200, "clips": 3}, {"too_dark": 1}))
    assert cost.frames_per_second == pytest.approx(50.0)
    assert cost.cpu_milliseconds_per_frame == pytest.approx(30.0)
    assert cost.refused_share == pytest.approx(0.25)
    assert cost.peak_memory_mebibytes == 123.0


def test_step_cost_without_counts_is_none() -> None:
    cost = step_cost(manifest("pose_labels", {}, {}))
    assert cost.frames_per_second is None
    assert cost.cpu_milliseconds_per_frame is None
    assert cost.refused_share is None


def test_step_cost_without_measured_memory() -> None:
    import json

    made = manifest("clips", {"clips": 1}, {})
    record = json.loads(made.to_json())
    del record["peak_memory_mebibytes"], record["sha256"]  # as manifests of earlier versions
    assert Manifest.from_json(json.dumps(record)).peak_memory_mebibytes == 0.0
