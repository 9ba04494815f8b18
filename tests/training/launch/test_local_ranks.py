"""Several processes of one job: their environment, their ends, and where they listen."""

import sys
from pathlib import Path

import psutil
import pytest
from upath import UPath

from tests.factories.training.toy_run import CONFIG
from training.engine.progress import METRICS_NAME, read_metrics
from training.jobs.job import TrainingJob
from training.launch import local_ranks
from training.launch.local_ranks import local_ranks_command, run_ranks
from training.launch.process_group import run_command

LISTEN = "0A"  # state in /proc/net/tcp, include/net/tcp_states.h
LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_run_ranks_gives_each_its_rank_and_a_common_file(tmp_path: Path) -> None:
    code = (
        "import os, pathlib; e = os.environ; "
        "(pathlib.Path({!r}) / e['RANK']).write_text(' '.join([e['LOCAL_RANK'], e['WORLD_SIZE'], "
        "e['GLOO_SOCKET_IFNAME'], e['NCCL_SOCKET_IFNAME'], e['PDFGC_RENDEZVOUS']]))"
    )
    assert run_ranks(python(code.format(str(tmp_path))), 2) == 0
    first, second = ((tmp_path / rank).read_text().split() for rank in ("0", "1"))
    assert (first[:4], second[:4]) == (["0", "2", "lo", "lo"], ["1", "2", "lo", "lo"])
    assert first[4] == second[4]
    assert first[4].startswith("file:///")
    assert not Path(first[4].removeprefix("file://")).parent.exists()


def test_run_ranks_ends_the_others_when_one_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(local_ranks, "GRACE_SECONDS", 0.3)
    code = (
        "import os, pathlib, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"folder = pathlib.Path({str(tmp_path)!r}); (folder / str(os.getpid())).touch()\n"
        "while len(list(folder.iterdir())) < 2: time.sleep(0.01)\n"
        "if os.environ['RANK'] == '1': sys.exit(7)\n"
        "time.sleep(60)"
    )
    assert run_ranks(python(code), 2) == 7
    assert not any(psutil.pid_exists(int(file.name)) for file in tmp_path.iterdir())


def test_run_ranks_returns_128_and_the_signal() -> None:
    assert run_ranks(python("import os; os.kill(os.getpid(), 9)"), 2) == 137


def test_one_process_replaces_the_launcher(tmp_path: Path) -> None:
    output = tmp_path / "parent.txt"
    code = "import os, psutil; open({!r}, 'w').write(str(psutil.Process(os.getppid()).cmdline()))"
    (tmp_path / "shown.py").write_text(code.format(str(output)))
    run_command(local_ranks_command(1, "shown"), environment={"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"})
    assert "training.launch.supervisor" in output.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_training_listens_on_loopback_alone(tmp_path: Path, toy_root: UPath, processes: int) -> None:
    job = tmp_path / "job.json"
    config = CONFIG.replace(steps=2, processes=processes, workers=0)
    TrainingJob(root=str(toy_root), stage="perception", config=config, work=tmp_path).write(job)
    addresses: set[str] = set()

    def look() -> None:
        addresses.update(
            listening_addresses({child.pid for child in psutil.Process().children(recursive=True)})
        )

    command = local_ranks_command(processes, "tests.factories.training.toy_worker", str(job))
    run_command(command, environment={"OMP_NUM_THREADS": "1"}, while_running=look, interval_seconds=0.2)
    assert read_metrics(tmp_path / METRICS_NAME)
    assert addresses <= LOOPBACK
    assert bool(addresses) == (processes > 1)  # the ranks' connections were seen


def listening_addresses(processes: set[int]) -> set[str]:
    """Local addresses, as the kernel prints them, on which one of the processes accepts TCP connections."""
    sockets: dict[str, str] = {}
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN:
                sockets[f"socket:[{fields[9]}]"] = fields[1].split(":")[0]
    found: set[str] = set()
    for process in processes:
        try:
            links = [str(link.readlink()) for link in Path(f"/proc/{process}/fd").iterdir()]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended, or closed a file, meanwhile
        found |= {sockets[link] for link in links if link in sockets}
    return found
