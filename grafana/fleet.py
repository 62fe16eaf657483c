"""All hosts at a glance: who is down, what fires, who is busiest or fullest."""

import panels
from panels import ORANGE, YELLOW, Json, column, graph, percent_column, query, stat, table, top_list
from queries import (
    ANY_ALARMS,
    ANY_WARNS,
    CPU_LIMITS,
    FS_LIMITS,
    MEMORY_LIMITS,
    REAL_NIC,
    busy,
    cores,
    cpu,
    fs_used,
    fullest,
    load_per_core,
    memory,
    rate,
)

WHERE = 'job=~"$job"'
# A host that pushes has no `up` 0: it falls silent. As in the shipped rule, for five minutes.
PUSHED = f"last_over_time(fleetpulse_push_received_timestamp_seconds{{{WHERE}}}[1d])"
LOST = f"(up{{{WHERE}}} == 0 or time() - {PUSHED} > 300)"
FIRING = 'ALERTS{alertstate="firing"}'

TELLS_CPU = "Share of time that the processors were not idle."
TELLS_MEMORY = "Share that new processes cannot have without swapping."
TELLS_LOST = (
    "Targets that do not answer the scraper, and pushing hosts unheard of for five minutes."
)


def dashboard() -> Json:
    rows = {
        "State": [*_state(), _alerts(), _lost()],
        "Highest now": _highest(),
        "Over time": _over_time(),
        "All hosts": [_hosts()],
    }
    job = panels.variable("job", "Job", "label_values(node_uname_info, job)", many=True)
    return panels.dashboard("fleetpulse-fleet", "FleetPulse / Fleet", __doc__ or "", [job], rows)


def _state() -> list[Json]:
    critical = 'ALERTS{alertstate="firing",severity="critical"}'
    other = 'ALERTS{alertstate="firing",severity!="critical"}'
    return [
        stat("Up", f"sum(up{{{WHERE}}})", "Targets that answer, pushing hosts included."),
        stat("Down or silent", f"count({LOST}) or vector(0)", TELLS_LOST, limits=ANY_ALARMS),
        stat(
            "Critical alerts",
            f"count({critical}) or vector(0)",
            "Alerts of severity critical that fire, of all jobs.",
            limits=ANY_ALARMS,
        ),
        stat(
            "Other alerts",
            f"count({other}) or vector(0)",
            "Alerts of any other severity that fire, of all jobs.",
            limits=ANY_WARNS,
        ),
        stat("CPU cores", f"sum({cores(WHERE)})", "Logical processors of all hosts."),
        stat(
            "Memory",
            f"sum(node_memory_MemTotal_bytes{{{WHERE}}})",
            "Physical memory of all hosts.",
            unit="bytes",
        ),
    ]


def _alerts() -> Json:
    return table(
        "Firing alerts",
        [f"1000 * (ALERTS_FOR_STATE and ignoring (alertstate) {FIRING})"],
        "What fires, of all jobs, and since when its condition has held.",
        size=(14, 9),
        columns={
            "severity": "Severity",
            "alertname": "Alert",
            "instance": "Instance",
            "job": "Job",
            "mountpoint": "Mount point",
            "device": "Device",
            "Value": "Since",
        },
        overrides=[column("Since", unit="dateTimeFromNow")],
    )


def _lost() -> Json:
    return table(
        "Down or silent",
        [f"0 * {LOST}"],
        TELLS_LOST,
        size=(10, 9),
        columns={"instance": "Instance", "job": "Job"},
        hidden=("Value",),
    )


def _highest() -> list[Json]:
    nic = f"{REAL_NIC},{WHERE}"
    received = rate("node_network_receive_bytes_total", nic)
    sent = rate("node_network_transmit_bytes_total", nic)
    host, device = "{{instance}}", "{{instance}} {{device}}"
    share: Json = {"unit": "percent", "top": 100}
    return [
        top_list("CPU", cpu(WHERE), TELLS_CPU, legend=host, limits=CPU_LIMITS, **share),
        top_list("Memory", memory(WHERE), TELLS_MEMORY, legend=host, limits=MEMORY_LIMITS, **share),
        top_list(
            "File systems",
            fs_used(WHERE),
            "Share that is used or kept for root.",
            legend="{{instance}} {{mountpoint}}",
            limits=FS_LIMITS,
            **share,
        ),
        top_list(
            "Disks at work",
            busy(WHERE),
            "Share of time with an operation under way.",
            legend=device,
            limits=((80, YELLOW), (95, ORANGE)),
            **share,
        ),
        top_list(
            "Network",
            f"8 * sum by (job, instance) ({received} + {sent})",
            "Received and sent, all interfaces together.",
            legend=host,
            unit="bps",
        ),
        top_list(
            "Load per core",
            load_per_core("node_load5", WHERE),
            "Processes that run or wait, by processor, over five minutes.",
            legend=host,
            unit="none",
            limits=((1, YELLOW), (2, ORANGE)),
        ),
    ]


def _over_time() -> list[Json]:
    about = "Of each host the file system that is fullest."
    shown = (
        ("CPU", cpu(WHERE), TELLS_CPU, CPU_LIMITS),
        ("Memory", memory(WHERE), TELLS_MEMORY, MEMORY_LIMITS),
        ("Fullest file system", fullest(WHERE), about, FS_LIMITS),
    )
    return [
        graph(title, _spread(expr), tells, "percent", width=8, limits=limits, top=100)
        for title, expr, tells, limits in shown
    ]


def _spread(expr: str) -> list[Json]:
    """How a value is spread over the fleet: a line for each host would be a hedge."""
    return [
        query(f"max({expr})", "highest"),
        query(f"quantile(0.95, {expr})", "95 % of hosts are below"),
        query(f"quantile(0.5, {expr})", "half of the hosts are below"),
    ]


def _hosts() -> Json:
    chosen = "var-job=${__data.fields.Job}&var-instance=${__data.fields.Instance}"
    url = f"/d/fleetpulse-host?{chosen}&${{__url_time_range}}"
    return table(
        "Hosts",
        [
            cpu(WHERE),
            memory(WHERE),
            fullest(WHERE),
            load_per_core("node_load1", WHERE),
            f"time() - max by (job, instance) (node_boot_time_seconds{{{WHERE}}})",
        ],
        "Every host, with its fullest file system. A click on its name opens its dashboard.",
        size=(24, 12),
        columns={
            "instance": "Instance",
            "job": "Job",
            "Value #A": "CPU",
            "Value #B": "Memory",
            "Value #C": "Fullest file system",
            "Value #D": "Load per core",
            "Value #E": "Up for",
        },
        overrides=[
            column("Instance", links=[{"title": "Open the host's dashboard", "url": url}]),
            percent_column("CPU", CPU_LIMITS),
            percent_column("Memory", MEMORY_LIMITS),
            percent_column("Fullest file system", FS_LIMITS),
            column("Load per core", decimals=2),
            column("Up for", unit="s", decimals=0),
        ],
    )
