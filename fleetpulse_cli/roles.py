"""Wires and runs one role: configuration and stores in, a process that ends cleanly out."""

import argparse
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetpulse.errors import StartError, StorageError
from fleetpulse.service import FileWatch, Periodic, Service, run_until_signalled
from fleetpulse.telemetry import new_registry
from fleetpulse_cli.settings import SECTIONS, Settings, find_file, prepare_data_dir
from fleetpulse_cli.supervisor import end_with_parent

if TYPE_CHECKING:
    from fleetpulse.backend import Storage

log = logging.getLogger(__name__)

_HOUSEKEEPING = 60.0  # seconds between two looks at compaction and retention
_BRIDGE_THREADS = 8


def run_role(options: argparse.Namespace) -> None:
    """Runs options.command until it is told to stop."""
    end_with_parent()
    _RUN[options.command](options)


def _settings(options: argparse.Namespace, *sections: str) -> Settings:
    name = options.command
    settings = Settings(
        find_file(options.config),
        sections or tuple(SECTIONS),
        override=lambda root: _with_options(root, name, options),
    )
    logging.getLogger().setLevel(settings.current.log_level.upper())
    return settings


def _with_options(root: Any, name: str, options: argparse.Namespace) -> Any:
    """The configuration with what the command line says put over it."""
    section = getattr(root, name)
    if options.listen is not None:
        section = section.model_copy(update={"listen": options.listen})
    if getattr(options, "push", None):
        if options.key_file is None:
            raise StartError("--push needs --key-file F, a file with a push key")
        changed = {"url": options.push, "key_file": options.key_file}
        if options.server:
            changed["server"] = options.server
        push = type(section.push).model_validate({**_given(section.push), **changed})
        section = section.model_copy(update={"push": push})
    return root.model_copy(update={name: section})


def _given(section: Any) -> dict[str, Any]:
    return {name: getattr(section, name) for name in section.model_fields_set}


@contextmanager
def open_storage(
    config: Any, data_dir: Path, role: str = "import", registry: Any = None, limits: Any = None
) -> "Iterator[Storage]":
    """The store, its errors turned into one line for whoever started us."""
    from fleetpulse.backend import EngineLimits, open_storage

    try:
        storage = open_storage(
            config, data_dir, role, registry or new_registry(), limits or EngineLimits()
        )
    except StorageError as err:
        raise StartError(str(err)) from err
    with storage:
        yield storage


def _watch(settings: Settings, reload: Callable[[], object]) -> list[Service]:
    """A watch over the configuration file, if there is one."""
    path = settings.path
    if path is None:
        return []
    return [FileWatch("configuration watch", lambda: [path], lambda: _call(reload))]


def _call(reload: Callable[[], object]) -> None:
    reload()


def _run_exporter(options: argparse.Namespace) -> None:
    from exporter.app import ExporterApp

    settings = _settings(options, "exporter")
    data_dir = prepare_data_dir(options.data_dir)
    registry = new_registry()
    settings.expose(registry)
    app = ExporterApp(settings.current.exporter, data_dir, registry=registry)
    if options.once:
        print(app.render(), end="")
        return

    def reload() -> None:
        settings.reload(lambda root: app.reload(root.exporter))

    run_until_signalled([app, *_watch(settings, reload)], on_reload=reload)


def _run_scraper(options: argparse.Namespace) -> None:
    from scraper.app import ScraperApp

    settings = _settings(options)
    data_dir = prepare_data_dir(options.data_dir)
    registry = new_registry()
    settings.expose(registry)
    with open_storage(settings.current.storage, data_dir, "scraper", registry) as storage:
        app = ScraperApp(
            settings.current.scraper, storage.writer, registry, base_dir=settings.base
        )

        def reload() -> None:
            settings.reload(lambda root: app.reload(root.scraper))

        housekeeping = Periodic(
            "housekeeping", storage.maintain, _HOUSEKEEPING, first_delay=_HOUSEKEEPING
        )
        run_until_signalled([app, housekeeping, *_watch(settings, reload)], on_reload=reload)


def _run_rules(options: argparse.Namespace) -> None:
    from rules.app import RulesApp

    settings = _settings(options)
    data_dir = prepare_data_dir(options.data_dir)
    registry = new_registry()
    settings.expose(registry)
    with open_storage(settings.current.storage, data_dir, "rules", registry) as storage:
        app = RulesApp(
            settings.current.rules,
            storage.engine,
            storage.writer,
            registry,
            base_dir=settings.base,
        )

        def reload() -> None:
            settings.reload(lambda root: app.reload(root.rules))

        run_until_signalled([app, *_watch(settings, reload)], on_reload=reload)


def _run_api(options: argparse.Namespace) -> None:
    from api.app import create_app, refuse_open_door
    from fleetpulse.backend import EngineLimits
    from fleetpulse.serving import ask_reload, serve
    from fleetpulse_cli.keys import key_store

    settings = _settings(options)
    data_dir = prepare_data_dir(options.data_dir)
    keys = key_store(data_dir)
    refuse_open_door(settings.current.api, keys)
    # Opened once before the fork, to say at once what is wrong with the store.
    with open_storage(settings.current.storage, data_dir, "api"):
        pass
    ending: list[Callable[[], object]] = []

    def create() -> Any:
        config = settings.current.api
        registry = new_registry()
        settings.expose(registry)
        limits = EngineLimits(config.query_timeout, config.query_max_samples)
        opened = open_storage(settings.current.storage, data_dir, "api", registry, limits)
        storage = opened.__enter__()
        for watch in _watch(settings, ask_reload):
            watch.start()
            ending.append(watch.stop)
        ending.append(lambda: opened.__exit__(None, None, None))
        return create_app(
            config, storage.engine, storage.reader, storage.writer, keys, registry
        )

    listen, threads = settings.current.api.listen, settings.current.api.threads
    serve(
        create,
        listen,
        threads=threads,
        on_stop=lambda: [end() for end in ending],
        on_reload=lambda: settings.reload(),
    )


def _run_bridge(options: argparse.Namespace) -> None:
    from fleetpulse.serving import serve

    settings = _settings(options)
    data_dir = prepare_data_dir(options.data_dir)
    ending: list[Callable[[], object]] = []

    def create() -> Any:
        return None

    serve(create, settings.current.bridge.listen, threads=_BRIDGE_THREADS)


_RUN: dict[str, Callable[[argparse.Namespace], None]] = {
    "exporter": _run_exporter,
    "scraper": _run_scraper,
    "rules": _run_rules,
    "api": _run_api,
    "bridge": _run_bridge,
}
