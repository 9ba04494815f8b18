"""What reaches the terminal."""

import os
import subprocess
import sys

import pytest

from pipelines.console import without_chatter

CHATTER = "W0000 00:00:1795.1 15 inference_feedback_manager.cc:114] Feedback manager requires a model"


def test_known_chatter_is_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    with without_chatter():
        os.write(2, f"{CHATTER}\nE0000 graph failed\n".encode())
        command = f"import os; os.write(2, b'{CHATTER}\\nlast words')"
        subprocess.run([sys.executable, "-c", command], check=True)
    assert capfd.readouterr().err == "E0000 graph failed\nlast words"


def test_standard_error_is_restored_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="inside"), without_chatter():
        raise ValueError("inside")
    os.write(2, f"{CHATTER}\n".encode())
    assert CHATTER in capfd.readouterr().err
