"""One record as given to ``ff.log``; what it holds is looked at later, in the background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fourfold.errors import let_end
from fourfold.model.given import is_record


class Record(NamedTuple):
    """One record as given to ``ff.log``."""

    stream: str
    data: Mapping[str, Any] | None
    fields: dict[str, Any]
    key: Any
    time: Any
    logged: int  # nanoseconds since 1970
    run: Any  # the run it was logged in, or None

    @property
    def is_single(self) -> bool:
        """Whether its data is one record, rather than columns; what cannot be read is set aside as one."""
        try:
            return self.data is None or is_record(self.data, self.key)
        except BaseException as error:
            let_end(error)
            return True
