"""What the processes of a running system tell Prometheus."""

from collections.abc import Iterator
from typing import NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families

from ops.background import BackgroundStack


class Sample(NamedTuple):
    """One number of one process."""

    process: str
    name: str
    labels: dict[str, str]
    value: float


async def scrape(stack: BackgroundStack) -> list[Sample]:
    """All that all processes say at this moment."""
    async with httpx.AsyncClient(verify=False, trust_env=False, timeout=10) as client:
        pages = {
            process: (await client.get(url)).text for process, url in stack.state["metrics"].items()
        }
    return [sample for process, page in pages.items() for sample in samples_of(process, page)]


def samples_of(process: str, page: str) -> Iterator[Sample]:
    """The samples of one page."""
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            yield Sample(process, sample.name, dict(sample.labels), sample.value)


def total(samples: list[Sample], name: str, **labels: str) -> float:
    """The sum of a metric over processes and all labels but these."""
    return sum(
        sample.value
        for sample in samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def figure(samples: list[Sample], name: str, **labels: str) -> float:
    """A number that each worker of a service says alike."""
    return max(
        (
            sample.value
            for sample in samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ),
        default=0.0,
    )
