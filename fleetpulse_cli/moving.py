"""`fleetpulse export` and `import`: samples out of any store, and into any other."""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fleetpulse.telemetry import new_registry
from fleetpulse_cli.asked import read_matchers, read_range
from fleetpulse_cli.export import export
from fleetpulse_cli.exportfile import FileExport, Told
from fleetpulse_cli.importer import bookmark_of, import_file
from fleetpulse_cli.pace import PacedWriter
from fleetpulse_cli.roles import open_storage
from fleetpulse_cli.settings import prepare_data_dir

FINE, FINDINGS = 0, 1


def run_export(options: argparse.Namespace, storage: Any) -> int:
    from fleetpulse.backend import open_reader

    matchers = read_matchers(options.matcher)
    bounds = read_range(options.start, options.end, time.time())
    with open_reader(storage, options.data_dir) as reader:
        if options.output is None:
            sys.stdout.writelines(export(reader, matchers, *bounds))
            return FINE
        asked = {
            "matcher": options.matcher,
            "start": options.start,
            "end": options.end,
            "store": place_of(storage, options.data_dir),
        }
        with _progress(f"{options.output}", options.quiet) as told:
            went_on = FileExport(options.output, asked).run(reader, matchers, bounds, told)
    if went_on:
        print(f"{options.output}: went on where the last run was ended", file=sys.stderr)
    return FINE


def run_import(options: argparse.Namespace, storage: Any) -> int:
    data_dir = prepare_data_dir(options.data_dir)
    bookmark = bookmark_of(options.file, data_dir, place_of(storage, data_dir))
    registry = new_registry()
    with open_storage(storage, data_dir, registry=registry) as opened:
        oldest_ms = round((time.time() - opened.keeps) * 1000)
        writer = PacedWriter(opened.writer, opened.backlog, oldest_ms)
        count, names = import_file(options.file, writer, quiet=options.quiet, bookmark=bookmark)
        if opened.backlog():
            print("all is read; waiting for the store to take the rest", file=sys.stderr)
        writer.finish()
    bookmark.clear()
    print(f"{count} samples of {names} metrics imported", file=sys.stderr)
    return _told_losses(registry, writer.too_old)


def _told_losses(registry: CollectorRegistry, too_old: int) -> int:
    if too_old:
        print(
            f"{too_old} samples are older than the store keeps any: it may not have taken them",
            file=sys.stderr,
        )
    refused = sum(
        sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name.endswith(("_samples_rejected_total", "_samples_left_out_total"))
    )
    if refused:
        print(f"{refused:.0f} samples were refused by the store or its format", file=sys.stderr)
    return FINDINGS if refused else FINE


def place_of(storage: Any, data_dir: Path) -> str:
    """Which store it is, without a secret: what a bookmark is for."""
    parts = [str(storage.kind)]
    for name in ("path", "url", "insert_url", "select_url", "tenant", "org", "bucket", "database"):
        value = getattr(storage, name, None)
        if value:
            parts.append(str(value))
    return " ".join([*parts, str(data_dir.resolve())])


@contextmanager
def _progress(what: str, quiet: bool) -> Iterator[Told]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(file=sys.stderr)
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=quiet) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)
