"""A command that will not end: ignores SIGINT and SIGTERM, and so does its child in another session.

``python -m tests.factories.stubborn_process FOLDER (wait | end | fail)``: writes FOLDER/<process
number>.pid for both. With "end" and "fail" the first process ends and leaves the second behind.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from training.launch.signals import die_with_parent


def main() -> None:
    folder, manner = Path(sys.argv[1]), sys.argv[2]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if manner == "grandchild":
        die_with_parent()
    else:
        command = [sys.executable, "-m", "tests.factories.stubborn_process", str(folder), "grandchild"]
        subprocess.Popen(command, start_new_session=True)
    (folder / f"{os.getpid()}.pid").touch()
    (folder / "progress.txt").write_text("as far as it came")
    while manner in ("wait", "grandchild") or len(list(folder.glob("*.pid"))) < 2:
        time.sleep(0.05)
    if manner == "fail":
        raise ValueError("the batch holds 3 rows, need 4")


if __name__ == "__main__":
    main()
