"""The command line's grammar and its help. Scripts rely on both."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fleetpulse import __version__
from fleetpulse.values import parse_duration, parse_listen_address
from fleetpulse_cli.storeparser import add_export, add_import, add_influx, add_store

_USUAL = 80  # columns of a terminal that does not tell
_VERSION = f"fleetpulse {__version__}"
_EPILOG = """\
examples:
  fleetpulse up                                  monitor this host, everything on loopback
  fleetpulse exporter --listen 0.0.0.0:9100      serve this host's metrics, as node_exporter does
  fleetpulse exporter --push https://mon:8443 --key-file push.key
                                                 the same for a host that cannot be reached
  fleetpulse check fleetpulse.yml rules/*.yml    every fault, with file and line
  fleetpulse query 'up == 0'                     ask the running API

exit codes: 0 fine, 1 findings (faults found, a query refused), 2 cannot start
"""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line. What follows `exporter` and is not ours is in .flags: node_exporter's."""
    parser = build_parser()
    options, left = parser.parse_known_args(arguments)
    if left and options.command != "exporter":
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    options.flags = left
    return options


class _Formatter(argparse.HelpFormatter):
    """One is made for every option. Without a width, it would have shutil look for it: a third of
    a MB in a process that hardly ever writes help.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=columns() - 2)


class _Verbatim(_Formatter, argparse.RawDescriptionHelpFormatter):
    """Leaves descriptions as they are written."""


def columns() -> int:
    """As wide as the terminal, unless COLUMNS says otherwise."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _USUAL
    except (AttributeError, ValueError, OSError):  # no terminal, or no output at all
        return _USUAL


class _Parser(argparse.ArgumentParser):
    """With a further part of its help that is put together only when it is asked for."""

    more_help: Callable[[], str] | None = None

    def format_help(self) -> str:
        more = self.more_help
        return super().format_help() + (more() if more is not None else "")


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fleetpulse",
        description="Monitoring for a fleet of hosts, the Prometheus way.",
        epilog=_EPILOG,
        formatter_class=_Verbatim,
    )
    parser.add_argument("--version", action="version", version=_VERSION)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_up(commands)
    _add_roles(commands)
    _add_check(commands)
    _add_query(commands)
    _add_targets(commands)
    add_import(commands, _command)
    add_export(commands, _command)
    add_store(commands, _command)
    add_influx(commands, _command)
    _add_keys(commands)
    return parser


def _command(commands: Any, name: str, short: str, long: str, *, data_dir: bool = True) -> _Parser:
    parser: _Parser = commands.add_parser(
        name,
        help=short,
        description=long,
        formatter_class=_Verbatim,
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="F",
        help="configuration file (default: fleetpulse.yml if it is there, else all defaults)",
    )
    if data_dir:
        parser.add_argument(
            "--data-dir",
            type=Path,
            default=Path("data"),
            metavar="D",
            help="where the store, keys, queues and logs are (default: ./data)",
        )
    return parser


def _add_up(commands: Any) -> None:
    _command(
        commands,
        "up",
        "start all roles on this host and watch them",
        "Starts exporter, scraper, API, rules and bridge, each a process of its own, prints a\n"
        "line as each becomes ready, restarts one that dies, and stops them in order at Ctrl-C.\n"
        "SIGHUP, or a change of the file, makes all of them read the configuration anew.\n"
        "Each role's log is DATA/logs/ROLE.log.",
    )


_ROLE_TEXTS = {
    "exporter": (
        "serve this host's metrics on /metrics (port 9100)",
        "Serves this host's CPU, memory, disks, file systems and network under node_exporter's\n"
        "names. With --push the same page also goes to a FleetPulse API every 10 s; pages that\n"
        "cannot be sent wait on disk, 1,000 at most.",
    ),
    "scraper": (
        "poll the targets and store what they say",
        "Polls the targets of scraper.scrape_configs, and no others, at their interval and writes\n"
        "to the store. Targets and last errors: /api/v1/targets on its own port (9111).",
    ),
    "api": (
        "answer queries and take pushes (port 8080)",
        "Answers Prometheus' query API, /api/v1/metrics and /api/v1/servers, and takes pushes.\n"
        "Point Grafana's Prometheus data source at it. On any but a loopback address it wants\n"
        "keys: `fleetpulse keys create`.",
    ),
    "rules": (
        "evaluate rule files, send alerts to the bridge",
        "Evaluates Prometheus rule files (and the shipped ones) and posts firing alerts to the\n"
        "bridge. Groups and alerts: /api/v1/rules and /api/v1/alerts on its own port (9112).",
    ),
    "bridge": (
        "take alerts, tell Slack and e-mail (port 9093)",
        "Takes alerts by Alertmanager's API v2, groups, silences and inhibits them as its file in\n"
        "Alertmanager's format says, and sends messages, each exactly once as far as the\n"
        "receiver allows. History: /api/v1/history. amtool works with it.",
    ),
}


def _add_roles(commands: Any) -> None:
    for name, (short, long) in _ROLE_TEXTS.items():
        parser = _command(commands, name, short, long)
        parser.add_argument(
            "--listen",
            type=_listen,
            metavar="HOST:PORT",
            help=f"listen here instead of at the configuration's {name}.listen",
        )
        if name == "exporter":
            parser.more_help = _flags_help
            parser.add_argument("--version", action="version", version=_VERSION)
            parser.add_argument("--push", metavar="URL", help="also push to the API at URL")
            parser.add_argument(
                "--key-file", type=Path, metavar="F", help="file with the push key (mode 0600)"
            )
            parser.add_argument(
                "--server", metavar="NAME", help="this host's name in pushes (default: host name)"
            )
        if name in ("exporter", "rules"):
            text = {
                "exporter": "print one page and exit",
                "rules": "evaluate every rule once, print what fires, and exit",
            }[name]
            parser.add_argument("--once", action="store_true", help=text)


def _flags_help() -> str:
    from exporter.settings.flaghelp import flags_help

    return flags_help()


def _add_check(commands: Any) -> None:
    parser = _command(
        commands,
        "check",
        "find the faults in configuration, rule, target and bridge files",
        "Checks files and prints every fault as file:line: key: what is wrong and what would be\n"
        "right. What a file is, is told by its content. Without FILE: the configuration and the\n"
        "files it names. Exit code 1 when there are faults.",
        data_dir=False,
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")


def _add_query(commands: Any) -> None:
    parser = _command(
        commands,
        "query",
        "ask the API a PromQL question",
        "Evaluates EXPR now, at --time, or from --start to --end, and prints the answer.\n"
        "Times are Unix seconds, RFC 3339, now, or a duration back from now (2h). An error is\n"
        "shown with its place in EXPR.",
    )
    parser.add_argument("expr", metavar="EXPR")
    parser.add_argument("--time", metavar="T", help="evaluate at this time")
    parser.add_argument("--start", metavar="T", help="start of a range query")
    parser.add_argument("--end", metavar="T", help="end of a range query (default: now)")
    parser.add_argument("--step", metavar="D", help="step of a range query (default: 1/60 of it)")
    parser.add_argument(
        "--format", choices=("table", "json", "csv", "plot"), default="table", dest="style"
    )
    parser.add_argument(
        "--height",
        type=_height,
        metavar="N",
        help="lines of each plot (default: 8 on a terminal, else 1)",
    )
    parser.add_argument("--timeout", metavar="D", help="longest time for the query, e.g. 30s")
    parser.add_argument("--lookback", metavar="D", help="how old a sample may be (default: 5m)")
    parser.add_argument(
        "--tier", choices=("auto", "raw", "5m"), help="may windows of 5 minutes stand for samples"
    )
    parser.add_argument("--stats", action="store_true", help="tell what the query took")
    parser.add_argument("--url", help="the API (default: where api.listen says)")
    parser.add_argument("--key-file", type=Path, metavar="F", help="file with a read key")


def _add_targets(commands: Any) -> None:
    parser = _command(
        commands,
        "targets",
        "show the targets and how they are",
        "Shows what the API knows of the scraper's targets: state, last scrape and how long it\n"
        "took, next turn, last error.",
        data_dir=False,
    )
    parser.add_argument("--state", choices=("up", "down", "unknown"), help="only these")
    parser.add_argument("--job", metavar="JOB", help="only those of this job")
    parser.add_argument("--format", choices=("table", "json"), default="table", dest="style")
    parser.add_argument("--url", help="the API (default: where api.listen says)")
    parser.add_argument("--key-file", type=Path, metavar="F", help="file with a read key")


def _add_keys(commands: Any) -> None:
    parser = commands.add_parser(
        "keys",
        help="create, list and revoke the API's keys",
        description="The API's keys. Only a hash of each is stored, so a lost key cannot be shown "
        "again: revoke it and create another. A running API knows of changes at once.",
        formatter_class=_Formatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = _command(actions, "create", "make a key, print it once", "Makes a key.")
    create.add_argument("--scope", choices=("read", "push", "admin"), required=True)
    create.add_argument("--server", help="a push key for this server only")
    create.add_argument("--expires", type=_duration, metavar="D", help="after, e.g., 90d")
    create.add_argument("--note", default="", help="what it is for")
    _command(actions, "list", "show all keys, never the secrets", "Shows all keys.")
    revoke = _command(actions, "revoke", "make a key open nothing", "Revokes a key at once.")
    revoke.add_argument("id", metavar="ID")


def _listen(text: str) -> Any:
    try:
        return parse_listen_address(text)
    except ValueError as err:
        raise argparse.ArgumentTypeError(str(err)) from err


def _height(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of lines from 1 to 100")
    return int(text)


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as err:
        raise argparse.ArgumentTypeError(str(err)) from err
