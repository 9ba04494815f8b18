"""The demo corpus: talking-head videos with known pose, gaze, blinks and mouth in every frame.

Importing this module loads no mediapipe, torch or onnxruntime; `make_corpus` needs them only in
its worker processes.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import Field

from preprocessing.faces.mean_face import TABLE_PATH
from preprocessing.process_pool import Crashed, default_workers, map_in_processes
from storage.fingerprint import file_sha256, fingerprint
from storage.settings import Settings

CORPUS_VERSION: Final = 1  # of the rendering: raise it when the same settings give other videos

logger = logging.getLogger(__name__)


class CorpusSettings(Settings):
    """What the demo corpus holds. The same settings give the same bytes."""

    seed: int = Field(default=0, ge=0, description="Random seed")
    identities: int = Field(
        default=12,
        ge=1,
        description="Number of talking heads; further ones than portraits are mirrored and re-shaped",
    )
    videos_per_identity: int = Field(default=2, ge=1, description="Videos of each talking head")
    seconds_per_video: float = Field(default=8.0, ge=0.2, le=600, description="Length of each video")
    side_px: int = Field(
        default=384, ge=64, le=2048, multiple_of=2, description="Side of the square videos, even"
    )
    portraits: tuple[Path, ...] = Field(
        default=(), description="Portraits with one face each, in place of the bundled ones"
    )
    workers: int | None = Field(
        default=None,
        ge=0,
        description="Worker processes; 0: none, None: one per CPU core. No effect on the videos",
    )


@dataclass(frozen=True)
class CorpusVideo:
    """One video of the corpus."""

    identity: str
    video: Path
    truth: Path


@dataclass(frozen=True)
class _IdentityTask:
    """All videos of one identity: they share the head."""

    folder: Path
    number: int
    settings: CorpusSettings
    fingerprint: str

    def videos(self) -> list[CorpusVideo]:
        """The identity's videos, whether they exist yet or not."""
        identity = f"demo-{self.number:02d}"
        count = self.settings.videos_per_identity
        stems = [self.folder / identity / f"talk-{number}" for number in range(count)]
        return [CorpusVideo(identity, Path(f"{stem}.mp4"), Path(f"{stem}.truth.parquet")) for stem in stems]


def make_corpus(folder: Path, settings: CorpusSettings) -> list[CorpusVideo]:
    """Write the corpus below `folder`; videos already there with the same settings are kept.

    Each video is `<identity>/<name>.mp4` (25 fps H.264, AAC) with `<name>.truth.parquet` beside it,
    written last: an interrupted run resumes at the first video without its table.

    Args:
        folder: created if missing.
        settings: what to render.

    Returns:
        Every video, sorted by path.

    Raises:
        ValueError: a portrait is not a readable picture, or shows no face or several; names the file.
        RuntimeError: a worker process died.
    """
    for portrait in settings.portraits:
        if not portrait.is_file():
            raise ValueError(f"portrait {portrait}: no such file")
    digest = settings_fingerprint(settings)
    tasks = [_IdentityTask(folder, number, settings, digest) for number in range(settings.identities)]
    missing = [task for task in tasks if not all(is_complete(video, digest) for video in task.videos())]
    workers = default_workers() if settings.workers is None else settings.workers
    crashes: list[str] = []
    for number, (task, result) in enumerate(map_in_processes(_render_identity, missing, workers), start=1):
        if isinstance(result, Crashed):
            crashes.append(f"{task.number} ({result.detail})")
        else:
            logger.info("Rendered identity %d of %d: %d videos", number, len(missing), result)
    if crashes:
        raise RuntimeError(f"the process that rendered a demo identity died: {', '.join(crashes)}")
    return sorted((video for task in tasks for video in task.videos()), key=lambda video: video.video)


def settings_fingerprint(settings: CorpusSettings) -> str:
    """sha256 of what decides the videos' bytes: settings, portraits' contents, rendering version."""
    return fingerprint(
        {
            "version": CORPUS_VERSION,
            "mean_face": file_sha256(TABLE_PATH),
            "seed": settings.seed,
            "identities": settings.identities,
            "videos_per_identity": settings.videos_per_identity,
            "seconds_per_video": float(settings.seconds_per_video),
            "side_px": settings.side_px,
            "portraits": [file_sha256(portrait) for portrait in settings.portraits],
        }
    )


def is_complete(video: CorpusVideo, digest: str) -> bool:
    """Whether the video and its table exist, rendered with the settings of this fingerprint."""
    import pyarrow.parquet as pq

    from demo_corpus.truth import FINGERPRINT_KEY

    if not (video.video.is_file() and video.truth.is_file()):
        return False
    metadata = pq.read_schema(video.truth).metadata or {}
    return metadata.get(FINGERPRINT_KEY) == digest.encode()


def _render_identity(task: _IdentityTask) -> int:
    """Render one identity's missing videos; returns their number."""
    from demo_corpus.expression import build_rig
    from demo_corpus.head import build_head
    from demo_corpus.portraits import BUNDLED, load_bundled, load_portrait
    from demo_corpus.scene import render_video
    from demo_corpus.speech import draw_voice

    settings = task.settings
    sources = settings.portraits or BUNDLED
    source = sources[task.number % len(sources)]
    portrait = load_portrait(source) if isinstance(source, Path) else load_bundled(source)
    repeat = task.number // len(sources)
    rig = build_rig(build_head(portrait, _seed(settings.seed, task.number, 0), mirrored=repeat % 2 == 1))
    voice = draw_voice(np.random.default_rng(_seed(settings.seed, task.number, 1)))
    rendered = 0
    for number, video in enumerate(task.videos()):
        if is_complete(video, task.fingerprint):
            continue
        video.truth.unlink(missing_ok=True)
        video.video.parent.mkdir(parents=True, exist_ok=True)
        render_video(
            video.video,
            video.truth,
            rig,
            voice,
            seed=_seed(settings.seed, task.number, 2 + number),
            seconds=settings.seconds_per_video,
            side_px=settings.side_px,
            fingerprint=task.fingerprint,
        )
        rendered += 1
    return rendered


def _seed(*parts: int) -> int:
    """One seed mixed from several numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
