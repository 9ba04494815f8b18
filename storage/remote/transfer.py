"""Upload, download and check the files of a published directory by its manifest."""

from pathlib import Path

from upath import UPath

from storage.atomic import flush_file
from storage.fingerprint import file_sha256
from storage.integrity.suspect import SUSPECT_NAME, why_suspect
from storage.manifest import MANIFEST_NAME, Manifest
from storage.objects import files, read_bytes, read_remote_chunks, upload_file, write_bytes


def read_manifest(directory: UPath) -> Manifest | None:
    """The manifest of a published directory; None if there is none.

    Raises:
        ValueError: it is damaged or of another version.
    """
    path = directory / MANIFEST_NAME
    try:
        return Manifest.from_json(read_bytes(path).decode())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} cannot be used: {error}; run: pdfgc repair") from error


def damage(directory: UPath, manifest: Manifest) -> str | None:
    """The first file that is missing or has the wrong size, or why the build is suspect; None if all is well.

    Files are not read.
    """
    sizes = {file.location: file.size_bytes for file in files(directory, "")}
    if SUSPECT_NAME in sizes:
        return f"it is suspect: {why_suspect(directory)}"
    for name, record in manifest.files.items():
        if name not in sizes:
            return f"file {name} is missing"
        if sizes[name] != record.size_bytes:
            return f"file {name} has {sizes[name]} bytes instead of {record.size_bytes}"
    return None


def upload(local: Path, manifest: Manifest, directory: UPath) -> None:
    """Upload the manifest's files, then the manifest itself."""
    for name in sorted(manifest.files):
        upload_file(local / name, directory / name)
    write_bytes(directory / MANIFEST_NAME, manifest.to_json().encode())


def download(directory: UPath, manifest: Manifest, local: Path) -> None:
    """Download the manifest's files into a new local directory and verify them.

    Raises:
        FileNotFoundError: a file of the manifest does not exist.
        ValueError: a file differs from the manifest's sha256.
    """
    for name, record in manifest.files.items():
        target = local / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as copy:
            for chunk in read_remote_chunks(directory / name):
                copy.write(chunk)
        flush_file(target)
        sha256 = file_sha256(target)
        if sha256 != record.sha256:
            raise ValueError(f"{directory / name} has sha256 {sha256}, its manifest says {record.sha256}")
    local.mkdir(parents=True, exist_ok=True)
    (local / MANIFEST_NAME).write_text(manifest.to_json())
