"""Wires and runs the exporter. Its host has little to spare: none of the server's libraries here,
no pydantic and no prometheus_client either.
"""

import argparse
import gc
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.config import ExporterConfig
from exporter.families import Found, gauge
from exporter.settings.flags import Flags, parse
from fleetpulse.errors import StartError
from fleetpulse.logs import FORMATS, LEVELS, setup_logging
from fleetpulse.overrides import changed, complaints, read_value
from fleetpulse.records import key, load_record, section
from fleetpulse.sdnotify import SystemdNotify
from fleetpulse.service import run_until_signalled
from fleetpulse.values import one_of
from fleetpulse_cli.parent import end_with_parent
from fleetpulse_cli.settings import Settings, find_file, prepare_data_dir, watch

if TYPE_CHECKING:
    from exporter.app import ExporterApp

log = logging.getLogger(__name__)

_SUCCESSFUL = gauge(
    "fleetpulse_config_last_reload_successful",
    "Whether the last reading of the configuration succeeded.",
)
_SUCCEEDED_AT = gauge(
    "fleetpulse_config_last_reload_success_timestamp_seconds",
    "When the configuration was last read without a fault.",
)


def _let_pass(value: object) -> object:
    return value


@dataclass(frozen=True, slots=True)
class ExporterFile:
    """The configuration file as the exporter reads it; the other sections are others' to check."""

    log_level: str = key(one_of(*LEVELS), "info")
    log_format: str = key(one_of(*FORMATS), "text")
    exporter: ExporterConfig = section(ExporterConfig)
    storage: object = key(_let_pass, None)
    promql: object = key(_let_pass, None)
    scraper: object = key(_let_pass, None)
    api: object = key(_let_pass, None)
    rules: object = key(_let_pass, None)
    bridge: object = key(_let_pass, None)


def run_exporter(options: argparse.Namespace) -> int:
    """Runs until it is told to stop; with --once prints or pushes one page. The exit code."""
    end_with_parent()
    settings = exporter_settings(options)
    from exporter.app import ExporterApp

    config, data_dir = settings.current.exporter, options.data_dir
    if config.push.url:  # only pushed pages are kept on disk: the rest runs where nothing can be
        data_dir = prepare_data_dir(data_dir)
    app = ExporterApp(config, data_dir, own=lambda: _reloads(settings))
    if options.once:
        return _once(app, push=bool(config.push.url))
    notify = SystemdNotify.taken_from(os.environ, healthy=app.healthy)

    def reload() -> None:
        settings.reload(lambda root: app.reload(root.exporter))

    # What is there now stays: the collector of garbage need not look through it at each turn.
    gc.collect()
    gc.freeze()
    run_until_signalled([app, watch(settings, reload)], on_reload=reload, notify=notify)
    return 0


def _once(app: "ExporterApp", *, push: bool) -> int:
    if push:
        return app.push_once()
    try:
        # A page is UTF-8, whatever the terminal's language.
        sys.stdout.buffer.write(app.render().encode())
        sys.stdout.flush()
    except OSError as err:
        # What could not be written is not to be tried again at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise StartError(f"the page cannot be written: {err.strerror}") from err
    return 0


def exporter_settings(options: argparse.Namespace) -> Settings[ExporterFile]:
    """What file and command line say, with the log set up as they want it."""
    flags = _flags(options)

    def read(path: Path | None) -> ExporterFile:
        root = ExporterFile() if path is None else load_record(path, ExporterFile)
        return _with_options(flags.over(root), options)

    settings = Settings(find_file(options.config), read)
    setup_logging(settings.current.log_level, settings.current.log_format)
    for warning in flags.warnings:
        log.warning("%s", warning)
    return settings


def _reloads(settings: Settings[ExporterFile]) -> Iterator[Found]:
    """How the last reload went, as the other roles tell it too."""
    yield _SUCCESSFUL, int(settings.successful)
    yield _SUCCEEDED_AT, settings.succeeded_at


def _flags(options: argparse.Namespace) -> Flags:
    flags = parse(options.flags, ExporterFile)
    if options.listen is not None and "exporter.listen" in flags.settings:
        raise StartError("--listen and --web.listen-address are the same; keep one of them")
    return flags


def _with_options(root: ExporterFile, options: argparse.Namespace) -> ExporterFile:
    """What the command line says, put over it; StartError where that does not go together."""
    if options.listen is not None:
        root = changed(root, ("exporter", "listen"), (options.listen,))
    given = {"url": options.push, "key_file": options.key_file, "server": options.server}
    given = {name: value for name, value in given.items() if value is not None}
    url = given.get("url") or root.exporter.push.url
    if not given:
        return root
    if not url:
        raise StartError("--key-file and --server go with --push, or with exporter.push.url")
    try:
        for name, value in given.items():
            path = ("exporter", "push", name)
            root = changed(root, path, read_value(ExporterFile, path, value))
    except ValueError as err:
        raise StartError(f"--push {url}: {err}") from None
    for _, message in complaints(root.exporter.push):
        raise StartError(f"--push {url}: {message}")
    return root
