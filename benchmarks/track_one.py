"""Track one video in this process: what `benchmarks.preprocess --memory` measures from outside."""

import sys
from pathlib import Path

from preprocessing.face_tracks import FaceTrackSettings, VideoToTrack, make_face_tracks

if __name__ == "__main__":
    video, folder = Path(sys.argv[1]), Path(sys.argv[2]) / "tracks"
    folder.mkdir()
    make_face_tracks([VideoToTrack("long", video)], FaceTrackSettings(), folder, workers=0)
