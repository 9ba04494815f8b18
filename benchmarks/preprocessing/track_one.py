"""Track one video in this process, and write its peak memory beside the tracks.

Started by `benchmarks.preprocessing.preprocess --memory`. Reads the kernel's VmHWM, since `ru_maxrss`
of a process starts at its parent's value.
"""

import re
import sys
from pathlib import Path
from typing import Final

from preprocessing.faces.face_tracks import make_face_tracks
from preprocessing.faces.video import FaceTrackSettings, VideoToTrack
from storage.fingerprint import file_sha256

PEAK_NAME: Final = "peak_mebibytes.txt"


def peak_mebibytes() -> float:
    """Peak resident memory of this process."""
    match = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert match is not None
    return int(match[1]) / 1024


if __name__ == "__main__":
    video, folder = Path(sys.argv[1]), Path(sys.argv[2])
    (folder / "tracks").mkdir()
    to_track = VideoToTrack(file_sha256(video)[:16], video)
    make_face_tracks([to_track], FaceTrackSettings(), folder / "tracks", workers=0)
    (folder / PEAK_NAME).write_text(f"{peak_mebibytes():.1f}")
