"""A command that ignores SIGINT and SIGTERM, with a child in another session that does so too.

``python -m tests.factories.training.stubborn_process FOLDER (wait | end | fail)``:
writes FOLDER/<process id>.pid for both. With "end" and "fail" the first process ends and the second remains.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from training.launch.signals import die_with_parent


def main() -> None:
    folder, mode = Path(sys.argv[1]), sys.argv[2]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if mode == "grandchild":
        die_with_parent()
    else:
        command = [
            sys.executable,
            "-m",
            "tests.factories.training.stubborn_process",
            str(folder),
            "grandchild",
        ]
        subprocess.Popen(command, start_new_session=True)
    (folder / f"{os.getpid()}.pid").touch()
    (folder / "progress.txt").write_text("not finished")
    while mode in ("wait", "grandchild") or len(list(folder.glob("*.pid"))) < 2:
        time.sleep(0.05)
    if mode == "fail":
        raise ValueError("the batch holds 3 rows, need 4")


if __name__ == "__main__":
    main()
