"""What the edge costs, written to EDGE.md: `python -m benchmarks.edge_report [SCENARIO...]`."""

import sys
from pathlib import Path

from benchmarks import edge, fair_share
from benchmarks.report import Report

_HEAD = """# What the edge costs

Written by `make bench-edge`, or `python -m benchmarks.edge_report [SCENARIO...]`: a section for
each scenario, as it was last run. Load generator, gateway, services, PostgreSQL and Valkey share
the machine. "Busy" is its load in the minute before, of other work and perhaps the scenario before:
above the number of cores, rates and times are those of a machine that others used; "nice" how the
scenario and its processes were preferred to them (0: not at all).
[edge.py](edge.py) and [fair_share.py](fair_share.py) say what the scenarios can show and cannot.
"""

REPORT = Report(
    Path(__file__).with_name("EDGE.md"),
    "python -m benchmarks.edge_report",
    _HEAD,
    {"requests": edge.figures, "fair-share": fair_share.figures},
)

if __name__ == "__main__":
    REPORT.write(sys.argv[1:])
