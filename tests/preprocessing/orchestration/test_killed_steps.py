"""The whole chain of steps: re-run, changed, forced, killed at any point, run twice at once, on a full disk.

Videos are written once; the undisturbed run is what all others are compared with.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from upath import UPath

from preprocessing.clips.selection import ClipSettings
from preprocessing.orchestration.step import VideoBatch
from preprocessing.orchestration.steps import STEPS, PreprocessingSettings, run_step, why_stale
from storage.disk import DiskError
from storage.publishing import Published, current
from storage.root import open_root
from tests.factories.preprocessing.videos import source_video, write_face_video
from tests.factories.storage.small_disk import small_disk

pytestmark = pytest.mark.slow

# A photo's chin that goes up and down hardly opens the mouth.
CLIPS = ClipSettings(minimum_mouth_motion=0.001)
SETTINGS = PreprocessingSettings(clips=CLIPS)
KILLS = 4
# The undisturbed run has as many as there are cores: sums must not come out otherwise for that.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
BELOW_CLIPS = [name for name in STEPS if name not in ("face_tracks", "clips")]


@dataclass(frozen=True)
class Chain:
    """The undisturbed run."""

    videos: Path
    root: UPath
    shards: dict[str, str]  # file, and member of a tar -> sha256
    seconds: float


def batch_of(videos: Path) -> VideoBatch:
    return VideoBatch("batch-0000", tuple(source_video(path) for path in sorted(videos.iterdir())))


def run_chain(
    root: UPath, videos: Path, settings: PreprocessingSettings = SETTINGS, *, force: bool = False
) -> list[str]:
    """Run every step in this process; the names of those that built."""
    batch = batch_of(videos)
    builds = {name: run_step(root, name, batch, settings, force=force, workers=0) for name in STEPS}
    assert all(build.built or build.reason.startswith("nothing to do") for build in builds.values())
    return [name for name, build in builds.items() if build.built]


def shards(root: UPath) -> dict[str, str]:
    """Of every file and, so that a difference says where it lies, of every member of a tar."""
    published = published_of(root, "shards")
    digests = {name: record.sha256 for name, record in published.manifest.files.items()}
    for name in [name for name in digests if name.endswith(".tar")]:
        with tarfile.open(str(published.directory / name)) as tar:
            for member in tar:
                content = tar.extractfile(member)
                assert content is not None
                digests[member.name] = hashlib.sha256(content.read()).hexdigest()
    return digests


def published_of(root: UPath, name: str) -> Published:
    published = current(root, name, "batch-0000")
    assert published is not None
    return published


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    folder = tmp_path_factory.mktemp("chain")
    (folder / "videos").mkdir()
    write_face_video(folder / "videos" / "ann.mp4", 70)
    write_face_video(folder / "videos" / "bob.mp4", 30, mirrored=True, seed=1)
    (folder / "videos" / "text.mp4").write_text("not a video")
    root = open_root(str(folder / "root"))
    started = time.monotonic()
    assert run_chain(root, folder / "videos") == list(STEPS)
    seconds = time.monotonic() - started
    assert published_of(root, "shards").manifest.counts["samples"] == 3
    return Chain(folder / "videos", root, shards(root), seconds)


def test_second_run_builds_nothing(chain: Chain) -> None:
    assert run_chain(chain.root, chain.videos) == []
    batch = batch_of(chain.videos)
    assert {name: why_stale(chain.root, name, batch, SETTINGS) for name in STEPS} == dict.fromkeys(STEPS)


def test_threshold_without_effect_rebuilds_clips_alone(chain: Chain) -> None:
    clips = CLIPS.replace(minimum_face_size_px=CLIPS.minimum_face_size_px - 1)
    assert run_chain(chain.root, chain.videos, SETTINGS.replace(clips=clips)) == ["clips"]
    assert run_chain(chain.root, chain.videos) == []  # changed back: what was built is chain current again


def test_threshold_with_effect_rebuilds_downstream_steps(chain: Chain) -> None:
    rows = published_of(chain.root, "clips").manifest.counts
    clips = ClipSettings(minimum_mouth_motion=10.0)  # nobody's mouth moves that much
    settings = SETTINGS.replace(clips=clips)
    assert run_chain(chain.root, chain.videos, settings) == ["clips", *BELOW_CLIPS]
    refused = published_of(chain.root, "clips").manifest
    assert dict(refused.refusals)["mouth_still"] == rows["clips"]
    assert published_of(chain.root, "shards").manifest.counts["samples"] == 0
    # Why a clip is refused is nobody's input: another bound refuses the same ones.
    again = SETTINGS.replace(clips=ClipSettings(minimum_mouth_motion=11.0))
    assert run_chain(chain.root, chain.videos, again) == ["clips"]
    assert run_chain(chain.root, chain.videos) == []
    assert shards(chain.root) == chain.shards


def test_missing_upstream_step_is_named(chain: Chain, tmp_path: Path) -> None:
    root = open_root(str(tmp_path))
    with pytest.raises(
        ValueError, match="clips of batch batch-0000 reads face_tracks, which is not built yet"
    ):
        run_step(root, "clips", batch_of(chain.videos), SETTINGS)
    assert why_stale(root, "clips", batch_of(chain.videos), SETTINGS) == "face_tracks not there yet"


def start(chain: Chain, root: Path) -> "subprocess.Popen[bytes]":
    script = (
        "import sys; from pathlib import Path; from storage.root import open_root\n"
        "from tests.preprocessing.orchestration.test_killed_steps import run_chain\n"
        "if __name__ == '__main__':\n"
        "    run_chain(open_root(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, str(root), str(chain.videos)],
        stderr=subprocess.DEVNULL,
        env=os.environ | ONE_THREAD,
    )


def test_run_after_a_kill_makes_the_same_shards(chain: Chain, tmp_path: Path) -> None:
    rng = random.Random(7)
    for _ in range(KILLS):
        process = start(chain, tmp_path)
        try:
            process.wait(timeout=rng.uniform(0.2, 1.2) * chain.seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    root = open_root(str(tmp_path))
    run_chain(root, chain.videos)
    assert shards(root) == chain.shards
    assert not list((tmp_path / "assets").rglob("*.partial-*"))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_step_on_a_full_disk_is_completed_once_there_is_room(
    chain: Chain, tmp_path: Path, share: float
) -> None:
    batch, failed = batch_of(chain.videos), list[str]()
    with small_disk(tmp_path / "disk", 32) as disk:
        root = open_root(str(disk.path / "root"))
        for name in STEPS:
            expected = published_of(chain.root, name).manifest
            disk.fill(int(share * sum(record.size_bytes for record in expected.files.values())))
            try:
                run_step(root, name, batch, SETTINGS, workers=0)
            except DiskError as error:
                failed.append(f"{name}:{str(error).split(':')[1].partition(' (')[0]}")
            published = current(root, name, batch.key)
            assert published is None or published.manifest.files == expected.files
            assert disk.partials() == []
            disk.clear()
            assert run_step(root, name, batch, SETTINGS, workers=0).manifest.files == expected.files
    messages = [f"{name}: no space left on the disk" for name in STEPS]
    assert failed == messages if share == 0 else messages[0] in failed


def test_concurrent_runs_make_the_same_shards(chain: Chain, tmp_path: Path) -> None:
    runs = [start(chain, tmp_path) for _ in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    assert shards(open_root(str(tmp_path))) == chain.shards


def test_forced_runs_make_the_same_files(chain: Chain) -> None:
    before = {name: published_of(chain.root, name).manifest.content_digest for name in STEPS}
    assert run_chain(chain.root, chain.videos, force=True) == list(STEPS)
    assert {name: published_of(chain.root, name).manifest.content_digest for name in STEPS} == before
