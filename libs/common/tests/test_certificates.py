"""Calls between services that show each other certificates."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import trustme

from common import certificates
from common.caller import acting_as, service_caller
from common.certificates import CertificateFiles
from common.channel import connect
from common.errors import Unavailable
from common.rpc_policy import read_policies
from common.rpc_testing import MINTERS, serving
from common.server import Service
from common.settings import Settings, SettingsError, load_settings
from erp.events.v1 import events_pb2 as pb
from erp.events.v1 import events_pb2_grpc

PUBLISHER = pb.DESCRIPTOR.services_by_name["EventPublisher"]


class Publisher(events_pb2_grpc.EventPublisherServicer):
    def __init__(self):
        self.shown = []

    async def Publish(self, request, context):
        self.shown.append(context.auth_context()["x509_pem_cert"][0])
        return pb.PublishResponse()


class Folder:
    """Where a service finds its certificate, and how it is renewed."""

    def __init__(self, path, authority):
        path.mkdir()
        self.chain, self.key, self.ca = (path / name for name in ("tls.crt", "tls.key", "ca.crt"))
        authority.cert_pem.write_to_path(self.ca)

    def put(self, certificate):
        certificate.private_key_pem.write_to_path(self.key)
        certificate.cert_chain_pems[0].write_to_path(self.chain)

    def settings(self):
        return Settings(tls_cert=str(self.chain), tls_key=str(self.key), tls_ca=str(self.ca))

    def files(self):
        return CertificateFiles(str(self.chain), str(self.key), str(self.ca))


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def gateway(tmp_path, authority):
    folder = Folder(tmp_path / "gateway", authority)
    folder.put(authority.issue_cert("gateway"))
    return folder


@pytest.fixture
def sales(tmp_path, authority):
    folder = Folder(tmp_path / "sales", authority)
    folder.put(authority.issue_cert("sales"))
    return folder


@pytest.fixture(autouse=True)
def looks_always(monkeypatch):
    monkeypatch.setattr(certificates, "LOOK_SECONDS", 0.0)


@asynccontextmanager
async def gateway_serving(settings, publisher):
    add = events_pb2_grpc.add_EventPublisherServicer_to_server
    service = Service(PUBLISHER, add, publisher)
    async with serving("gateway", service, settings=settings) as server:
        yield server


@asynccontextmanager
async def publishing(port, files):
    channel = connect(
        f"127.0.0.1:{port}",
        "gateway",
        MINTERS["sales"],
        read_policies(PUBLISHER),
        certificates=files,
    )

    async def publish():
        with acting_as(service_caller("sales", None)):
            await events_pb2_grpc.EventPublisherStub(channel).Publish(
                pb.PublishRequest(), timeout=5
            )

    try:
        yield publish
    finally:
        await channel.close()


async def test_a_service_is_known_by_its_name_wherever_it_is(gateway, sales):
    publisher = Publisher()

    async with (
        gateway_serving(gateway.settings(), publisher) as server,
        publishing(server.port, sales.files()) as publish,
    ):
        await publish()

    assert publisher.shown == [sales.chain.read_bytes()]


@pytest.mark.parametrize("impostor", ["no certificate", "another authority's"])
async def test_nobody_gets_in_without_a_certificate_of_ours(gateway, sales, tmp_path, impostor):
    publisher, files = Publisher(), None
    if impostor == "another authority's":
        other = trustme.CA()
        sales.put(other.issue_cert("sales"))
        files = sales.files()

    async with (
        gateway_serving(gateway.settings(), publisher) as server,
        publishing(server.port, files) as publish,
    ):
        with pytest.raises(Unavailable):
            await publish()

    assert publisher.shown == []


async def test_a_service_that_bears_another_name_is_not_called(gateway, sales, authority):
    publisher = Publisher()
    gateway.put(authority.issue_cert("accounting"))

    async with (
        gateway_serving(gateway.settings(), publisher) as server,
        publishing(server.port, sales.files()) as publish,
    ):
        with pytest.raises(Unavailable):
            await publish()

    assert publisher.shown == []


async def test_renewed_certificates_are_used_without_a_restart(gateway, sales, authority):
    publisher = Publisher()
    async with (
        gateway_serving(gateway.settings(), publisher) as server,
        publishing(server.port, sales.files()) as publish,
    ):
        await publish()
        first = sales.chain.read_bytes()

        sales.put(authority.issue_cert("sales"))
        gateway.put(authority.issue_cert("gateway"))
        await publish()

    assert publisher.shown == [first, sales.chain.read_bytes()]
    assert first != sales.chain.read_bytes()


async def test_a_new_connection_is_shown_the_renewed_certificate(gateway, sales, authority):
    async with gateway_serving(gateway.settings(), Publisher()) as server:
        # Renewed for a name that callers do not want: whoever is shown it refuses.
        gateway.put(authority.issue_cert("accounting"))
        async with publishing(server.port, sales.files()) as publish:
            with pytest.raises(Unavailable):
                await publish()


async def test_a_half_written_certificate_changes_nothing(sales):
    files = sales.files()
    before = files.current()

    sales.chain.write_bytes(before.chain[:100])

    assert files.current() == before


def test_a_key_of_another_certificate_stops_the_process(sales, authority):
    authority.issue_cert("sales").private_key_pem.write_to_path(sales.key)

    with pytest.raises(SettingsError, match=r"KV_ERP_TLS_CERT.*the key is not the certificate's"):
        sales.files()


def test_an_ended_certificate_stops_the_process(sales, authority):
    ended = datetime(2020, 1, 1, tzinfo=UTC)
    sales.put(authority.issue_cert("sales", not_before=ended, not_after=ended))

    with pytest.raises(SettingsError, match="has ended on 2020-01-01"):
        sales.files()


def test_the_three_files_go_together():
    with pytest.raises(SettingsError, match="set all or none"):
        load_settings({"KV_ERP_TLS_CERT": "/etc/kv-erp/tls/tls.crt"})


async def test_who_has_certificates_does_not_call_in_the_clear(sales):
    publisher = Publisher()

    async with (
        gateway_serving(Settings(), publisher) as server,
        publishing(server.port, sales.files()) as publish,
    ):
        with pytest.raises(Unavailable):
            await publish()

    assert publisher.shown == []
