"""Records as Arrow tables: made in the sender's process, and sent as an inbox keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import pyarrow as pa

from fourfold.errors import let_end
from fourfold.fold import to_arrow
from fourfold.log.wire import write_message
from fourfold.model import Plausible, limits
from fourfold.sdk.batch import Found, from_records, prepare
from fourfold.sdk.form import Batch, Frames
from fourfold.sdk.host import shown
from fourfold.sdk.record import Record


class Columns:
    """See ``Form``."""

    suffix = ".arrow"
    encoding = "zstd"
    together = 20_000

    @property
    def frames(self) -> Frames:
        """See ``Form``."""
        from fourfold.sdk import frames  # which knows the session, that knows its form

        return frames

    def of_data(
        self, data: Any, key: str | Sequence[str] | None, time: str | None, logged: int, run: str | None,
        times: Plausible,
    ) -> list[Batch]:  # fmt: skip
        """See ``Form``."""
        return _batches(prepare(data, key, time, logged, run, times))

    def of_records(self, records: Sequence[Record], times: Plausible) -> list[Batch]:
        """See ``Form``."""
        return _batches(from_records(records, times))

    def kept(self, data: Any) -> pa.Table:
        """See ``Form``."""
        try:
            return to_arrow(data)
        except BaseException as error:
            let_end(error)
            return pa.table({"data": [shown(data)]})

    def parts(self, payload: pa.Table, nbytes: int) -> Sequence[pa.Table]:
        """See ``Form``."""
        rows = max(1, payload.num_rows * nbytes // max(payload.nbytes, 1))
        rows = min(rows, max(1, limits.CELLS // max(payload.num_columns, 1)))
        if rows >= payload.num_rows:
            return [payload]
        return [payload.slice(at, rows) for at in range(0, payload.num_rows, rows)]

    def write(self, file: BinaryIO, header: Mapping[str, Any], payload: pa.Table | None) -> None:
        """See ``Form``."""
        write_message(file, header, payload)

    def compressed(self, content: bytes) -> bytes:
        """See ``Form``."""
        packed: bytes = pa.Codec(self.encoding, compression_level=1).compress(content, asbytes=True)
        return packed


def _batches(found: Found) -> list[Batch]:
    return [Batch(made.table, made.key, made.time, made.unreadable, error) for made, error in found]
