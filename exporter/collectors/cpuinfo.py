"""What the CPUs are, from /proc/cpuinfo, as x86 has it."""

import re
from collections.abc import Iterator, Mapping, Sequence

from exporter.collectors.base import text
from exporter.families import Found, Rows, gauge

# Labels of node_cpu_info and the fields that fill them.
_LABELS = {
    "package": "physical id",
    "core": "core id",
    "cpu": "processor",
    "vendor": "vendor_id",
    "family": "cpu family",
    "model": "model",
    "model_name": "model name",
    "microcode": "microcode",
    "stepping": "stepping",
    "cachesize": "cache size",
}
_INFO = gauge("node_cpu_info", "What the CPU is; always 1.", *_LABELS)
_FLAG = gauge("node_cpu_flag_info", "A feature that the first CPU has; always 1.", "flag")
_BUG = gauge("node_cpu_bug_info", "A fault that the first CPU has; always 1.", "bug")


def found(
    raw: bytes, flags: re.Pattern[str] | None = None, bugs: re.Pattern[str] | None = None
) -> Iterator[Found]:
    """flags, bugs: which of the first CPU's are told; without a pattern none is."""
    cpus = parse(raw)
    rows: Rows = {tuple(cpu.get(field, "") for field in _LABELS.values()): 1 for cpu in cpus}
    yield _INFO, rows
    first = cpus[0] if cpus else {}
    yield _FLAG, _matching(first.get("flags", ""), flags)
    yield _BUG, _matching(first.get("bugs", ""), bugs)


def parse(raw: bytes) -> Sequence[Mapping[str, str]]:
    """The fields of each CPU; blocks of `name : value` with an empty line between."""
    cpus = list[Mapping[str, str]]()
    for block in text(raw).split("\n\n"):
        pairs = (line.partition(":") for line in block.splitlines())
        fields = {name.strip(): value.strip() for name, _, value in pairs}
        if "processor" in fields:
            cpus.append(fields)
    return cpus


def _matching(words: str, wanted: re.Pattern[str] | None) -> Rows:
    if wanted is None:
        return {}
    return {(word,): 1 for word in words.split() if wanted.search(word)}
