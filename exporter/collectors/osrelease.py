"""The distribution, from os-release(5)."""

import re
import shlex
from collections.abc import Iterator, Mapping

from exporter.collectors.base import Host, NoDataError, read_optional, text
from fleetpulse.model import MetricFamily, gauge

_FILES = ("/etc/os-release", "/usr/lib/os-release")
_LABELS = (
    "build_id", "id", "id_like", "image_id", "image_version", "name", "pretty_name",
    "variant", "variant_id", "version", "version_codename", "version_id",
)  # fmt: skip
_MAJOR_MINOR = re.compile(r"\d+(?:\.\d+)?")


class OsCollector:
    """node_os_info and node_os_version."""

    name = "os"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[MetricFamily]:
        for file in _FILES:
            raw = read_optional(self._host.root(file))
            if raw is not None:
                return families(parse(text(raw)))
        raise NoDataError(f"none of {', '.join(_FILES)} can be read")


def parse(content: str) -> dict[str, str]:
    """`ID="debian"` → {"id": "debian"}. The file is written as for a shell."""
    values = dict[str, str]()
    for line in content.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            try:
                values[name.lower()] = "".join(shlex.split(value))
            except ValueError:  # an open quote: better the bare text than no host's name
                values[name.lower()] = value
    return values


def families(values: Mapping[str, str]) -> Iterator[MetricFamily]:
    labels = {label: values.get(label, "") for label in _LABELS}
    names = ", ".join(_LABELS)
    help_text = f"A metric with a constant '1' value labeled by {names}."
    yield gauge("node_os_info", help_text).add(1, **labels)
    version = _MAJOR_MINOR.search(labels["version_id"])
    if version:
        few = {label: labels[label] for label in ("id", "id_like", "name")}
        help_text = "Metric containing the major.minor part of the OS version."
        yield gauge("node_os_version", help_text).add(float(version[0]), **few)
