"""The command line: parses it and hands over. Exit codes: 0 fine, 1 findings, 2 cannot start."""

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from fleetpulse.errors import ConfigError, FleetPulseError, StartError
from fleetpulse.logs import setup_logging
from fleetpulse.values import parse_duration
from fleetpulse_cli.parser import columns, parse

FINE, FINDINGS, CANNOT_START = 0, 1, 2

# What an exporter's host need not have (extra `server` of setup.cfg).
_SERVER_LIBRARIES = {
    "dns", "flask", "flask_limiter", "gunicorn", "influxdb_client", "jinja2", "limits", "numpy",
    "pcodec", "pycurl", "re2", "rich", "schedule",
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    os.umask(0o027)  # what it writes is nobody else's to read
    try:
        code: int = _RUN[options.command](options)
    except ConfigError as err:
        print(err, file=sys.stderr)
        return CANNOT_START
    except FleetPulseError as err:
        print(f"fleetpulse {options.command}: {err}", file=sys.stderr)
        return CANNOT_START
    except ModuleNotFoundError as err:
        if err.name is None or err.name.partition(".")[0] not in _SERVER_LIBRARIES:
            raise
        print(
            f"fleetpulse {options.command}: {err.name} is not installed; this needs the central "
            f"host's libraries: pip install 'fleetpulse[server]'",
            file=sys.stderr,
        )
        return CANNOT_START
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    return code


# Each imports what it needs itself: the exporter's host has no server libraries.


def _run_up(options: argparse.Namespace) -> int:
    from fleetpulse_cli.up import run_up

    setup_logging("warning")
    return run_up(options.config, options.data_dir)


def _run_exporter(options: argparse.Namespace) -> int:
    from fleetpulse_cli.exporter_role import run_exporter

    return run_exporter(options)


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
    faults, fine = check_files(paths, default)
    for line in [*fine, *faults]:
        print(line)
    return FINDINGS if faults else FINE


def _run_query(options: argparse.Namespace) -> int:
    from fleetpulse.yamldoc import read_secret
    from fleetpulse_cli.apiget import QueryRefusedError
    from fleetpulse_cli.pointing import pointed
    from fleetpulse_cli.query import Question, ask, show
    from fleetpulse_cli.sections import read_root
    from fleetpulse_cli.settings import find_file

    url = options.url or read_root(find_file(options.config), ["api"]).api.listen.url
    question = Question(
        options.expr,
        _ago(options.time),
        _ago(options.start),
        _ago(options.end),
        options.step,
        timeout=options.timeout,
        tier=options.tier,
        lookback=options.lookback,
        stats=options.stats,
    ).completed(time.time())
    try:
        body = ask(url.rstrip("/"), question, read_secret(None, options.key_file))
    except QueryRefusedError as err:
        print(f"fleetpulse query: {err}", file=sys.stderr)
        place = pointed(err.error, question.expr, columns())
        if place is not None:
            print(place, file=sys.stderr)
        return FINDINGS
    show(body, options.style, sys.stdout, options.height)
    return FINE


def _run_targets(options: argparse.Namespace) -> int:
    from fleetpulse.yamldoc import read_secret
    from fleetpulse_cli.apiget import QueryRefusedError
    from fleetpulse_cli.sections import read_root
    from fleetpulse_cli.settings import find_file
    from fleetpulse_cli.targets import ask_targets, show

    url = options.url or read_root(find_file(options.config), ["api"]).api.listen.url
    try:
        body = ask_targets(url.rstrip("/"), read_secret(None, options.key_file), options.job)
    except QueryRefusedError as err:
        print(f"fleetpulse targets: {err}", file=sys.stderr)
        return FINDINGS
    show(body, options.style, options.state)
    return FINE


def _ago(text: str | None) -> str | None:
    """`2h` → the Unix time two hours ago, `now`; anything else is left to the API."""
    if text == "now":
        return f"{time.time():.3f}"
    if text is None or text.replace(".", "", 1).isdigit():
        return text
    try:
        return f"{time.time() - parse_duration(text):.3f}"
    except ValueError:
        return text


def _run_moving(options: argparse.Namespace) -> int:
    from fleetpulse_cli import moving
    from fleetpulse_cli.sections import read_root
    from fleetpulse_cli.settings import find_file

    logging.basicConfig(level=logging.WARNING)
    storage = read_root(find_file(options.config), ["storage"]).storage
    run = moving.run_export if options.command == "export" else moving.run_import
    return run(options, storage)


def _run_store(options: argparse.Namespace) -> int:
    from fleetpulse_cli import store
    from fleetpulse_cli.sections import read_root
    from fleetpulse_cli.settings import find_file

    logging.basicConfig(level=logging.WARNING)
    storage = read_root(find_file(options.config), ["storage"]).storage
    if storage.kind != "embedded":
        raise StartError(
            f"storage.kind is {storage.kind}, and nothing is kept beside it: `fleetpulse store` "
            f"looks after the embedded store; its page in docs/ has what to ask {storage.kind}"
        )
    return store.run_store(options, storage.path or options.data_dir / "store.db")


def _run_influx(options: argparse.Namespace) -> int:
    from fleetpulse_cli.influx import run_influx
    from fleetpulse_cli.sections import read_root
    from fleetpulse_cli.settings import find_file

    storage = read_root(find_file(options.config), ["storage"]).storage
    return run_influx(options, storage)


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


_RUN: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "up": _run_up,
    "exporter": _run_exporter,
    **dict.fromkeys(("scraper", "api", "rules", "bridge"), _run_role),
    "check": _run_check,
    "query": _run_query,
    "targets": _run_targets,
    "import": _run_moving,
    "export": _run_moving,
    "store": _run_store,
    "influx": _run_influx,
    "keys": _run_keys,
}


if __name__ == "__main__":
    sys.exit(main())
