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
from erp.gateway.v1.tenant_pb2 import FirstUser


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


SECRETS = [
    "connection to postgresql://app:hunter2-canary@db:5432/sales failed",
    "authorization: Bearer hunter2-canary",
    "cookie: __Host-session=hunter2-canary; path=/",
    "host=db password=hunter2-canary user=app",
]


@pytest.mark.parametrize("format_name", ["json", "text"])
@pytest.mark.parametrize("text", SECRETS)
def test_what_a_library_says_of_its_failure_holds_no_secret(lines, text, format_name):
    written = lines(KV_ERP_LOG_FORMAT=format_name)

    error = ConnectionError(text)
    structlog.get_logger().warning("away", error=str(error), exc_info=error)

    everything = "\n".join(written())
    assert "hunter2" not in everything
    assert "***" in everything


def test_an_api_token_is_not_written_either(lines):
    written = lines()

    structlog.get_logger().info("called", by="kv_" + "x" * 43)

    assert json.loads(written()[0])["by"] == "kv_***"


FORGED = 'name\r\n{"event":"forged"}\x1b[2J\x9b31m\u2028\x7f'


@pytest.mark.parametrize("format_name", ["json", "text"])
def test_a_stranger_cannot_write_a_line_or_move_the_cursor(lines, format_name):
    written = lines(KV_ERP_LOG_FORMAT=format_name)

    structlog.get_logger().info("created", name=FORGED)
    standard.getLogger("uvicorn.error").warning("bad header %s", FORGED)

    found = written()
    assert len(found) == 2
    assert not any(character in line for line in found for character in "\x1b\x9b\u2028\x7f\r")
    if format_name == "json":
        assert json.loads(found[0])["name"] == FORGED


def test_a_traceback_for_people_does_not_move_the_cursor_either(lines):
    written = lines(KV_ERP_LOG_FORMAT="text")

    structlog.get_logger().warning("broke", exc_info=ValueError(FORGED))

    everything = "\n".join(written())
    assert "ValueError" in everything
    assert not any(character in everything for character in "\x1b\x9b\u2028\x7f\r")


@pytest.mark.parametrize("format_name", ["json", "text"])
def test_a_message_is_logged_without_its_secrets(lines, format_name):
    written = lines(KV_ERP_LOG_FORMAT=format_name)

    user = FirstUser(email="a@b.example", setup_token="kvs_canary")
    structlog.get_logger().info("made", user=user, raw=b"\x1b[2J")

    (line,) = written()
    assert "a@b.example" in line
    assert "canary" not in line
    assert "\x1b" not in line


def test_the_last_words_of_a_process_are_a_line():
    program = (
        "from common import logging; from common.settings import load_settings\n"
        "logging.configure(load_settings({}), 'sales'); raise RuntimeError('canary')"
    )

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)

    line = json.loads(said.stdout)
    assert (line["event"], line["level"], said.stderr) == ("process broke", "critical", b"")
    assert "canary" in line["exception"]
