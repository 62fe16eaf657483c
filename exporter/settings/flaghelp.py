"""What `fleetpulse exporter --help` says of node_exporter's flags."""

import textwrap
from collections.abc import Iterable

from exporter.settings.flagtable import DEFAULTS, LOG, OPTIONS, PATHS, WEB, Flag
from exporter.settings.names import COLLECTOR_NAMES, OFF

_WIDTH, _COLUMN = 92, 46


def flags_help() -> str:
    on = [name for name in COLLECTOR_NAMES if name not in OFF]
    choice = [
        _line("--[no-]collector.NAME", "turns a collector on or off"),
        _line(f"--{DEFAULTS.name}", DEFAULTS.help),
        _names("on", on),
        _names("off", sorted(OFF)),
    ]
    return "\n".join(
        (
            "\nnode_exporter's flags work too; each is also a key of the file's section exporter,"
            "\nand wins over it. RE is a regular expression, looked for anywhere in the name.",
            _group("collectors", choice),
            _group("what they tell", map(_flag, OPTIONS)),
            _group("where the host's own are, in a container", map(_flag, PATHS)),
            _group("web", map(_flag, WEB)),
            _group("log", map(_flag, LOG)),
            "",
        )
    )


def _group(title: str, lines: Iterable[str]) -> str:
    return "\n".join(("", f"{title}:", *lines))


def _flag(flag: Flag) -> str:
    if flag.kind in ("value", "list"):
        return _line(f"--{flag.name}={flag.hint}", flag.help)
    return _line(f"--[no-]{flag.name}" if flag.kind == "switch" else f"--{flag.name}", flag.help)


def _line(left: str, right: str) -> str:
    return f"  {left:<{_COLUMN}}  {right}"


def _names(title: str, names: Iterable[str]) -> str:
    return textwrap.fill(
        " ".join(names), _WIDTH, initial_indent=f"  {title + ':':<5}", subsequent_indent=" " * 7
    )
