"""Set aside what is damaged: moved below `quarantine/` in the root, never deleted.

    quarantine/<its location below the root>[~N]

Nothing reads the quarantine. What lies there is removed by hand.
"""

import logging
import re
from typing import Final

from upath import UPath

from storage.build_directory import lock_if_free
from storage.gc.survey import BUILD_NAME
from storage.integrity.faults import Fault
from storage.manifest import MANIFEST_NAME
from storage.objects import entries, exists, move
from storage.printable import printable
from storage.publishing import ASSETS
from storage.root import scratch_directory

logger = logging.getLogger(__name__)

QUARANTINE: Final = "quarantine"
COPY_NUMBER: Final = re.compile(r"~\d+$")


def set_aside(root: UPath, location: str) -> str | None:
    """Move a file or folder below the root into the quarantine.

    A killed move in a bucket leaves a copy here and is done again. A build is moved under its recipe's lock.

    Returns:
        Its new location; None if it is being built.
    """
    parts = location.split("/")
    if parts[0] != ASSETS or not BUILD_NAME.fullmatch(parts[-1]):
        return _move(root, location)
    work = scratch_directory(root) / parts[1] / parts[2] / parts[3][:16]
    with lock_if_free(work) as free:
        return _move(root, location) if free else None


def _move(root: UPath, location: str) -> str:
    target, number = f"{QUARANTINE}/{location}", 1
    while exists(root, target):
        number += 1
        target = f"{QUARANTINE}/{location}~{number}"
    move(root, location, target, first=MANIFEST_NAME)
    logger.info("Set aside %s", printable(location))
    return target


def quarantined_builds(root: UPath) -> dict[tuple[str, str], set[str]]:
    """(asset, partition) -> names of the builds of it that were set aside."""
    top = f"{QUARANTINE}/{ASSETS}"
    found: dict[tuple[str, str], set[str]] = {}
    for asset in entries(root, top):
        for partition in entries(root, f"{top}/{asset.name}"):
            names = {
                COPY_NUMBER.sub("", entry.name)
                for entry in entries(root, f"{top}/{asset.name}/{partition.name}")
                if entry.is_directory
            }
            if names:
                found[asset.name, partition.name] = names
    return found


def missing_builds(root: UPath) -> list[Fault]:
    """Partitions whose only builds were set aside: they are still to be built again."""
    return [
        Fault("pointer", f"{ASSETS}/{asset}/{partition}", "a build", "only builds that were set aside")
        for asset, partition in quarantined_builds(root)
        if not any(BUILD_NAME.fullmatch(each.name) for each in entries(root, f"{ASSETS}/{asset}/{partition}"))
    ]
