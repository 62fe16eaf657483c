"""The configuration file as a whole: which section belongs to whom, each checked by its own model.

Most sections are pydantic's, the exporter's is a record: its process stays without pydantic.
"""

import dataclasses
import importlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Gauge
from pydantic import Field, TypeAdapter, create_model

from fleetpulse.errors import ConfigError
from fleetpulse.logs import FORMATS, LEVELS
from fleetpulse.records import read_record
from fleetpulse.yamlconf import Section, validate
from fleetpulse.yamldoc import Document, in_order, read_text
from fleetpulse_cli.settings import Settings

# Section → where its model is. Imported only when asked for: the exporter's host has no numpy.
SECTIONS: Mapping[str, str] = {
    "storage": "fleetpulse.storageconfig:StorageConfig",
    "promql": "fleetpulse.promql.config:PromqlConfig",
    "exporter": "exporter.config:ExporterConfig",
    "scraper": "scraper.config:ScraperConfig",
    "api": "api.config:ApiConfig",
    "rules": "rules.config:RulesConfig",
    "bridge": "alertmanager_bridge.config:BridgeConfig",
}


def whole_file(
    path: Path | None,
    sections: Sequence[str] = tuple(SECTIONS),
    *,
    override: Callable[[Any], Any] = lambda root: root,
    now: Callable[[], float] = time.time,
) -> Settings[Any]:
    """Settings of which the sections named are checked and others let pass.

    override is applied to each version that is read: what the command line says wins.
    """
    return Settings(path, lambda file: override(read_root(file, sections)), now=now)


def read_root(path: Path | None, sections: Iterable[str] = tuple(SECTIONS)) -> Any:
    """log_level, log_format and an attribute a section. ConfigError has the faults of all."""
    if path is None:
        document, base = Document(None, "", {}), Path()
    else:
        document, base = Document.parse(read_text(path), str(path), os.environ), path.parent
    models = {name: _model(name) for name in sections}
    records = {name: one for name, one in models.items() if dataclasses.is_dataclass(one)}
    faults: list[str] = []
    found: dict[str, Any] = {}
    root: Any = None
    try:
        root = validate(document, root_model(models), base)
    except ConfigError as err:
        faults.extend(err.faults)
    for name, record in records.items():
        try:
            found[name] = read_record(record, document, (name,), base)  # type: ignore[arg-type]
        except ConfigError as err:
            faults.extend(err.faults)
    if root is not None:
        faults += _between(document, root)
    if faults:
        raise ConfigError(in_order(faults))
    return root.model_copy(update=found)


def _between(document: Document, root: Any) -> list[str]:
    """What no section can see by itself."""
    shard = getattr(root.scraper, "shard", None)
    if not getattr(root.storage, "local_copy", 0) or shard is None or shard.of == 1:
        return []
    message = (
        f"a copy would have the samples of this scraper alone, of {shard.of} that scraper.shard "
        "tells of, and rules would not see the others; leave it out, or let one scraper do all"
    )
    return [document.fault(("storage", "local_copy"), message)]


def root_model(models: Mapping[str, Any]) -> type[Section]:
    """A model of the whole file. What has none here, or a record, may hold anything."""
    fields: dict[str, Any] = {
        "log_level": (Literal[LEVELS], "info"),
        "log_format": (Literal[FORMATS], "text"),
    }
    for name in SECTIONS:
        model = models.get(name)
        if model is None or dataclasses.is_dataclass(model):
            fields[name] = (Any, None)
        else:
            fields[name] = (model, Field(default_factory=_default(model)))
    return create_model("FleetPulse", __base__=Section, **fields)


def _model(name: str) -> Any:
    module, _, attribute = SECTIONS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def _default(model: Any) -> Callable[[], Any]:
    """A section's value when the file does not have it; a union's is that of an empty section."""
    return model if isinstance(model, type) else lambda: TypeAdapter(model).validate_python({})


def expose(settings: Settings[Any], registry: CollectorRegistry) -> None:
    """Registers how the last reload went."""
    Gauge(
        "fleetpulse_config_last_reload_successful",
        "Whether the last reading of the configuration succeeded.",
        registry=registry,
    ).set_function(lambda: float(settings.successful))
    Gauge(
        "fleetpulse_config_last_reload_success_timestamp_seconds",
        "When the configuration was last read without a fault.",
        registry=registry,
    ).set_function(lambda: settings.succeeded_at)
