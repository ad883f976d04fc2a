"""The mails that customers are sent by jobs."""

from common import jobs, mailing
from common.mailing import TRIES
from erp.sales.v1.jobs_pb2 import ConfirmationMail, InvoiceMail
from sales import letters


@jobs.handles(ConfirmationMail, tries=TRIES)
async def send_confirmation(work: jobs.Work[ConfirmationMail]) -> None:
    """Write to the customer that their order is confirmed."""
    await mailing.send(work, letters.confirmation_of(work.message))


@jobs.handles(InvoiceMail, tries=TRIES)
async def send_invoice(work: jobs.Work[InvoiceMail]) -> None:
    """Write to the customer that their invoice is posted."""
    await mailing.send(work, letters.invoice_of(work.message))
