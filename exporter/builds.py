"""Which exporter this is."""

import platform
import sys
from collections.abc import Iterator

from exporter.families import Found, gauge
from fleetpulse import __version__

_BUILD = gauge("fleetpulse_build_info", "Version of FleetPulse; always 1.", "version")
# Under node_exporter's name as well, since dashboards look a host's exporter up by it.
_NODE_BUILD = gauge(
    "node_exporter_build_info",
    "Version of the exporter that speaks for the host; always 1.",
    "branch",
    "goarch",
    "goos",
    "goversion",
    "revision",
    "version",
)
# The machine's name as node_exporter has it.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386"}
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"


def builds() -> Iterator[Found]:
    yield _BUILD, {(__version__,): 1}
    machine = platform.machine()
    arch = _ARCHITECTURES.get(machine, machine)
    yield _NODE_BUILD, {("fleetpulse", arch, sys.platform, _PYTHON, "", __version__): 1}
