"""The REST API as an OpenAPI 3.1 document, made from the protos and their comments."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from common.listing import declared
from common.rpc_policy import Access
from gateway.answers import BUSY
from gateway.comments import comments
from gateway.contract import SERVICES
from gateway.cookies import SESSION
from gateway.examples import Example, examples
from gateway.masks import FIELDS, LONGEST, described
from gateway.query import is_parameter
from gateway.routes import Route
from gateway.schemas import Schema, Schemas

Object = dict[str, Any]

# Headers by their name here: their name on the wire, what they say, and as what. The last but one
# and two are those of draft-ietf-httpapi-ratelimit-headers.
_HEADERS = {
    "RequestId": ("X-Request-Id", "Names this request in our logs.", "string"),
    "Limit": (
        "X-RateLimit-Limit",
        "Requests a minute, of the limit nearest to its end.",
        "integer",
    ),
    "Remaining": ("X-RateLimit-Remaining", "How many of them are left.", "integer"),
    "Reset": ("X-RateLimit-Reset", "When there will be more, in epoch seconds.", "integer"),
    "State": ("RateLimit", 'What is left, and seconds until more: `"user";r=59;t=12`.', "string"),
    "Policy": ("RateLimit-Policy", "All limits that count this request.", "string"),
    "RetryAfter": ("Retry-After", "Seconds to wait before trying again.", "integer"),
    "ETag": ("ETag", "Names this state of the record (strong, RFC 9110).", "string"),
    "ConsistencyToken": (
        "Consistency-Token",
        "Send it with later requests: what they read is not older than this write.",
        "string",
    ),
    "Validated": (
        "Validate-Only",
        "`true`: nothing was done, this is what would have been answered.",
        "string",
    ),
    "Replayed": (
        "Idempotent-Replayed",
        "`true`: the request came before, and this was its answer.",
        "string",
    ),
}


def _shown(*names: str) -> Object:
    """Headers of an answer, by their names in `_HEADERS`."""
    return {_HEADERS[name][0]: {"$ref": f"#/components/headers/{name}"} for name in names}


_ON_EVERY_ANSWER = _shown("RequestId", "Limit", "Remaining", "Reset", "State", "Policy")
_PROBLEM: Schema = {
    "type": "object",
    "description": "What went wrong (RFC 9457). `reason` is for programs, `detail` for people; "
    "the values that explain it stand beside them.",
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "format": "uri-reference"},
        "reason": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "What is wrong with which part of the request.",
            "items": {
                "type": "object",
                "properties": {
                    "pointer": {"type": "string", "description": "JSON Pointer (RFC 6901)."},
                    "detail": {"type": "string"},
                },
                "required": ["pointer", "detail"],
            },
        },
    },
    "required": ["type", "title", "status", "detail", "reason"],
}
_CLOUD_EVENT: Schema = {
    "type": "object",
    "description": "One thing that happened (CloudEvents 1.0).",
    "properties": {
        "specversion": {"type": "string", "const": "1.0"},
        "type": {"type": "string", "description": "Such as erp.sales.v1.OrderConfirmed."},
        "source": {"type": "string", "description": "The service, such as /sales."},
        "id": {"type": "string", "format": "uuid"},
        "time": {"type": "string", "format": "date-time"},
        "tenantid": {"type": "string", "format": "uuid"},
        "sequence": {
            "type": "integer",
            "description": "Its place among the source's events of this tenant, without gap.",
        },
        "subject": {"type": "string", "description": "Id of the thing it happened to."},
        "requestid": {"type": "string", "description": "The request that caused it."},
        "traceparent": {
            "type": "string",
            "description": "Its place in the trace of that request (W3C Trace Context).",
        },
        "datacontenttype": {"type": "string"},
        "data": {"type": "object", "description": "What the type says."},
        "data_base64": {"type": "string", "description": "In place of data of an unknown type."},
    },
    "required": ["specversion", "type", "source", "id", "time", "tenantid", "sequence"],
}
_PROBLEMS = {
    HTTPStatus.BAD_REQUEST: "The request is wrong; `errors` says where.",
    HTTPStatus.UNAUTHORIZED: "There is no credential, or it is not valid.",
    HTTPStatus.FORBIDDEN: "The credential lacks the permission.",
    HTTPStatus.NOT_FOUND: "There is no such thing, or it is another tenant's.",
    HTTPStatus.REQUEST_TIMEOUT: "The body did not arrive in time.",
    HTTPStatus.CONFLICT: "A rule of the business forbids it, or somebody changed it first.",
    HTTPStatus.PRECONDITION_FAILED: "The record is not what If-Match names.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is larger than 4 MiB.",
    HTTPStatus.REQUEST_URI_TOO_LONG: "Path and query are longer than 16 KiB.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is not declared as JSON.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The idempotency key was used for another request.",
    HTTPStatus.TOO_MANY_REQUESTS: "There have been too many requests; `Retry-After` says when "
    "the next is let in.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "There are more than 100 headers.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Something went wrong on our side.",
    HTTPStatus.SERVICE_UNAVAILABLE: "A part of the system is away for the moment.",
    HTTPStatus.GATEWAY_TIMEOUT: "It took too long.",
}
# Where a record has an ETag.
_RECORDS_ONLY = (HTTPStatus.PRECONDITION_FAILED,)
_COMMANDS_ONLY = (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)
_BODIES_ONLY = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
)
# Refused before anybody counts.
_UNCOUNTED = (HTTPStatus.REQUEST_URI_TOO_LONG, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "description": "The ETag of the state to change; in another state nothing is done (412). "
    "It may stand for `version`, which is then left out.",
    "schema": {"type": "string"},
}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The ETag that the caller has; 304 without a body while it holds.",
    "schema": {"type": "string"},
}
_CREDENTIALS = {
    "api_token": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API token, such as kv_…",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": SESSION,
        "description": "The session of a user who has logged in.",
    },
    "csrf_token": {
        "type": "apiKey",
        "in": "header",
        "name": "X-CSRF-Token",
        "description": "Goes with the session's cookie, but for GET: `csrf_token` of "
        "the login's answer.",
    },
}
_DESCRIPTION = """A multi-tenant ERP core: inventory, accounting and sales.

