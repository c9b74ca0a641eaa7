"""A read model is a plain SQL table whose rows are folds: one row per key, changed by `evolve` event by event.

    class OrderSummary(fait.ReadModel, key="order_id", indexes=[("customer_id", "placed_at")]):
        order_id: str
        customer_id: str
        total: Decimal

        @classmethod
        def evolve(cls, row: Self | None, event: OrderPlaced | OrderCancelled, at: fait.Recorded) -> Self | None: ...

The row's key is the id of the event's stream, unless the class says otherwise with
`key_of(cls, event, at) -> key | list of keys | None`.
"""

import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast, dataclass_transform
from uuid import UUID

import msgspec
from msgspec import Struct, field

from fait._errors import DeclarationError, UsageError
from fait._events.annotation import annotated_events, local_names
from fait._events.envelope import Envelope
from fait._events.event import event_type
from fait._events.stream import id_of
from fait._store.ledger import PYTHON_TYPES, Column, ColumnKind, Row, Table, fits_column

__all__ = ["ReadModel", "ReadModelDefinition", "definition_of"]

M = TypeVar("M", bound="ReadModel")
Convert = Callable[[Any], Any]

RESERVED_NAMES: Final = {"where", "order_by", "limit", "after", "cursor", "timeout_s"}

_KINDS: Final[dict[type, ColumnKind]] = {
    str: "text",
    bool: "boolean",
    int: "integer",
    float: "real",
    Decimal: "decimal",
    datetime: "timestamp",
    date: "date",
    UUID: "uuid",
    bytes: "bytes",
}
_KEY_KINDS: Final = {"text", "integer", "uuid", "date"}

if TYPE_CHECKING:

    @dataclass_transform(kw_only_default=True, field_specifiers=(field,))
    class ReadModel:
        """Base class of read models: a SQL table whose rows are folds of events.

        Class options:
            key: name of the primary-key column; a str, int, UUID or date.
            table: name of the table; by default the class's name in snake_case.
            indexes: further indexes, each a tuple of column names.
            version: increase it when `evolve` changes its meaning, so that the table must be rebuilt; 1 by default.

        Fields are the columns. `evolve` gets the row, or None, and returns the new row, or None to delete it; it may
        change and return the row it got. Its annotation lists the events that the read model handles.

        The key of an event's row is the id of its stream. A class method `key_of(cls, event, at)` overrides that: it
        returns a key, a list of keys, or None if the event changes no row.

        Example:
            class OrderSummary(fait.ReadModel, key="order_id", indexes=[("customer_id", "placed_at")]):
                order_id: str
                customer_id: str
                placed_at: datetime

                @classmethod
                def evolve(cls, row: Self | None, event: OrderPlaced, at: fait.Envelope) -> Self | None:
                    return cls(order_id=at.stream_id, customer_id=event.customer_id, placed_at=event.placed_at)
        """

        def __init_subclass__(
            cls, *, key: str, table: str | None = None, indexes: Sequence[tuple[str, ...]] = (), version: int = 1
        ) -> None:
            """Declare a read model.

            Args:
                key: the column that identifies a row.
                table: the table's name; by default the class's in snake_case.
                indexes: columns of further indexes.
                version: raise it when `evolve` changes its meaning: the table must then be built anew.
            """

