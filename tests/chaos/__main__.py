"""Kills, a full disk, changing files, two operators: ``make chaos`` or ``python -m tests.chaos``."""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.chaos.graph import GARBAGE, NODES, REPAIR, Workplace
from tests.chaos.outcome import Outcome
from tests.chaos.rounds import (
    PHASES,
    SPOILING,
    Counts,
    Disturbance,
    Phases,
    changing_files,
    compare,
    disturbed,
    full_disk,
    two_operators,
    undisturbed,
)
from tests.factories.storage.small_disk import small_disk
from tests.factories.training import toy_run

CORPUS: Final = ("--people", "3", "--videos", "1", "--seconds-per-video", "1.2", "--side-px", "192")
SCAN: Final = "source_videos"
SHARES: Final = {"preprocessing": 0.2, "training": 0.2, "evaluation": 0.15, "repair": 0.2, "gc": 0.25}
DISK_MEBIBYTES: Final = 400


def main() -> int:
    """Run rounds until there were enough kills; 1 if anything was lost, changed, doubled or left over."""
    options = _options()
    seed = options.seed if options.seed is not None else random.randrange(2**31)
    phases = _phases(options.nodes.split(",") if options.nodes else list(NODES))
    started, total, number = time.monotonic(), Counts(), 0
    toy_run.install()
    with tempfile.TemporaryDirectory(prefix="pdfgc-chaos-") as name:
        folder, log = Path(name), options.log or Path(name) / "log.txt"
        videos = options.videos or folder / "videos"
        if SCAN in phases.get("preprocessing", {}) and not videos.is_dir():
            # In a process of its own: MediaPipe's threads do not survive the forks below.
            subprocess.run([sys.executable, "-m", "pipelines", "corpus", str(videos), *CORPUS], check=True)
        expected = _undisturbed(Workplace(folder / "undisturbed", videos), log, phases, options.outcome)
        _say(f"undisturbed: {len(expected.files)} files, {time.monotonic() - started:.0f} s; seed {seed}")
        while total.kills.total() < options.kills and time.monotonic() - started < options.seconds:
            wanted = min(options.kills_per_round, options.kills - total.kills.total())
            disk = folder / f"disk-{number}"
            place = Workplace(disk / "root", videos, 2 * (number % 4 == 3), supervised=number % 4 == 2)
            counts = Counts()
            with ExitStack() as stack:
                disturbances = _disturbances(disk, options.mount, stack)
                kept = stack.enter_context(_kept_after_a_fault(place.root, log, options.kept, seed + number))
                _seed_root(place, phases)
                kills = {phase: max(1, round(SHARES[phase] * wanted)) for phase in phases}
                counts = disturbed(place, phases, kills, seed + number, log, disturbances)
                lines = compare(expected, place, counts, log)
                for line in lines:
                    _say(f"seed {seed + number}: {line}")
                kept.wanted = bool(lines)
            total.add(counts)
            number += 1
            _say(f"round {number}: {counts.kills.total()} kills; {time.monotonic() - started:.0f} s in all")
    for line in total.lines():
        _say(line)
    return 0 if total.is_clean else 1


@dataclass
class _Kept:
    wanted: bool = True  # also after an error


@contextmanager
def _kept_after_a_fault(root: Path, log: Path, folder: Path | None, seed: int) -> Generator[_Kept]:
    """Copy a round's root and the log into a folder of the seed, unless all is well."""
    kept = _Kept()
    try:
        yield kept
    finally:
        if folder is not None and kept.wanted and root.is_dir():
            shutil.copytree(root, folder / f"{seed}" / "root", dirs_exist_ok=True)
            shutil.copy(log, folder / f"{seed}")
            _say(f"seed {seed}: kept in {folder / str(seed)}")


def _undisturbed(place: Workplace, log: Path, phases: Phases, kept: Path | None) -> Outcome:
    """The undisturbed end, from a file if there is one."""
    if kept is not None and kept.is_file():
        return Outcome(**json.loads(kept.read_text()))
    _seed_root(place, phases)
    outcome = undisturbed(place, log, phases)
    if kept is not None:
        kept.write_text(json.dumps(asdict(outcome)))
    return outcome


def _phases(names: list[str]) -> Phases:
    """The phases with these nodes, and garbage collection."""
    if unknown := set(names) - set(NODES):
        raise SystemExit(f"no such node: {', '.join(sorted(unknown))}; nodes: {', '.join(NODES)}")
    chosen = {
        phase: {name: node for name, node in nodes.items() if name in names}
        for phase, nodes in PHASES.items()
        if phase not in SPOILING
    }
    # What a root of part of the graph is seeded with no command can build again.
    repair = {"repair": REPAIR} if names == list(NODES) else {}
    return {phase: nodes for phase, nodes in chosen.items() if nodes} | repair | {"gc": GARBAGE}


def _seed_root(place: Workplace, phases: Phases) -> None:
    """Without the scan: a data set and untrained weights that the other nodes start from."""
    if SCAN not in phases.get("preprocessing", {}):
        toy_run.make_root(place.root)
        for stage in phases.get("training", {}):
            shutil.rmtree(place.root / "assets" / stage)


def _disturbances(folder: Path, mount: bool, stack: ExitStack) -> dict[str, Disturbance]:
    disturbances: dict[str, Disturbance] = {"changing files": changing_files}
    if mount:
        disk = stack.enter_context(small_disk(folder, DISK_MEBIBYTES))
        disturbances["full disk"] = full_disk(disk.fill, disk.clear)
    else:
        folder.mkdir()
    return disturbances | {"two operators": two_operators}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--kills-per-round", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no round after this time")
    parser.add_argument("--seed", type=int, help="of the first round; default: random, and printed")
    parser.add_argument("--nodes", default="", help="comma-separated; default: the whole graph")
    parser.add_argument("--mount", action=argparse.BooleanOptionalAction, default=True, help="a disk to fill")
    parser.add_argument("--videos", type=Path, help="folder of the rendered clips, made once")
    parser.add_argument("--outcome", type=Path, help="file of the undisturbed end, made once for --videos")
    parser.add_argument("--kept", type=Path, help="folder for the roots of rounds that end with a fault")
    parser.add_argument("--log", type=Path, help="what the operators print")
    return parser.parse_args()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
