"""What the code tells Prometheus, by its names and its page."""

import re

import pytest

from ops.metrics_reference import REFERENCE, Definition, definitions, reference

ALL = definitions()
# What a label may say has to have an end.
BOUNDED = """
    breaker bucket code currency decide dependency duty job kind lane method outcome plan pool
    process queue reason replica role route rule series service source state status target tenant
    window
""".split()


def test_there_are_metrics() -> None:
    assert len(ALL) > 50
    assert len({one.name for one in ALL}) == len(ALL)


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_a_metric_is_named_as_prometheus_names_them(one: Definition) -> None:
    assert re.fullmatch(r"kv_erp_[a-z0-9]+(_[a-z0-9]+)*", one.name)
    assert one.name.endswith("_total") == (one.kind == "counter")
    assert not re.search(r"_(ms|milliseconds|minutes|count|sum|bucket)(_|$)", one.name)
    assert re.fullmatch(r"[A-Z0-9].*\.", one.help)


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_a_label_has_an_end(one: Definition) -> None:
    assert set(one.labels) <= set(BOUNDED)


def test_the_page_of_the_metrics_is_as_the_code() -> None:
    assert REFERENCE.read_text() == reference(), "run `make docs`"
