"""PromQL that both dashboards use. where: label matchers, without braces."""

from panels import ORANGE, RED, YELLOW, Limits

# File systems in memory, of images, or that are views of others: as in the shipped rules.
REAL_FS = 'fstype!~"tmpfs|ramfs|devtmpfs|overlay|squashfs|erofs|iso9660|udf|fuse[.].+"'
REAL_NIC = 'device!~"lo|veth.*|docker.*|br-.*"'

# Where the shipped rules begin to warn and to alarm; for file systems they only warn.
CPU_LIMITS: Limits = ((80, ORANGE), (95, RED))
MEMORY_LIMITS: Limits = ((85, ORANGE), (95, RED))
FS_LIMITS: Limits = ((80, ORANGE), (95, RED))
ANY_WARNS: Limits = ((1, YELLOW),)
ANY_ALARMS: Limits = ((1, RED),)


def rate(metric: str, where: str) -> str:
    return f"rate({metric}{{{where}}}[$__rate_interval])"


def cpu(where: str) -> str:
    idle = rate("node_cpu_seconds_total", f'mode="idle",{where}')
    return f"100 * (1 - avg by (job, instance) ({idle}))"


def cores(where: str) -> str:
    return f'count by (job, instance) (node_cpu_seconds_total{{mode="idle",{where}}})'


def memory(where: str) -> str:
    available = f"node_memory_MemAvailable_bytes{{{where}}}"
    share = f"{available} / node_memory_MemTotal_bytes{{{where}}}"
    return f"100 * (1 - max by (job, instance) ({share}))"


def fs_used(where: str) -> str:
    """Of each file system; what is kept for root counts as used."""
    available = f"node_filesystem_avail_bytes{{{REAL_FS},{where}}}"
    return f"100 * (1 - {available} / (node_filesystem_size_bytes{{{where}}} > 0))"


def fullest(where: str) -> str:
    return f"max by (job, instance) ({fs_used(where)})"


def load_per_core(metric: str, where: str) -> str:
    return f"max by (job, instance) ({metric}{{{where}}}) / on (job, instance) {cores(where)}"


def busy(where: str) -> str:
    return f"100 * {rate('node_disk_io_time_seconds_total', where)}"
