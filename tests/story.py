"""Plays the story of the API's examples: `python tests/story.py` records what is answered."""

import asyncio
import json
import re
import secrets
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from shop import client_of, eventually

from common import ids, jobs
from common.jobs.enqueueing import NewJob
from common.jobs_testing import open_job_database
from common.testing import as_user
from erp.sales.v1.jobs_pb2 import ConfirmationMail
from gateway import examples
from gateway.contract import all_services
from gateway.examples import Step, filled, found, story
from gateway.routes import Route, Routes
from ops.background import BackgroundStack, running

ANSWERS = Path(examples.__file__).with_name("answers.json")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_DAY = re.compile(r"20\d\d-\d\d-\d\d")
_MONTH = re.compile(r"20\d\d-\d\d(?!\d)")
_NUMBER = re.compile(r"\b([A-Z]{1,4})-(20\d\d-)?\d{6}\b")
# An archive is longer than a page.
_ARCHIVE = re.compile(r'"content": "(UEsD[\w+/]{4})[\w+/=]+"')
# What only its receiver may know is shown as what it is, not as what it was.
_SECRET = re.compile(r'"(token|secret|setup_token|csrf_token)": "[^"]+"')


def routes() -> dict[str, Route]:
    """All routes by their rpc."""
    return {route.method.name: route for route in Routes(all_services()).all}


async def play(stack: BackgroundStack) -> dict[str, Any]:
    """Ask everything in order; the answers by the names of their steps."""
    operator = {"Authorization": f"Bearer {stack.state['operator']['token']}"}
    run = f"-{secrets.token_hex(3)}"
    await put_on_stage(stack, run)
    async with client_of(stack, "acme") as client:
        return await _play(client, operator, admin_of(stack), run)


async def _play(
    client: httpx.AsyncClient, operator: dict[str, str], admin: dict[str, str], run: str
) -> dict[str, Any]:
    digits = str(secrets.randbelow(9_000) + 1_000)
    session: dict[str, str] = {}
    known: dict[str, Any] = {"admin": admin}
    known_routes = routes()
    for step in story():
        route, headers = known_routes[step.operation], operator if step.by_operator else {}
        if step.by_session:
            headers = session
        asked = partial(_ask, client, route, step, known, run, digits, headers)
        answer = await eventually(asked, f"{step.name} has {step.until}")
        known[step.name] = answer.json() if answer.content else None
        session |= session_in(answer)
    del known["admin"]
    return shown(known, run, digits)


async def _ask(
    client: httpx.AsyncClient,
    route: Route,
    step: Step,
    known: Any,
    run: str,
    digits: str,
    headers: dict[str, str],
) -> httpx.Response | None:
    """The answer; nothing while it lacks what the story waits for."""
    path = route.template.format(**filled(step.path, known))
    request = client.build_request(
        route.verb,
        path.removeprefix("/api/v1"),
        params=filled(step.query, known, run),
        json=filled(step.body, known, run, digits),
        headers={**headers, **({"Prefer": f"wait={step.wait}"} if step.wait else {})},
    )
    if step.by_session:
        # With it the cookie would mean nothing.
        del request.headers["Authorization"]
    answer = await client.send(request)
    expected = int(route.success)
    assert answer.status_code == expected, f"{step.name}: {answer.status_code} {answer.text}"
    if not all(_is(answer.json(), path, value) for path, value in step.until.items()):
        return None
    return answer


def _is(answer: Any, path: str, value: Any) -> bool:
    try:
        return bool(found(answer, path) == value)
    except (KeyError, IndexError):
        return False


async def put_on_stage(stack: BackgroundStack, run: str) -> None:
    """A batch that waits for the night: no route makes one."""
    database = stack.state["databases"]["sales"]
    sales = open_job_database("sales", database, database)
    mails = [ConfirmationMail(order_id=str(ids.new())) for _ in range(3)]
    with as_user(UUID(stack.state["tenants"]["acme"]["id"])):
        async with sales.tenant_transaction() as tx:
            jobs.batch(tx, mails, name=f"Mails of March{run}")
            tx.pending_jobs[:] = [
                replace(job, delay_seconds=86_400) if isinstance(job, NewJob) else job
                for job in tx.pending_jobs
            ]
    await sales.close()


def session_in(answer: httpx.Response) -> dict[str, str]:
    """The headers by which a session goes on that this answer begins or renews."""
    found: dict[str, str] = {}
    for cookie in answer.headers.get_list("set-cookie"):
        if "session=" in cookie:
            found["Cookie"] = cookie.partition(";")[0]
    if found and "csrf_token" in (body := answer.json() if answer.content else {}):
        found["X-CSRF-Token"] = body["csrf_token"]
    return found


def shown(answers: Any, run: str, digits: str) -> Any:
    """Answers with invented ids, times and numbers, the same whenever they are recorded."""
    text = json.dumps(answers).replace(run, "")
    text = text.replace(f"69{digits}", "6920")
    seen: dict[str, str] = {}
    text = _ID.sub(lambda found: seen.setdefault(found[0], _id(len(seen))), text)
    text = _TIME.sub("2026-03-31T09:30:00Z", text)
    text = _DAY.sub("2026-03-31", text)
    text = _MONTH.sub("2026-03", text)
    text = _NUMBER.sub(lambda found: f"{found[1]}-{'2026-' if found[2] else ''}000001", text)
    text = _ARCHIVE.sub(r'"content": "\1…"', text)
    return json.loads(_SECRET.sub(r'"\1": "…"', text))


def _id(number: int) -> str:
    return f"0195e8a0-0000-7000-8000-{number + 1:012d}"


def admin_of(stack: BackgroundStack) -> dict[str, str]:
    """Who logs in, in the story."""
    acme = stack.state["tenants"]["acme"]
    return {"email": acme["admin_email"], "password": acme["admin_password"], "tenant": "acme"}


async def record(stack: BackgroundStack) -> None:
    """Write the answers anew."""
    answers = await play(stack)
    lines = [
        f"{json.dumps(name)}: {json.dumps(answer, ensure_ascii=False)}"
        for name, answer in answers.items()
    ]
    ANSWERS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch, running(Path(scratch) / "dev") as stack:
        asyncio.run(record(stack))
