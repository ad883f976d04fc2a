"""Everything about who may come in, built once: what knows credentials, and the rpcs about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from redis.asyncio import Redis

from common.cache import Cache
from common.database import Database
from common.rate_limit import RateLimiter
from common.sealing import Seal
from common.server import Service
from common.sessions import Sessions
from common.settings import Settings
from erp.gateway.v1 import (
    session_service_pb2,
    session_service_pb2_grpc,
    tenant_service_pb2,
    tenant_service_pb2_grpc,
    user_service_pb2,
    user_service_pb2_grpc,
)
from gateway import api_tokens, standings
from gateway.credentials import ApiTokenCredentials
from gateway.door import Door
from gateway.invariants import Auditor
from gateway.login_limits import ANSWER_SECONDS, LoginLimits
from gateway.logins import Logins
from gateway.passwords import Passwords
from gateway.privileges import Privileges
from gateway.session_servicer import SessionServicer
from gateway.settling_in import SettlingIn
from gateway.standings import Standings
from gateway.tenant_data_setup import tenant_data_service
from gateway.tenant_servicer import TenantServicer
from gateway.user_servicer import UserServicer

__all__ = ["Entrance"]


@dataclass(frozen=True)
class Entrance:
    """Knows who is calling, and lets people in and out."""

    door: Door
    sessions: Sessions
    services: Sequence[Service]

    @classmethod
    def of(
        cls,
        settings: Settings,
        database: Database,
        of_sessions: Redis,
        of_logins: Redis,
        cache: Cache,
        auditors: Mapping[str, Auditor],
    ) -> "Entrance":
        """Build it; `sessions.run()` is for the process to run.

        Args:
            settings: has the key that encrypts sessions.
            database: the gateway's.
            of_sessions: Redis for sessions.
            of_logins: Redis for counting guesses.
            cache: tells of what was revoked by other processes.
            auditors: the services that make room for new companies, by name.
        """
        seal = Seal.from_text(settings.need_secret("session_key"))
        sessions = Sessions(
            database,
            of_sessions,
            seal,
            "gateway",
            idle_seconds=settings.session_lifetime_minutes * 60,
            longest_seconds=settings.session_longest_minutes * 60,
        )
        tokens = ApiTokenCredentials(partial(api_tokens.find_holder, database))
        companies = Standings(partial(standings.find_standing, database))
        cache.on_flush(tokens.hear)
        cache.on_flush(companies.hear)
        door = Door(tokens, sessions.check, companies.plan_of)
        passwords = Passwords()
        limiter = RateLimiter(of_logins, answer_seconds=ANSWER_SECONDS)
        logins = Logins(database, sessions, passwords, LoginLimits(limiter, seal))
        users = UserServicer(database, passwords, Privileges(database, sessions))
        tenants = TenantServicer(database, passwords, SettlingIn(auditors))
        services = _services(SessionServicer(logins), users, tenants)
        return cls(door, sessions, [*services, tenant_data_service(database)])


def _services(
    sessions: SessionServicer, users: UserServicer, tenants: TenantServicer
) -> list[Service]:
    add_sessions = session_service_pb2_grpc.add_SessionServiceServicer_to_server
    add_users = user_service_pb2_grpc.add_UserServiceServicer_to_server
    of_sessions = session_service_pb2.DESCRIPTOR.services_by_name["SessionService"]
    of_users = user_service_pb2.DESCRIPTOR.services_by_name["UserService"]
    add_tenants = tenant_service_pb2_grpc.add_TenantServiceServicer_to_server
    of_tenants = tenant_service_pb2.DESCRIPTOR.services_by_name["TenantService"]
    return [
        Service(of_sessions, add_sessions, sessions),
        Service(of_users, add_users, users),
        Service(of_tenants, add_tenants, tenants),
    ]
