"""Wires and runs a role of the central host: configuration and stores in, a clean end out.

The exporter, which runs everywhere, is wired in exporter_role.py.
"""

import argparse
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from fleetpulse.errors import StartError, StorageError
from fleetpulse.logs import setup_logging
from fleetpulse.service import Stamp, run_until_signalled, stamp
from fleetpulse.telemetry import new_registry
from fleetpulse.values import ListenAddress
from fleetpulse_cli.parent import end_with_parent
from fleetpulse_cli.sections import SECTIONS, expose, whole_file
from fleetpulse_cli.settings import Settings, find_file, prepare_data_dir, present, watch

if TYPE_CHECKING:
    from fleetpulse.backend import Storage

log = logging.getLogger(__name__)

_QUERY_HEAP = 64 << 20  # bytes that the API keeps from one query to the next


def run_role(options: argparse.Namespace) -> None:
    """Runs options.command until it is told to stop."""
    end_with_parent()
    _RUN[options.command](options)


def _settings(options: argparse.Namespace, *sections: str) -> Settings[Any]:
    name = options.command

    def override(root: Any) -> Any:
        if options.listen is None:
            return root
        section = getattr(root, name).model_copy(update={"listen": options.listen})
        return root.model_copy(update={name: section})

    settings = whole_file(
        find_file(options.config),
        sections or tuple(SECTIONS),
        override=_lasting(name, override) if name in ("api", "bridge") else override,
    )
    setup_logging(settings.current.log_level, settings.current.log_format)
    return settings


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


