#!/usr/bin/env python3
"""Writes the dashboards: python3 grafana/build.py [FOLDER]. Needs the standard library alone."""

import json
import sys
from pathlib import Path

import fleet
import host


def main(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, board in (("fleet.json", fleet.dashboard()), ("host.json", host.dashboard())):
        path = folder / name
        path.write_text(json.dumps(board, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "dashboards")
