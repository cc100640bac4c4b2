"""Tasks: a prediction stream joined with a label stream, and the dimensions that split its records."""

from __future__ import annotations

import dataclasses
import json

from fourfold.model.time import DAY


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """One part of a dimension: a column, a number's quantile buckets, or a SQL expression.

    ``buckets`` is the number of buckets (0: the values themselves); ``sql`` is an expression over the stream's
    columns, in DuckDB's dialect, that replaces the column.
    """

    name: str
    buckets: int = 0
    sql: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Dimension:
    """How records are split into slices: by one part, several crossed, or none (all records in one slice)."""

    parts: tuple[Part, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parts, sorted, as in the dimension's slices."""
        return tuple(sorted(part.name for part in self.parts))

    def __str__(self) -> str:
        return " × ".join(self.names)

    def to_json(self) -> str:
        """The definition as canonical text."""
        return json.dumps([dataclasses.astuple(part) for part in self.parts], ensure_ascii=False)


ALL = Dimension()  # not split


@dataclasses.dataclass(frozen=True, slots=True)
class StreamColumn:
    """A column of a stream."""

    stream: str
    column: str

    def __str__(self) -> str:
        return f"{self.stream}.{self.column}"


@dataclasses.dataclass(frozen=True, slots=True)
class Sums:
    """Sums over the joined records, each a SQL expression: the input of a custom metric."""

    metric: str
    expressions: tuple[tuple[str, str], ...]  # name and SQL


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """A prediction stream joined with a label stream.

    ``horizon`` is in seconds: a label whose event time is later than its prediction's by more is expired. ``kind``
    decides which further fields apply; ``config.make_task`` checks them.
    """

    name: str
    prediction: StreamColumn
    label: StreamColumn
    kind: str = "binary"
    threshold: float | None = 0.5
    slices: tuple[Dimension, ...] = ()
    horizon: int = 30 * DAY
    version: str = ""  # the prediction stream's column of the model version
    probabilities: str = ""  # multiclass: the prediction stream's column of class probabilities
    classes: tuple[str, ...] = ()  # multiclass: the classes of these probabilities, if they are lists
    query: str = ""  # ranking: the prediction stream's column of the item's query
    cutoffs: tuple[int, ...] = ()  # ranking: the ranks k at which lists are evaluated
    outcome: StreamColumn | None = None  # decision: its outcome
    values: tuple[tuple[str, str, float], ...] = ()  # predicted, actual, and the worth of such a record
    sums: tuple[Sums, ...] = ()
    positive: str | None = None  # binary: the label that is positive, as text; any other is negative

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that the task joins, the predictions first."""
        sources = (self.prediction, self.label, *([self.outcome] if self.outcome else []))
        return tuple(source.stream for source in sources)

    @property
    def by_version(self) -> Dimension | None:
        """The dimension of the model versions."""
        return Dimension((Part(self.version),)) if self.version else None

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """All dimensions of its counts, including the model version."""
        return tuple(dict.fromkeys((*self.slices, *([self.by_version] if self.by_version else []))))

    @property
    def without_sums(self) -> Task:
        """The task without custom metrics."""
        return dataclasses.replace(self, sums=())

    def to_json(self) -> str:
        """The definition as canonical JSON: equal definitions have equal text."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Task:
        """The inverse of ``to_json``."""
        fields = json.loads(text)
        return Task(
            **{
                **fields,
                "prediction": StreamColumn(**fields["prediction"]),
                "label": StreamColumn(**fields["label"]),
                "outcome": StreamColumn(**fields["outcome"]) if fields["outcome"] else None,
                "slices": tuple(Dimension(tuple(Part(**part) for part in d["parts"])) for d in fields["slices"]),
                "classes": tuple(fields["classes"]),
                "cutoffs": tuple(fields["cutoffs"]),
                "values": tuple(map(tuple, fields["values"])),
                "sums": tuple(Sums(s["metric"], tuple(map(tuple, s["expressions"]))) for s in fields["sums"]),
            }
        )
