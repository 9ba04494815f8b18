"""Outside weights: fetched over a bad line, held against what is known, refused without their terms."""

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

from tests.factories.weights_server import Plan, proxy, served
from weights.catalog import Commercial, Licence, PretrainedWeights, WeightsArchive, WeightsFile
from weights.download import DownloadSettings
from weights.fetch import fetch
from weights.folder import FoundFile, find_file, find_files, read_record, weights_folder
from weights.licences import ACCEPT_VARIABLE, accept, require_acceptance

CONTENT = b"PK weights " * 5000
SIZE_BYTES = len(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = DownloadSettings(waits_seconds=(0.0, 0.0), silence_seconds=5.0)


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
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
        used_by="nobody",
        page="https://example.org/net",
        licence=Licence("CC-BY-NC-4.0", "https://example.org/licence", commercial, "Not for money."),
        files=(WeightsFile("net.pth", size_bytes, sha256, other_names=("nett.pth",), url=url),),
    )


def packed(url: str | None = None, archive_sha256: str | None = None) -> PretrainedWeights:
    files = (WeightsFile("net.pth", len(CONTENT), SHA256), WeightsFile("more.pth"))
    return replace(weights(), files=files, archive=WeightsArchive("nets.zip", url, None, archive_sha256))


def get(row: PretrainedWeights, folder: Path, source: str | None = None) -> tuple[FoundFile, ...]:
    return fetch(row, folder, lambda *_: None, source, QUICK)


