"""Grafana's classic dashboard model: what is the same in all panels is said once, here."""

from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]
Limits = Sequence[tuple[float, str]]  # from which value on which colour

SCHEMA = 39  # of the dashboard model; later Grafanas migrate it as they load it
COLUMNS = 24  # of Grafana's grid
SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}

GREEN, YELLOW, ORANGE, RED = "green", "yellow", "orange", "red"

_LAST: Json = {"calcs": ["lastNotNull"], "fields": "", "values": False}


def query(expr: str, legend: str = "", *, now: bool = False, table: bool = False) -> Json:
    """A target; now: only the present value. Its refId comes with its panel."""
    return {
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": expr,
        "legendFormat": legend or "__auto",
        "instant": now or table,
        "range": not (now or table),
        "format": "table" if table else "time_series",
    }


def panel(
    kind: str,
    title: str,
    targets: Sequence[Json],
    about: str,
    *,
    size: tuple[int, int],
    unit: str,
    options: Json,
    limits: Limits = (),
    base: str = GREEN,
    top: float | None = None,
    custom: Json | None = None,
    overrides: Sequence[Json] = (),
) -> Json:
    """A panel without id and place, which dashboard() gives. size: columns and rows."""
    defaults: Json = {
        "color": {"mode": "palette-classic" if kind == "timeseries" else "thresholds"},
        "custom": custom or {},
        "thresholds": _thresholds(limits, base),
        "unit": unit,
    }
    if top is not None:
        defaults |= {"min": 0, "max": top}
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": SOURCE,
        "targets": [{"refId": chr(ord("A") + n), **one} for n, one in enumerate(targets)],
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        "options": options,
        "gridPos": {"w": size[0], "h": size[1]},
    }


def _thresholds(limits: Limits, base: str = GREEN) -> Json:
    steps: list[Json] = [{"color": base, "value": None}]
    steps += [{"color": color, "value": value} for value, color in limits]
    return {"mode": "absolute", "steps": steps}


def stat(
    title: str, expr: str, about: str, *, unit: str = "none", label: str = "", **more: Any
) -> Json:
    """The present value in large; label: that label's value instead."""
    options = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": _LAST,
        "textMode": "name" if label else "auto",
        "wideLayout": True,
    }
    target = query(expr, f"{{{{{label}}}}}" if label else "", now=True)
    return panel("stat", title, [target], about, size=(4, 4), unit=unit, options=options, **more)


def gauge(title: str, expr: str, about: str, limits: Limits) -> Json:
    """A share in percent as a dial."""
    options = {
        "minVizHeight": 75,
        "minVizWidth": 75,
        "orientation": "auto",
        "reduceOptions": _LAST,
        "showThresholdLabels": False,
        "showThresholdMarkers": True,
        "sizing": "auto",
    }
    more: Json = {"unit": "percent", "limits": limits, "top": 100, "options": options}
    return panel("gauge", title, [query(expr, now=True)], about, size=(4, 4), **more)


def top_list(title: str, expr: str, about: str, *, legend: str, **more: Any) -> Json:
    """The ten highest of expr, now."""
    options = {
        "displayMode": "lcd",
        "minVizHeight": 16,
        "minVizWidth": 8,
        "namePlacement": "left",
        "orientation": "horizontal",
        "reduceOptions": _LAST,
        "showUnfilled": True,
        "sizing": "auto",
        "valueMode": "color",
    }
    targets = [query(f"topk(10, {expr})", legend, now=True)]
    return panel("bargauge", title, targets, about, size=(8, 9), options=options, **more)


def graph(
    title: str,
    targets: Sequence[Json],
    about: str,
    unit: str,
    *,
    width: int = 12,
    stacked: bool = False,
    limits: Limits = (),
    top: float | None = None,
) -> Json:
    """Lines over time. What a legend ends with sent or written is drawn downwards."""
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 60 if stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
        "thresholdsStyle": {"mode": "dashed" if limits else "off"},
    }
    options = {
        "legend": {
            "calcs": ["mean", "max", "lastNotNull"],
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": True,
        },
        "tooltip": {"mode": "multi", "sort": "none" if stacked else "desc"},
    }
    down = {
        "matcher": {"id": "byRegexp", "options": "/(sent|written)$/"},
        "properties": [{"id": "custom.transform", "value": "negative-Y"}],
    }
    more: Json = {"unit": unit, "limits": limits, "top": top, "options": options}
    more |= {"custom": custom, "overrides": [down]}
    return panel("timeseries", title, targets, about, size=(width, 9), **more)


