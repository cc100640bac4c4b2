"""Incidents by e-mail (SMTP), encrypted unless the settings say otherwise; one thread an incident.

Names and titles stand in headers too: ``plain`` leaves no line break in them, and the library refuses any.
"""

from __future__ import annotations

import dataclasses
import email.utils
import hashlib
import smtplib
import ssl
from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

from fourfold.model import Severity
from fourfold.watch.notify.http import STEP, ending, reason_of
from fourfold.watch.notify.message import Message, details, headline, plain
from fourfold.watch.notify.protocol import DeliveryError, Fields, Secret

_SECURITY = {"starttls": 587, "tls": 465, "none": 25}  # each with its usual port


@dataclasses.dataclass(frozen=True, slots=True)
class Email:
    """Sends one e-mail a message, to all recipients at once."""

    name: str
    severity: Severity
    host: str
    port: int
    security: str
    sender: str
    recipients: tuple[str, ...]
    user: str
    password: Secret | None
    repeat: None = None

    @staticmethod
    def of(fields: Fields) -> Email:
        """From the settings of a section."""
        security = fields.text("security", "starttls")
        if security not in _SECURITY:
            raise fields.error(f"security={security!r}; known are {', '.join(_SECURITY)}")
        sender, recipients = fields.text("from"), fields.texts("to")
        for address in (sender, *recipients):
            _checked(fields, address)
        if not recipients:
            raise fields.error("to is empty; give at least one address")
        user, password = fields.text("user", ""), fields.secret("password", needed=False)
        if bool(user) != (password is not None):
            raise fields.error("user and password_env go together")
        if user and security == "none":
            raise fields.error('security="none" would send the password in the open; use "starttls" or "tls"')
        return Email(
            fields.name, fields.severity(), fields.text("host"), fields.number("port", _SECURITY[security]), security,
            sender, recipients, user, password,
        )  # fmt: skip

    def send(self, message: Message, now: float) -> None:
        """See ``Channel``."""
        password = self.password.value() if self.password is not None else ""
        try:
            with self._connected() as server, ending(lambda: _cut(server)):
                if self.security == "starttls":
                    server.starttls(context=ssl.create_default_context())
                if self.user:
                    server.login(self.user, password)
                server.send_message(self.mail(message), self.sender, self.recipients)
        except smtplib.SMTPAuthenticationError as error:
            raise DeliveryError(f"{self.host} refuses the user {self.user!r} ({error.smtp_code})") from None
        except smtplib.SMTPRecipientsRefused as error:
            codes = ", ".join(str(code) for code, _ in error.recipients.values())
            refused = all(code >= 500 for code, _ in error.recipients.values())
            raise DeliveryError(f"{self.host} refuses all recipients ({codes})", refused=refused) from None
        except smtplib.SMTPResponseException as error:
            said = error.smtp_error.decode(errors="replace") if isinstance(error.smtp_error, bytes) else ""
            text = f"{self.host} answered {error.smtp_code}: {plain(said, 200)}"
            raise DeliveryError(text, refused=error.smtp_code >= 500) from None
        except (OSError, UnicodeError, smtplib.SMTPException) as error:
            raise DeliveryError(f"{self.host} cannot be reached: {reason_of(error)}") from None

    def mail(self, message: Message) -> EmailMessage:
        """The message as an e-mail. Its id is the same each time it is sent; its thread that of the incident."""
        mail = EmailMessage(policy=SMTP)
        mail["Subject"] = headline(message)
        mail["From"], mail["To"] = self.sender, ", ".join(self.recipients)
        mail["Date"] = email.utils.formatdate(message.created)
        mail["Message-ID"] = _id(message.identity)
        mail["References"] = _id(f"{message.project}-{message.incident.id}")
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content("\n".join([headline(message), "", *(f"{name}: {value}" for name, value in details(message))]))
        return mail

    def _connected(self) -> smtplib.SMTP:
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=STEP, context=ssl.create_default_context())
        return smtplib.SMTP(self.host, self.port, timeout=STEP)


def _checked(fields: Fields, address: str) -> None:
    try:
        parsed = Address(addr_spec=address)
    except Exception as error:  # the library raises several kinds, some its own
        raise fields.error(f"{address!r} is not an e-mail address") from error
    if not parsed.username or not parsed.domain:
        raise fields.error(f"{address!r} is not an e-mail address")


def _id(text: str) -> str:
    return f"<{hashlib.sha256(text.encode('utf-8', 'backslashreplace')).hexdigest()[:32]}@fourfold.invalid>"


def _cut(server: smtplib.SMTP) -> None:
    with suppress(OSError):
        if server.sock is not None:
            server.sock.close()
