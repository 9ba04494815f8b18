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


def test_frames_give_speed_and_cost() -> None:
    cost = step_cost(manifest("clips", {"frames": 200, "clips": 3}, {"too_dark": 1}))
    assert cost.frames_per_second == pytest.approx(50.0)
    assert cost.cpu_milliseconds_per_frame == pytest.approx(30.0)
    assert cost.refused_share == pytest.approx(0.25)
    assert cost.peak_memory_mebibytes == 123.0


def test_what_was_not_counted_is_not_told() -> None:
    cost = step_cost(manifest("pose_labels", {}, {}))
    assert cost.frames_per_second is None
    assert cost.cpu_milliseconds_per_frame is None
    assert cost.refused_share is None


def test_a_manifest_of_before_memory_was_measured_is_read() -> None:
    import json

    made = manifest("clips", {"clips": 1}, {})
    told = json.loads(made.to_json())
    del told["peak_memory_mebibytes"]
    assert Manifest.from_json(json.dumps(told)).peak_memory_mebibytes == 0.0
