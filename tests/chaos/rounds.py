"""One round: the graph from an empty root, disturbed all the way; its end must be the undisturbed one."""

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from preprocessing.sources.stored_catalog import CATALOG_FOLDER, CATALOG_NAME
from storage.manifest import MANIFEST_NAME
from storage.publishing import ASSETS, current
from storage.root import open_root
from tests.chaos.graph import EVALUATING, GARBAGE, PREPROCESSING, REPAIR, TRAINING, Node, Workplace
from tests.chaos.killing import Kill, Target, run, start, wait
from tests.chaos.outcome import Outcome, outcome_of

Phases = Mapping[str, Mapping[str, Node]]
PHASES: Final[Phases] = {
    "preprocessing": PREPROCESSING,
    "training": TRAINING,
    "evaluation": EVALUATING,
    "repair": REPAIR,
    "gc": GARBAGE,
}
TARGETS: Final[tuple[Target, ...]] = (
    "main at a change",
    "main at a change",
    "main at a change",
    "main",
    "child",
    "all",
)
LARGEST_CHANGES: Final = (6, 20, 60)  # a node makes about a dozen
LONGEST_SECONDS: Final = 6.0
DEAD_PROCESS: Final = 2**22 + 1  # no process has this id: above the kernel's largest


@dataclass
class Counts:
    """What was done to a root, and what came of it."""

    kills: Counter[str] = field(default_factory=Counter)  # "phase: target"
    disturbances: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    changed: int = 0
    doubled: int = 0
    left_over: int = 0

    def add(self, other: "Counts") -> None:
        """Add those of another round."""
        self.kills += other.kills
        self.disturbances += other.disturbances
        self.lost += other.lost
        self.changed += other.changed
        self.doubled += other.doubled
        self.left_over += other.left_over

    @property
    def is_clean(self) -> bool:
        """Whether the end was always the undisturbed one."""
        return not (self.lost or self.changed or self.doubled or self.left_over)

    def lines(self) -> list[str]:
        """For the terminal."""
        by_kind = ", ".join(f"{name} {number}" for name, number in sorted(self.kills.items()))
        others = ", ".join(f"{name} {number}" for name, number in sorted(self.disturbances.items()))
        ends = f"files lost {self.lost}, changed {self.changed}"
        builds = f"builds doubled {self.doubled}, left over {self.left_over}"
        return [f"{self.kills.total()} kills ({by_kind})", f"others: {others or 'none'}", f"{ends}; {builds}"]


def undisturbed(place: Workplace, log: Path, phases: Phases) -> Outcome:
    """Run all phases once; the outcome that every round must have."""
    for name, nodes in phases.items():
        ended = run(place, nodes, None, random.Random(0), log)
        if not ended.succeeded:
            raise RuntimeError(f"{name} fails undisturbed, see {log}")
    return outcome_of(place.root)


def disturbed(
    place: Workplace,
    phases: Phases,
    kills: Mapping[str, int],
    seed: int,
    log: Path,
    disturbances: Mapping[str, "Disturbance"],
) -> Counts:
    """Run phases, each with so many kills before it may end.

    Raises:
        RuntimeError: a phase fails without a disturbance.
    """
    rng, counts = random.Random(seed), Counts()
    for name, nodes in phases.items():
        wanted = kills[name]
        for _ in range(3 * wanted):
            if sum(number for kind, number in counts.kills.items() if kind.startswith(name)) >= wanted:
                break
            kill = _draw(rng)
            if name in SPOILING:
                _note(log, f"{name}: {SPOILING[name](place.root, rng)}")
            _note(log, f"{name}: {kill}")
            ended = run(place, nodes, kill, rng, log)
            counts.kills[f"{name}: {kill.target}"] += ended.killed
        for title, disturb in disturbances.items():
            _note(log, f"{name}: {title}")
            counts.disturbances[title] += disturb(place, name, nodes, log)
        _note(log, f"{name}: undisturbed")
        if not run(place, nodes, None, rng, log).succeeded:
            raise RuntimeError(f"{name} fails after {counts.kills.total()} kills, seed {seed}, see {log}")
    return counts


def compare(expected: Outcome, place: Workplace, counts: Counts, log: Path) -> list[str]:
    """Collect garbage, compare the end, and add to the counts. Returns what differs."""
    if not run(place, GARBAGE, None, random.Random(0), log).succeeded:
        raise RuntimeError(f"gc fails, see {log}")
    actual = outcome_of(place.root)
    lost = [name for name in expected.files if name not in actual.files]
    changed = [name for name in actual.files if actual.files[name] != expected.files.get(name)]
    if actual.catalog != expected.catalog:
        changed.append("catalog")
    counts.lost += len(lost)
    counts.changed += len(changed) + len(actual.damaged)
    counts.doubled += len(actual.doubled)
    counts.left_over += len(actual.leftovers)
    return [*lost, *changed, *actual.damaged, *actual.doubled, *actual.leftovers]


