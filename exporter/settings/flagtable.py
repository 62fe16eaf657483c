"""node_exporter's flags, as versions 0.16 to 1.9 have them: what each sets, or why it sets nothing.

Sources: `node_exporter --help` and its CHANGELOG. A flag not listed here is a mistake.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag and the setting it stands for.

    key: where in the configuration, as in `exporter.filesystem.mount_timeout`.
    kind: `value` takes one value, `list` may be repeated, `switch` takes none, `off` is a switch
    that turns its setting off.
    hint: what help shows for the value.
    instead_of: the key that it takes the place of; of an include and an exclude one is in force.
    """

    name: str
    key: str
    help: str
    kind: str = "value"
    hint: str = "RE"
    instead_of: str = ""


def _pair(collector: str, include: str, exclude: str, what: str) -> tuple[Flag, Flag]:
    """An include and an exclude that do not go together. Both are named for the flag's end."""
    section = f"exporter.{collector}"
    keys = [f"{section}.{name.replace('-', '_')}" for name in (include, exclude)]
    return (
        Flag(
            f"collector.{collector}.{include}",
            keys[0],
            f"only these {what}",
            "value",
            "RE",
            keys[1],
        ),
        Flag(
            f"collector.{collector}.{exclude}", keys[1], f"not these {what}", "value", "RE", keys[0]
        ),
    )


WEB = (
    Flag("web.listen-address", "exporter.listen", "where to listen; repeatable", "list", "ADDRESS"),
    Flag("web.telemetry-path", "exporter.telemetry_path", "the page's path", hint="PATH"),
    Flag(
        "web.max-requests", "exporter.max_requests", "pages at the same time; 0: no limit", hint="N"
    ),
    Flag(
        "web.disable-exporter-metrics",
        "exporter.exporter_metrics",
        "nothing about the exporter's own process",
        "off",
    ),
    Flag(
        "web.config.file",
        "exporter.web_config_file",
        "TLS, passwords, headers (exporter-toolkit's)",
        hint="FILE",
    ),
)

PATHS = (
    Flag("path.procfs", "exporter.procfs", "where the host's /proc is", hint="DIR"),
    Flag("path.sysfs", "exporter.sysfs", "where its /sys is", hint="DIR"),
    Flag("path.rootfs", "exporter.rootfs", "where its / is", hint="DIR"),
    Flag("path.udev.data", "exporter.udev_data", "where its udev keeps its data", hint="DIR"),
)

LOG = (
    Flag("log.level", "log_level", "debug, info, warn or error", hint="LEVEL"),
    Flag("log.format", "log_format", "logfmt, json or text", hint="FORMAT"),
)

OPTIONS = (
    *_pair("arp", "device-include", "device-exclude", "devices"),
    Flag("collector.cpu.guest", "exporter.cpu.guest", "CPU time of guests", "switch"),
    Flag("collector.cpu.info", "exporter.cpu.info", "model and microcode of the CPUs", "switch"),
    Flag(
        "collector.cpu.info.flags-include",
        "exporter.cpu.info_flags_include",
        "only these CPU flags",
    ),
    Flag(
        "collector.cpu.info.bugs-include", "exporter.cpu.info_bugs_include", "only these CPU bugs"
    ),
    *_pair("diskstats", "device-include", "device-exclude", "devices"),
    *_pair("filesystem", "mount-points-include", "mount-points-exclude", "mount points"),
    *_pair("filesystem", "fs-types-include", "fs-types-exclude", "types of file system"),
    Flag(
        "collector.filesystem.mount-timeout",
        "exporter.filesystem.mount_timeout",
        "how long a mount may be silent",
        hint="DURATION",
    ),
    *_pair("hwmon", "chip-include", "chip-exclude", "chips"),
    *_pair("hwmon", "sensor-include", "sensor-exclude", "sensors"),
    Flag(
        "collector.netclass.ignored-devices",
        "exporter.netclass.ignored_devices",
        "not these devices",
    ),
    Flag(
        "collector.netclass.ignore-invalid-speed",
        "exporter.netclass.ignore_invalid_speed",
        "no speed of devices that do not know theirs",
        "switch",
    ),
    *_pair("netdev", "device-include", "device-exclude", "devices"),
    Flag("collector.netstat.fields", "exporter.netstat.fields", "only these fields"),
    Flag(
        "collector.powersupply.ignored-supplies",
        "exporter.powersupply.ignored_supplies",
        "not these power supplies",
    ),
    Flag(
        "collector.rapl.enable-zone-label",
        "exporter.rapl.enable_zone_label",
        "zones as a label instead of in the name",
        "switch",
    ),
    Flag("collector.stat.softirq", "exporter.stat.softirq", "soft interrupts by vector", "switch"),
    Flag("collector.systemd.unit-include", "exporter.systemd.unit_include", "only these units"),
    Flag("collector.systemd.unit-exclude", "exporter.systemd.unit_exclude", "not these units"),
    Flag(
        "collector.systemd.enable-task-metrics", "exporter.systemd.task_metrics", "tasks", "switch"
    ),
    Flag(
        "collector.systemd.enable-restarts-metrics",
        "exporter.systemd.restarts_metrics",
        "restarts",
        "switch",
    ),
    Flag(
        "collector.systemd.enable-start-time-metrics",
        "exporter.systemd.start_time_metrics",
        "start times",
        "switch",
    ),
    Flag(
        "collector.systemd.private",
        "exporter.systemd.private",
        "without D-Bus; root only",
        "switch",
    ),
    Flag(
        "collector.textfile.directory",
        "exporter.textfile.directories",
        "a folder of *.prom files; repeatable",
        "list",
        "DIR",
    ),
    Flag("collector.vmstat.fields", "exporter.vmstat.fields", "only these fields"),
)

