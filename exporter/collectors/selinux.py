"""Whether SELinux is on, from /sys/fs/selinux and /etc/selinux/config."""

import re
from collections.abc import Iterator

from exporter.collectors.base import Host, read_optional
from exporter.collectors.devices import number
from exporter.families import Found, gauge

_ENABLED = gauge("node_selinux_enabled", "Whether a policy of SELinux is in force: 1 or 0")
_CONFIG = gauge(
    "node_selinux_config_mode", "Mode set for the next boot: 1 enforcing, 0 permissive, -1 disabled"
)
_CURRENT = gauge("node_selinux_current_mode", "Mode now: 1 enforcing, 0 permissive")

_ENFORCE = "fs/selinux/enforce"
_MODES = {b"enforcing": 1, b"permissive": 0}
_DISABLED = -1
_SETTING = re.compile(rb"^\s*SELINUX=(.*)$", re.MULTILINE)
# The label of every process as long as no policy is loaded.
_NO_POLICY = b"kernel"


class SelinuxCollector:
    """node_selinux_*; the two modes only where it is on."""

    name = "selinux"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[Found]:
        enforce = self._host.sys_or_none(_ENFORCE)
        label = self._host.proc_or_none("self/attr/current") if enforce is not None else None
        if enforce is None or (label or b"").strip(b"\0 \n") == _NO_POLICY:
            yield _ENABLED, 0
            return
        yield _ENABLED, 1
        config = read_optional(self._host.root("/etc/selinux/config"))
        yield _CONFIG, configured(config or b"")
        yield _CURRENT, number(_ENFORCE, enforce)


def configured(raw: bytes) -> int:
    """Of several settings the first one counts, as it does for node_exporter."""
    found = _SETTING.search(raw)
    return _MODES.get(found[1].strip().strip(b'"'), _DISABLED) if found else _DISABLED
