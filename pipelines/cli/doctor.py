"""What is installed, what is missing, and what that costs: the work behind ``pdfgc doctor``.

Nothing heavy is imported: versions come from the packages' metadata, the GPU from the driver's own
program and, only where there is one, from torch in a process of its own.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

import click
import psutil
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.cli.package_versions import installed_packages, locked_versions, required_packages
from preprocessing.media.ffmpeg_program import find_ffmpeg
from storage.root import DEFAULT_LOCATION, ROOT_VARIABLE, open_root
from weights.folder import WEIGHTS_VARIABLE, overview

State = Literal["ok", "note", "missing"]

LOCK: Final = Path(__file__).parent.parent / "requirements" / "lock.txt"
MEMORY_CONTROL: Final = Path("/sys/fs/cgroup/memory.max")  # a container's limit (cgroup version 2)
REPAIR: Final = "`make setup` puts it right"
GIB: Final = 1 << 30
SMALL_MEMORY_GIB: Final = 4
SMALL_DISK_GIB: Final = 5
MARKS: Final[dict[State, str]] = {"ok": "[green]ok", "note": "[yellow]note", "missing": "[red]missing"}


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    subject: str
    state: State  # "missing": nothing runs without it; "note": something is slower or left out
    found: str
    cost: str = ""  # what the user loses and the way out; empty where nothing is lost


def examine(location: str | None = None) -> tuple[Finding, ...]:
    """Look at everything `pdfgc` stands on; changes nothing.

    Args:
        location: the storage root; default: the variable PDFGC_ROOT, else ``./pdfgc-root``.
    """
    location = location or os.environ.get(ROOT_VARIABLE) or DEFAULT_LOCATION
    return (
        examine_python(sys.version_info[:3]),
        *examine_packages(required_packages(), installed_packages(), locked_versions(LOCK)),
        examine_face_model(),
        examine_ffmpeg(),
        examine_gpu(),
        examine_processor_and_memory(),
        examine_root(location),
        examine_weights(),
    )


def examine_python(version: tuple[int, int, int]) -> Finding:
    """Python is 3.11, the only one that the locked packages are for."""
    found = f"{'.'.join(map(str, version))} on {platform.system()} {platform.machine()}"
    if version[:2] == (3, 11):
        return Finding("Python", "ok", found)
    return Finding("Python", "missing", found, f"the locked packages are for Python 3.11: {REPAIR}")


def examine_packages(
    required: frozenset[str], installed: Mapping[str, str], locked: Mapping[str, str]
) -> list[Finding]:
    """Every required package is there, and the versions are the locked ones.

    Args:
        required: names that nothing runs without.
        installed: version by name.
        locked: version by name; development packages are among them.
    """
    if not required:
        return [Finding("Packages", "missing", "pdfgc itself is not installed", REPAIR)]
    findings: list[Finding] = []
    if absent := sorted(required - installed.keys()):
        findings.append(Finding("Packages", "missing", "not installed: " + ", ".join(absent), REPAIR))
    if tools := sorted(locked.keys() - installed.keys() - required):
        cost = f"a step or the tests may lack them: {REPAIR}"
        findings.append(Finding("Locked packages", "note", "not installed: " + ", ".join(tools), cost))
    others = [
        f"{name} {installed[name]} (locked {version})"
        for name, version in sorted(locked.items())
        # torch names its CUDA build behind a plus; the lock holds the version alone.
        if name in installed and installed[name].partition("+")[0] != version
    ]
    if others:
        cost = f"results may differ from the documented ones: {REPAIR}"
        findings.append(Finding("Versions", "note", ", ".join(others), cost))
    if not locked:
        findings.append(Finding("Versions", "note", "no lock beside the code", "versions were not compared"))
    return findings or [Finding("Packages", "ok", f"{len(locked)}, all in the locked version")]


def examine_face_model() -> Finding:
    """The face model that MediaPipe's wheel carries is there: nothing is downloaded later."""
    package = find_spec("mediapipe")
    folders = (package.submodule_search_locations if package else None) or []
    for folder in map(Path, folders):
        if (folder / "modules/face_landmark/face_landmark_with_attention.tflite").is_file():
            return Finding("Face model", "ok", "MediaPipe's, inside its package")
    return Finding("Face model", "missing", "not in MediaPipe's package", f"no face is found: {REPAIR}")


