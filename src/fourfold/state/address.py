"""The address of a state in PostgreSQL: a URL as libpq has it, with ``schema=`` of ours."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import sqlalchemy as sa

from fourfold.errors import ConfigError

SCHEMA = "fourfold"  # where the address names none
_IN_OPTIONS = re.compile(r"-c\s*search_path\s*=\s*(\"?)([^,\s\"]+)\1\S*")
_EXAMPLE = "'postgresql://user:password@host:5432/database?schema=fourfold'"
_DEFAULTS = {  # an end that is gone is noticed within a minute, by either side
    "application_name": "fourfold", "client_encoding": "utf-8", "connect_timeout": "10", "keepalives_idle": "30",
    "keepalives_interval": "10", "keepalives_count": "3", "tcp_user_timeout": "60000",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Address:
    """What to connect with, the schema, and the ``name`` of both for messages, which has no password."""

    name: str
    schema: str
    parameters: dict[str, Any] = dataclasses.field(repr=False)

    @classmethod
    def of(cls, url: str) -> Address:
        """The address of a URL.

        Raises:
            ConfigError: it makes no sense. The message does not repeat it, since it may hold a password.
        """
        try:
            parsed = sa.make_url(url)
        except (sa.exc.ArgumentError, ValueError):
            raise ConfigError(f"state: the URL cannot be read; it looks like {_EXAMPLE}") from None
        if "@" in (parsed.host or "") or any(character.isspace() for character in parsed.host or ""):
            raise ConfigError("state: the URL has an @ or a space in its host; in a password, write @ as %40, / as %2F")
        query = {name: value if isinstance(value, str) else ",".join(value) for name, value in parsed.query.items()}
        options = query.pop("options", "")
        in_options = _IN_OPTIONS.search(options)
        schema = query.pop("schema", in_options[2] if in_options else SCHEMA)
        if not schema or "\0" in schema or len(schema.encode()) > 63 or schema.startswith("pg_"):
            raise ConfigError(f"state: schema={schema!r} in the URL is no name of a schema")
        named = {
            "host": parsed.host, "port": parsed.port, "user": parsed.username, "password": parsed.password,
            "dbname": parsed.database, "options": _IN_OPTIONS.sub("", options).strip(),
        }  # fmt: skip
        parameters = _DEFAULTS | query | {name: value for name, value in named.items() if value}
        host = parameters.get("host", "")
        place = f"{parsed.username + '@' if parsed.username else ''}{host}{f':{parsed.port}' if parsed.port else ''}"
        return cls(f"postgresql://{place}/{parsed.database or ''}?schema={schema}", schema, parameters)

    def without_password(self, text: str) -> str:
        """A message of the driver, in case that it repeats the password."""
        secrets = [str(value) for name, value in self.parameters.items() if "password" in name and value]
        for secret in secrets:
            text = text.replace(secret, "***")
        return text
