import io
import json
import logging as standard
import subprocess
import sys

import pytest
import structlog

from common import ids, logging, tracing
from common.caller import Caller, acting_as
from common.settings import load_settings


@pytest.fixture
def lines():
    """What was written, after `configure` with these settings."""
    written = io.BytesIO()

    def configured(**settings):
        logging.configure(load_settings(settings), "sales")
        structlog.configure(
            logger_factory=structlog.BytesLoggerFactory(written), cache_logger_on_first_use=False
        )
        return lambda: written.getvalue().decode().splitlines()

    handlers, level = standard.root.handlers[:], standard.root.level
    yield configured
    structlog.reset_defaults()
    standard.root.handlers[:] = handlers
    standard.root.setLevel(level)


def test_a_line_knows_its_tenant_request_and_trace(lines):
    written = lines()
    alice = Caller(ids.new(), "user:alice", request_id="r-1")

    with acting_as(alice):
        trace = tracing.follow(None)
        structlog.get_logger().info("order confirmed", order="SO-1")

    line = json.loads(written()[0])
    assert line["event"] == "order confirmed"
    assert line["order"] == "SO-1"
    assert (line["level"], line["process"]) == ("info", "sales")
    assert (line["tenant"], line["subject"], line["request_id"]) == (
        str(alice.tenant_id),
        "user:alice",
        "r-1",
    )
    assert (line["trace_id"], line["span_id"]) == (trace.trace_id, trace.span_id)


def test_lines_below_the_level_are_not_written(lines):
    written = lines(KV_ERP_LOG_LEVEL="warning")

    structlog.get_logger().info("chatter")
    structlog.get_logger().warning("trouble")

    assert [json.loads(line)["event"] for line in written()] == ["trouble"]


def test_libraries_write_to_the_same_place_what_they_have_to_warn_of(lines):
    written = lines()

    standard.getLogger("sqlalchemy.pool").info("chatter")
    standard.getLogger("sqlalchemy.pool").error("lost %s", "a connection")

    (line,) = map(json.loads, written())
    assert (line["event"], line["logger"]) == ("lost a connection", "sqlalchemy.pool")
    assert line["level"] == "error"


def test_an_exception_takes_its_traceback_along(lines):
    written = lines()

    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        structlog.get_logger().exception("broke")

    assert "ZeroDivisionError" in json.loads(written()[0])["exception"]


def test_people_may_read_it_as_text(lines):
    written = lines(KV_ERP_LOG_FORMAT="text")

    structlog.get_logger().info("order confirmed", order="SO-1")

    (line,) = written()
    assert "order confirmed" in line
    assert "order=SO-1" in line


def test_a_process_does_not_load_rich_for_its_logs():
    program = "import common.command_line, sys; print('rich.console' in sys.modules)"

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert said.stdout == b"False\n"
