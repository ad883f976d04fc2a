"""The server that takes our mail, and in whose name it goes out."""

from dataclasses import dataclass
from typing import Annotated

from common.variables import Secret, Variable, mail_address, one_of, whole


@dataclass(frozen=True)
class MailSettings:
    """Mail."""

    mail_host: Annotated[
        str | None,
        Variable("MAIL_HOST", "The SMTP server that takes our mail; without it none is sent."),
    ] = None
    mail_port: Annotated[int, Variable("MAIL_PORT", "Its port.", whole(1, 65_535))] = 587
    mail_encryption: Annotated[
        str,
        Variable(
            "MAIL_ENCRYPTION",
            "starttls, tls (from the first byte, usually port 465) or none.",
            one_of("starttls", "tls", "none"),
        ),
    ] = "starttls"
    mail_username: Annotated[
        str | None, Variable("MAIL_USERNAME", "Who we are to it; without it we do not log in.")
    ] = None
    mail_password: Annotated[
        Secret | None, Variable("MAIL_PASSWORD", "The password of MAIL_USERNAME.", Secret)
    ] = None
    mail_from_address: Annotated[
        str | None, Variable("MAIL_FROM_ADDRESS", "The address that mail comes from.", mail_address)
    ] = None
    mail_from_name: Annotated[
        str,
        Variable("MAIL_FROM_NAME", "The name that mail comes from where a company has none."),
    ] = ""
