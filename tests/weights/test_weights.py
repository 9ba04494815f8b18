"""Pretrained weights: downloads over bad connections, verification, licences."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from urllib3 import Retry

from tests.factories.weights.server import Plan, proxy, served
from weights.catalog import Commercial, Licence, PretrainedWeights, WeightsArchive, WeightsFile
from weights.fetch import UnpackLimit, fetch, unpack
from weights.folder import VerifiedFile, find_files, read_record, weights_folder
from weights.licences import ACCEPT_VARIABLE, accept, require_acceptance

CONTENT = b"PK weights " * 5000
SIZE_BYTES = len(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = Retry(total=2, backoff_factor=0.0, status_forcelist=(429, 503))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", ACCEPT_VARIABLE):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def weights(
    url: str | None = None,
    sha256: str | None = SHA256,
    size_bytes: int | None = SIZE_BYTES,
    commercial: Commercial = "yes",
) -> PretrainedWeights:
    return PretrainedWeights(
        name="net",
        purpose="a test",
        used_by="tests",
        page="https://example.org/net",
        licence=Licence("CC-BY-NC-4.0", "https://example.org/licence", commercial, "Not for money."),
        files=(WeightsFile("net.pth", size_bytes, sha256, other_names=("nett.pth",), url=url),),
    )


def packed(url: str | None = None, archive_sha256: str | None = None) -> PretrainedWeights:
    files = (WeightsFile("net.pth", len(CONTENT), SHA256), WeightsFile("more.pth"))
    return replace(weights(), files=files, archive=WeightsArchive("nets.zip", url, None, archive_sha256))


def get(row: PretrainedWeights, folder: Path, source: str | None = None) -> tuple[VerifiedFile, ...]:
    return fetch(row, folder, lambda *_: None, source, QUICK)


def zip_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_fetch_verifies_and_records_a_file(tmp_path: Path) -> None:
    steps: list[tuple[str, int, int | None]] = []
    with served(Plan(CONTENT)) as url:
        row = weights(f"{url}/net.pth")
        (found,) = fetch(row, tmp_path, lambda *step: steps.append(step), None, QUICK)
    assert found == VerifiedFile("net.pth", tmp_path / "net/net.pth", SHA256, len(CONTENT), "catalog")
    assert found.path.read_bytes() == CONTENT
    assert steps[0] == ("net.pth", 0, len(CONTENT))
    assert steps[-1] == ("net.pth", len(CONTENT), len(CONTENT))
    assert find_files(row, tmp_path) == (found,)
    assert read_record(row, tmp_path)["net.pth"].source == f"{url}/net.pth"
    assert sorted(path.name for path in (tmp_path / "net").iterdir() if path.suffix != ".lock") == [
        "net.pth",
        "record.json",
    ]


def test_download_resumes_a_broken_connection(tmp_path: Path) -> None:
    plan = Plan(CONTENT, cut_after=[20_000, 20_000])
    with served(plan) as url:
        (found,) = get(weights(url), tmp_path)
    assert found.path.read_bytes() == CONTENT
    assert plan.ranges == [None, "bytes=20000-", "bytes=40000-"]


def test_download_retries_only_transient_status_codes(tmp_path: Path) -> None:
    plan = Plan(CONTENT, statuses=[503, 429])
    with served(plan) as url:
        get(weights(url), tmp_path)
    assert len(plan.ranges) == 3
    gone = Plan(CONTENT, statuses=[404])
    with served(gone) as url, pytest.raises(ValueError, match=r"/x answered 404 Not Found$"):
        get(weights(f"{url}/x"), tmp_path / "other")
    assert len(gone.ranges) == 1


def test_download_keeps_received_bytes_when_retries_end(tmp_path: Path) -> None:
    with served(Plan(CONTENT, cut_after=[1000, 0, 0, 0])) as url:
        with pytest.raises(
            ConnectionError,
            match=r"^cannot download .*; 1000 bytes are kept: run the command again, or pass",
        ) as caught:
            get(weights(url), tmp_path)
        assert "\n" not in str(caught.value)
        assert (tmp_path / "net/net.pth.part").read_bytes() == CONTENT[:1000]
        (found,) = get(weights(url), tmp_path)
    assert found.path.read_bytes() == CONTENT


def test_download_never_joins_parts_of_two_versions(tmp_path: Path) -> None:
    plan = Plan(b"an old version " * 1000, cut_after=[100, 0, 0, 0])
    with served(plan) as url:
        with pytest.raises(ConnectionError):
            get(weights(url, None, None), tmp_path)
        plan.content, plan.tag, plan.cut_after = CONTENT, '"two"', []
        (found,) = get(weights(url, None, None), tmp_path)
    assert plan.ranges[-1] == "bytes=100-"
    assert found.path.read_bytes() == CONTENT


@pytest.mark.parametrize("plan", [Plan(CONTENT, tag=""), Plan(CONTENT, knows_ranges=False)])
def test_download_restarts_if_the_server_cannot_resume(tmp_path: Path, plan: Plan) -> None:
    plan.cut_after = [1000]
    with served(plan) as url:
        (found,) = get(weights(url), tmp_path)
    assert found.path.read_bytes() == CONTENT


def test_download_resumes_after_sigkill(tmp_path: Path) -> None:
    plan = Plan(CONTENT, gate=threading.Event())
    child = (
        "import sys; from pathlib import Path; from tests.weights.test_weights import get, weights; "
        "get(weights(sys.argv[1]), Path(sys.argv[2]))"
    )
    with served(plan) as url:
        with subprocess.Popen([sys.executable, "-c", child, url, str(tmp_path)]) as process:
            part = tmp_path / "net/net.pth.part"
            while not part.is_file() or part.stat().st_size < len(CONTENT) // 2:
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        assert not (tmp_path / "net/net.pth").exists()
        assert plan.gate is not None
        plan.gate.set()
        (found,) = get(weights(url), tmp_path)
    assert plan.ranges == [None, f"bytes={len(CONTENT) // 2}-"]
    assert found.path.read_bytes() == CONTENT


def test_concurrent_fetches_download_once(tmp_path: Path) -> None:
    plan = Plan(CONTENT, gate=threading.Event())
    with served(plan) as url, ThreadPoolExecutor(2) as threads:
        both = [threads.submit(get, weights(url), tmp_path) for _ in range(2)]
        while not plan.ranges:
            time.sleep(0.01)
        assert plan.gate is not None
        plan.gate.set()
        assert both[0].result() == both[1].result()
    assert plan.ranges == [None]


@pytest.mark.parametrize(
    "plan",
    [
        Plan(b"<html>log in</html>", content_type="text/html; charset=utf-8"),
        Plan(b"\n <!DOCTYPE html>log in"),
    ],
)
def test_fetch_refuses_a_login_page(tmp_path: Path, plan: Plan) -> None:
    with served(plan) as url:
        expected = r"/net is a web page, not weights \(it may require a login.*\): download it with a browser"
        with pytest.raises(ValueError, match=expected):
            get(weights(f"{url}/net", None, None), tmp_path)
    assert not (tmp_path / "net/net.pth").exists()


def test_forbidden_download_names_the_alternative(tmp_path: Path) -> None:
    message = r"403 Forbidden: it requires a login or a form; download .* --from FILE"
    with served(Plan(CONTENT, statuses=[403])) as url, pytest.raises(ValueError, match=message):
        get(weights(url), tmp_path)


def test_fetch_refuses_another_file_and_leaves_nothing(tmp_path: Path) -> None:
    with served(Plan(CONTENT[::-1])) as url:
        with pytest.raises(
            ValueError, match=rf"is not net's net.pth: its sha256 is .*, expected {SHA256}; nothing"
        ):
            get(weights(url), tmp_path)
        with pytest.raises(ValueError, match="is another file: it has 55000 bytes, expected 7"):
            get(weights(url, SHA256, 7), tmp_path)
    assert not list((tmp_path / "net").glob("net.pth*"))


def test_download_without_length_needs_a_known_size(tmp_path: Path) -> None:
    plan = Plan(CONTENT, tells_length=False)
    with served(plan) as url:
        with pytest.raises(ValueError, match="sends no Content-Length"):
            get(weights(url, None, None), tmp_path)
        (found,) = get(weights(url), tmp_path)
    assert found.path.read_bytes() == CONTENT


def test_download_uses_proxies_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    with served(Plan(CONTENT)) as url, proxy(seen) as proxy_url:
        monkeypatch.setenv("HTTP_PROXY", proxy_url)
        get(weights(f"{url}/net.pth"), tmp_path / "through")
        assert seen == [f"{url}/net.pth"]
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        get(weights(f"{url}/net.pth"), tmp_path / "past")
        assert len(seen) == 1
        monkeypatch.delenv("NO_PROXY")
    with pytest.raises(ConnectionError, match="the proxy does not answer"):
        get(weights("http://net.example.org/net.pth"), tmp_path / "dead")


def test_unreachable_server_error_is_one_line(tmp_path: Path) -> None:
    with served(Plan(CONTENT)) as url:
        pass
    with pytest.raises(
        ConnectionError, match=r"^cannot download .*: the connection failed \(.*refused\)"
    ) as caught:
        get(weights(url), tmp_path)
    assert "\n" not in str(caught.value)


def test_fetch_takes_files_from_path_url_or_folder(tmp_path: Path) -> None:
    path = tmp_path / "down loads/nett.pth"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    for number, source in enumerate((str(path), path.as_uri(), str(path.parent))):
        (found,) = get(weights(), tmp_path / str(number), source)
        assert found.path == tmp_path / f"{number}/net/net.pth"
        assert found.path.read_bytes() == CONTENT
    assert path.read_bytes() == CONTENT
    with pytest.raises(FileNotFoundError, match=r"net: .*none\.pth does not exist"):
        get(weights(), tmp_path / "other", str(tmp_path / "none.pth"))
    with pytest.raises(FileNotFoundError, match=r"net: no net\.pth in "):
        get(weights(), tmp_path / "other", str(tmp_path / "0"))


def test_fetch_records_urls_without_secrets(tmp_path: Path) -> None:
    with served(Plan(CONTENT)) as url:
        secret = url.replace("http://", "http://me:word@") + "/net.pth?key=k"
        get(weights(), tmp_path, secret)
    assert read_record(weights(), tmp_path)["net.pth"].source == f"{url}/net.pth"
    assert not list((tmp_path / "net").glob("given*"))


def test_missing_message_of_manual_downloads(tmp_path: Path) -> None:
    message = (
        rf"net is missing: no net\.pth in {tmp_path}/net, 0 MB; licence CC-BY-NC-4.0 "
        r"\(https://example.org/licence\), commercial use: no; download net\.pth from "
        r"https://example.org/net and run: pdfgc weights fetch net --from net\.pth --accept-licence net$"
    )
    row = weights(commercial="no")
    with pytest.raises(FileNotFoundError, match=message):
        find_files(row, tmp_path)
    accept(row, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"download net\.pth from https://example\.org/net and run"):
        get(row, tmp_path)


def test_fetch_unpacks_files_from_any_archive_folder(tmp_path: Path) -> None:
    members = {"pack/net.pth": CONTENT, "../more.pth": b"more", "../../evil.pth": b"evil"}
    archive = zip_of(members)
    with served(Plan(archive, cut_after=[1000])) as url:
        row = packed(url, hashlib.sha256(archive).hexdigest())
        found = get(row, tmp_path / "zip")
    assert [file.path.read_bytes() for file in found] == [CONTENT, b"more"]
    assert [file.trusted for file in found] == ["catalog", "first use"]
    tar = tmp_path / "nets.tar"
    with tarfile.open(tar, "w:gz") as opened:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    assert [file.path.read_bytes() for file in get(packed(), tmp_path / "tar", str(tar))] == [
        CONTENT,
        b"more",
    ]
    assert not list(tmp_path.rglob("evil*"))
    assert not list(tmp_path.rglob("*.part*"))


def test_unpack_refuses_bombs_and_endless_headers(tmp_path: Path) -> None:
    archive, target = tmp_path / "nets.zip", tmp_path / "net.pth"
    limit = UnpackLimit(file_bytes=1000, archive_bytes=20_000, members=3)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("net.pth", bytes(100_000))
    with pytest.raises(ValueError, match=r"net\.pth unpacks to more than 1000 bytes"):
        unpack(archive, {"net.pth": target}, limit)
    assert not target.exists()
    archive.write_bytes(zip_of({str(number): b"" for number in range(4)}))
    with pytest.raises(ValueError, match="has 4 members, need at most 3"):
        unpack(archive, {"net.pth": target}, limit)
    other = tarfile.TarInfo("other.bin")
    other.size = 50_000
    with tarfile.open(tmp_path / "skipped.tar.xz", "w:xz") as packed_tar:
        packed_tar.addfile(other, io.BytesIO(bytes(50_000)))
    with pytest.raises(ValueError, match="need at most 20000 bytes"):
        unpack(tmp_path / "skipped.tar.xz", {"net.pth": target}, limit)
    header = tarfile.TarInfo("net.pth")
    header.size = -512
    (tmp_path / "negative.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) * 2 + bytes(1024))
    with pytest.raises(ValueError, match="member 1 ends at byte 0, need"):
        unpack(tmp_path / "negative.tar", {"net.pth": target}, limit)


def test_fetch_refuses_damaged_or_incomplete_archives(tmp_path: Path) -> None:
    archive = tmp_path / "nets.zip"
    archive.write_bytes(zip_of({"net.pth": CONTENT}))
    with pytest.raises(ValueError, match=r"nets\.zip does not contain more\.pth$"):
        get(packed(), tmp_path, str(archive))
    archive.write_bytes(zip_of({"net.pth": CONTENT, "more.pth": b"more"}).replace(CONTENT[:50], b"x" * 50, 1))
    with pytest.raises(ValueError, match=r"nets\.zip cannot be unpacked: it is damaged or truncated"):
        get(packed(), tmp_path, str(archive))
    archive.write_bytes(b"neither")
    with pytest.raises(ValueError, match=r"nets\.zip is neither a zip nor a tar"):
        get(packed(), tmp_path, str(archive))
    message = r"is another file: its sha256 is .*, expected 0000"
    with served(Plan(zip_of({"net.pth": CONTENT}))) as url, pytest.raises(ValueError, match=message):
        get(packed(url, "0" * 64), tmp_path)
    assert not list((tmp_path / "net").glob("net.pth"))


def test_fetch_of_one_given_file_lists_the_missing(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(CONTENT)
    with pytest.raises(FileNotFoundError, match=r"is in place, but net is missing: no more\.pth"):
        get(packed(), tmp_path / "folder", str(path))
    row = packed()
    assert find_files(row, tmp_path / "folder", row.files[:1])[0].sha256 == SHA256


def test_find_files_refuses_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "net/net.pth"
    path.parent.mkdir()
    for content, message in (
        (
            CONTENT[:-1],
            r"is truncated or not net's net\.pth: it has 54999 bytes, expected 55000; remove it and run",
        ),
        (CONTENT + b"x", r"is not net's net.pth: it has 55001 bytes"),
        (CONTENT[::-1], r"is not net's net.pth: its sha256 is"),
        (b"<html>", "is a web page, not weights"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            find_files(weights(), tmp_path)
        with pytest.raises(ValueError, match=message):
            get(weights("http://unasked.example.org"), tmp_path)
    path.write_bytes(CONTENT)
    assert find_files(weights(), tmp_path)[0].sha256 == SHA256


def test_unknown_digest_is_recorded_at_first_use(tmp_path: Path) -> None:
    row, path = weights(sha256=None, size_bytes=None), tmp_path / "net/nett.pth"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    (first,) = find_files(row, tmp_path)
    assert (first.path, first.trusted) == (path, "first use")
    assert json.loads((tmp_path / "net/record.json").read_text())["net.pth"]["sha256"] == SHA256
    path.write_bytes(b"other")
    with pytest.raises(ValueError, match=r"differs from the net.pth first used on 20.*remove .*record.json"):
        find_files(row, tmp_path)
    path.unlink()
    with (
        served(Plan(b"other")) as url,
        pytest.raises(ValueError, match="differs from the net"),
    ):
        get(weights(url, None, None), tmp_path)
    (tmp_path / "net/record.json").unlink()
    path.write_bytes(b"other")
    assert find_files(row, tmp_path)[0].size_bytes == 5


def test_known_start_of_a_digest_is_verified(tmp_path: Path) -> None:
    named = WeightsFile("net.pth", sha256_start=SHA256[:8])
    (tmp_path / "net").mkdir()
    file = tmp_path / "net" / "net.pth"
    file.write_bytes(CONTENT)
    assert find_files(replace(weights(), files=(named,)), tmp_path)[0].sha256 == SHA256
    other = replace(named, sha256_start="0" * 8)
    with pytest.raises(ValueError, match=rf"sha256 is {SHA256}, expected one that starts with 00000000; "):
        find_files(replace(weights(), files=(other,)), tmp_path)


def test_read_record_refuses_a_damaged_record(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/net.pth").write_bytes(CONTENT)
    (tmp_path / "net/record.json").write_text("[]")
    with pytest.raises(ValueError, match=r"record\.json is not a record of weights"):
        find_files(weights(sha256=None), tmp_path)


def test_licence_must_be_accepted_once(tmp_path: Path) -> None:
    row = weights(commercial="no")
    (tmp_path / "net").mkdir()
    (tmp_path / "net/net.pth").write_bytes(CONTENT)
    message = (
        r"net: the licence must be accepted once\. CC-BY-NC-4\.0 \(https://example\.org/licence\), "
        r"commercial use: no\. Not for money\. Accept it with: pdfgc weights fetch net --accept-licence "
        r"net, or PDFGC_ACCEPT_LICENCES=net$"
    )
    for refused in (lambda: find_files(row, tmp_path), lambda: get(row, tmp_path)):
        with pytest.raises(ValueError, match=message):
            refused()
    accepted = accept(row, tmp_path)
    assert (accepted.licence, accepted.how) == ("CC-BY-NC-4.0", "flag")
    assert require_acceptance(row, tmp_path) == accepted
    assert find_files(row, tmp_path)[0].sha256 == SHA256


def test_acceptance_holds_for_one_licence_text(tmp_path: Path) -> None:
    row = weights(commercial="no")
    accept(row, tmp_path)
    changed = replace(row, licence=replace(row.licence, terms="Not at all."))
    with pytest.raises(ValueError, match=r"once \(its text has changed since 20"):
        require_acceptance(changed, tmp_path)


def test_acceptance_in_environment_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = weights(commercial="unclear")
    monkeypatch.setenv(ACCEPT_VARIABLE, "other, net")
    accepted = require_acceptance(row, tmp_path)
    assert accepted is not None
    assert accepted.how == "environment"
    monkeypatch.delenv(ACCEPT_VARIABLE)
    assert require_acceptance(row, tmp_path) == accepted


def test_read_only_folder_is_usable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = weights(sha256=None, size_bytes=None, commercial="no")
    (tmp_path / "net").mkdir()
    (tmp_path / "net/net.pth").write_bytes(CONTENT)
    monkeypatch.setenv(ACCEPT_VARIABLE, "net")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert find_files(row, tmp_path)[0].sha256 == SHA256
    assert [path.name for path in (tmp_path / "net").iterdir()] == ["net.pth"]


def test_weights_folder_is_variable_or_user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDFGC_WEIGHTS", str(tmp_path))
    assert weights_folder() == tmp_path
    monkeypatch.delenv("PDFGC_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert weights_folder() == tmp_path / "cache/pdfgc/weights"