def _note(log: Path, line: str) -> None:
    """Write what is done into the log, between what the operators print."""
    with log.open("a") as file:
        file.write(f"--- {line}\n")


def _draw(rng: random.Random) -> Kill:
    target = rng.choice(TARGETS)
    change = rng.randrange(rng.choice(LARGEST_CHANGES))
    return Kill(target, change, rng.uniform(0.0, LONGEST_SECONDS))


def damage(root: Path, rng: random.Random) -> str:
    """Flip a byte of a published file, a manifest, a pointer or the catalog: something to repair.

    Returns:
        What was done, for the log.
    """
    files = sorted(path for path in (root / ASSETS).rglob("*") if path.is_file() and path.stat().st_size)
    path = rng.choice([*files, root / CATALOG_FOLDER / CATALOG_NAME])
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1
    path.write_bytes(content)
    return f"a byte of {path.relative_to(root)} is flipped"


def litter(root: Path, rng: random.Random) -> str:
    """Older builds of three partitions, and partial files of a process that is gone: something to collect.

    Returns:
        What was done, for the log.
    """
    opened = open_root(str(root))
    partitions = sorted(path.parent for path in (root / ASSETS).glob("*/*/current.json"))
    partitions = rng.sample(partitions, min(3, len(partitions)))
    for partition in partitions:
        published = current(opened, partition.parent.name, partition.name)
        assert published is not None
        older = replace(
            published.manifest,
            fingerprint=rng.randbytes(32).hex(),
            finished_at="2020-01-01T00:00:00.000000+00:00",
        )
        name = f"{older.fingerprint[:16]}-{older.content_digest[:8]}"
        shutil.copytree(partition / published.directory.name, partition / name)
        (partition / name / MANIFEST_NAME).write_text(older.to_json())
        (partition / f"current.partial-{DEAD_PROCESS}-{rng.randbytes(4).hex()}.json").write_text("{")
    return f"older builds of {[str(each.relative_to(root)) for each in partitions]}"


SPOILING: Final[Mapping[str, Callable[[Path, random.Random], str]]] = {"repair": damage, "gc": litter}
"""Phase -> what is done before each kill, so that there is work to kill."""

Disturbance = Callable[[Workplace, str, Mapping[str, Node], Path], int]
"""(place, phase, its nodes, log) -> how often it was done."""


def two_operators(place: Workplace, phase: str, nodes: Mapping[str, Node], log: Path) -> int:
    """Two operators at once on one root; both must succeed."""
    del phase
    operators = [start(place, nodes, lambda: None, log) for _ in range(2)]
    succeeded = [wait(operator) for operator in operators]
    if not all(succeeded):
        raise RuntimeError(f"one of two operators fails, see {log}")
    return 1


def changing_files(place: Workplace, phase: str, nodes: Mapping[str, Node], log: Path) -> int:
    """A video vanishes and another one is replaced while the tracks are made; then both are back."""
    if phase != "preprocessing":
        return 0
    videos = sorted(place.videos.rglob("*.mp4"))[:2]
    for tracked in place.root.glob("assets/face_tracks/*/current.json"):
        shutil.rmtree(tracked.parent)  # so that there is something to do
    operator = start(
        place, {name: node for name, node in nodes.items() if name != "source_videos"}, lambda: None, log
    )
    with away(videos[0], b""), away(videos[1], b"another video"):
        time.sleep(1.0)
        wait(operator)
    return 2


@contextmanager
def away(video: Path, content: bytes) -> Generator[None]:
    """Move a video away, with other content in its place if there is any; then back."""
    kept = video.with_name(video.name + ".kept")
    video.rename(kept)
    if content:
        video.write_bytes(content)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            video.unlink()
        kept.rename(video)


def full_disk(fill: Callable[[int], None], clear: Callable[[], None]) -> Disturbance:
    """The disk is full, then there is room again."""
    return partial(_full_disk, fill, clear)


def _full_disk(
    fill: Callable[[int], None],
    clear: Callable[[], None],
    place: Workplace,
    phase: str,
    nodes: Mapping[str, Node],
    log: Path,
) -> int:
    del phase
    fill(100_000)
    run(place, nodes, None, random.Random(0), log)
    clear()
    return 1
