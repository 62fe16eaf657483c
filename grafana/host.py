"""One host in depth."""

import panels
from panels import GREEN, RED, Json, gauge, graph, query, stat
from queries import (
    ANY_ALARMS,
    CPU_LIMITS,
    FS_LIMITS,
    MEMORY_LIMITS,
    REAL_FS,
    REAL_NIC,
    busy,
    cores,
    cpu,
    fs_used,
    memory,
    rate,
)

WHERE = 'job="$job",instance="$instance"'
NIC = f"{REAL_NIC},{WHERE}"
FS = f"{REAL_FS},{WHERE}"


def dashboard() -> Json:
    rows = {
        "At a glance": _glance(),
        "CPU": _cpu(),
        "Memory": _memory(),
        "File systems": _file_systems(),
        "Disks": _disks(),
        "Network": _network(),
        "Clock and scrape": _clock(),
    }
    variables = [
        panels.variable("job", "Job", "label_values(node_uname_info, job)"),
        panels.variable(
            "instance", "Instance", 'label_values(node_uname_info{job="$job"}, instance)'
        ),
    ]
    return panels.dashboard("fleetpulse-host", "FleetPulse / Host", __doc__ or "", variables, rows)


def now(metric: str) -> str:
    return f"{metric}{{{WHERE}}}"


def mem(field: str) -> str:
    return now(f"node_memory_{field}_bytes")


def _glance() -> list[Json]:
    firing = 'ALERTS{alertstate="firing",instance="$instance"}'
    return [
        gauge("CPU", cpu(WHERE), "Share of time that the processors were not idle.", CPU_LIMITS),
        gauge(
            "Memory",
            memory(WHERE),
            "Share that new processes cannot have without swapping.",
            MEMORY_LIMITS,
        ),
        gauge("Fullest file system", f"max({fs_used(WHERE)})", "The worst of them.", FS_LIMITS),
        stat(
            "Firing alerts",
            f"count({firing}) or vector(0)",
            "Alerts of this instance that fire.",
            limits=ANY_ALARMS,
        ),
        stat(
            "Answers",
            now("up"),
            "1: the last scrape or push went well.",
            base=RED,
            limits=((1, GREEN),),
        ),
        stat(
            "Up for",
            f"time() - {now('node_boot_time_seconds')}",
            "Since the last boot.",
            unit="s",
        ),
        stat("Host name", now("node_uname_info"), "What the host calls itself.", label="nodename"),
        stat("System", now("node_os_info"), "The distribution.", label="pretty_name"),
        stat("Kernel", now("node_uname_info"), "The kernel's release.", label="release"),
        stat("CPU cores", cores(WHERE), "Logical processors."),
        stat("Memory", mem("MemTotal"), "Physical memory.", unit="bytes"),
        stat("Swap", mem("SwapTotal"), "Swap that there is; many hosts have none.", unit="bytes"),
    ]


def _cpu() -> list[Json]:
    working = rate("node_cpu_seconds_total", f'mode!="idle",{WHERE}')
    idle = rate("node_cpu_seconds_total", f'mode="idle",{WHERE}')
    pressure = (("cpu", "CPU"), ("memory", "memory"), ("io", "disks"))
    return [
        graph(
            "CPU by mode",
            [query(f"100 * avg by (mode) ({working})", "{{mode}}")],
            "What the processors spent their time on; up to 100 % they were idle. Much iowait:"
            " slow disks. Much steal: a crowded virtualization host.",
            "percent",
            stacked=True,
            top=100,
        ),
        graph(
            "Load",
            [query(now(f"node_load{minutes}"), f"{minutes} min") for minutes in (1, 5, 15)]
            + [query(cores(WHERE), "cores")],
            "Processes that run or wait. For long above the number of cores: they wait.",
            "short",
        ),
        graph(
            "CPU by core",
            [query(f"100 * (1 - {idle})", "cpu {{cpu}}")],
            "One at 100 % while others are idle: a program that uses one core alone.",
            "percent",
            top=100,
        ),
        graph(
            "Pressure",
            [
                query(
                    f"100 * {rate(f'node_pressure_{what}_waiting_seconds_total', WHERE)}",
                    f"wait for {told}",
                )
                for what, told in pressure
            ],
            "Share of time in which some process was held up for want of it.",
            "percent",
        ),
    ]


