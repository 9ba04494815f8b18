"""Time and memory of adding a large list: `python -m benchmarks.preprocessing.source_lists [ROWS] [FOLDER]`.

Writes a CSV of ROWS parts of ROWS / 8 videos (empty files: nothing opens them) with face boxes, identities,
splits, labels and one row in a hundred that is wrong, and adds it.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

from preprocessing.sources.lists.reading import read_list
from preprocessing.sources.lists.stored import save_list
from storage.root import open_root

PARTS = 8  # of each video
VIDEOS_PER_IDENTITY = 20


def write_list(path: Path, videos: Path, rows: int) -> None:
    """Write the list and the empty videos that it names."""
    columns = "path,start,end,face_left,face_top,face_right,face_bottom,identity,split,language,source"
    with path.open("w") as file:
        file.write(columns + "\n")
        for number in range(rows):
            video, part = divmod(number, PARTS)
            person = video // VIDEOS_PER_IDENTITY
            name = f"id{person:05d}/{video:07d}.mp4"
            if part == 0:
                (videos / name).parent.mkdir(parents=True, exist_ok=True)
                (videos / name).touch()
            end = 4 * part + (3.5 if number % 100 else -1)
            split = "test" if person % 50 == 0 else "train"
            face = "0.25,0.1,0.75,0.9"
            file.write(
                f"{name},{4 * part},{end},{face},id{person:05d},{split},en,https://example.org/{video}\n"
            )


def main() -> None:
    """Write, add, and print the figures."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_100_000
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as scratch:
        videos = Path(scratch, "videos")
        write_list(Path(scratch, "list.csv"), videos, rows)
        started, cpu = time.monotonic(), time.process_time()
        root = open_root(str(Path(scratch, "root")))
        report = save_list(root, "benchmark", read_list(Path(scratch, "list.csv")), videos)
        seconds, cpu_seconds = time.monotonic() - started, time.process_time() - cpu
        size = (Path(scratch, "root") / "catalog" / "lists" / "benchmark.parquet").stat().st_size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{report.rows:,} rows, {report.accepted:,} accepted, {report.refusals}")
    print(f"{seconds:.1f} s, {cpu_seconds:.1f} s of CPU, peak {peak:.2f} GiB, table {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
