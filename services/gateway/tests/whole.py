"""A whole gateway in this process, with all that is its own; the other services are away."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx

from common.settings import Settings, load_settings
from common.testing import ServiceDatabase, TestServers
from gateway.app import _Gateway

AWAY = "127.0.0.1:1"
ORIGIN = "https://erp.example"


def settings_of(servers: TestServers, database: ServiceDatabase, **environment: str) -> Settings:
    """The settings of a gateway."""
    credentials = servers.credentials
    return load_settings(
        {
            "DATABASE_URL": database.app,
            "KV_ERP_SYSTEM_DATABASE_URL": database.system,
            "REDIS_URL": servers.valkey.url,
            "KV_ERP_IDENTITY_KEY": credentials.identity_key("gateway"),
            "KV_ERP_IDENTITY_TRUSTED_KEYS": credentials.trusted_keys(),
            "KV_ERP_SESSION_KEY": credentials.session_key,
            "KV_ERP_INVENTORY_TARGET": AWAY,
            "KV_ERP_ACCOUNTING_TARGET": AWAY,
            "KV_ERP_SALES_TARGET": AWAY,
            "KV_ERP_TRUSTED_PROXIES": "1",
            **environment,
        }
    )


@asynccontextmanager
async def whole_gateway(settings: Settings) -> AsyncIterator[str]:
    """Run one; its base URL."""
    async with AsyncExitStack() as opened:
        gateway = await _Gateway.open(settings, opened)
        try:
            yield f"http://127.0.0.1:{gateway.http.port}/api/v1"
        finally:
            await gateway.http.stop()
            await gateway.grpc._server.stop(None)
            await gateway.grpc._health.drain()


class Browser:
    """Keeps cookies as a browser on HTTPS would, and sends what its page would send.

    Every browser has an address of its own, so that tests do not share a budget.
    """

    def __init__(self, base_url: str, address: str, origin: str | None = ORIGIN) -> None:
        headers = {"x-forwarded-for": address, "host": "erp.example", "user-agent": "Test/1"}
        if origin:
            headers["origin"] = origin
        # No TLS here: to read the certificates of all authorities would take 20 ms each time.
        self.client = httpx.AsyncClient(
            verify=False, base_url=base_url, headers=headers, timeout=30
        )
        self.cookies: dict[str, str] = {}
        self.set_cookies: list[str] = []
        self.csrf = ""

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a request; keep its cookies and its token."""
        sent = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if not self.cookies:
            del sent["cookie"]
        if self.csrf and method != "GET":
            sent["x-csrf-token"] = self.csrf
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.client.request(
            method, path, json=body, headers={k: v for k, v in sent.items() if v}
        )
        self.client.cookies.clear()
        self.set_cookies = answer.headers.get_list("set-cookie")
        for cookie in self.set_cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
            if not value:
                del self.cookies[name]
        if answer.is_success and answer.content and "csrf_token" in answer.json():
            self.csrf = answer.json()["csrf_token"]
        return answer

    async def log_in(self, company: "Company", password: str = "", email: str = "") -> Any:
        """Log in, as the company's admin unless told otherwise."""
        body = {
            "tenant": company.slug,
            "email": email or company.email,
            "password": password or company.password,
        }
        return await self.send("POST", "/auth/login", body)


class Company:
    """A company of one test alone, with an admin and a token that may do everything."""

    def __init__(self, slug: str, seeded: dict[str, str]) -> None:
        self.slug = slug
        self.id = seeded["id"]
        self.email = seeded["admin_email"]
        self.password = seeded["admin_password"]
        self.token = seeded["token"]
