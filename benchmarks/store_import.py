"""A million samples out of a file into the embedded store and back, as the command line does it.

    python benchmarks/store_import.py [--samples 1000000]

Prints seconds for `fleetpulse import` and `fleetpulse export` of the same samples, and what
promtool takes to make blocks of the file, where promtool is installed.
"""

import argparse
import contextlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from fleetpulse_cli.main import main as fleetpulse

_SERIES = 1000
_PER_METRIC = 50
_START = 1_700_000_000


def make(path: Path, samples: int) -> None:
    """Series by series, one in 15 s, as `promtool tsdb dump-openmetrics` has them."""
    chance = random.Random(1)
    with path.open("w") as file:
        for number in range(_SERIES):
            metric, host = divmod(number, _PER_METRIC)
            labels = f'device="sd{host % 4}",instance="host{host}:9100",job="node"'
            value = chance.random() * 1000
            for turn in range(samples // _SERIES):
                value += chance.random()
                file.write(f"metric_{metric}{{{labels}}} {value:.3f} {_START + 15 * turn}.000\n")
        file.write("# EOF\n")


def seconds(arguments: Sequence[str]) -> float:
    started = time.perf_counter()
    with contextlib.redirect_stderr(sys.stdout):
        assert fleetpulse(arguments) == 0
    return time.perf_counter() - started


def promtool(file: Path, folder: Path) -> float | None:
    program = shutil.which("promtool")
    if program is None:
        return None
    command = [program, "tsdb", "create-blocks-from", "openmetrics", str(file), str(folder)]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--samples", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder / "in.om", options.samples)
        where = ["--data-dir", str(folder / "data")]
        taken = {
            "import": seconds(["import", "--quiet", str(folder / "in.om"), *where]),
            "export": seconds(["export", "{job=~'.+'}", "-o", str(folder / "out.om"), *where]),
        }
        peer = promtool(folder / "in.om", folder / "blocks")
    for what, each in taken.items():
        print(f"{what}: {each:.2f} s, {options.samples / each / 1e6:.2f} M samples/s")
    if peer is not None:
        ratio = taken["import"] / peer
        print(f"promtool tsdb create-blocks-from: {peer:.2f} s; import takes {ratio:.2f} x")


if __name__ == "__main__":
    main()