else:

    class _ReadModelMeta(type(Struct)):
        def __new__(mcs, name, bases, namespace, *, key=None, table=None, indexes=(), version=1, **options):
            names = local_names(1)
            cls = super().__new__(mcs, name, bases, namespace, kw_only=True, **options)
            if namespace.get("__module__") != __name__:
                if key is None:
                    raise DeclarationError(f'{cls.__qualname__} needs a key: class {name}(fait.ReadModel, key="...")')
                cls.__fait_read_model__ = ReadModelDefinition(
                    cls, key, table or _snake_case(name), tuple(indexes), version, names
                )
            return cls

    class ReadModel(Struct, metaclass=_ReadModelMeta):
        """Base class of read models: a SQL table whose rows are folds of events.

        Class options:
            key: name of the primary-key column; a str, int, UUID or date.
            table: name of the table; by default the class's name in snake_case.
            indexes: further indexes, each a tuple of column names.
            version: increase it when `evolve` changes its meaning, so that the table must be rebuilt; 1 by default.

        Fields are the columns. `evolve` gets the row, or None, and returns the new row, or None to delete it; it may
        change and return the row it got. Its annotation lists the events that the read model handles.

        The key of an event's row is the id of its stream. A class method `key_of(cls, event, at)` overrides that: it
        returns a key, a list of keys, or None if the event changes no row.

        Example:
            class OrderSummary(fait.ReadModel, key="order_id", indexes=[("customer_id", "placed_at")]):
                order_id: str
                customer_id: str
                placed_at: datetime

                @classmethod
                def evolve(cls, row: Self | None, event: OrderPlaced, at: fait.Envelope) -> Self | None:
                    return cls(order_id=at.stream_id, customer_id=event.customer_id, placed_at=event.placed_at)
        """


class ReadModelDefinition:
    """What a read model's class statement said: its table, and how rows become instances and back."""

    def __init__(
        self,
        cls: type[ReadModel],
        key: str,
        table: str,
        indexes: tuple[tuple[str, ...], ...],
        version: int,
        names: Mapping[str, Any],
    ) -> None:
        self.cls = cls
        self.key = key
        self.name = table
        self.version = version
        self._indexes = indexes
        self._names = names
        self._resolved = False

    def resolve(self) -> "ReadModelDefinition":
        """Find out types and events, once all names are defined. Refuses what a table cannot hold."""
        if self._resolved:
            return self
        hints = typing.get_type_hints(self.cls, localns=dict(self._names), include_extras=True)
        fields = cast("tuple[str, ...]", cast("Any", self.cls).__struct_fields__)
        kinds = [_column_type(hints[name]) for name in fields]
        columns = tuple(
            Column(name, kind, nullable) for name, (kind, nullable, _, _) in zip(fields, kinds, strict=True)
        )
        self._check(columns)
        self.table = Table(self.name, columns, self.key, self._indexes)
        self.fields = fields
        self._to_column: list[Convert | None] = [into for _, _, into, _ in kinds]
        self._from_column: list[Convert | None] = [out_of for _, _, _, out_of in kinds]
        self._exact_types = tuple(PYTHON_TYPES[column.kind] for column in columns)
        self._range_checked = [
            (place, column) for place, column in enumerate(columns) if column.kind in ("integer", "timestamp")
        ]
        self._key_of: Callable[[Any, Any], Any] | None = getattr(self.cls, "key_of", None)
        self._key_from_text = _KEY_FROM_TEXT[self.table.columns[self.table.index_of(self.key)].kind]
        self.events = annotated_events(self._evolve(), 2, self._names)
        self._resolved = True
        return self

    @property
    def definition_hash(self) -> str:
        """Differs when the table must be built anew."""
        import hashlib  # slow to import, and needed once a system is open

        names = [found.name if (found := event_type(cls)) else cls.__name__ for cls in self.events]
        said = (self.table, self.version, sorted(names))
        return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:16]

    @property
    def keyed_by_stream(self) -> bool:
        """Whether an event's stream alone says which row it changes."""
        return self._key_of is None

    def key_of_stream(self, stream: str) -> Any:
        """The key of the row that belongs to a stream."""
        return self._key_from_text(id_of(stream))

    def keys_of(self, at: Envelope[Any]) -> Sequence[Any]:
        """Keys of the rows that an event changes, where its stream does not say it."""
        assert self._key_of is not None
        found = self._key_of(at.event, at)
        if found is None:
            return ()
        return cast("Sequence[Any]", found) if isinstance(found, list | tuple) else (found,)

    def to_row(self, instance: ReadModel) -> Row:
        """An instance as column values."""
        row: Row = msgspec.structs.astuple(cast("Any", instance))
        if any(self._to_column):
            row = tuple(
                value if convert is None or value is None else convert(value)
                for value, convert in zip(row, self._to_column, strict=True)
            )
        usual = tuple(map(type, row)) == self._exact_types  # then only values that have bounds can be unfit
        for place, column in self._range_checked if usual else enumerate(self.table.columns):
            value = row[place]
            if not fits_column(column, value):
                raise UsageError(
                    f"{self.cls.__name__}.{column.name} is {column.kind}{' or None' if column.nullable else ''}: "
                    f"evolve gave it a {type(value).__name__} that it cannot hold"
                )
        return row

    def from_row(self, row: Row) -> Any:
        """Column values as an instance."""
        values = {
            name: value if convert is None or value is None else convert(value)
            for name, value, convert in zip(self.fields, row, self._from_column, strict=True)
        }
        return self.cls(**values)

    def to_column(self, column: str, value: Any) -> Any:
        """A value to compare a column with, as the column keeps it."""
        convert = self._to_column[self.table.index_of(column)]
        return value if convert is None or value is None else convert(value)

    def _evolve(self) -> Any:
        evolve = self.cls.__dict__.get("evolve")
        if not isinstance(evolve, classmethod):
            raise DeclarationError(
                f"{self.cls.__qualname__} needs `@classmethod def evolve(cls, row: Self | None, event: ..., at: "
                f"fait.Recorded) -> Self | None`"
            )
        return cast("Any", evolve)

    def _check(self, columns: tuple[Column, ...]) -> None:
        where, by_name = self.cls.__qualname__, {column.name: column for column in columns}
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", self.name) or self.name.lower().startswith(
            ("fait_", "sqlite_", "pg_")
        ):
            raise DeclarationError(
                f"{where}: {self.name!r} cannot be a table's name: use letters, digits and _, and no prefix of a "
                f"system's"
            )
        if taken := sorted(RESERVED_NAMES & by_name.keys()):
            raise DeclarationError(f"{where}: {', '.join(taken)} are words of find(...); name the column otherwise")
        if self.key not in by_name:
            raise DeclarationError(f"{where}: the key {self.key!r} is not one of its columns: {', '.join(by_name)}")
        key = by_name[self.key]
        if key.nullable or key.kind not in _KEY_KINDS:
            raise DeclarationError(f"{where}: the key {self.key!r} must be str, int, UUID or date, and always there")
        for name in (name for index in self._indexes for name in index):
            if name not in by_name:
                raise DeclarationError(
                    f"{where}: the index column {name!r} is not one of its columns: {', '.join(by_name)}"
                )


