"""The grammar of `fleetpulse store …`, `influx …`, `export` and `import`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

_TIMES = "Times are Unix seconds or RFC 3339; --start also takes a duration back from now (2h)."


def add_import(commands: Any, command: Callable[..., Any]) -> None:
    parser = command(
        commands,
        "import",
        "put OpenMetrics text with timestamps into the store",
        "Reads OpenMetrics text (as `promtool tsdb create-blocks-from openmetrics` takes it and\n"
        "`promtool tsdb dump-openmetrics` writes it; .gz too) and writes it to the store of the\n"
        "configuration, and waits until the store has all of it. Ended half-way, by whatever it\n"
        "was, the same command goes on there. Running it twice stores nothing twice. The roles\n"
        "may be running meanwhile. Exit code 1 where the store has refused samples.",
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def add_export(commands: Any, command: Callable[..., Any]) -> None:
    parser = command(
        commands,
        "export",
        "write samples of the store as OpenMetrics text with timestamps",
        "Writes all samples of matching series, for `fleetpulse import`, into whatever store, or\n"
        "`promtool tsdb create-blocks-from openmetrics`. The roles may be running meanwhile. With\n"
        "-o, the same command goes on where an earlier one was ended, by whatever it was.\n"
        f"MATCHER is a selector: 'up', '{{job=\"node\"}}'. {_TIMES}",
    )
    parser.add_argument("matcher", metavar="MATCHER")
    _add_range(parser, required=False)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: print it")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def add_store(commands: Any, command: Callable[..., Any]) -> None:
    parser = commands.add_parser(
        "store",
        help="look after the embedded store: sizes, checks, backups",
        description="Looks after the embedded store. All but restore may be used while roles run.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    stats = command(
        actions,
        "stats",
        "what it holds: series, labels, bytes, times",
        "Counts all there is: takes about a second a gigabyte.",
    )
    stats.add_argument("--format", choices=("table", "json"), default="table", dest="style")
    stats.add_argument("--limit", type=int, default=10, metavar="N", help="names shown (10)")
    command(
        actions,
        "compact",
        "do now what housekeeping does once a minute, and shrink the file",
        "Compacts all that is old enough, and gives free space back to the file system.",
    )
    command(
        actions,
        "verify",
        "read every blob and tell what is damaged",
        "Runs SQLite's integrity check and reads every blob. Exit code 1 when anything is damaged.",
    )
    backup = command(
        actions,
        "backup",
        "copy it as it is now, while roles run",
        "Copies the store as it is at one moment to a new file.",
    )
    backup.add_argument("path", type=Path, metavar="PATH")
    restore = command(
        actions,
        "restore",
        "put a backup in its place; no role may run",
        "Puts a backup in the place of the store, which is kept as store.db.before-restore.\n"
        "Refuses while any process has the store open, and names it.",
    )
    restore.add_argument("path", type=Path, metavar="PATH")
    delete = command(
        actions,
        "delete",
        "delete samples of some series",
        f"Deletes samples of matching series, both ends included. {_TIMES}",
    )
    delete.add_argument("matcher", metavar="MATCHER")
    _add_range(delete, required=True)
    delete.add_argument("--yes", action="store_true", help="do not ask")


def add_influx(commands: Any, command: Callable[..., Any]) -> None:
    parser = commands.add_parser(
        "influx",
        help="make in InfluxDB what FleetPulse needs there, and look at it",
        description="Sees to the InfluxDB that storage names: its retention, windows of five "
        "minutes, and who may write.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    setup = command(
        actions,
        "setup",
        "make what is missing, change what differs",
        "Shows what it would do, asks, and does it. A second time there is nothing left to do.\n"
        "1.x: the database, a retention policy for samples and one for windows of five minutes,\n"
        "and the continuous query that makes them. 2.x: two buckets, their mappings for InfluxQL,\n"
        "the task that makes windows, and a token for just those buckets in storage.token_file\n"
        "where that is not there yet. Without a terminal it does nothing unless --yes is given.",
        data_dir=False,
    )
    setup.add_argument("--yes", action="store_true", help="do not ask")
    setup.add_argument(
        "--backfill",
        action="store_true",
        help="then make the windows of all samples that are there already",
    )
    status = command(
        actions,
        "status",
        "what is there, and what differs (exit code 1)",
        "Compares what InfluxDB has with what storage says, and changes nothing.",
        data_dir=False,
    )
    for one in (setup, status):
        one.add_argument(
            "--admin-user",
            metavar="NAME",
            help="1.x: who may manage the server; storage.username is made and let in if need be",
        )
        one.add_argument(
            "--admin-secret-file",
            type=Path,
            metavar="F",
            help="file with that user's password; 2.x: with a token that may manage all",
        )


def _add_range(parser: Any, *, required: bool) -> None:
    first = "first time" if required else "first time (default: all there is)"
    last = "last time" if required else "last time (default: all there is)"
    parser.add_argument("--start", metavar="T", required=required, help=first)
    parser.add_argument("--end", metavar="T", required=required, help=last)
