"""Reading one metrics page, beside prometheus_client's parser. Prints times and ratios.

Usage: exposition_read.py [PAGE]     PAGE: a file saved from an exporter's /metrics
"""

import sys
import timeit
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from fleetpulse.exposition import PageReader, read_page


def made_up_page() -> bytes:
    """About as many lines, of about the length, as a node_exporter page has."""
    lines = []
    for metric in range(100):
        lines += [
            f"# HELP node_made_{metric}_total Made up.",
            f"# TYPE node_made_{metric}_total counter",
        ]
        lines += [
            f'node_made_{metric}_total{{cpu="{cpu}",mode="idle"}} {metric * cpu * 1.25}'
            for cpu in range(5)
        ]
    return "\n".join(lines).encode() + b"\n"


def milliseconds(work: "object") -> float:
    assert callable(work)
    return min(timeit.repeat(work, number=20, repeat=5)) * 50


def main() -> None:
    body = Path(sys.argv[1]).read_bytes() if len(sys.argv) > 1 else made_up_page()
    reader = PageReader()
    last = reader.read(body)
    theirs = milliseconds(lambda: list(text_string_to_metric_families(body.decode())))
    rows = {
        "prometheus_client": theirs,
        "read_page (strict, whole)": milliseconds(lambda: read_page(body, at_ms=0)),
        "PageReader, never seen before": milliseconds(lambda: PageReader().read(body)),
        "PageReader, another target's": milliseconds(lambda: reader.read(body)),
        "PageReader, the shape again": milliseconds(lambda: reader.read(body, last)),
    }
    print(f"{last.scraped} samples, {len(body)} bytes")
    for name, took in rows.items():
        print(f"{name:30} {took:8.3f} ms   {theirs / took:6.1f} times as fast")


if __name__ == "__main__":
    main()
