"""Everything that is served over HTTP: the API itself, and the pages about it."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.health import SystemHealth
from gateway.http_request import HttpRequest
from gateway.openapi import openapi
from gateway.problems import CONTENT_TYPE, plain_problem
from gateway.reference_page import reference_page
from gateway.routes import PREFIX, Routes

# The page brings its own style and loads nothing.
_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
)


def site(
    api: ASGIApp,
    routes: Routes,
    health: SystemHealth,
    is_ready: Callable[[], bool],
    url: str | None = None,
) -> ASGIApp:
    """The application of the whole gateway.

    Args:
        api: answers below /api/v1.
        routes: what it offers.
        health: how the system is.
        is_ready: whether this process is to be sent requests.
        url: where clients find it, for the API's description.
    """
    pages = _pages(openapi(routes.all, url), health, is_ready)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            await api(scope, receive, send)
        else:
            await pages(scope, receive, _naming_the_request(scope, receive, send))

    return app


def _pages(
    document: dict[str, Any], health: SystemHealth, is_ready: Callable[[], bool]
) -> Starlette:
    document_json, page = orjson.dumps(document), reference_page(document)

    async def show_health(_: Request) -> Response:
        report = await health.report()
        bad = report.status == "unhealthy"
        status = HTTPStatus.SERVICE_UNAVAILABLE if bad else HTTPStatus.OK
        return _json(report.to_json(), status)

    async def show_live(_: Request) -> Response:
        return _json(b'{"status":"alive"}')

    async def show_ready(_: Request) -> Response:
        if is_ready():
            return _json(b'{"status":"ready"}')
        return _json(b'{"status":"not ready"}', HTTPStatus.SERVICE_UNAVAILABLE)

    async def show_openapi(_: Request) -> Response:
        return _json(document_json)

    async def show_docs(_: Request) -> Response:
        headers = {"content-security-policy": _PAGE_POLICY}
        return Response(page, media_type="text/html", headers=headers)

    return Starlette(
        routes=[
            Route("/api/health", show_health),
            Route("/api/health/live", show_live),
            Route("/api/health/ready", show_ready),
            Route("/api/openapi.json", show_openapi),
            Route("/api/docs", show_docs),
        ],
        exception_handlers={HTTPException: _problem_page, Exception: _fault_page},
    )


def _json(body: bytes, status: int = HTTPStatus.OK) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(body, status, media_type="application/json", headers=headers)


async def _problem_page(request: Request, error: Any) -> Response:
    body = orjson.dumps(plain_problem(error.status_code, request.url.path))
    return Response(body, error.status_code, error.headers, CONTENT_TYPE.decode())


async def _fault_page(request: Request, _: Exception) -> Response:
    body = orjson.dumps(plain_problem(HTTPStatus.INTERNAL_SERVER_ERROR, request.url.path))
    return Response(body, HTTPStatus.INTERNAL_SERVER_ERROR, media_type=CONTENT_TYPE.decode())


def _naming_the_request(scope: Scope, receive: Receive, send: Send) -> Send:
    """Let every answer carry its request's id."""
    request_id = HttpRequest(scope, receive).request_id

    async def send_named(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
        await send(message)

    return send_named
