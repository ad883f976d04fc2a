"""A program by a wrong clock: `python -m common.tests.moved_clock SECONDS module argument…`."""

import datetime as dt
import runpy
import sys
import time


def move(seconds: float) -> None:
    """Let this process believe that it is so much later. Before others import `datetime`."""
    now, now_ns = time.time, time.time_ns

    class Moved(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> "Moved":
            return cls.fromtimestamp(time.time(), tz)

    time.time = lambda: now() + seconds
    time.time_ns = lambda: now_ns() + int(seconds * 1e9)
    dt.datetime = Moved  # type: ignore[misc]


if __name__ == "__main__":
    move(float(sys.argv[1]))
    del sys.argv[:2]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