DEFAULTS = Flag(
    "collector.disable-defaults",
    "exporter.collectors.defaults",
    "only what --collector.NAME turns on",
    "off",
)

# Older names: they work, with a warning.
DEPRECATED = {
    "collector.diskstats.ignored-devices": "collector.diskstats.device-exclude",
    "collector.filesystem.ignored-fs-types": "collector.filesystem.fs-types-exclude",
    "collector.filesystem.ignored-mount-points": "collector.filesystem.mount-points-exclude",
    "collector.netdev.device-blacklist": "collector.netdev.device-exclude",
    "collector.netdev.device-whitelist": "collector.netdev.device-include",
    "collector.netdev.ignored-devices": "collector.netdev.device-exclude",
    "collector.systemd.unit-blacklist": "collector.systemd.unit-exclude",
    "collector.systemd.unit-whitelist": "collector.systemd.unit-include",
    "web.config": "web.config.file",
}

# Collectors of node_exporter's that are not here. To switch one off is no mistake.
ABSENT = frozenset(
    {"bcache", "bcachefs", "boottime", "btrfs", "buddyinfo", "cgroups", "cpu_vulnerabilities",
     "devstat", "dmmultipath", "drbd", "drm", "ethtool", "exec", "fibrechannel", "infiniband",
     "ipvs", "kernel_hung", "ksmd", "lnstat", "logind", "meminfo_numa", "mountstats",
     "netclass_rtnl", "netinterface", "netisr", "network_route", "ntp",
     "nvmesubsystem", "partition", "pcidevice", "perf", "qdisc", "runit", "slabinfo", "softirqs",
     "supervisord", "swap", "sysctl", "tapestats", "watchdog", "wifi", "xfrm", "zoneinfo"}
)  # fmt: skip

# Of those, what had options. They set nothing while the collector is not there, and are let pass.
ABSENT_SWITCHES = frozenset(
    {"collector.bcache.priorityStats", "collector.netclass_rtnl.with-stats",
     "collector.ntp.server-is-local", "collector.pcidevice.names",
     "collector.perf.disable-cache-profilers", "collector.perf.disable-hardware-profilers",
     "collector.perf.disable-software-profilers"}
)  # fmt: skip
ABSENT_VALUES = frozenset(
    {"collector.ethtool.device-exclude", "collector.ethtool.device-include",
     "collector.ethtool.metrics-include", "collector.infiniband.device-exclude",
     "collector.infiniband.device-include", "collector.ipvs.backend-labels",
     "collector.ntp.ip-ttl", "collector.ntp.local-offset-tolerance", "collector.ntp.max-distance",
     "collector.ntp.protocol-version", "collector.ntp.server", "collector.ntp.server-port",
     "collector.pcidevice.idsfile", "collector.perf.cache-profilers", "collector.perf.cpus",
     "collector.perf.hardware-profilers", "collector.perf.software-profilers",
     "collector.perf.tracepoint", "collector.qdisc.device-exclude",
     "collector.qdisc.device-include", "collector.qdisk.device-exclude",
     "collector.qdisk.device-include", "collector.runit.servicedir",
     "collector.slabinfo.slabs-exclude", "collector.slabinfo.slabs-include",
     "collector.supervisord.url", "collector.sysctl.include", "collector.sysctl.include-info",
     "collector.tapestats.ignored-devices"}
)  # fmt: skip

# How the data is fetched, not what is told: either way is right here.
NO_MATTER_SWITCHES = frozenset(
    {"collector.arp.netlink", "collector.netclass.netlink", "collector.netdev.netlink"}
)
NO_MATTER_VALUES = frozenset({"collector.filesystem.stat-workers"})

# What cannot be had, and what to do. Turned off with --no-, a switch is no mistake.
REFUSED_SWITCHES = {
    "web.systemd-socket": "sockets of systemd's are not taken; name the address with "
    "--web.listen-address",
    "collector.netdev.address-info": "addresses are not told here; leave it out",
    "collector.netdev.enable-detailed-metrics": "the plain names are the ones told here; leave it "
    "out",
    "collector.netdev.label-ifalias": "there is no ifalias label; node_network_info of the "
    "collector netclass tells the alias",
    "collector.interrupts.include-zeros": "leave it out; all interrupts are told",
}
REFUSED_VALUES = {
    "runtime.gomaxprocs": "this is no Go program; leave it out",
    "collector.qdisc.fixtures": "for node_exporter's own tests; leave it out",
    "collector.wifi.fixtures": "for node_exporter's own tests; leave it out",
    "collector.interrupts.name-exclude": "the interrupts cannot be chosen here; leave it out",
    "collector.interrupts.name-include": "the interrupts cannot be chosen here; leave it out",
    "collectors.enabled": "write --collector.disable-defaults and --collector.NAME for each",
}

SETTINGS = {flag.name: flag for flag in (*WEB, *PATHS, *LOG, *OPTIONS, DEFAULTS)}
