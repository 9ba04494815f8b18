"""The command `pdfgc doctor`: what is installed, what is missing, and the consequences.

Imports nothing heavy: versions come from the metadata of the packages, the GPU from nvidia-smi and, if there
is one, from torch in a process of its own.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

import click
import psutil
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from preprocessing.media.encoding import find_ffmpeg
from storage.printable import display_text
from storage.root import DEFAULT_LOCATION, ROOT_VARIABLE, open_root
from weights.folder import WEIGHTS_VARIABLE, overview

State = Literal["ok", "note", "missing"]

LOCK: Final = Path(__file__).parents[3] / "requirements" / "lock.txt"
CGROUP_MEMORY_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")  # of a container (cgroup version 2)
FIX: Final = "run `make setup`"
GIB: Final = 1 << 30
SMALL_MEMORY_GIB: Final = 4
SMALL_DISK_GIB: Final = 5
MARKS: Final[dict[State, str]] = {"ok": "[green]ok", "note": "[yellow]note", "missing": "[red]missing"}


@dataclass(frozen=True)
class Diagnosis:
    """The result of one examination."""

    subject: str
    state: State  # "missing": nothing works without it; "note": something is slower or unavailable
    value: str
    consequence: str = ""  # and the fix; empty if there is none


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Check packages, ffmpeg, GPU, memory, storage root and weights."""
    raise SystemExit(report(as_json=as_json))


def examine(location: str | None = None) -> tuple[Diagnosis, ...]:
    """Examine everything that `pdfgc` needs; changes nothing.

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
        examine_cpu_and_memory(),
        examine_root(location),
        examine_weights(),
    )


def examine_python(version: tuple[int, int, int]) -> Diagnosis:
    """Python must be 3.11, the version that the packages are locked for."""
    value = f"{'.'.join(map(str, version))} on {platform.system()} {platform.machine()}"
    if version[:2] == (3, 11):
        return Diagnosis("Python", "ok", value)
    return Diagnosis("Python", "missing", value, f"the packages are locked for Python 3.11: {FIX}")


def examine_packages(
    required: frozenset[str], installed: Mapping[str, str], locked: Mapping[str, str]
) -> list[Diagnosis]:
    """Every required package must be installed; other versions than the locked ones are noted.

    Args:
        required: names of the dependencies of pdfgc.
        installed: version by name.
        locked: version by name, with development packages.
    """
    if not required:
        return [Diagnosis("Packages", "missing", "pdfgc itself is not installed", FIX)]
    diagnoses: list[Diagnosis] = []
    if absent := sorted(required - installed.keys()):
        diagnoses.append(Diagnosis("Packages", "missing", "not installed: " + ", ".join(absent), FIX))
    if absent_tools := sorted(locked.keys() - installed.keys() - required):
        consequence = f"optional features or the tests may need them: {FIX}"
        value = "not installed: " + ", ".join(absent_tools)
        diagnoses.append(Diagnosis("Locked packages", "note", value, consequence))
    different = [
        f"{name} {installed[name]} (locked {version})"
        for name, version in sorted(locked.items())
        # torch appends its CUDA build after a plus; the lock holds the version only.
        if name in installed and installed[name].partition("+")[0] != version
    ]
    if different:
        consequence = f"results may differ from the documented ones: {FIX}"
        diagnoses.append(Diagnosis("Versions", "note", ", ".join(different), consequence))
    if not locked:
        consequence = "versions were not compared"
        diagnoses.append(Diagnosis("Versions", "note", f"no lock file {LOCK}", consequence))
    return diagnoses or [Diagnosis("Packages", "ok", f"{len(locked)}, all at the locked versions")]


def examine_face_model() -> Diagnosis:
    """The face model must be in MediaPipe's package; it is never downloaded."""
    package = find_spec("mediapipe")
    folders = (package.submodule_search_locations if package else None) or []
    for folder in map(Path, folders):
        if (folder / "modules/face_landmark/face_landmark_with_attention.tflite").is_file():
            return Diagnosis("Face model", "ok", "in MediaPipe's package")
    return Diagnosis("Face model", "missing", "not in MediaPipe's package", f"no face can be detected: {FIX}")


def examine_ffmpeg() -> Diagnosis:
    """An ffmpeg program must be available to write videos; reading needs none."""
    try:
        program = find_ffmpeg()
    except FileNotFoundError as error:
        return Diagnosis("ffmpeg", "missing", "none", str(error))
    if shutil.which("ffmpeg"):
        return Diagnosis("ffmpeg", "ok", f"{program} (on PATH)")
    return Diagnosis("ffmpeg", "ok", f"{program} (of imageio-ffmpeg; there is none on PATH)")


