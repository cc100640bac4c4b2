"""Tasks: a prediction stream joined with a label stream, and what its records are split by."""

from __future__ import annotations

import dataclasses
import json

from fourfold.model.time import DAY


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """One thing that records are split by: a column, a number's quantile buckets, or a SQL expression.

    ``buckets`` is how many buckets a number falls in (0: its values as they are); ``sql`` is an expression over the
    stream's columns, in DuckDB's dialect, that takes the place of the column.
    """

    name: str
    buckets: int = 0
    sql: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Dimension:
    """What slices are made by: one part, several crossed, or none (all records in one slice)."""

    parts: tuple[Part, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parts, sorted: those of the slices that the dimension makes."""
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
    """Sums over the joined records, each by a SQL expression: what a custom metric is a function of."""

    metric: str
    expressions: tuple[tuple[str, str], ...]  # name and SQL


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """A prediction stream joined with a label stream.

    ``horizon`` is in seconds: a label whose event time is later than its prediction's by more is expired. Which of
    the further fields have a meaning depends on ``kind``; ``config.make_task`` checks it.
    """

    name: str
    prediction: StreamColumn
    label: StreamColumn
    kind: str = "binary"
    threshold: float | None = 0.5
    slices: tuple[Dimension, ...] = ()
    horizon: int = 30 * DAY
    version: str = ""  # the prediction stream's column that says which model version made the prediction
    probabilities: str = ""  # multiclass: the prediction stream's column of class probabilities
    classes: tuple[str, ...] = ()  # multiclass: the classes of these, where they come as lists
    query: str = ""  # ranking: the prediction stream's column that says to which query an item belongs
    cutoffs: tuple[int, ...] = ()  # ranking: the ranks k down to which a list is judged
    outcome: StreamColumn | None = None  # decision: what came of it
    values: tuple[tuple[str, str, float], ...] = ()  # predicted, actual, and what such a record is worth
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
        """All that its counts are split by, the model version among them."""
        return tuple(dict.fromkeys((*self.slices, *([self.by_version] if self.by_version else []))))

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