def _memory() -> list[Json]:
    caches = f"{mem('Buffers')} + {mem('Cached')} + {mem('SReclaimable')}"
    killed = f"increase({now('node_vmstat_oom_kill')}[$__rate_interval])"
    return [
        graph(
            "Memory",
            [
                query(f"{mem('MemTotal')} - {mem('MemFree')} - ({caches})", "used"),
                query(caches, "caches"),
                query(mem("MemFree"), "free"),
            ],
            "Caches are given back when programs need the room.",
            "bytes",
            stacked=True,
        ),
        graph(
            "Swap",
            [
                query(f"{mem('SwapTotal')} - {mem('SwapFree')}", "used"),
                query(mem("SwapTotal"), "there is"),
            ],
            "Zero where a host has no swap.",
            "bytes",
        ),
        graph(
            "Swapping",
            [
                query(rate("node_vmstat_pswpin", WHERE), "pages read"),
                query(rate("node_vmstat_pswpout", WHERE), "pages written"),
            ],
            "Pages a second. Steady traffic both ways: memory is too small.",
            "short",
        ),
        graph(
            "Killed for want of memory",
            [query(killed, "processes")],
            "By the kernel; its log (dmesg) names them.",
            "short",
        ),
    ]


def _file_systems() -> list[Json]:
    files = f"(node_filesystem_files{{{WHERE}}} > 0)"
    inodes = f"100 * (1 - node_filesystem_files_free{{{FS}}} / {files})"
    return [
        graph(
            "Used",
            [query(fs_used(WHERE), "{{mountpoint}}")],
            "Share that is used or kept for root.",
            "percent",
            width=8,
            limits=FS_LIMITS,
            top=100,
        ),
        graph(
            "Room",
            [query(f"node_filesystem_avail_bytes{{{FS}}}", "{{mountpoint}}")],
            "What everybody but root may still write.",
            "bytes",
            width=8,
        ),
        graph(
            "Inodes used",
            [query(inodes, "{{mountpoint}}")],
            "Without a free inode no new file can be made, whatever room there is.",
            "percent",
            width=8,
            limits=FS_LIMITS,
            top=100,
        ),
    ]


def _disks() -> list[Json]:
    def took(way: str, done: str) -> str:
        seconds = rate(f"node_disk_{way}_time_seconds_total", WHERE)
        return f"{seconds} / ({rate(f'node_disk_{done}_completed_total', WHERE)} > 0)"

    return [
        graph(
            "Throughput",
            [
                query(rate("node_disk_read_bytes_total", WHERE), "{{device}} read"),
                query(rate("node_disk_written_bytes_total", WHERE), "{{device}} written"),
            ],
            "Read upwards, written downwards.",
            "Bps",
        ),
        graph(
            "Operations",
            [
                query(rate("node_disk_reads_completed_total", WHERE), "{{device}} read"),
                query(rate("node_disk_writes_completed_total", WHERE), "{{device}} written"),
            ],
            "Completed a second; read upwards, written downwards.",
            "iops",
        ),
        graph(
            "Time an operation took",
            [
                query(took("read", "reads"), "{{device}} reading"),
                query(took("write", "writes"), "{{device}} writing"),
            ],
            "On average, with the wait in the queue.",
            "s",
        ),
        graph(
            "At work",
            [query(busy(WHERE), "{{device}}")],
            "Share of time with an operation under way. A disk that does many at a time can do"
            " more although it is at 100 %.",
            "percent",
            top=100,
        ),
    ]


def _network() -> list[Json]:
    def flow(what: str, factor: str = "") -> list[Json]:
        ways = (("receive", "received"), ("transmit", "sent"))
        return [
            query(factor + rate(f"node_network_{way}_{what}_total", NIC), f"{{{{device}}}} {told}")
            for way, told in ways
        ]

    lost = [
        query(rate(f"node_network_{way}_{what}_total", NIC), f"{{{{device}}}} {way} {told}")
        for way in ("receive", "transmit")
        for what, told in (("drop", "dropped"), ("errs", "damaged"))
    ]
    tcp = [
        query(now("node_netstat_Tcp_CurrEstab"), "connections"),
        query(now("node_sockstat_TCP_tw"), "in TIME_WAIT"),
        query(rate("node_netstat_Tcp_RetransSegs", WHERE), "segments repeated a second"),
    ]
    return [
        graph("Throughput", flow("bytes", "8 * "), "Received upwards, sent downwards.", "bps"),
        graph("Packets", flow("packets"), "Received upwards, sent downwards.", "pps"),
        graph(
            "Lost packets",
            lost,
            "Damaged: cable, port, duplex. Dropped: buffers too small, or a CPU too busy.",
            "pps",
        ),
        graph("TCP", tcp, "Many repeated segments: packets get lost on the way.", "short"),
    ]


def _clock() -> list[Json]:
    clock = now("node_time_seconds")
    durations = now("node_scrape_collector_duration_seconds")
    return [
        graph(
            "Clock",
            [
                query(f"{clock} - timestamp({clock})", "ahead of the scrape"),
                query(now("node_timex_offset_seconds"), "off its time server"),
            ],
            "The first has in it the time that the scrape took.",
            "s",
        ),
        graph(
            "Scrape",
            [
                query(now("scrape_duration_seconds"), "whole"),
                query(f"max by (collector) ({durations})", "{{collector}}"),
            ],
            "How long the page took, and each collector's part. A pushing host has no whole.",
            "s",
        ),
    ]
