import secrets
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.factories.storage.faulty_store import FaultyStore, faulty_store

AWS_VARIABLES = (
    "AWS_ENDPOINT_URL_S3",
    "AWS_ALLOW_HTTP",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_REGION",
)


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """The endpoint of moto's S3, served on a free port of the loopback interface until the tests end."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(object_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of this test's own, reached with the usual variables; its scratch lies in `tmp_path`."""

    for name in AWS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("PDFGC_SCRATCH", str(tmp_path / "scratch"))
    name = f"bucket-{secrets.token_hex(8)}"
    connection = HTTPConnection(object_store.removeprefix("http://"), timeout=60)
    connection.request("PUT", f"/{name}")
    assert connection.getresponse().status == HTTPStatus.OK
    connection.close()
    return f"s3://{name}"


@pytest.fixture
def store(bucket: str, object_store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    """The store through which `bucket` is reached in this test."""
    assert bucket
    with faulty_store(object_store) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.endpoint)
        yield store