def examine_gpu() -> Diagnosis:
    """A CUDA GPU that torch can use is recommended."""
    consequence = "preprocessing, the demo and the tests run on the CPU; real training needs a CUDA GPU"
    names = _output_of("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    if not names:
        return Diagnosis("GPU", "note", "none", consequence)
    value = ", ".join(names.splitlines())
    usable = _output_of(sys.executable, "-c", "import torch; print(torch.cuda.is_available())")
    if usable == "True":
        return Diagnosis("GPU", "ok", value)
    value = f"{value}, but torch cannot use it"
    return Diagnosis("GPU", "note", value, f"{consequence}; update the driver")


def examine_cpu_and_memory() -> Diagnosis:
    """Cores and memory available to this process, within the limit of a container."""
    cores = len(os.sched_getaffinity(0))
    gib = min(psutil.virtual_memory().total, _memory_limit_bytes(CGROUP_MEMORY_LIMIT)) / GIB
    value = f"{cores} cores, {gib:.1f} GiB of memory"
    if gib < SMALL_MEMORY_GIB:
        return Diagnosis("Machine", "note", value, "low memory: use pdfgc preprocess --workers 1")
    return Diagnosis("Machine", "ok", value)


def examine_root(location: str) -> Diagnosis:
    """The storage root must be writable and should have free space. Creates no directory."""
    subject = f"Root ({ROOT_VARIABLE})"
    scheme, separator, rest = location.partition("://")
    if separator and scheme != "file":
        try:
            open_root(location)
        except ValueError as error:
            return Diagnosis(subject, "missing", location, str(error))
        return Diagnosis(subject, "ok", f"{location}, reachable")
    root = Path(rest if separator else location).expanduser().absolute()
    nearest = next(path for path in (root, *root.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        consequence = f"nothing can be saved: set {ROOT_VARIABLE} to a writable folder"
        return Diagnosis(subject, "missing", f"{root}: {nearest} is not writable", consequence)
    free_gib = shutil.disk_usage(nearest).free / GIB
    value = f"{root}, {free_gib:.0f} GiB free" + ("" if nearest == root else " (created on first use)")
    if free_gib < SMALL_DISK_GIB:
        return Diagnosis(subject, "note", value, f"low disk space: set {ROOT_VARIABLE} to a larger disk")
    return Diagnosis(subject, "ok", value)


def examine_weights() -> Diagnosis:
    """Pretrained weights in their folder, by name and size; all are optional."""
    folder, rows = overview()
    subject = f"Pretrained weights ({WEIGHTS_VARIABLE})"
    wrong = [f"{row['name']}: {row['state']}" for row in rows if row["state"] not in ("present", "missing")]
    if wrong:
        return Diagnosis(subject, "note", "; ".join(wrong), f"these files cannot be used; see {folder}")
    names = [str(row["name"]) for row in rows if row["state"] == "present"]
    return Diagnosis(subject, "ok", ", ".join(names) or "none (all are optional)")


def report(*, as_json: bool = False, location: str | None = None) -> int:
    """Print the diagnoses to standard output.

    Returns:
        The exit status: 1 if something required is missing, else 0.
    """
    diagnoses = examine(location)
    ready = all(diagnosis.state != "missing" for diagnosis in diagnoses)
    if as_json:
        entries = [{name: display_text(text) for name, text in asdict(one).items()} for one in diagnoses]
        click.echo(json.dumps({"ready": ready, "diagnoses": entries}, indent=2))
    else:
        _print_table(diagnoses, ready)
    return 0 if ready else 1


def _print_table(diagnoses: tuple[Diagnosis, ...], ready: bool) -> None:
    table = Table("", "examined")
    for heading in ("value", "consequence and fix"):
        table.add_column(heading, overflow="fold")
    for diagnosis in diagnoses:
        texts = (diagnosis.subject, diagnosis.value, diagnosis.consequence)
        table.add_row(MARKS[diagnosis.state], *map(escape, map(display_text, texts)))
    console = Console()
    console.print(table)
    console.print("Ready." if ready else "Not ready: something required is missing.")


def _memory_limit_bytes(limit: Path) -> float:
    text = limit.read_text().strip() if limit.is_file() else "max"
    return float("inf") if text == "max" else float(text)


def _output_of(program: str, *arguments: str) -> str:
    """Standard output of a program; empty if it is absent, fails or takes more than a minute."""
    if shutil.which(program) is None:
        return ""
    try:
        result = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""


def required_packages() -> frozenset[str]:
    """Names of the dependencies of `pdfgc`, without extras; empty if it is not installed."""
    try:
        requirements = metadata.requires("pdfgc") or []
    except metadata.PackageNotFoundError:
        return frozenset()
    return frozenset(_package_name(line) for line in requirements if "extra ==" not in line)


def installed_packages() -> dict[str, str]:
    """Version by name of every installed package."""
    return {_package_name(package.name): package.version for package in metadata.distributions()}


def locked_versions(lock: Path) -> dict[str, str]:
    """Version by name in a requirements file; {} if there is none (an installed wheel)."""
    if not lock.is_file():
        return {}
    return dict(re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", lock.read_text(), flags=re.MULTILINE))


def _package_name(requirement: str) -> str:
    """The normalised name of a package (PEP 503)."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", match.group()).lower() if match else ""
