"""The storage section of the configuration: which store, and how long it keeps what.

Apart from what opens them: `fleetpulse check` needs no store.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, PlainSerializer, Tag

from fleetpulse.errors import QueryError
from fleetpulse.matchers import Matcher
from fleetpulse.storage.embedded import Keeping, Rule
from fleetpulse.storage.influx.config import Influx1Config, Influx2Config
from fleetpulse.storage.promapi.config import PromApiConfig
from fleetpulse.yamlconf import Duration, FilePath, Section, Size


def _selector(value: object) -> tuple[Matcher, ...]:
    """The matchers of a PromQL selector."""
    if not isinstance(value, str):
        raise ValueError("write a selector, as in '{__name__=~\"node_cpu.*\"}'")
    # Not above: the scraper's process does without the parser where there is none to be read.
    from fleetpulse.promql.syntax import Selector, parse

    try:
        found = parse(value)
    except QueryError as err:
        raise ValueError(str(err)) from None
    if not isinstance(found, Selector) or found.offset_ms or found.at is not None:
        raise ValueError(f"{value!r} is no plain selector, as '{{job=\"db\"}}' is")
    return found.matchers


def _selector_text(matchers: Sequence[Matcher]) -> str:
    return f"{{{','.join(map(str, matchers))}}}"


class RetentionOverride(Section):
    """For how long some series are kept; what is left out is as for all."""

    match: Annotated[
        tuple[Matcher, ...], BeforeValidator(_selector), PlainSerializer(_selector_text)
    ]
    raw: Duration | None = Field(None, gt=0)
    tiers: Duration | None = Field(None, ge=0)


class Retention(Section):
    """How long samples are kept, and windows of five minutes made of them. First match wins."""

    raw: Duration = Field(7 * 86400.0, gt=0)
    tiers: Duration = Field(30 * 86400.0, ge=0)
    overrides: tuple[RetentionOverride, ...] = ()

    def keeping(self, max_bytes: int = 0) -> Keeping:
        rules = tuple(
            Rule(
                one.match,
                self.raw if one.raw is None else one.raw,
                self.tiers if one.tiers is None else one.tiers,
            )
            for one in self.overrides
        )
        return Keeping(self.raw, self.tiers, rules, max_bytes)


class EmbeddedConfig(Section):
    """The embedded store: one SQLite file, DATA/store.db unless path says otherwise.

    max_size: bytes of the file; where it would grow larger, the oldest goes.
    """

    kind: Literal["embedded"] = "embedded"
    path: FilePath | None = None
    retention: Retention = Retention()
    max_size: Size | None = Field(None, ge=1 << 24)


def _kind(section: Any) -> str:
    found = section.get("kind", "embedded") if isinstance(section, dict) else section.kind
    return str(found)


AnyStore = EmbeddedConfig | Influx1Config | Influx2Config | PromApiConfig

StorageConfig = Annotated[
    Annotated[EmbeddedConfig, Tag("embedded")]
    | Annotated[Influx1Config, Tag("influxdb1")]
    | Annotated[Influx2Config, Tag("influxdb2")]
    | Annotated[PromApiConfig, Tag("victoriametrics")],
    Discriminator(
        _kind,
        custom_error_type="kind",
        custom_error_message=(
            "kind is no store known here; write embedded, influxdb1, influxdb2 or victoriametrics"
        ),
    ),
]
