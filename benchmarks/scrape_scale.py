"""10,000 targets every 10 s on one machine: whether anyone is scraped late, and what it costs.

The scraper is the real command with its embedded store; vmagent, beside it, sends what it scraped
to a server that throws it away. The fleet is one process with an address of 127.0.0.0/8 for each
target (fleet/). late counts the gaps between two requests to an address that are over a second
longer than the interval. Ratios are to vmagent: wanted are 1 of its CPU, and 300 MB.

Usage: scrape_scale.py [SECONDS] [--targets N] [--interval S] [--settle S] [--page FILE]
                       [--only NAME ...]     SECONDS: 600 for the whole of it
"""

import argparse
import os
import resource
from pathlib import Path

from fleet.contenders import CONTENDERS, compare, fleet, made_up_page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("seconds", type=float, nargs="?", default=180)
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--interval", type=float, default=10)
    parser.add_argument("--settle", type=float, default=45, help="seconds before the measurement")
    parser.add_argument("--page", type=Path, help="a page saved from an exporter")
    names = ["fleetpulse", "vmagent"]
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=names)
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit < options.targets + 200:
        raise SystemExit(f"{options.targets} targets want more open files than {limit}: ulimit -Hn")
    page = options.page.read_bytes() if options.page else made_up_page()
    print(
        f"{options.targets:,} targets, {len(page)} bytes every {options.interval:g} s, "
        f"{options.seconds:g} s each, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    with fleet(options.targets, options.interval, page) as running:
        compare(options.only, running, options.seconds, options.settle)


if __name__ == "__main__":
    main()
