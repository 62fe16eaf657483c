"""Which release of the operating system this is."""

import platform
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from exporter.collectors.base import NoDataError
from exporter.families import Found, gauge

INFO = gauge(
    "node_os_info",
    "The release of the operating system, as labels.",
    "build_id",
    "id",
    "id_like",
    "image_id",
    "image_version",
    "name",
    "pretty_name",
    "variant",
    "variant_id",
    "version",
    "version_codename",
    "version_id",
)
VERSION = gauge(
    "node_os_version", "The first two numbers of the release's version.", "id", "id_like", "name"
)
_MAJOR_MINOR = re.compile(r"[0-9]+(?:\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Release:
    name: str = ""
    version: str = ""
    build: str = ""
    variant: str = ""


def this_release() -> Release:
    if sys.platform == "darwin":
        return Release("macOS", platform.mac_ver()[0])
    if sys.platform == "win32":
        release, version, _, _ = platform.win32_ver()
        return Release(f"Windows {release}", version, version, platform.win32_edition() or "")
    return Release()


class OsCollector:
    name = "os"

    def __init__(self, read: Callable[[], Release] = this_release) -> None:
        self._read = read

    def collect(self) -> Iterator[Found]:
        release = self._read()
        if not release.name:
            raise NoDataError("no release is known of this system")
        yield from told(release)


def told(release: Release) -> Iterator[Found]:
    by_label = {
        "build_id": release.build,
        "name": release.name,
        "pretty_name": f"{release.name} {release.version}".strip(),
        "variant": release.variant,
        "version": release.version,
        "version_id": release.version,
    }
    yield INFO, {tuple(by_label.get(label, "") for label in INFO.labels): 1}
    number = _MAJOR_MINOR.match(release.version)
    if number is not None:
        yield VERSION, {("", "", release.name): float(number[0])}
