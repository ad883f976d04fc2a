import asyncio

import pytest

from common import tracing

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_trace_goes_on_with_a_span_of_our_own():
    trace = tracing.follow(f"00-{TRACE}-{SPAN}-01")

    assert trace.trace_id == TRACE
    assert trace.span_id != SPAN
    assert trace.header == f"00-{TRACE}-{trace.span_id}-01"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        f"01-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_a_header_that_is_not_one_begins_a_new_trace(header):
    trace = tracing.follow(header)

    assert trace.trace_id not in (TRACE, "0" * 32)
    assert (len(trace.trace_id), len(trace.span_id), trace.flags) == (32, 16, "00")


async def test_each_task_has_its_own_trace():
    async def work():
        return tracing.follow(None)

    one, other = await asyncio.gather(work(), work())

    assert one.trace_id != other.trace_id
