import time

from common import deadline


def test_without_a_deadline_there_is_no_hurry():
    assert deadline.current_deadline() is None
    assert deadline.remaining(7.5) == 7.5


def test_an_inner_deadline_ends_with_its_block():
    with deadline.within(10):
        with deadline.within(1):
            assert deadline.remaining(99) <= 1
        assert 9 < deadline.remaining(99) <= 10

    assert deadline.current_deadline() is None


def test_no_time_left_is_zero_and_never_less():
    with deadline.within(-5):
        assert deadline.remaining(99) == 0
        assert deadline.current_deadline() < time.monotonic()
