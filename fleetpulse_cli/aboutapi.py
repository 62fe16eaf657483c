"""What the API tells of the process and of the configuration that it was started with."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from fleetpulse.values import format_duration
from fleetpulse_cli.settings import Settings
from fleetpulse_cli.shownconfig import as_yaml

if TYPE_CHECKING:
    from api.about import About

_FEATURES = "promql-experimental-functions,promql-binop-fill-modifiers"
_DELAYED = "promql-delayed-name-removal"


def about(
    settings: Settings[Any],
    data_dir: Path,
    registry: CollectorRegistry,
    keeps: float,
    started: float,
) -> "About":
    """keeps: for how long samples can be asked for, in seconds. started: Unix seconds."""
    from api.about import About
    from fleetpulse.storage.embedded import DAMAGE_KINDS

    root = settings.current
    labels = root.api.external_labels

    def damaged() -> int:
        name = "fleetpulse_store_damaged_blobs_total"
        counts = (registry.get_sample_value(name, {"kind": kind}) for kind in DAMAGE_KINDS)
        return int(sum(count or 0 for count in counts))

    return About(
        yaml=lambda: as_yaml(settings.current),
        flags=flags(root, settings.path, data_dir, keeps),
        started=started,
        reloaded=lambda: (settings.successful, settings.succeeded_at),
        retention=format_duration(keeps),
        damaged=damaged,
        external_labels=root.rules.external_labels if labels is None else labels,
        promql=root.promql,
    )


def flags(root: Any, file: Path | None, data_dir: Path, keeps: float) -> dict[str, str]:
    """What Prometheus has flags for, by their names, with the values in force here."""
    api, promql = root.api, root.promql
    features = [_FEATURES] if promql.experimental else []
    features += [_DELAYED] if promql.delayed_name_removal else []
    return {
        "config.file": "" if file is None else str(file),
        "enable-feature": ",".join(features),
        "log.format": root.log_format,
        "log.level": root.log_level,
        "query.lookback-delta": format_duration(promql.lookback),
        "query.max-concurrency": str(api.query.max_concurrency),
        "query.max-samples": str(api.query.max_samples),
        "query.timeout": format_duration(api.query.timeout),
        "rules.alert.for-grace-period": format_duration(root.rules.for_grace_period),
        "rules.alert.for-outage-tolerance": format_duration(root.rules.for_outage_tolerance),
        "rules.alert.resend-delay": format_duration(root.rules.resend_delay),
        "storage.tsdb.path": str(data_dir),
        "storage.tsdb.retention.time": format_duration(keeps),
        "web.cors.origin": api.cors_origin_regex,
        "web.enable-admin-api": "false",
        "web.enable-lifecycle": "false",
        "web.external-url": root.rules.external_url,
        "web.listen-address": str(api.listen),
    }
