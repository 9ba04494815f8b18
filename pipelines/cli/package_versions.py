"""Names and versions of packages: what `pdfgc` needs, what is installed, what the lock holds."""

import re
from importlib import metadata
from pathlib import Path


def required_packages() -> frozenset[str]:
    """Names of the packages that `pdfgc` says it needs; empty where it is not installed."""
    try:
        requirements = metadata.requires("pdfgc") or []
    except metadata.PackageNotFoundError:
        return frozenset()
    return frozenset(_package_name(line) for line in requirements if "extra ==" not in line)


def installed_packages() -> dict[str, str]:
    """Version by name of every installed package."""
    return {_package_name(each.name): each.version for each in metadata.distributions()}


def locked_versions(lock: Path) -> dict[str, str]:
    """Version by name in a requirements file; {} where there is none (an installed wheel)."""
    if not lock.is_file():
        return {}
    return dict(re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", lock.read_text(), flags=re.MULTILINE))


def _package_name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", match.group()).lower() if match else ""