def table(
    title: str,
    exprs: Sequence[str],
    about: str,
    *,
    size: tuple[int, int],
    columns: Mapping[str, str],
    hidden: Sequence[str] = (),
    overrides: Sequence[Json] = (),
) -> Json:
    """Rows merged over the labels that all targets share; columns: field → heading, in order."""
    options = {"cellHeight": "sm", "showHeader": True, "footer": {"show": False}}
    custom = {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True}
    more: Json = {"unit": "none", "options": options, "custom": custom, "overrides": overrides}
    targets = [query(expr, table=True) for expr in exprs]
    made = panel("table", title, targets, about, size=size, **more)
    organize = {
        "excludeByName": dict.fromkeys(("Time", *hidden), True),
        "indexByName": {field: place for place, field in enumerate(columns)},
        "renameByName": dict(columns),
    }
    made["transformations"] = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": organize},
    ]
    return made


def column(heading: str, **properties: Any) -> Json:
    """How a table's column looks."""
    given = [{"id": key, "value": value} for key, value in properties.items()]
    return {"matcher": {"id": "byName", "options": heading}, "properties": given}


def percent_column(heading: str, limits: Limits) -> Json:
    """Figures from 0 to 100 with a bar."""
    look = {"unit": "percent", "decimals": 1, "min": 0, "max": 100}
    cell = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
    made = column(heading, **look, thresholds=_thresholds(limits))
    made["properties"].append({"id": "custom.cellOptions", "value": cell})
    return made


def dashboard(
    uid: str, title: str, about: str, variables: Sequence[Json], rows: Mapping[str, Sequence[Json]]
) -> Json:
    """rows: heading → panels, which are put from the left to the right."""
    links = {
        "type": "dashboards",
        "tags": ["fleetpulse"],
        "title": "FleetPulse",
        "asDropdown": False,
        "icon": "external link",
        "includeVars": False,
        "keepTime": True,
        "targetBlank": False,
        "tooltip": "",
        "url": "",
    }
    return {
        "uid": uid,
        "title": title,
        "description": about,
        "tags": ["fleetpulse"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,  # one crosshair for all graphs
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [links],
        "templating": {"list": [_source_variable(), *variables]},
        "panels": _placed(rows),
    }


def _placed(rows: Mapping[str, Sequence[Json]]) -> list[Json]:
    """All panels with id and place, and a heading over each row."""
    found: list[Json] = []
    y = 0
    for heading, panels in rows.items():
        row = {"type": "row", "title": heading, "collapsed": False, "panels": []}
        place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        found.append({"id": len(found) + 1, **row, "gridPos": place})
        x, y, height = 0, y + 1, 0
        for one in panels:
            size = one["gridPos"]
            if x + size["w"] > COLUMNS:
                x, y, height = 0, y + height, 0
            found.append({"id": len(found) + 1, **one, "gridPos": {**size, "x": x, "y": y}})
            x, height = x + size["w"], max(height, size["h"])
        y += height
    return found


def _source_variable() -> Json:
    chosen = {"selected": False, "text": "FleetPulse", "value": "fleetpulse"}
    return _variable("datasource", "Data source", "datasource", "prometheus") | {
        "current": chosen,
        "refresh": 1,
    }


def variable(name: str, label: str, values: str, *, many: bool = False) -> Json:
    """A choice among label_values(…); many: several at a time, or all."""
    asked = {"qryType": 1, "query": values, "refId": "PrometheusVariableQueryEditor-VariableQuery"}
    made = _variable(name, label, "query", asked)
    made |= {"datasource": SOURCE, "definition": values, "refresh": 2, "sort": 1}
    if many:
        chosen = {"selected": True, "text": ["All"], "value": ["$__all"]}
        made |= {"multi": True, "includeAll": True, "allValue": ".*", "current": chosen}
    return made


def _variable(name: str, label: str, kind: str, asked: str | Json) -> Json:
    return {
        "name": name,
        "label": label,
        "type": kind,
        "query": asked,
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "regex": "",
        "skipUrlSync": False,
    }