def examine_ffmpeg() -> Finding:
    """An ffmpeg program for writing videos; reading needs none."""
    try:
        program = find_ffmpeg()
    except FileNotFoundError as error:
        return Finding("ffmpeg", "missing", "none", str(error))
    if shutil.which("ffmpeg"):
        return Finding("ffmpeg", "ok", f"{program} (on PATH)")
    return Finding("ffmpeg", "ok", f"{program} (the package's own; none on PATH, none needed)")


def examine_gpu() -> Finding:
    """A CUDA GPU that torch can use."""
    cost = "preprocessing, the demo and the tests run on the processor alone; training wants a CUDA GPU"
    names = _output_of("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    if not names:
        return Finding("GPU", "note", "none", cost)
    found = ", ".join(names.splitlines())
    usable = _output_of(sys.executable, "-c", "import torch; print(torch.cuda.is_available())")
    if usable == "True":
        return Finding("GPU", "ok", found)
    return Finding("GPU", "note", f"{found}, but torch cannot use it", f"{cost}: is the driver new enough?")


def examine_processor_and_memory() -> Finding:
    """Cores and memory that this process may use, a container's limit counted."""
    cores = len(os.sched_getaffinity(0))
    gib = min(psutil.virtual_memory().total, _memory_limit_bytes(MEMORY_CONTROL)) / GIB
    found = f"{cores} cores, {gib:.1f} GiB of memory"
    if gib < SMALL_MEMORY_GIB:
        return Finding("Machine", "note", found, "little memory: preprocess with one worker")
    return Finding("Machine", "ok", found)


def examine_root(location: str) -> Finding:
    """The storage root can be written to and has room. A directory is not made by looking."""
    subject = f"Root ({ROOT_VARIABLE})"
    scheme, separator, rest = location.partition("://")
    if separator and scheme != "file":
        try:
            open_root(location)
        except ValueError as error:
            return Finding(subject, "missing", location, str(error))
        return Finding(subject, "ok", f"{location} answers")
    root = Path(rest if separator else location).expanduser().absolute()
    nearest = next(path for path in (root, *root.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        cost = f"nothing can be written: set {ROOT_VARIABLE} to a folder that you may write to"
        return Finding(subject, "missing", f"{root}: {nearest} may not be written to", cost)
    free_gib = shutil.disk_usage(nearest).free / GIB
    found = f"{root}, {free_gib:.0f} GiB free" + ("" if nearest == root else " (made when first used)")
    if free_gib < SMALL_DISK_GIB:
        return Finding(subject, "note", found, f"little room: set {ROOT_VARIABLE} to a larger disk")
    return Finding(subject, "ok", found)


def examine_weights() -> Finding:
    """Pretrained weights, all optional, checked by name and size."""
    folder, rows = overview()
    subject = f"Pretrained weights ({WEIGHTS_VARIABLE})"
    wrong = [f"{row['name']}: {row['state']}" for row in rows if row["state"] not in ("present", "missing")]
    if wrong:
        return Finding(subject, "note", "; ".join(wrong), f"they cannot be used: see {folder}")
    names = [str(row["name"]) for row in rows if row["state"] == "present"]
    return Finding(subject, "ok", ", ".join(names) or "none (optional; the built-in labellers are used)")


def report(*, as_json: bool = False, location: str | None = None) -> int:
    """Print what `examine` found to standard output.

    Returns:
        The exit status: 1 when something needed is missing, else 0.
    """
    findings = examine(location)
    ready = all(finding.state != "missing" for finding in findings)
    if as_json:
        findings_as_data = [asdict(finding) for finding in findings]
        click.echo(json.dumps({"ready": ready, "findings": findings_as_data}, indent=2))
    else:
        _print_table(findings, ready)
    return 0 if ready else 1


def _print_table(findings: tuple[Finding, ...], ready: bool) -> None:
    table = Table("", "looked at")
    for heading in ("found", "what it costs, and the way out"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        texts = (finding.subject, finding.found, finding.cost)
        table.add_row(MARKS[finding.state], *map(escape, texts))
    console = Console()
    console.print(table)
    console.print("Ready." if ready else "Not ready: something needed is missing.")


def _memory_limit_bytes(control: Path) -> float:
    text = control.read_text().strip() if control.is_file() else "max"
    return float("inf") if text == "max" else float(text)


def _output_of(program: str, *arguments: str) -> str:
    """What a program prints; empty where it is absent, fails or hangs for a minute."""
    if shutil.which(program) is None:
        return ""
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