Quantities and amounts are decimal strings, ids are UUIDs, times are RFC 3339 in UTC, or null
when they have not come. Fields that are null count as absent; fields that are not known are
refused."""


def openapi(routes: Iterable[Route], url: str | None = None) -> Object:
    """The document for these routes."""
    schemas = Schemas()
    paths: dict[str, Object] = {}
    routes = list(routes)
    records = {route.record for route in routes if route.reads_one}
    for route in routes:
        operation = _operation(route, schemas)
        if route.record in records:
            _add_etag(route, operation)
        paths.setdefault(route.template, {})[route.verb.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "kv-erp", "version": "1", "description": _DESCRIPTION},
        "servers": [{"url": url or "/"}],
        "security": [{"api_token": []}, {"session": [], "csrf_token": []}],
        "tags": [_tag(service) for service in SERVICES],
        "paths": paths,
        "components": _components(schemas),
    }


def _tag(service: str) -> Object:
    described = comments().get(SERVICES[service][0].full_name, "")
    return {"name": service} | ({"description": described} if described else {})


def _operation(route: Route, schemas: Schemas) -> Object:
    said = comments().get(route.method.full_name, route.method.name)
    operation: Object = {
        "operationId": route.method.name,
        "tags": [route.service],
        "summary": said.partition("\n")[0],
        "description": said,
        "parameters": _parameters(route, schemas),
        "responses": _responses(route, schemas),
    }
    if route.policy.permission:
        operation["x-permission"] = route.policy.permission
    if route.policy.access is Access.ANYBODY:
        operation["security"] = []
    if route.takes_body:
        schema = schemas.request(route.method.input_type, route.parameters)
        operation["requestBody"] = {
            "required": bool(schemas.by_name[route.method.input_type.name].get("required")),
            "content": {"application/json": {"schema": schema}},
        }
    if example := examples().get(route.method.name):
        _add_example(operation, example, str(int(route.success)))
    return operation


def _add_example(operation: Object, example: Example, success: str) -> None:
    given = {**example.path, **example.query}
    for parameter in operation["parameters"]:
        if parameter.get("name") in given:
            parameter["example"] = given[parameter["name"]]
    for content, value in (
        (operation.get("requestBody", {}).get("content"), example.body),
        (operation["responses"][success].get("content"), example.answer),
    ):
        if content and value is not None:
            content["application/json"]["example"] = value


def _add_etag(route: Route, operation: Object) -> None:
    """Say what a route that answers with one record does about its state."""
    answer = operation["responses"][str(int(route.success))]
    answer["headers"] = answer["headers"] | _shown("ETag")
    parameters, responses = operation["parameters"], operation["responses"]
    if route.reads_one:
        parameters.append({"$ref": "#/components/parameters/IfNoneMatch"})
        responses["304"] = {"description": "The caller has it.", "headers": answer["headers"]}
    elif "id" in route.parameters:
        parameters.append({"$ref": "#/components/parameters/IfMatch"})
        status = HTTPStatus.PRECONDITION_FAILED
        responses[str(int(status))] = {"$ref": f"#/components/responses/{status.name}"}


def _parameters(route: Route, schemas: Schemas) -> list[Object]:
    fields = route.method.input_type.fields_by_name
    found = [_parameter(fields[name], "path", schemas) for name in route.parameters]
    if route.verb != "GET":
        # Answers are kept for those who are known.
        if route.policy.access is not Access.ANYBODY:
            found.append({"$ref": "#/components/parameters/IdempotencyKey"})
        found.append({"$ref": "#/components/parameters/ValidateOnly"})
    if not route.takes_body:
        found += [
            _parameter(field, "query", schemas)
            for field in route.method.input_type.fields
            if field.name not in route.parameters and is_parameter(field)
        ]
    if route.takes_fields:
        found.append(_fields_parameter(route))
    if route.policy.settlement:
        found.append({"$ref": "#/components/parameters/Prefer"})
    return found


def _parameter(field: Any, place: str, schemas: Schemas) -> Object:
    schema = schemas.parameter(field)
    described = schema.pop("description", "")
    if fields := _fields_of_list(field):
        described = f"{described.strip()} Knows {', '.join(fields)}."
    parameter: Object = {"name": field.name, "in": place, "schema": schema}
    if described:
        parameter["description"] = described
    return parameter | ({"required": True} if place == "path" else {})


def _fields_parameter(route: Route) -> Object:
    named = ", ".join(described(route.method.output_type))
    return {
        "name": FIELDS,
        "in": "query",
        "schema": {"type": "string", "maxLength": LONGEST},
        "description": "Only these fields, with commas, also where the answer's schema requires "
        f"others; a part of one as `money.amount`. Knows {named}.",
    }


def _fields_of_list(field: Any) -> list[str]:
    """What a list's `filter` or `order_by` may name."""
    if field.name not in ("filter", "order_by"):
        return []
    return list(getattr(declared(field.containing_type), field.name))