def zip_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_a_fetched_file_is_verified_recorded_and_found_without_a_network(tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    with served(Plan(CONTENT)) as url:
        row = weights(f"{url}/net.pth")
        (found,) = fetch(row, tmp_path, lambda *step: told.append(step), None, QUICK)
    assert found == FoundFile("net.pth", tmp_path / "net/net.pth", SHA256, len(CONTENT), "list")
    assert found.path.read_bytes() == CONTENT
    assert told[0] == ("net.pth", 0, len(CONTENT))
    assert told[-1] == ("net.pth", len(CONTENT), len(CONTENT))
    assert find_files(row, tmp_path) == (found,)
    assert read_record(row, tmp_path)["net.pth"].source == f"{url}/net.pth"
    assert sorted(path.name for path in (tmp_path / "net").iterdir() if path.suffix != ".lock") == [
        "net.pth",
        "record.json",
    ]


def test_a_cut_connection_is_gone_on_with_where_it_was_cut(tmp_path: Path) -> None:
    plan = Plan(CONTENT, cut_after=[20_000, 20_000])
    with served(plan) as url:
        (found,) = get(weights(url), tmp_path)
    assert found.path.read_bytes() == CONTENT
    assert plan.ranges == [None, "bytes=20000-", "bytes=40000-"]


def test_passing_errors_are_tried_again_and_others_are_not(tmp_path: Path) -> None:
    plan = Plan(CONTENT, statuses=[503, 429])
    with served(plan) as url:
        get(weights(url), tmp_path)
    assert len(plan.ranges) == 3
    gone = Plan(CONTENT, statuses=[404])
    with served(gone) as url, pytest.raises(ValueError, match=r"/x answered 404 Not Found$"):
        get(weights(f"{url}/x"), tmp_path / "other")
    assert len(gone.ranges) == 1


def test_a_line_that_stays_bad_keeps_what_came_and_says_so(tmp_path: Path) -> None:
    with served(Plan(CONTENT, cut_after=[1000, 0, 0, 0])) as url:
        with pytest.raises(
            ConnectionError,
            match=r"cannot be fetched: .*; 1000 bytes are kept, run the command again, or give",
        ) as told:
            get(weights(url), tmp_path)
        assert "\n" not in str(told.value)
        assert (tmp_path / "net/net.pth.part").read_bytes() == CONTENT[:1000]
        (found,) = get(weights(url), tmp_path)
    assert found.path.read_bytes() == CONTENT


def test_parts_of_two_versions_never_meet(tmp_path: Path) -> None:
    plan = Plan(b"an old version " * 1000, cut_after=[100, 0, 0, 0])
    with served(plan) as url:
        with pytest.raises(ConnectionError):
            get(weights(url, None, None), tmp_path)
        plan.content, plan.tag, plan.cut_after = CONTENT, '"two"', []
        (found,) = get(weights(url, None, None), tmp_path)
    assert plan.ranges[-1] == "bytes=100-"
    assert found.path.read_bytes() == CONTENT


@pytest.mark.parametrize("plan", [Plan(CONTENT, tag=""), Plan(CONTENT, knows_ranges=False)])
def test_a_server_that_cannot_go_on_is_asked_for_the_whole(tmp_path: Path, plan: Plan) -> None:
    plan.cut_after = [1000]
    with served(plan) as url:
        (found,) = get(weights(url), tmp_path)
    assert found.path.read_bytes() == CONTENT


def test_a_download_killed_in_the_middle_is_gone_on_with(tmp_path: Path) -> None:
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


def test_two_fetches_at_once_download_once(tmp_path: Path) -> None:
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
def test_a_login_page_is_refused(tmp_path: Path, plan: Plan) -> None:
    with served(plan) as url:
        expected = r"/net is a web page, not weights \(a login or a form.*\): get the file in a browser"
        with pytest.raises(ValueError, match=expected):
            get(weights(f"{url}/net", None, None), tmp_path)
    assert not (tmp_path / "net/net.pth").exists()


def test_a_closed_door_says_how_to_go_on(tmp_path: Path) -> None:
    told = r"403 Forbidden: it wants a login or a form; get .* --from FILE"
    with served(Plan(CONTENT, statuses=[403])) as url, pytest.raises(ValueError, match=told):
        get(weights(url), tmp_path)


def test_another_file_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with served(Plan(CONTENT[::-1])) as url:
        with pytest.raises(
            ValueError, match=rf"is not net's net.pth: its sha256 is .*, should be {SHA256}; nothing"
        ):
            get(weights(url), tmp_path)
        with pytest.raises(ValueError, match="is another file: it has 55000 bytes, should have 7"):
            get(weights(url, SHA256, 7), tmp_path)
    assert not list((tmp_path / "net").glob("net.pth*"))


def test_a_server_without_a_length_is_believed_only_where_the_size_is_known(tmp_path: Path) -> None:
    plan = Plan(CONTENT, tells_length=False)
    with served(plan) as url:
        with pytest.raises(ValueError, match="does not say how long the file is"):
            get(weights(url, None, None), tmp_path)
        (found,) = get(weights(url), tmp_path)
    assert found.path.read_bytes() == CONTENT


def test_proxies_of_the_environment_are_used_and_left_out_as_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with served(Plan(CONTENT)) as url:
        pass
    with pytest.raises(
        ConnectionError, match=r"cannot be fetched: the connection failed \(.*refused\)"
    ) as told:
        get(weights(url), tmp_path)
    assert "\n" not in str(told.value)


def test_a_file_got_by_hand_is_taken_from_a_path_an_address_or_a_folder(tmp_path: Path) -> None:
    lying = tmp_path / "down loads/nett.pth"
    lying.parent.mkdir()
    lying.write_bytes(CONTENT)
    for number, source in enumerate((str(lying), lying.as_uri(), str(lying.parent))):
        (found,) = get(weights(), tmp_path / str(number), source)
        assert found.path == tmp_path / f"{number}/net/net.pth"
        assert found.path.read_bytes() == CONTENT
    assert lying.read_bytes() == CONTENT
    with pytest.raises(FileNotFoundError, match=r"net: nothing is at .*none\.pth"):
        get(weights(), tmp_path / "other", str(tmp_path / "none.pth"))
    with pytest.raises(FileNotFoundError, match=r"net: no net\.pth in "):
        get(weights(), tmp_path / "other", str(tmp_path / "0"))


def test_an_address_of_ones_own_is_recorded_without_its_keys(tmp_path: Path) -> None:
    with served(Plan(CONTENT)) as url:
        secret = url.replace("http://", "http://me:word@") + "/net.pth?key=k"
        get(weights(), tmp_path, secret)
    assert read_record(weights(), tmp_path)["net.pth"].source == f"{url}/net.pth"
    assert not list((tmp_path / "net").glob("given*"))


def test_what_only_a_person_can_get_is_told_with_page_place_and_command(tmp_path: Path) -> None:
    told = (
        rf"net is missing: no net\.pth in {tmp_path}/net, 0 MB; licence CC-BY-NC-4.0 "
        r"\(https://example.org/licence\), commercial use: no; get net\.pth at https://example.org/net and "
        r"run: pdfgc weights fetch net --from net\.pth --accept-licence net$"
    )
    row = weights(commercial="no")
    with pytest.raises(FileNotFoundError, match=told):
        find_files(row, tmp_path)
    accept(row, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"get net\.pth at https://example\.org/net and run"):
        get(row, tmp_path)


def test_files_come_out_of_an_archive_whatever_folder_they_lie_in(tmp_path: Path) -> None:
    members = {"pack/net.pth": CONTENT, "../more.pth": b"more", "../../evil.pth": b"evil"}
    archive = zip_of(members)
    with served(Plan(archive, cut_after=[1000])) as url:
        row = packed(url, hashlib.sha256(archive).hexdigest())
        found = get(row, tmp_path / "zip")
    assert [file.path.read_bytes() for file in found] == [CONTENT, b"more"]
    assert [file.trusted for file in found] == ["list", "first use"]
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


def test_an_archive_that_is_damaged_or_lacks_a_file_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "nets.zip"
    archive.write_bytes(zip_of({"net.pth": CONTENT}))
    with pytest.raises(ValueError, match=r"nets\.zip does not hold more\.pth$"):
        get(packed(), tmp_path, str(archive))
    archive.write_bytes(zip_of({"net.pth": CONTENT, "more.pth": b"more"}).replace(CONTENT[:50], b"x" * 50, 1))
    with pytest.raises(ValueError, match=r"nets\.zip cannot be unpacked: it is damaged or cut short"):
        get(packed(), tmp_path, str(archive))
    archive.write_bytes(b"neither")
    with pytest.raises(ValueError, match=r"nets\.zip is no zip and no tar"):
        get(packed(), tmp_path, str(archive))
    told = r"is another file: its sha256 is .*, should be 0000"
    with served(Plan(zip_of({"net.pth": CONTENT}))) as url, pytest.raises(ValueError, match=told):
        get(packed(url, "0" * 64), tmp_path)
    assert not list((tmp_path / "net").glob("net.pth"))


def test_one_file_of_several_given_by_hand_says_what_is_still_missing(tmp_path: Path) -> None:
    lying = tmp_path / "net.pth"
    lying.write_bytes(CONTENT)
    with pytest.raises(FileNotFoundError, match=r"is in place; still missing: net is missing: no more\.pth"):
        get(packed(), tmp_path / "folder", str(lying))
    row = packed()
    assert find_file(row, row.files[0], tmp_path / "folder").sha256 == SHA256


def test_a_damaged_file_in_the_folder_is_refused_with_the_way_out(tmp_path: Path) -> None:
    lying = tmp_path / "net/net.pth"
    lying.parent.mkdir()
    for content, told in (
        (
            CONTENT[:-1],
            r"is cut short or not net's net\.pth: it has 54999 bytes, should have 55000; remove it and run",
        ),
        (CONTENT + b"x", r"is not net's net.pth: it has 55001 bytes"),
        (CONTENT[::-1], r"is not net's net.pth: its sha256 is"),
        (b"<html>", "is a web page, not weights"),
    ):
        lying.write_bytes(content)
        with pytest.raises(ValueError, match=told):
            find_files(weights(), tmp_path)
        with pytest.raises(ValueError, match=told):
            get(weights("http://unasked.example.org"), tmp_path)
    lying.write_bytes(CONTENT)
    assert find_files(weights(), tmp_path)[0].sha256 == SHA256


def test_where_no_digest_is_known_the_first_file_used_is_held_against_later_ones(tmp_path: Path) -> None:
    row, lying = weights(sha256=None, size_bytes=None), tmp_path / "net/nett.pth"
    lying.parent.mkdir()
    lying.write_bytes(CONTENT)
    (first,) = find_files(row, tmp_path)
    assert (first.path, first.trusted) == (lying, "first use")
    assert json.loads((tmp_path / "net/record.json").read_text())["net.pth"]["sha256"] == SHA256
    lying.write_bytes(b"other")
    with pytest.raises(
        ValueError, match=r"is another net.pth than the one first used on 20.*remove .*record.json"
    ):
        find_files(row, tmp_path)
    lying.unlink()
    with served(Plan(b"other")) as url, pytest.raises(ValueError, match="than the one first used"):
        get(weights(url, None, None), tmp_path)
    (tmp_path / "net/record.json").unlink()
    lying.write_bytes(b"other")
    assert find_files(row, tmp_path)[0].size_bytes == 5


def test_a_record_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/net.pth").write_bytes(CONTENT)
    (tmp_path / "net/record.json").write_text("[]")
    with pytest.raises(ValueError, match=r"record\.json is no record of weights"):
        find_files(weights(sha256=None), tmp_path)


def test_a_licence_must_be_accepted_by_name_once(tmp_path: Path) -> None:
    row = weights(commercial="no")
    (tmp_path / "net").mkdir()
    (tmp_path / "net/net.pth").write_bytes(CONTENT)
    told = (
        r"net: its licence must be accepted by name once\. CC-BY-NC-4\.0 \(https://example\.org/licence\), "
        r"commercial use: no\. Not for money\. Accept it with: pdfgc weights fetch net --accept-licence "
        r"net, or PDFGC_ACCEPT_LICENCES=net$"
    )
    for refused in (lambda: find_files(row, tmp_path), lambda: get(row, tmp_path)):
        with pytest.raises(ValueError, match=told):
            refused()
    accepted = accept(row, tmp_path)
    assert (accepted.licence, accepted.how) == ("CC-BY-NC-4.0", "flag")
    assert require_acceptance(row, tmp_path) == accepted
    assert find_files(row, tmp_path)[0].sha256 == SHA256


def test_an_acceptance_is_of_one_wording(tmp_path: Path) -> None:
    row = weights(commercial="no")
    accept(row, tmp_path)
    changed = replace(row, licence=replace(row.licence, terms="Not at all."))
    with pytest.raises(ValueError, match=r"once \(its wording here has changed since 20"):
        require_acceptance(changed, tmp_path)


def test_the_environment_accepts_and_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = weights(commercial="unclear")
    monkeypatch.setenv(ACCEPT_VARIABLE, "other, net")
    accepted = require_acceptance(row, tmp_path)
    assert accepted is not None
    assert accepted.how == "environment"
    monkeypatch.delenv(ACCEPT_VARIABLE)
    assert require_acceptance(row, tmp_path) == accepted


def test_a_folder_that_may_not_be_written_to_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = weights(sha256=None, size_bytes=None, commercial="no")
    (tmp_path / "net").mkdir()
    (tmp_path / "net/net.pth").write_bytes(CONTENT)
    monkeypatch.setenv(ACCEPT_VARIABLE, "net")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert find_files(row, tmp_path)[0].sha256 == SHA256
    assert [path.name for path in (tmp_path / "net").iterdir()] == ["net.pth"]


def test_the_folder_is_the_variables_else_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDFGC_WEIGHTS", str(tmp_path))
    assert weights_folder() == tmp_path
    monkeypatch.delenv("PDFGC_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert weights_folder() == tmp_path / "cache/pdfgc/weights"
