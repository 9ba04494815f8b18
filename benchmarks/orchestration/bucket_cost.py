"""CPU time, requests and bytes of a clip in a bucket, against the same on the local disk.

moto's S3 on the loopback interface plays the bucket, behind a server that counts requests. The work is done
in a process of its own, whose CPU time alone is measured: none of the servers', and no network.

    python -m benchmarks.orchestration.bucket_cost [--clips 100] [--clip-bytes 1400000] [--rounds 3]
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

import click
from upath import UPath

from benchmarks.measuring import cpu_seconds, show
from storage.publishing import BuildReport, Published, Recipe, materialise, require_current
from storage.remote.sparse_cache import GIB, SparseCache
from storage.root import open_root, verified_copy
from tests.factories.storage.faulty_store import FaultyStore, faulty_store

CLIPS_PER_SHARD: Final = 25
PHASES: Final = ("publish", "copy and verify", "first read", "second read")


def publish(root: UPath, clips: int, clip_bytes: int) -> Published:
    """Publish shards of bytes that do not repeat."""

    def write(work: Path) -> BuildReport:
        for shard in range(-(-clips // CLIPS_PER_SHARD)):
            count = min(CLIPS_PER_SHARD, clips - shard * CLIPS_PER_SHARD)
            (work / f"b0-{shard:03d}.tar").write_bytes(os.urandom(count * clip_bytes))
        return BuildReport({"samples": clips}, {})

    return materialise(root, Recipe("shards", "b0", "1", {}, {}), write)


def read_clips(root: UPath, cache: Path, clips: int, clip_bytes: int) -> None:
    """Read every clip once, as training does: from the file, or through the node's cache."""
    published = require_current(root, "shards", "b0")
    for shard, (name, record) in enumerate(sorted(published.manifest.files.items())):
        count = min(CLIPS_PER_SHARD, clips - shard * CLIPS_PER_SHARD)
        offsets = range(0, count * clip_bytes, clip_bytes)
        path = published.directory / name
        if isinstance(path, Path):
            with path.open("rb") as file:
                for offset in offsets:
                    os.pread(file.fileno(), clip_bytes, offset)
            continue
        copy = SparseCache(cache, 200 * GIB).open(path, record.sha256, record.size_bytes)
        for offset in offsets:
            copy.require(offset, clip_bytes)
            os.pread(copy.descriptor, clip_bytes, offset)
        copy.close()


def measure(location: str, folder: Path, clips: int, clip_bytes: int) -> None:
    """Do each phase on request, and print its CPU seconds."""
    root = open_root(location)
    phases: tuple[Callable[[], object], ...] = (
        lambda: publish(root, clips, clip_bytes),
        lambda: verified_copy(require_current(root, "shards", "b0").directory),
        lambda: read_clips(root, folder / "cache", clips, clip_bytes),
        lambda: read_clips(root, folder / "cache", clips, clip_bytes),
    )
    for phase in phases:
        sys.stdin.readline()
        before = cpu_seconds()
        phase()
        print(json.dumps(cpu_seconds() - before), flush=True)


def measured(location: str, clips: int, clip_bytes: int, store: FaultyStore) -> list[tuple[float, int]]:
    """CPU seconds and requests of each phase."""
    with tempfile.TemporaryDirectory(prefix="pdfgc-bucket-") as folder:
        place = location or str(Path(folder) / "root")
        environment = os.environ | {"PDFGC_SCRATCH": f"{folder}/scratch", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "benchmarks.orchestration.bucket_cost", "--work", place, folder]
        sizes = ["--clips", str(clips), "--clip-bytes", str(clip_bytes)]
        with subprocess.Popen(
            [*command, *sizes], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            results: list[tuple[float, int]] = []
            for _ in PHASES:
                before = store.requests
                print(file=child.stdin, flush=True)
                seconds = float(child.stdout.readline())
                results.append((seconds, store.requests - before))
        return results


@contextmanager
def bucket_server() -> Generator[FaultyStore]:
    """A bucket `pdfgc` that the variables of this process lead to."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        with faulty_store(f"http://{host}:{port}") as store:
            keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
            os.environ.update(keys, AWS_ENDPOINT_URL=store.endpoint, AWS_REGION="us-east-1")
            connection = HTTPConnection(host, port, timeout=60)
            connection.request("PUT", "/pdfgc")
            connection.getresponse().read()
            yield store
    finally:
        server.stop()


@click.command(help=__doc__, context_settings={"show_default": True})
@click.option("--clips", default=100, help="Number of clips")
@click.option("--clip-bytes", default=1_400_000, help="Bytes of a clip; default: of 64 frames")
@click.option("--rounds", default=3, help="Repetitions; the median is shown")
@click.option("--work", nargs=2, default=None, hidden=True)
def main(clips: int, clip_bytes: int, rounds: int, work: tuple[str, str] | None) -> None:
    """Run the benchmark."""
    if work is not None:
        measure(work[0], Path(work[1]), clips, clip_bytes)
        return
    with bucket_server() as store:
        local = [measured("", clips, clip_bytes, store) for _ in range(rounds)]
        remote = [measured(f"s3://pdfgc/{n}", clips, clip_bytes, store) for n in range(rounds)]
    rows: list[list[object]] = []
    for number, phase in enumerate(PHASES):
        disk, bucket = (
            statistics.median(each[number][0] for each in runs) * 1000 / clips for runs in (local, remote)
        )
        requests = remote[0][number][1] / clips
        rows.append([phase, f"{disk:.2f}", f"{bucket:.2f}", f"{requests:.2f}"])
    title = f"{clips} clips of {clip_bytes:,} bytes, {CLIPS_PER_SHARD} a shard"
    show(title, ["phase", "disk: CPU ms a clip", "bucket: CPU ms a clip", "requests a clip"], rows)


if __name__ == "__main__":
    main()
