"""URLs of files below the root, as `pipelines.web.root_files` serves them beside Dagster's UI.

They are relative to the host, so they also work through a proxy and an SSH tunnel.
"""

import hashlib
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from dagster import MarkdownMetadataValue, MetadataValue, PathMetadataValue, UrlMetadataValue
from upath import UPath

from pipelines.deployed_settings import deployed
from pipelines.operations.settings import OperationsSettings
from storage.fingerprint import DIGEST_DIGITS
from storage.objects import write_bytes
from storage.publishing import Published

PICTURES: Final = "pictures"
FILES: Final = "/files"
TENSORBOARD: Final = "/tensorboard"
GALLERY: Final = "/gallery"
INLINE: Final = "inline"  # of an address: a picture as wide as the UI's tables are
SUFFIXES: Final = {b"\x89PNG": "png", b"RIFF": "webp"}
LOCATION: Final = "pdfgc"  # of the code, in workspace.yaml
BUILD_PARTS: Final = 4  # assets/<asset>/<partition>/<build>


def file_url(location: str) -> str:
    """URL of a file or folder.

    Args:
        location: relative to the root, with forward slashes.
    """
    return f"{path_prefix()}{FILES}/{quote(location)}"


def launchpad_url(job: str) -> str:
    """URL of a job's launchpad, such as ``/locations/pdfgc/jobs/add_videos/playground``."""
    return f"{path_prefix()}/locations/{LOCATION}/jobs/{quote(job)}/playground"


def path_prefix() -> str:
    """The path of the deployment's URL (`operations.webserver`), such as /pdfgc; "" at the top of a host."""
    return urlsplit(deployed(OperationsSettings).webserver).path.rstrip("/")


def build_location(published: Published, name: str = "") -> str:
    """Where a build, or a file of it, is below its root."""
    parts = published.directory.parts[-BUILD_PARTS:]
    return "/".join((*parts, name) if name else parts)


def build_link(published: Published, name: str = "") -> UrlMetadataValue:
    """A link to a build's folder, or to a file of it."""
    return MetadataValue.url(file_url(build_location(published, name)))


def root_location(root: UPath, path: UPath | Path) -> str | None:
    """Where a path is below a root; None outside it."""
    there = UPath(path)
    return there.relative_to(root).as_posix() if there.is_relative_to(root) else None


def picture_at(location: str) -> MarkdownMetadataValue:
    """A picture below the root, which the UI shows, and a click in full size; the event holds its address."""
    address = file_url(location)
    return MetadataValue.md(f"[![picture]({address}?{INLINE})]({address})")


def store_picture(root: UPath, name: str, data: bytes) -> MarkdownMetadataValue:
    """Write a JPEG, PNG or WebP below the root's pictures, once for each content, and show it.

    Args:
        root: from `open_root`.
        name: path below the pictures, without digest and suffix.
        data: of the file.
    """
    suffix = next((name for start, name in SUFFIXES.items() if data.startswith(start)), "jpg")
    location = f"{PICTURES}/{name}-{hashlib.sha256(data).hexdigest()[:DIGEST_DIGITS]}.{suffix}"
    if not (root / location).exists():
        write_bytes(root / location, data)
    return picture_at(location)


def root_link(root: UPath, path: UPath | Path) -> UrlMetadataValue | PathMetadataValue:
    """A link to a file below the root; the path of one outside it."""
    location = root_location(root, path)
    return MetadataValue.path(str(path)) if location is None else MetadataValue.url(file_url(location))


def gallery_link(page: str, **query: str) -> UrlMetadataValue:
    """A link to a page of the gallery, such as the clips of a batch."""
    return MetadataValue.url(f"{path_prefix()}{GALLERY}/#{page}?{urlencode(query)}")


def clip_address(batch: str, key: str) -> str:
    """Address of a clip in the gallery."""
    return f"{path_prefix()}{GALLERY}/#clip/{quote(batch)}/{quote(key)}"


def tensorboard_link(run: str) -> UrlMetadataValue:
    """A link to the curves of all stages of a run."""
    return MetadataValue.url(f"{path_prefix()}{TENSORBOARD}/{quote(run)}/")
