"""A FAKE worker for tests of starting and cancelling: counts steps in a file, at the given rate.

It has what makes real workers hard to end: it ignores SIGINT and SIGTERM, and has a child in a session of its
own that does so too. It resumes from the step that it finds, as the real one does.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from dagster_pipes import open_dagster_pipes

from pipelines.training.worker import PipesProgress
from storage.atomic import write_atomically
from training.engine.progress import TrainingProgress

STEPS = 40


def train(work: Path) -> None:
    checkpoint, goal = work / "checkpoint.txt", work / "goal.txt"
    start = int(checkpoint.read_text()) if checkpoint.exists() else 0
    last = int(goal.read_text()) if goal.exists() else STEPS
    with open_dagster_pipes() as pipes:
        on_progress = PipesProgress(pipes)
        pipes.log.info("starts at step %d", start)
        for step in range(start + 1, last + 1):
            time.sleep(0.05)
            with write_atomically(checkpoint) as partial:
                partial.write_text(str(step))
            losses = {"fake": 2 / step}
            line = {"step": step, "total": 2 / step, "losses": losses}
            with (work / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(line | {"seconds_per_step": 0.05, "images_per_second": 80.0}) + "\n")
            on_progress(TrainingProgress("fake", step, last, losses, 0.05, (last - step) * 0.05, 80.0))
        if last == 7:
            raise ValueError("step 8 is unlucky")


def main() -> None:
    work = Path(sys.argv[1]).parent
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if sys.argv[-1] != "child":
        command = [
            sys.executable,
            "-m",
            "tests.factories.training.fake_training_worker",
            sys.argv[1],
            "child",
        ]
        subprocess.Popen(command, start_new_session=True)
    (work / f"{os.getpid()}.pid").touch()
    if sys.argv[-1] == "child":
        while True:
            time.sleep(1)
    train(work)


if __name__ == "__main__":
    main()
