import time

from prometheus_client import REGISTRY

from common import ids
from common.event_lag import EventLag

LANE, SOURCE = "high", "sales"


def shown(lag, name):
    lag.show()
    labels = {"service": "a test", "lane": LANE, "source": SOURCE}
    return REGISTRY.get_sample_value(f"kv_erp_event_lag_{name}", labels)


def new_lag():
    return EventLag("a test", [(LANE, SOURCE)]), (LANE, SOURCE, ids.new())


def test_nothing_waits_at_first():
    lag, _ = new_lag()

    assert [shown(lag, name) for name in ("events", "seconds", "tenants")] == [0, 0, 0]


def test_what_is_noticed_waits_until_it_is_applied():
    lag, key = new_lag()

    lag.noticed(key, head=7, position=2)

    assert (shown(lag, "events"), shown(lag, "tenants")) == (5, 1)
    lag.applied(key, 5)
    assert shown(lag, "events") == 2
    lag.applied(key, 7)
    assert (shown(lag, "events"), shown(lag, "seconds")) == (0, 0)


def test_the_oldest_event_of_the_slowest_tenant_tells_the_time():
    lag, key = new_lag()
    other = (LANE, SOURCE, ids.new())

    lag.noticed(other, head=1, position=0)
    lag.noticed(key, head=9, position=3)
    lag.read(key, head=9, position=3, oldest=time.time() - 3600)

    assert 3600 <= shown(lag, "seconds") < 3700
    assert (shown(lag, "events"), shown(lag, "tenants")) == (7, 2)


def test_an_event_that_fails_goes_on_waiting():
    lag, key = new_lag()
    lag.read(key, head=4, position=3, oldest=time.time() - 60)

    lag.applied(key, 3)

    assert shown(lag, "seconds") >= 60
