"""`fleetpulse check`: configuration, rule, target and bridge files, all faults at once."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from glob import glob
from pathlib import Path
from typing import Any

from fleetpulse.errors import ConfigError
from fleetpulse.yamldoc import Document, read_text
from fleetpulse_cli.sections import read_root

Check = Callable[[Path], Sequence[str]]

_PROMETHEUS = {
    "global", "scrape_configs", "scrape_config_files", "rule_files", "alerting", "remote_write",
}  # fmt: skip


def check_files(paths: Sequence[Path], config: Path | None = None) -> tuple[list[str], list[str]]:
    """(faults, a line for each file without one). What a file is, is told by its content.

    config: the configuration whose promql.experimental holds for rule files, where none of paths
    is one.
    """
    faults: list[str] = []
    fine: list[str] = []
    experimental = _experimental(paths, config)
    for path in paths:
        found, what = check_file(path, experimental=experimental)
        faults.extend(found)
        if not found:
            fine.append(f"{path}: {what}, no fault found")
    return faults, fine


def check_file(path: Path, *, experimental: bool = False) -> tuple[Sequence[str], str]:
    try:
        data = Document.parse(read_text(path), str(path)).data
    except ConfigError as err:
        return err.faults, "file"
    what, check = _kind(data)
    if check is _check_rules:
        check = partial(_check_rules, experimental=experimental)
    try:
        return check(path), what
    except ConfigError as err:
        return err.faults, what


def _experimental(paths: Sequence[Path], config: Path | None) -> bool:
    """promql.experimental of the first configuration among paths, or else of config.

    Of one with faults, which are told anyway, it is taken to be set: so that no more are made up.
    """
    chosen = next((path for path in paths if _is_configuration(path)), config)
    try:
        return bool(read_root(chosen, ["promql"]).promql.experimental)
    except ConfigError:
        return True


def _is_configuration(path: Path) -> bool:
    try:
        return _kind(Document.parse(read_text(path), str(path)).data)[1] is _check_config
    except ConfigError:
        return False


def _kind(data: Any) -> tuple[str, Check]:
    if isinstance(data, list):
        return "target file", _check_targets
    keys = set(data) if isinstance(data, dict) else set[str]()
    if "groups" in keys:
        return "rule file", _check_rules
    if keys & {"route", "receivers", "inhibit_rules"}:
        return "bridge file", _check_bridge
    if keys & _PROMETHEUS:
        return _prometheus(keys), _check_prometheus
    return "configuration", _check_config


def _check_rules(path: Path, *, experimental: bool = False) -> Sequence[str]:
    from rules.files import check_rule_file

    return check_rule_file(path, experimental=experimental)


def _check_targets(path: Path) -> Sequence[str]:
    from scraper.targets import check_target_file

    return check_target_file(path)


def _check_bridge(path: Path) -> Sequence[str]:
    from alertmanager_bridge.amconfig import check_bridge_file

    return check_bridge_file(path)


def _check_web(path: Path) -> Sequence[str]:
    from fleetpulse.web.rules import load_rules

    load_rules(path)  # ConfigError has all of its faults
    return []


def _prometheus(keys: set[Any]) -> str:
    from scraper.promfile import NOT_READ

    left = [key for key in NOT_READ if key in keys]
    return "Prometheus configuration" + (f" ({', '.join(left)} not read)" if left else "")


def _check_prometheus(path: Path) -> Sequence[str]:
    from scraper.promfile import read_prometheus_file

    checks = _target_checks(read_prometheus_file(path).scrape_configs)
    return [fault for check in checks for fault in _faults(check)]


def _check_config(path: Path) -> Sequence[str]:
    """The file's own faults or, where it has none, those of all files it names.

    Each is checked as what it is named for, whatever it looks like.
    """
    root = read_root(path)
    checks = [*_rule_checks(root, path.parent), *_target_checks(root.scraper.scrape_configs)]
    if root.bridge.config_file is not None:
        checks.append(partial(_check_bridge, root.bridge.config_file))
    if root.exporter.web_config_file is not None:
        checks.append(partial(_check_web, root.exporter.web_config_file))
    return list(dict.fromkeys(fault for check in checks for fault in _faults(check)))


def _faults(check: Callable[[], Sequence[str]]) -> Sequence[str]:
    try:
        return check()
    except ConfigError as err:
        return err.faults


def _rule_checks(root: Any, base: Path) -> Iterator[Callable[[], Sequence[str]]]:
    from rules.files import find_files

    def check(pattern: str) -> Sequence[str]:
        files = find_files([pattern], base, shipped=False)
        experimental = root.promql.experimental
        found = (_check_rules(file, experimental=experimental) for file in files)
        return [fault for faults in found for fault in faults]

    # One by one: a file that is missing hides no other's faults.
    return (partial(check, pattern) for pattern in root.rules.rule_files)


def _target_checks(jobs: Any) -> Iterator[Callable[[], Sequence[str]]]:
    from scraper.targets import check_target_file

    for job in jobs:
        check = partial(check_target_file, relabelled=bool(job.relabel_configs))
        for name in (name for discovery in job.file_sd_configs for name in discovery.files):
            yield from (partial(check, Path(found)) for found in sorted(glob(str(name))))
