"""The configuration file as a whole: which section belongs to whom, and its reload."""

import importlib
import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Gauge
from pydantic import Field, TypeAdapter, create_model

from fleetpulse.errors import ConfigError, FleetPulseError, StartError
from fleetpulse.yamlconf import Section, load_model

log = logging.getLogger(__name__)

DEFAULT_FILE = Path("fleetpulse.yml")

# Section → where its model is. Imported only when asked for: the exporter's host has no numpy.
SECTIONS: Mapping[str, str] = {
    "storage": "fleetpulse.backend:StorageConfig",
    "exporter": "exporter.config:ExporterConfig",
    "scraper": "scraper.config:ScraperConfig",
    "api": "api.config:ApiConfig",
    "rules": "rules.config:RulesConfig",
    "bridge": "alertmanager_bridge.config:BridgeConfig",
}


def root_model(sections: Iterable[str]) -> type[Section]:
    """A model of the whole file in which the sections named are checked and others let pass."""
    fields: dict[str, Any] = {"log_level": (Literal["debug", "info", "warning"], "info")}
    for name, place in SECTIONS.items():
        if name in sections:
            module, _, attribute = place.partition(":")
            model = getattr(importlib.import_module(module), attribute)
            fields[name] = (model, Field(default_factory=_default(model)))
        else:
            fields[name] = (Any, None)
    return create_model("FleetPulse", __base__=Section, **fields)


def _default(model: Any) -> Callable[[], Any]:
    """A section's value when the file does not have it; a union's is that of an empty section."""
    return model if isinstance(model, type) else lambda: TypeAdapter(model).validate_python({})


class Settings:
    """The configuration in force. A reload that fails keeps it, and says so.

    override is applied to each version that is read: what the command line says wins.
    """

    def __init__(
        self,
        path: Path | None,
        sections: Sequence[str] = tuple(SECTIONS),
        *,
        override: Callable[[Any], Any] = lambda root: root,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._sections, self._override, self._now = sections, override, now
        self.current: Any = self._read()
        self.successful, self.succeeded_at = True, now()

    @property
    def base(self) -> Path:
        """The folder that relative paths in the file start from."""
        return self.path.parent if self.path is not None else Path()

    def _read(self) -> Any:
        model = root_model(self._sections)
        if self.path is None:
            return self._override(model())
        return self._override(load_model(self.path, model))

    def reload(self, apply: Callable[[Any], None] = lambda _root: None) -> bool:
        """Reads the file anew and applies it. On any fault the old version stays in force."""
        try:
            fresh = self._read()
            apply(fresh)
        except FleetPulseError as err:
            self.successful = False
            faults = err.faults if isinstance(err, ConfigError) else (str(err),)
            for fault in faults:
                log.error("reload refused, the old configuration stays: %s", fault)
            return False
        self.current, self.successful, self.succeeded_at = fresh, True, self._now()
        log.info("configuration reloaded")
        return True

    def expose(self, registry: CollectorRegistry) -> None:
        """Registers how the last reload went."""
        Gauge(
            "fleetpulse_config_last_reload_successful",
            "Whether the last reading of the configuration succeeded.",
            registry=registry,
        ).set_function(lambda: float(self.successful))
        Gauge(
            "fleetpulse_config_last_reload_success_timestamp_seconds",
            "When the configuration was last read without a fault.",
            registry=registry,
        ).set_function(lambda: self.succeeded_at)


def find_file(given: Path | None) -> Path | None:
    """The file named on the command line, else fleetpulse.yml here, else none (all defaults)."""
    if given is not None:
        if not given.is_file():
            raise StartError(
                f"{given}: no such configuration file; leave --config out for defaults"
            )
        return given
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def prepare_data_dir(path: Path) -> Path:
    """The data folder, made if need be; StartError where nothing can be written into it."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o750)
        # A name of its own: roles that start together look at the same folder.
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as err:
        raise StartError(
            f"{path}: cannot write to the data folder: {err.strerror}; "
            f"make it writable for this user, or choose another with --data-dir"
        ) from err
    return path
