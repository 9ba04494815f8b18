"""A step of two processes of B rows is a step of one process of 2 B rows, in every stage."""

import multiprocessing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from upath import UPath

from tests.factories.training import ranks_child
from training.stage_catalog import STAGE_NAMES

pytestmark = pytest.mark.slow
TIMEOUT_SECONDS = 300.0
Step = Mapping[str, Any]


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory, toy_root: UPath) -> dict[int, dict[str, Step]]:
    """What every stage's first step leaves, by number of processes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([ranks_child.__name__])
    folders = {ranks: tmp_path_factory.mktemp(f"ranks-{ranks}") for ranks in (1, 2)}
    started = [
        context.Process(target=ranks_child.run, args=(folder, str(toy_root), rank, ranks))
        for ranks, folder in folders.items()
        for rank in range(ranks)
    ]
    for process in started:
        process.start()
    try:
        for process in started:
            process.join(TIMEOUT_SECONDS)
            assert process.exitcode == 0
    finally:
        for process in started:
            process.kill()  # does nothing if it has ended
    return {
        ranks: {stage: read_step(folder / stage) for stage in STAGE_NAMES}
        for ranks, folder in folders.items()
    }


def read_step(work: Path) -> Step:
    return torch.load(work / ranks_child.STEP_NAME, weights_only=True)


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_two_ranks_step_as_one_process(steps: dict[int, dict[str, Step]], stage: str) -> None:
    one, two = steps[1][stage], steps[2][stage]
    assert one["gradients"].keys() == two["gradients"].keys() != set()
    largest = max(float(gradient.abs().max()) for gradient in one["gradients"].values())
    for name, gradient in one["gradients"].items():
        bound = 1e-3 * float(gradient.abs().max()) + 5e-5 * largest
        assert float((two["gradients"][name] - gradient).abs().max()) < bound, name
        # Adam's first step is the rate times the gradient's sign. Rounding decides it near 0, such as for a
        # bias before batch normalisation.
        decided = gradient.abs() > bound
        actual, expected = two["parameters"][name][decided], one["parameters"][name][decided]
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6, msg=name)
    for name, buffer in one["buffers"].items():
        torch.testing.assert_close(two["buffers"][name], buffer, rtol=1e-4, atol=1e-5, msg=name)
    torch.testing.assert_close(two["banks"], one["banks"], rtol=1e-4, atol=1e-5)
