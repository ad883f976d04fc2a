"""What the primitives reach beside their peers, written to PRIMITIVES.md.

`python -m benchmarks primitives [SCENARIO...]`: each scenario has a section of its own there, and
one that is run alone leaves the others as they were.
"""

from pathlib import Path

from benchmarks import cache, events, jobs, locks, rate_limit
from benchmarks.report import Report

_SCENARIOS = {
    "jobs": jobs.rates,
    "killed-workers": jobs.takeovers,
    "locks": locks.figures,
    "limits": rate_limit.figures,
    "cache": cache.figures,
    "events": events.figures,
}
_HEAD = """# What the primitives reach

Written by `make bench-primitives`, or `python -m benchmarks primitives [SCENARIO...]`: a section
for each scenario, as it was last run. Ours, peers, PostgreSQL and Valkey share the machine; fsync
and synchronous_commit are on. Where there are several rounds, they alternate with the peer's, and a
ratio is that of the medians. "Busy" is the machine's load in the minute before, of other work and
perhaps the scenario before; "nice" how scenario and servers were preferred to it (0: not at all).
"""

REPORT = Report(
    Path(__file__).with_name("PRIMITIVES.md"), "python -m benchmarks primitives", _HEAD, _SCENARIOS
)
