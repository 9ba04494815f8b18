"""Which ffmpeg program is used for writing videos (reading goes through PyAV, which carries its own)."""

import shutil

import imageio_ffmpeg


def find_ffmpeg() -> str:
    """Path of the ffmpeg program: the one on PATH, else the one that imageio-ffmpeg carries.

    Raises:
        FileNotFoundError: if there is neither; says what to do.
    """
    on_path = shutil.which("ffmpeg")
    if on_path is not None:
        return on_path
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise FileNotFoundError(
            "no ffmpeg program: put one on PATH, or install the package imageio-ffmpeg with its binary"
        ) from error
