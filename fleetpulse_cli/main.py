"""The command line: parses it and hands over. Exit codes: 0 fine, 1 findings, 2 cannot start."""

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fleetpulse import __version__
from fleetpulse.errors import ConfigError, FleetPulseError
from fleetpulse.telemetry import setup_logging
from fleetpulse.values import parse_duration, parse_listen_address

FINE, FINDINGS, CANNOT_START = 0, 1, 2

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


def main(argv: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    os.umask(0o027)  # what it writes is nobody else's to read
    try:
        code: int = options.run(options)
    except ConfigError as err:
        print(err, file=sys.stderr)
        return CANNOT_START
    except FleetPulseError as err:
        print(f"fleetpulse {options.command}: {err}", file=sys.stderr)
        return CANNOT_START
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    return code


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fleetpulse",
        description="Monitoring for a fleet of hosts, the Prometheus way.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fleetpulse {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_up(commands)
    _add_roles(commands)
    _add_check(commands)
    _add_query(commands)
    _add_import(commands)
    _add_keys(commands)
    return parser


def _command(
    commands: Any, name: str, short: str, long: str, *, data_dir: bool = True
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=short,
        description=long,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
    parser = _command(
        commands,
        "up",
        "start all roles on this host and watch them",
        "Starts exporter, scraper, API, rules and bridge, each a process of its own, prints a\n"
        "line as each becomes ready, restarts one that dies, and stops them in order at Ctrl-C.\n"
        "SIGHUP, or a change of the file, makes all of them read the configuration anew.\n"
        "Each role's log is DATA/logs/ROLE.log.",
    )
    parser.set_defaults(run=_run_up)


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
        parser.set_defaults(run=_run_role)
        if name == "exporter":
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
    parser.set_defaults(run=_run_check)


def _add_query(commands: Any) -> None:
    parser = _command(
        commands,
        "query",
        "ask the API a PromQL question",
        "Evaluates EXPR now, at --time, or from --start to --end, and prints the answer.\n"
        "Times are Unix seconds or RFC 3339; --start also takes a duration back from now (2h).",
    )
    parser.add_argument("expr", metavar="EXPR")
    parser.add_argument("--time", metavar="T", help="evaluate at this time")
    parser.add_argument("--start", metavar="T", help="start of a range query (or 2h: ago)")
    parser.add_argument("--end", metavar="T", help="end of a range query (default: now)")
    parser.add_argument("--step", metavar="D", help="step of a range query (default: 1/60 of it)")
    parser.add_argument(
        "--format", choices=("table", "json", "csv", "plot"), default="table", dest="style"
    )
    parser.add_argument("--url", help="the API (default: where api.listen says)")
    parser.add_argument("--key-file", type=Path, metavar="F", help="file with a read key")
    parser.set_defaults(run=_run_query)


def _add_import(commands: Any) -> None:
    parser = _command(
        commands,
        "import",
        "put OpenMetrics text with timestamps into the store",
        "Reads OpenMetrics text (as `promtool tsdb create-blocks-from openmetrics` takes it; .gz\n"
        "too) and writes it to the store of the configuration. Running it twice stores nothing\n"
        "twice. The roles may be running meanwhile.",
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=_run_import)


def _add_keys(commands: Any) -> None:
    parser = commands.add_parser(
        "keys",
        help="create, list and revoke the API's keys",
        description="The API's keys. Only a hash of each is stored, so a lost key cannot be shown "
        "again: revoke it and create another. A running API knows of changes at once.",
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
    parser.set_defaults(run=_run_keys)


def _listen(text: str) -> Any:
    try:
        return parse_listen_address(text)
    except ValueError as err:
        raise argparse.ArgumentTypeError(str(err)) from err


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as err:
        raise argparse.ArgumentTypeError(str(err)) from err


# Each imports what it needs itself: the exporter's host has no server libraries.


def _run_up(options: argparse.Namespace) -> int:
    from fleetpulse_cli.up import run_up

    setup_logging("warning")
    return run_up(options.config, options.data_dir)


def _run_role(options: argparse.Namespace) -> int:
    from fleetpulse_cli.roles import run_role

    setup_logging()
    run_role(options)
    return FINE


def _run_check(options: argparse.Namespace) -> int:
    from fleetpulse_cli.checks import check_files
    from fleetpulse_cli.settings import find_file

    default = find_file(options.config)
    paths = options.files or ([default] if default is not None else [])
    if not paths:
        print("no file named and no fleetpulse.yml here: the defaults are fine", file=sys.stderr)
        return FINE
    faults, fine = check_files(paths)
    for line in [*fine, *faults]:
        print(line)
    return FINDINGS if faults else FINE


def _run_query(options: argparse.Namespace) -> int:
    from fleetpulse.yamlconf import read_secret
    from fleetpulse_cli.query import QueryRefusedError, Question, ask, show
    from fleetpulse_cli.settings import Settings, find_file

    url = options.url or Settings(find_file(options.config), ["api"]).current.api.listen.url
    question = Question(
        options.expr, options.time, _ago(options.start), options.end, options.step
    ).completed(time.time())
    try:
        show(ask(url.rstrip("/"), question, read_secret(None, options.key_file)), options.style)
    except QueryRefusedError as err:
        print(f"fleetpulse query: {err}", file=sys.stderr)
        return FINDINGS
    return FINE


def _ago(text: str | None) -> str | None:
    """`2h` → the Unix time two hours ago; anything else is left to the API."""
    if text is None or text.replace(".", "", 1).isdigit():
        return text
    try:
        return f"{time.time() - parse_duration(text):.3f}"
    except ValueError:
        return text


def _run_import(options: argparse.Namespace) -> int:
    from fleetpulse_cli.importer import import_file
    from fleetpulse_cli.roles import open_storage
    from fleetpulse_cli.settings import Settings, find_file, prepare_data_dir

    logging.basicConfig(level=logging.WARNING)
    storage = Settings(find_file(options.config), ["storage"]).current.storage
    with open_storage(storage, prepare_data_dir(options.data_dir)) as opened:
        count, names = import_file(options.file, opened.writer, quiet=options.quiet)
    print(f"{count} samples of {names} metrics imported", file=sys.stderr)
    return FINE


def _run_keys(options: argparse.Namespace) -> int:
    from fleetpulse_cli import keys
    from fleetpulse_cli.settings import prepare_data_dir

    store = keys.key_store(prepare_data_dir(options.data_dir))
    if options.action == "create":
        keys.create(
            store, options.scope, options.server, options.expires, options.note, time.time()
        )
    elif options.action == "list":
        keys.list_keys(store)
    else:
        keys.revoke(store, options.id)
    return FINE


if __name__ == "__main__":
    sys.exit(main())
