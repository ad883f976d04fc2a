"""What can go wrong at the door."""

from dataclasses import dataclass
from typing import ClassVar

from common.errors import BrokenRule, DomainError, NotFound, StatusCode


@dataclass(eq=False)
class HttpError(DomainError):
    """A request that goes wrong before it reaches a service, in a way that gRPC has no word for."""

    status = StatusCode.INVALID_ARGUMENT
    http_status: ClassVar[int]


@dataclass(eq=False)
class UnknownPath(HttpError):
    """No rpc answers here: 404."""

    status = StatusCode.NOT_FOUND
    http_status = 404
    detail = "There is nothing at this path."


@dataclass(eq=False)
class MethodNotAllowed(HttpError):
    """The path is known and not with this method: 405."""

    http_status = 405
    detail = "This path can be used with {allow}."

    allow: str


@dataclass(eq=False)
class BodyTooSlow(HttpError):
    """The body did not arrive in time: 408."""

    http_status = 408
    detail = "The body did not arrive within {seconds} seconds."

    seconds: float


@dataclass(eq=False)
class ClientGone(HttpError):
    """The client hung up before its request was complete; nobody reads this: 400."""

    http_status = 400
    detail = "The request is not complete."


@dataclass(eq=False)
class BodyTooLarge(HttpError):
    """The body is larger than any request needs: 413."""

    http_status = 413
    detail = "The body is larger than {largest_bytes} bytes."

    largest_bytes: int


@dataclass(eq=False)
class PreconditionFailed(HttpError):
    """If-Match names another state of the record than its present one: 412."""

    status = StatusCode.FAILED_PRECONDITION
    http_status = 412
    detail = "The record is not, or no longer, what If-Match names. Read it again."


@dataclass(eq=False)
class UnsupportedMediaType(HttpError):
    """The body is not declared as JSON: 415."""

    http_status = 415
    detail = "The body must be application/json in UTF-8 without a Content-Encoding, and say so."


@dataclass(eq=False)
class TargetTooLong(HttpError):
    """Path and query are longer than any request needs: 414."""

    http_status = 414
    detail = "Path and query are longer than {longest_bytes} bytes."

    longest_bytes: int


@dataclass(eq=False)
class TooManyHeaders(HttpError):
    """There are more headers than any request needs: 431."""

    http_status = 431
    detail = "There are more than {most} headers."

    most: int


@dataclass(eq=False)
class HeadTooLarge(HttpError):
    """The headers are larger than any request needs: 431."""

    http_status = 431
    detail = "The headers are larger than {largest_bytes} bytes."

    largest_bytes: int


@dataclass(eq=False)
class VersionNotSupported(HttpError):
    """The request is of another version of HTTP than 1.0 or 1.1: 505."""

    http_status = 505
    detail = "This server speaks HTTP/1.1."


@dataclass(eq=False)
class TooManyAtOnce(HttpError):
    """This process has as many requests at hand as it can serve: 503."""

    status = StatusCode.UNAVAILABLE
    http_status = 503
    detail = "Too many requests are being served at the moment. Try again."
    retry_after_seconds = 1.0


@dataclass(eq=False)
class ForgedRequest(DomainError):
    """The session's own page has not sent this: 403."""

    status = StatusCode.PERMISSION_DENIED
    detail = "This request may not have been meant by the user. {why}"

    why: str


@dataclass(eq=False)
class TenantSuspended(DomainError):
    """The company's access has been suspended; its data is kept: 403."""

    status = StatusCode.PERMISSION_DENIED
    detail = "The access of this company has been suspended. Its data is kept."


@dataclass(eq=False)
class NoSession(BrokenRule):
    """This is for people who are logged in; software with a token has no session."""

    detail = "This credential has no session: only users who are logged in have one."


@dataclass(eq=False)
class WrongPassword(BrokenRule):
    """The present password, which must be given to change it, is another."""

    detail = "The current password is another."


@dataclass(eq=False)
class SetupTokenInvalid(BrokenRule):
    """The token to choose a password with was used before, or is too old, or never was."""

    detail = "This setup token is not valid, or no longer. Ask for a new one."


@dataclass(eq=False)
class EmailTaken(BrokenRule):
    """A user of the company has this mail address."""

    detail = "There is a user with the mail address {email} already."

    email: str


@dataclass(eq=False)
class UserDeactivated(BrokenRule):
    """The user is locked out and cannot be given a password."""

    detail = "This user is deactivated. Reactivate them first."


@dataclass(eq=False)
class RoleNameTaken(BrokenRule):
    """A role of the company has this name."""

    detail = "There is a role called {name} already."

    name: str


@dataclass(eq=False)
class RoleInUse(BrokenRule):
    """Some user has the role."""

    detail = "Some user has the role {name}. Give them others first."

    name: str


@dataclass(eq=False)
class BuiltInRole(BrokenRule):
    """Every company has this role, always the same."""

    detail = "Every company has the role {name}, and it cannot be changed. Make one of your own."

    name: str


@dataclass(eq=False)
class LastAdmin(BrokenRule):
    """Nobody could do everything in the company any more."""

    detail = "After this no active user could do everything. Make another one an admin first."


@dataclass(eq=False)
class TenantExists(BrokenRule):
    """The short name of a tenant is taken."""

    detail = "There is a tenant {slug} already."

    slug: str


@dataclass(eq=False)
class TenantDeleted(BrokenRule):
    """The company is deleted, for good."""

    detail = "The tenant {slug} is deleted."

    slug: str


@dataclass(eq=False)
class TenantNotSuspended(BrokenRule):
    """Only a company that is kept out can be deleted."""

    detail = "The tenant {slug} must be suspended before it can be deleted."

    slug: str


class ApiTokenNotFound(NotFound):
    """No such token, or it was revoked: 404."""


@dataclass(eq=False)
class InvalidHeader(HttpError):
    """A header does not mean anything: 400."""

    http_status = 400
    detail = "The header {name} {rule}."

    name: str
    rule: str
