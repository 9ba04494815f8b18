"""Track one video in this process, and write down the peak of its memory beside the tracks.

`benchmarks.preprocess --memory` runs this. The kernel's own VmHWM is read: `ru_maxrss` of a process
begins at what its parent held when it was started.
"""

import re
import sys
from pathlib import Path
from typing import Final

from preprocessing.faces.face_tracks import FaceTrackSettings, VideoToTrack, make_face_tracks

PEAK_NAME: Final = "peak_mebibytes.txt"


def peak_mebibytes() -> float:
    """The largest resident memory of this process since it was started."""
    told = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert told is not None
    return int(told[1]) / 1024


if __name__ == "__main__":
    video, folder = Path(sys.argv[1]), Path(sys.argv[2])
    (folder / "tracks").mkdir()
    make_face_tracks([VideoToTrack("long", video)], FaceTrackSettings(), folder / "tracks", workers=0)
    (folder / PEAK_NAME).write_text(f"{peak_mebibytes():.1f}")
