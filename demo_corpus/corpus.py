"""The demo corpus: talking-head videos with known pose, gaze, blinks and mouth in every frame.

Importing this module loads no mediapipe, torch or onnxruntime; `make_corpus` needs them only in
its worker processes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from demo_corpus.settings import CorpusSettings, CorpusVideo
from preprocessing.faces.mean_face import TABLE_PATH
from preprocessing.process_pool import Crashed, default_workers, map_in_processes
from storage.fingerprint import file_sha256, fingerprint

CORPUS_VERSION: Final = 1  # of the rendering: raise it when the same settings give other videos


@dataclass(frozen=True)
class _Work:
    """All videos of one identity: they share the head."""

    folder: Path
    number: int
    settings: CorpusSettings
    fingerprint: str


def make_corpus(folder: Path, settings: CorpusSettings) -> list[CorpusVideo]:
    """Write the corpus below `folder`; videos already there with the same settings are kept.

    Each video is `<identity>/<name>.mp4` (25 fps H.264, AAC) with `<name>.truth.parquet` beside it,
    written last: a killed run resumes at the first video without its table.

    Args:
        folder: where to; made if missing.
        settings: what to make.

    Returns:
        Every video, sorted by path.

    Raises:
        ValueError: an own portrait is no picture, or shows no face or several; names the file.
        RuntimeError: a worker process died.
    """
    for portrait in settings.portraits:
        if not portrait.is_file():
            raise ValueError(f"portrait {portrait}: no such file")
    mark = settings_fingerprint(settings)
    works = [_Work(folder, number, settings, mark) for number in range(settings.identities)]
    missing = [work for work in works if not all(is_done(video, mark) for video in planned(work))]
    workers = default_workers() if settings.workers is None else settings.workers
    outcomes = list(map_in_processes(_make_identity, missing, workers))
    crashes = [f"{work.number} ({end.detail})" for work, end in outcomes if isinstance(end, Crashed)]
    if crashes:
        raise RuntimeError(f"the process that made a demo identity died: {', '.join(crashes)}")
    return sorted((video for work in works for video in planned(work)), key=lambda video: video.video)


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


def planned(work: _Work) -> list[CorpusVideo]:
    """The videos of one identity, made or not."""
    identity = f"demo-{work.number:02d}"
    stems = [work.folder / identity / f"talk-{number}" for number in range(work.settings.videos_per_identity)]
    return [CorpusVideo(identity, Path(f"{stem}.mp4"), Path(f"{stem}.truth.parquet")) for stem in stems]


def is_done(video: CorpusVideo, mark: str) -> bool:
    """Whether a video stands there whole, made with the settings of this fingerprint."""
    import pyarrow.parquet as pq

    from demo_corpus.truth import FINGERPRINT_KEY

    if not (video.video.is_file() and video.truth.is_file()):
        return False
    metadata = pq.read_schema(video.truth).metadata or {}
    return metadata.get(FINGERPRINT_KEY) == mark.encode()


def _make_identity(work: _Work) -> int:
    """Make one identity's missing videos; how many."""
    from demo_corpus.expression import build_rig
    from demo_corpus.head import build_head
    from demo_corpus.portraits import BUNDLED, load_bundled, load_own
    from demo_corpus.scene import make_video
    from demo_corpus.speech import draw_voice

    settings = work.settings
    sources = settings.portraits or BUNDLED
    source = sources[work.number % len(sources)]
    portrait = load_own(source) if isinstance(source, Path) else load_bundled(source)
    repeat = work.number // len(sources)
    rig = build_rig(build_head(portrait, _seed(settings.seed, work.number, 0), mirrored=repeat % 2 == 1))
    voice = draw_voice(np.random.default_rng(_seed(settings.seed, work.number, 1)))
    made = 0
    for number, video in enumerate(planned(work)):
        if not is_done(video, work.fingerprint):
            video.truth.unlink(missing_ok=True)
            video.video.parent.mkdir(parents=True, exist_ok=True)
            make_video(
                video, rig, voice, _seed(settings.seed, work.number, 2 + number), settings, work.fingerprint
            )
            made += 1
    return made


def _seed(*parts: int) -> int:
    """One seed of several numbers, well mixed."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
