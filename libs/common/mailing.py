"""Sending mail by jobs, each mail once."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from common import jobs, mails
from common.mail import Letter, Mail
from common.mailer import Mailer, MailNotTaken, MailOutcomeUnknown, MailRefused, Offer
from common.mails import MailKey
from common.transaction import Transaction

__all__ = ["TRIES", "Addressed", "Wanted", "is_on", "send", "sending_by"]

# A server that is away for a day loses no mail: 10 s, doubled with each try, an hour at most.
TRIES = 32

log = structlog.get_logger()

_mailer: ContextVar[Mailer | None] = ContextVar("mailer", default=None)


@dataclass(frozen=True)
class Addressed:
    """A letter, and to whom it goes in whose name."""

    recipient: str
    company: str
    letter: Letter


class Wanted(Protocol):
    """A letter that somebody wants to be sent."""

    @property
    def key(self) -> MailKey:
        """What keeps it from being sent twice."""
        ...

    async def address(self, tx: Transaction) -> Addressed | None:
        """The letter; None when it has become untrue, or there is nobody to write to."""
        ...


@contextmanager
def sending_by(mailer: Mailer) -> Iterator[None]:
    """Let the jobs that are started inside send by this mailer."""
    token = _mailer.set(mailer)
    try:
        yield
    finally:
        _mailer.reset(token)


def is_on() -> bool:
    """Whether this process knows a server to send by."""
    mailer = _mailer.get()
    return mailer is not None and mailer.is_on


async def send(work: jobs.Work[Any], wanted: Wanted) -> None:
    """Send a letter, unless it was sent before or may have been.

    The mail is noted as begun after the server has agreed to its recipient and before anything of
    it is sent. Whoever finds one that was begun and not ended cannot know, and asks people.
    """
    async with work.transaction() as tx:
        state = await mails.find_state(tx, wanted.key)
        addressed = await wanted.address(tx)
    mailer = _mailer.get()
    if state == mails.SENT or addressed is None or mailer is None or not mailer.is_on:
        return
    if state == mails.SENDING:
        await _park(work, wanted.key, MailOutcomeUnknown("its worker died while it was sending"))
        return
    try:
        async with mailer.offering(_mail(work, addressed)) as offer:
            await _hand_over(work, wanted.key, addressed, offer)
    except MailRefused as error:
        async with work.parking(str(error)):
            log.warning("mail refused", kind=wanted.key.kind, error=str(error))


async def _hand_over(
    work: jobs.Work[Any], key: MailKey, addressed: Addressed, offer: Offer
) -> None:
    async with work.transaction() as tx:
        await mails.begin(tx, key, work.id, addressed.recipient)
    try:
        await offer.hand_over()
    except (MailNotTaken, MailRefused):
        async with work.transaction() as tx:
            await mails.forget(tx, key)
        raise
    except MailOutcomeUnknown as error:
        await _park(work, key, error)
        return
    await work.complete(mails.note_sent, key)


async def _park(work: jobs.Work[Any], key: MailKey, error: MailOutcomeUnknown) -> None:
    """Ask people. If they retry the job, the mail is sent again with the same Message-ID."""
    log.warning("mail may have been sent", kind=key.kind, job_id=str(work.id), error=str(error))
    async with work.parking(f"{error}. Retrying sends it, with the same Message-ID.") as tx:
        await mails.note_unknown(tx, key)


def _mail(work: jobs.Work[Any], addressed: Addressed) -> Mail:
    return Mail(work.id, addressed.recipient, addressed.letter, addressed.company)
