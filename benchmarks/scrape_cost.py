"""What scraping and storing 1,000 targets every 10 s costs, beside vmagent and Prometheus.

The scraper is the real command with its embedded store, Prometheus stores too, vmagent sends what
it scraped to a server that throws it away. One after the other scrapes the same fleet (fleet/).
Ratios are to vmagent: wanted are 0.6 of its CPU and memory, and 0.33 and 0.1 of Prometheus'.

Usage: scrape_cost.py [SECONDS] [--targets N] [--interval S] [--settle S] [--page FILE]
                      [--only NAME ...]
"""

import argparse
import os
from pathlib import Path

from fleet.contenders import CONTENDERS, compare, fleet, made_up_page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("seconds", type=float, nargs="?", default=60)
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--interval", type=float, default=10)
    parser.add_argument("--settle", type=float, default=25, help="seconds before the measurement")
    parser.add_argument("--page", type=Path, help="a page saved from an exporter")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    options = parser.parse_args()
    page = options.page.read_bytes() if options.page else made_up_page()
    samples = sum(not line.startswith(b"#") for line in page.splitlines())
    print(
        f"{options.targets:,} targets of {samples} samples ({len(page)} bytes) every "
        f"{options.interval:g} s, {options.seconds:g} s each, {os.cpu_count()} cores"
    )
    with fleet(options.targets, options.interval, page) as running:
        compare(options.only, running, options.seconds, options.settle)


if __name__ == "__main__":
    main()
