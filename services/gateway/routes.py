"""Which rpc answers which path and method, read from the descriptors once at start."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from urllib.parse import unquote

from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor

from common.rpc_policy import PolicyError, RpcPolicy, read_policies
from gateway import json_input, json_output
from gateway.contract import service_of
from gateway.fields import rules_of
from gateway.masks import nameable

PREFIX = "/api/v1/"

_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}", re.ASCII)


@dataclass(frozen=True)
class Route:
    """One rpc as REST."""

    method: MethodDescriptor
    policy: RpcPolicy
    verb: str
    template: str

    @cached_property
    def service(self) -> str:
        """The service that answers."""
        return service_of(self.method)

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The fields that the path names, in its order."""
        return tuple(re.findall(r"{(\w+)}", self.template))

    @cached_property
    def takes_body(self) -> bool:
        """Whether the request is read from the body; from the query otherwise."""
        return self.verb in ("POST", "PATCH")

    @cached_property
    def takes_fields(self) -> bool:
        """Whether `?fields=` can leave out parts of the answer."""
        return self.verb == "GET" and nameable(self.method.output_type) is not None

    @cached_property
    def success(self) -> int:
        """The HTTP status of an answer."""
        answer = self.method.output_type
        if self.verb == "DELETE" or not answer.fields:
            return HTTPStatus.NO_CONTENT
        creates = self.verb == "POST" and ":" not in self.template
        made = creates and "id" in answer.fields_by_name
        return HTTPStatus.CREATED if made else HTTPStatus.OK

    @cached_property
    def record(self) -> str:
        """The kind of record that it answers with: the full name of the message."""
        return str(self.method.output_type.full_name)

    @cached_property
    def reads_one(self) -> bool:
        """Whether it answers with the one record that the path names."""
        return self.verb == "GET" and self.template.endswith("/{id}")

    @cached_property
    def read(self) -> json_input.Reader:
        """Checks a JSON object and gives the arguments of the request's constructor."""
        return json_input.reader_for(self.method.input_type)

    @cached_property
    def write(self) -> json_output.Writer:
        """Turns an answer into what JSON can hold."""
        return json_output.writer_for(self.method.output_type)

    @cached_property
    def ids(self) -> frozenset[str]:
        """Those of `parameters` that are UUIDs."""
        return frozenset(name for name in self.parameters if _is_uuid(self.method.input_type, name))

    def bind(self, values: tuple[str, ...]) -> dict[str, str] | None:
        """The path's values by field, or None when one cannot name anything."""
        for name, value in zip(self.parameters, values, strict=True):
            if name in self.ids and not _UUID.fullmatch(value):
                return None
        return dict(zip(self.parameters, values, strict=True))


@dataclass(frozen=True)
class Match:
    """What a path leads to: its routes by HTTP method, and what stands for the parameters."""

    routes: dict[str, Route]
    values: tuple[str, ...]

    @property
    def template(self) -> str:
        """The path that all these routes share."""
        return next(iter(self.routes.values())).template

    def route(self, method: str) -> Route | None:
        """The route for an HTTP method; HEAD is GET without the body."""
        return self.routes.get("GET" if method == "HEAD" else method)


class _Node:
    """A segment of the templates."""

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        # By custom verb, empty when there is none, then by HTTP method.
        self.routes: dict[str, dict[str, Route]] = {}


class Routes:
    """All routes, found by path."""

    def __init__(self, services: Iterable[ServiceDescriptor]) -> None:
        self._root = _Node()
        self.all = [route for service in services for route in _routes(service)]
        for route in self.all:
            self._add(route)
        # How the records that have an id are read, by their kind.
        self.records = {route.record: route for route in self.all if route.reads_one}
        # The same by template, which is that of PATCH and DELETE and, without its verb, of POST.
        self.readers = {route.template: route for route in self.all if route.reads_one}

    def find(self, path: str) -> Match | None:
        """What a path as it was sent, still percent-encoded, leads to; None when it is unknown."""
        if not path.startswith(PREFIX):
            return None
        segments = path[len(PREFIX) :].split("/")
        if "%" in path:
            # After the split, so that an encoded slash stays inside its segment.
            segments = [unquote(segment) for segment in segments]
        segments[-1], _, verb = segments[-1].partition(":")
        node, values = self._root, []
        for segment in segments:
            child = node.children.get(segment)
            if child is None:
                child = node.parameter
                values.append(segment)
            if child is None or not segment:
                return None
            node = child
        routes = node.routes.get(verb)
        return Match(routes, tuple(values)) if routes else None

    def _add(self, route: Route) -> None:
        node = self._root
        *segments, last = route.template.removeprefix(PREFIX).split("/")
        last, _, verb = last.partition(":")
        for segment in (*segments, last):
            if segment.startswith("{"):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.children.setdefault(segment, _Node())
        if node.routes.setdefault(verb, {}).setdefault(route.verb, route) is not route:
            raise PolicyError(f"Two rpcs claim {route.verb} {route.template}.")


def _routes(service: ServiceDescriptor) -> Iterator[Route]:
    for policy in read_policies(service).values():
        if policy.route is None:
            continue
        if not policy.route.path.startswith(PREFIX):
            raise PolicyError(f"{policy.path} has a route outside {PREFIX}.")
        method = service.methods_by_name[policy.path.rpartition("/")[2]]
        yield Route(method, policy, policy.route.verb, policy.route.path)


def _is_uuid(message: Descriptor, field: str) -> bool:
    return rules_of(message.fields_by_name[field]).string.uuid