def _responses(route: Route, schemas: Schemas) -> Object:
    headers = _ON_EVERY_ANSWER
    if route.verb != "GET":
        headers = headers | _shown("ConsistencyToken", "Replayed", "Validated")
    done: Object = {"description": HTTPStatus(route.success).phrase, "headers": headers}
    if route.success != HTTPStatus.NO_CONTENT:
        schema = schemas.answer(route.method.output_type)
        done["content"] = {"application/json": {"schema": schema}}
    responses = {str(int(route.success)): done}
    if route.policy.settlement:
        unsettled = "Done, and `awaiting` says what other services have still to do."
        responses["202"] = done | {"description": unsettled}
    for status in _PROBLEMS:
        if status in _RECORDS_ONLY or (status in _COMMANDS_ONLY and not _may_forbid(route, status)):
            continue
        if route.takes_body or status not in _BODIES_ONLY:
            responses[str(int(status))] = {"$ref": f"#/components/responses/{status.name}"}
    return responses


def _may_forbid(route: Route, status: HTTPStatus) -> bool:
    """Whether a rule of the business can stand against it: software has no session to read."""
    of_session = route.policy.access is Access.ONESELF and status is HTTPStatus.CONFLICT
    return route.verb != "GET" or of_session


def _components(schemas: Schemas) -> Object:
    return {
        "schemas": dict(
            sorted({**schemas.by_name, "Problem": _PROBLEM, "CloudEvent": _CLOUD_EVENT}.items())
        ),
        "responses": {status.name: _problem(status, text) for status, text in _PROBLEMS.items()},
        "headers": {name: _header(*described) for name, described in _HEADERS.items()},
        "parameters": {
            "IfMatch": _IF_MATCH,
            "IfNoneMatch": _IF_NONE_MATCH,
            "IdempotencyKey": {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "The caller's own name for this request, which has effect once.",
                "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
            },
            "ValidateOnly": {
                "name": "validate_only",
                "in": "query",
                "description": "`true`: all checks and the answer it would give, marked by "
                "`Validate-Only: true`, without any effect.",
                "schema": {"type": "boolean"},
            },
            "Prefer": {
                "name": "Prefer",
                "in": "header",
                "description": "`wait=N`: answer when the follow-up work of other services is "
                "done, or with 202 after N seconds, at most 30 (RFC 7240).",
                "schema": {"type": "string"},
            },
        },
        "securitySchemes": _CREDENTIALS,
    }


def _header(_: str, description: str, kind: str) -> Object:
    return {"description": description, "schema": {"type": kind}}


def _problem(status: HTTPStatus, text: str) -> Object:
    reference = {"$ref": "#/components/schemas/Problem"}
    headers = _shown("RequestId") if status in _UNCOUNTED else _ON_EVERY_ANSWER
    return {
        "description": text,
        "headers": headers | (_shown("RetryAfter") if status in BUSY else {}),
        "content": {"application/problem+json": {"schema": reference}},
    }