_KEY_FROM_TEXT: Final[dict[ColumnKind, Convert]] = {
    "text": str,
    "integer": int,
    "uuid": UUID,
    "date": date.fromisoformat,
}


def definition_of(cls: type[ReadModel]) -> ReadModelDefinition:
    """The resolved shape of a read model."""
    found = cls.__dict__.get("__fait_read_model__")
    if found is None:
        raise DeclarationError(f"{cls.__qualname__} is not a read model: class {cls.__name__}(fait.ReadModel, key=...)")
    return cast("ReadModelDefinition", found).resolve()


def _column_type(annotation: Any) -> tuple[ColumnKind, bool, Convert | None, Convert | None]:
    """What a column of this type holds, whether it may be missing, and how values get into it and out of it."""
    bare, nullable = _without_none(annotation)
    if typing.get_origin(bare) is Literal:
        bare = _only_type(typing.get_args(bare)) or bare
    if isinstance(bare, type) and issubclass(bare, Enum):
        kind = _KINDS.get(_only_type(member.value for member in bare) or NoneType)
        if kind in ("text", "integer"):
            return kind, nullable, lambda member: member.value, bare
    if isinstance(bare, type) and bare in _KINDS:
        return _KINDS[bare], nullable, None, None
    decode = msgspec.json.Decoder(bare).decode
    return "json", nullable, lambda value: msgspec.json.encode(value).decode(), decode


def _only_type(values: Iterable[Any]) -> type | None:
    """The type of all the values, if they have the same."""
    types: list[type] = list({value.__class__ for value in values})
    return types[0] if len(types) == 1 else None


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        parts = [part for part in typing.get_args(annotation) if part is not NoneType]
        nullable = len(parts) < len(typing.get_args(annotation))
        return (parts[0] if len(parts) == 1 else typing.Union[tuple(parts)]), nullable  # noqa: UP007
    return annotation, False


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
