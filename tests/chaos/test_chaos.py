"""A short run of `make chaos`: two stages and garbage collection."""

import re
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

NODES = "perception,stage2_pose"
KILLS = 4


@pytest.mark.slow
def test_killed_training_and_gc_end_as_undisturbed() -> None:
    arguments = [
        "--nodes",
        NODES,
        "--kills",
        str(KILLS),
        "--kills-per-round",
        "6",
        "--seed",
        "1",
        "--seconds",
        "40",
        "--no-mount",
    ]
    command = [sys.executable, "-m", "tests.chaos", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    kills = re.search(r"^(\d+) kills", ended.stdout, re.MULTILINE)
    assert kills is not None
    assert int(kills.group(1)) > 0
    assert "files lost 0, changed 0; builds doubled 0, left over 0" in ended.stdout