def _lasting(name: str, override: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """override, and then what a running server cannot change, as it was at the first time.

    Not only so that it is told: whether the API needs keys follows from where it listens.
    """
    first: dict[str, Any] = {}

    def lasting(root: Any) -> Any:
        root = override(root)
        section = getattr(root, name)
        for key in ("listen", "threads"):
            value = getattr(section, key)
            if value != first.setdefault(key, value):
                log.warning("%s.%s has changed; it takes effect after a restart", name, key)
        return root.model_copy(update={name: section.model_copy(update=first)})

    return lasting


def _run_scraper(options: argparse.Namespace) -> None:
    from fleetpulse.heap import share_heap
    from fleetpulse_cli.housekeeping import Housekeeping
    from scraper.app import ScraperApp
    from scraper.configfiles import find_config_files

    share_heap()
    settings = _settings(options)
    data_dir = prepare_data_dir(options.data_dir)
    registry = new_registry()
    expose(settings, registry)
    with open_storage(settings.current.storage, data_dir, "scraper", registry) as storage:
        app = ScraperApp(settings.current.scraper, storage.writer, registry, base_dir=settings.base)

        def reload() -> None:
            settings.reload(lambda root: app.reload(root.scraper))

        def config_files() -> list[Path]:
            return find_config_files(settings.current.scraper.scrape_config_files)

        housekeeping = Housekeeping(storage.jobs, registry)
        watching = watch(settings, reload, config_files)
        run_until_signalled([app, housekeeping, watching], on_reload=reload)


def _run_rules(options: argparse.Namespace) -> None:
    from fleetpulse.backend import EngineLimits
    from rules.app import RulesApp

    settings = _settings(options)
    data_dir = prepare_data_dir(options.data_dir)
    registry = new_registry()
    expose(settings, registry)
    limits = EngineLimits(promql=settings.current.promql)
    with open_storage(settings.current.storage, data_dir, "rules", registry, limits) as storage:
        app = RulesApp(
            settings.current.rules,
            storage.engine,
            storage.writer,
            registry,
            base_dir=settings.base,
        )

        if options.once:
            print(*app.evaluate_once(), sep="\n")
            return

        def reload() -> None:
            settings.reload(lambda root: app.reload(root.rules))

        run_until_signalled([app, watch(settings, reload)], on_reload=reload)


def _run_api(options: argparse.Namespace) -> None:
    from api.app import create_app
    from api.auth import Gate
    from fleetpulse.backend import EngineLimits
    from fleetpulse.heap import keep_freed, share_heap
    from fleetpulse_cli.aboutapi import about
    from fleetpulse_cli.keys import key_store

    share_heap()
    keep_freed(_QUERY_HEAP)
    settings, started = _settings(options), time.time()
    data_dir = prepare_data_dir(options.data_dir)
    keys, config = key_store(data_dir), settings.current.api

    def check(root: Any) -> None:
        Gate(root.api, keys, scopes={}, open_endpoints=()).check_start()

    # What would keep the worker from starting is said here, once, before it is forked.
    check(settings.current)
    with open_storage(settings.current.storage, data_dir, "api"):
        pass

    def create(closing: ExitStack, registry: CollectorRegistry) -> Any:
        query = settings.current.api.query
        limits = EngineLimits(
            query.timeout,
            query.max_samples,
            query.max_concurrency,
            settings.current.promql,
            query.max_series,
        )
        storage = closing.enter_context(
            open_storage(settings.current.storage, data_dir, "api", registry, limits)
        )
        return create_app(
            _api_section(settings.current, storage.keeps),
            storage.engine,
            storage.reader,
            storage.writer,
            keys,
            registry,
            about=about(settings, data_dir, registry, storage.keeps, started),
        )

    _serve(settings, create, config.listen, config.threads, apply=check)


def _api_section(root: Any, keeps: float) -> Any:
    """The API's section, with what it takes from elsewhere. keeps: of the store, in seconds."""

    def bounded(section: Any) -> Any:
        # What comes for a time that is not kept any more would be stored for nothing.
        return section.model_copy(update={"max_age": min(section.max_age, keeps)})

    config = root.api
    update = {
        "push": bounded(config.push),
        "remote_write": bounded(config.remote_write),
        # With nothing said, scraper and rule runner of the same file are those to ask.
        "scrapers": config.scrapers or (root.scraper.listen,),
        "rules": config.rules or (root.rules.listen,),
    }
    return config.model_copy(update=update)


def _run_bridge(options: argparse.Namespace) -> None:
    from alertmanager_bridge.app import Bridge, build_integrations, create_app, load_amconfig

    settings = _settings(options, "bridge")
    data_dir = prepare_data_dir(options.data_dir)

    def routes(root: Any) -> Any:
        """The bridge's file and the receivers in it, with the template files it names."""
        file = root.bridge.config_file
        if file is None:
            return None, None
        amconfig = load_amconfig(file)
        return amconfig, build_integrations(amconfig)

    # The last version without a fault; in the master, so that each new worker inherits it and
    # reads no file by itself, which may have faults by then.
    in_force = [routes(settings.current)]

    def apply(root: Any) -> None:
        in_force[0] = routes(root)

    def create(closing: ExitStack, registry: CollectorRegistry) -> Any:
        config = settings.current.bridge
        amconfig, receivers = in_force[0]
        path = data_dir / "bridge.db"
        bridge = Bridge(config, path, registry, amconfig=amconfig, integrations=receivers)
        closing.callback(bridge.stop)
        bridge.start()
        return create_app(bridge, config, registry)

    config = settings.current.bridge
    _serve(
        settings,
        create,
        config.listen,
        config.threads,
        apply=apply,
        watched=lambda: [settings.current.bridge.config_file],
    )


def _serve(
    settings: Settings[Any],
    create: Callable[[ExitStack, CollectorRegistry], Any],
    listen: ListenAddress,
    threads: int,
    *,
    apply: Callable[[Any], None] = lambda _root: None,
    watched: Callable[[], Iterable[Path | None]] = tuple,
) -> None:
    """Serves what create() makes in each new worker; what it puts on the stack ends with it."""
    from fleetpulse.serving import ask_reload, serve

    closing = ExitStack()

    def files() -> Stamp:
        return stamp(present((settings.path, *watched())))

    # From before the reading: a change while the worker is being exchanged is seen after it.
    seen = [files()]

    def reload() -> None:
        seen[0] = files()
        settings.reload(apply)

    def application() -> Any:
        registry = new_registry()
        expose(settings, registry)
        app = create(closing, registry)
        watching = watch(settings, ask_reload, watched, seen[0])
        closing.callback(watching.stop)
        watching.start()
        return app

    serve(
        application,
        listen,
        threads=threads,
        on_stop=closing.close,
        on_reload=reload,
    )


_RUN: dict[str, Callable[[argparse.Namespace], None]] = {
    "scraper": _run_scraper,
    "rules": _run_rules,
    "api": _run_api,
    "bridge": _run_bridge,
}
