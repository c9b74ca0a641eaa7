"""A read model is a SQL table whose rows are folds: one row per key, changed by `evolve` with each event.

    class OrderSummary(fait.ReadModel, key="order_id", indexes=[("customer_id", "placed_at")]):
        order_id: str
        customer_id: str
        total: Decimal

        @classmethod
        def evolve(cls, row: Self | None, event: OrderPlaced, envelope: fait.Envelope) -> Self | None: ...

An event changes the row whose key is the id of the event's stream. A class method `key_of(cls, event, envelope)` may
return another key, a list of keys, or None if the event changes no row.
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
from fait._events.record import Unresolved, fields_of, types_of
from fait._events.registry import Registry
from fait._events.stream import id_of
from fait._store.ports.tables import PYTHON_TYPES, Column, ColumnKind, Row, Table, fits_column

__all__ = ["ReadModel", "ReadModelDefinition", "definition_of"]

M = TypeVar("M", bound="ReadModel")
Convert = Callable[[Any], Any]

RESERVED_NAMES: Final = {"where", "order_by", "limit", "after", "cursor", "timeout_s"}
"""Parameters of `find`, which cannot be names of columns."""

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
            version: increase it to require a rebuild that no change of the code requires; 1 by default.

        Fields are the columns. `evolve` gets the row, or None, and returns the new row, or None to delete it; it may
        change and return the row it got. Its annotation lists the events that the read model handles.

        A changed definition requires a rebuild: `evolve` and `key_of` with the code of the same top-level package that
        they refer to, the columns and their types, the key, or the events with their versions and upcasters. Increase
        `version` if `evolve` depends on something else that changed, such as a data file or another package.

        The key of an event's row is the id of its stream, such as 7 for `order-7`. A stream without an id, or with
        another spelling of the key such as `order-07`, is an error. A class method `key_of(cls, event, envelope)`
        overrides that: it returns a key, a list of keys, or None if the event changes no row.

        Example:
            class OrderSummary(fait.ReadModel, key="order_id", indexes=[("customer_id", "placed_at")]):
                order_id: str
                customer_id: str
                placed_at: datetime

                @classmethod
                def evolve(cls, row: Self | None, event: OrderPlaced, envelope: fait.Envelope) -> Self | None:
                    return cls(order_id=envelope.stream_id, customer_id=event.customer_id, placed_at=event.placed_at)
        """

        def __init_subclass__(
            cls, *, key: str, table: str | None = None, indexes: Sequence[tuple[str, ...]] = (), version: int = 1
        ) -> None:
            """Declare a read model.

            Args:
                key: the column that identifies a row.
                table: the table's name; by default the class's in snake_case.
                indexes: columns of further indexes.
                version: increase it to require a rebuild; see the class options.
            """

else:

    class _ReadModelMeta(type(Struct)):
        def __new__(mcs, name, bases, namespace, *, key=None, table=None, indexes=(), version=1, **options):
            names = local_names(1)
            cls = super().__new__(mcs, name, bases, namespace, kw_only=True, **options)
            if namespace.get("__module__") != __name__:
                if key is None:
                    raise DeclarationError(
                        f"read model {cls.__qualname__} has no key. Name the key column in the class statement: "
                        f'class {name}(fait.ReadModel, key="...")'
                    )
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
            version: increase it to require a rebuild that no change of the code requires; 1 by default.

        Fields are the columns. `evolve` gets the row, or None, and returns the new row, or None to delete it; it may
        change and return the row it got. Its annotation lists the events that the read model handles.

        A changed definition requires a rebuild: `evolve` and `key_of` with the code of the same top-level package that
        they refer to, the columns and their types, the key, or the events with their versions and upcasters. Increase
        `version` if `evolve` depends on something else that changed, such as a data file or another package.

        The key of an event's row is the id of its stream, such as 7 for `order-7`. A stream without an id, or with
        another spelling of the key such as `order-07`, is an error. A class method `key_of(cls, event, envelope)`
        overrides that: it returns a key, a list of keys, or None if the event changes no row.

        Example:
            class OrderSummary(fait.ReadModel, key="order_id", indexes=[("customer_id", "placed_at")]):
                order_id: str
                customer_id: str
                placed_at: datetime

                @classmethod
                def evolve(cls, row: Self | None, event: OrderPlaced, envelope: fait.Envelope) -> Self | None:
                    return cls(order_id=envelope.stream_id, customer_id=event.customer_id, placed_at=event.placed_at)
        """


class ReadModelDefinition:
    """The declaration of a read model: its table, its key, and the conversion between rows and instances."""

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
        """Resolve the annotations, once all names are defined.

        Raises:
            DeclarationError: the class cannot be stored in a table.
        """
        if self._resolved:
            return self
        fields = tuple(field.name for field in fields_of(self.cls))
        types = types_of(self.cls, lambda _: self._names)
        self._check_types(types)
        kinds = [_column_type(types[name]) for name in fields]
        columns = tuple(
            Column(name, kind, nullable) for name, (kind, nullable, _, _) in zip(fields, kinds, strict=True)
        )
        self._check(columns)
        self.table: Table = Table(self.name, columns, self.key, self._indexes)
        self.fields = fields
        self._to_column: list[Convert | None] = [to_column for _, _, to_column, _ in kinds]
        self._from_column: list[Convert | None] = [from_column for _, _, _, from_column in kinds]
        self._exact_types = tuple(PYTHON_TYPES[column.kind] for column in columns)
        self._range_checked = [
            (index, column) for index, column in enumerate(columns) if column.kind in ("integer", "timestamp")
        ]
        self._key_of: Callable[[Any, Any], Any] | None = getattr(self.cls, "key_of", None)
        self._key_column = self.table.columns[self.table.index_of(self.key)]
        self._key_from_text = _KEY_FROM_TEXT[self._key_column.kind]
        self.events: tuple[type, ...] = annotated_events(self._evolve(), 2, self._names)
        self._resolved = True
        return self

    def definition_hash(self, registry: Registry) -> str:
        """Return the definition hash; rows of another one must be rebuilt.

        The indexes are left out, as they do not change the rows, and the name of the table, as the checkpoint has it.

        Args:
            registry: holds the upcasters of the events.
        """
        from fait._decisions.definition_hash import definition_hash  # slow to import

        columns = [(column.name, column.kind, column.nullable) for column in self.table.columns]
        return definition_hash(
            cast("Any", self.cls).evolve,
            self.cls,
            self.events,
            registry,
            key_of=self._key_of,
            options=(self.version, self.key, columns),
            local_names=self._names,
        )

    @property
    def keyed_by_stream(self) -> bool:
        """Whether the stream of an event determines the row it changes: the class has no `key_of`."""
        return self._key_of is None

    def key_of_stream(self, stream: str) -> Any:
        """Return the key of a stream's row.

        Raises:
            UsageError: the stream has no id, or its id is not the only text of the key: another stream may have the
                same key, and the events of both would be folded into one row.
        """
        text = id_of(stream)
        try:
            key = self._key_from_text(text)
        except ValueError:
            key = None
        # fault: streams-share-a-key
        if not text or str(key) != text or not fits_column(self._key_column, key):
            raise UsageError(
                f"read model {self.cls.__name__} cannot derive a key of kind {self._key_column.kind} from stream "
                f"{stream!r}: the id {text!r} is not the usual text of a key, and streams must not share a row. "
                "Nothing was written; the projection retries. Define key_of(cls, event, envelope)."
            )
        return key

    def keys_of(self, envelope: Envelope[Any]) -> Sequence[Any]:
        """Return the keys of the rows that an event changes, according to `key_of`."""
        assert self._key_of is not None
        keys = self._key_of(envelope.event, envelope)
        if keys is None:
            return ()
        return cast("Sequence[Any]", keys) if isinstance(keys, list | tuple) else (keys,)

    def to_row(self, instance: ReadModel) -> Row:
        """Convert an instance to column values."""
        row: Row = msgspec.structs.astuple(cast("Any", instance))
        if any(self._to_column):
            row = tuple(
                value if convert is None or value is None else convert(value)
                for value, convert in zip(row, self._to_column, strict=True)
            )
        exact = tuple(map(type, row)) == self._exact_types  # then only kinds with a range need a check
        for index, column in self._range_checked if exact else enumerate(self.table.columns):
            value = row[index]
            if not fits_column(column, value):
                raise UsageError(
                    f"{self.cls.__name__}.evolve returned an invalid value of type {type(value).__name__} for column "
                    f"{column.name!r}, which holds {column.kind}{' or None' if column.nullable else ''}. Nothing was "
                    "written; the projection retries."
                )
        return row

    def from_row(self, row: Row) -> Any:
        """Convert column values to an instance."""
        values = {
            name: value if convert is None or value is None else convert(value)
            for name, value, convert in zip(self.fields, row, self._from_column, strict=True)
        }
        return self.cls(**values)

    def to_column(self, column: str, value: Any) -> Any:
        """Convert a value of `find` to the column's representation."""
        convert = self._to_column[self.table.index_of(column)]
        return value if convert is None or value is None else convert(value)

    def _evolve(self) -> Any:
        evolve = self.cls.__dict__.get("evolve")
        if not isinstance(evolve, classmethod):
            raise DeclarationError(
                f"read model {self.cls.__qualname__} has no class method evolve. Define `@classmethod def evolve(cls, "
                "row: Self | None, event: ..., envelope: fait.Envelope) -> Self | None`."
            )
        return cast("Any", evolve)

    def _check_types(self, types: Mapping[str, Any]) -> None:
        for name, kind in types.items():
            if isinstance(kind, Unresolved):
                raise DeclarationError(
                    f"read model {self.cls.__qualname__}: the annotation of {name!r} refers to {kind.name}, which is "
                    "not defined at run time. If it is imported under TYPE_CHECKING, move the import out of that block."
                )

    def _check(self, columns: tuple[Column, ...]) -> None:
        where, by_name = f"read model {self.cls.__qualname__}", {column.name: column for column in columns}
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", self.name) or self.name.lower().startswith(
            ("fait_", "sqlite_", "pg_")
        ):
            raise DeclarationError(
                f"{where}: invalid table name {self.name!r}. Use up to 63 letters, digits and underscores; it must not "
                "start with a digit, fait_, sqlite_ or pg_."
            )
        if len({name.lower() for name in by_name}) < len(by_name):
            raise DeclarationError(f"{where} has columns whose names differ only in case: SQLite takes them for one")
        for name in sorted(RESERVED_NAMES & by_name.keys()):
            raise DeclarationError(f"{where}: column name {name!r} is reserved by find(); rename the column")
        if self.key not in by_name:
            raise DeclarationError(
                f"{where} has no column {self.key!r} for its key; its columns are: {', '.join(by_name)}"
            )
        key = by_name[self.key]
        if key.nullable or key.kind not in _KEY_KINDS:
            raise DeclarationError(f"{where}: the key {self.key!r} must be a str, int, UUID or date, and not None")
        for name in (name for index in self._indexes for name in index):
            if name not in by_name:
                raise DeclarationError(
                    f"{where} has no column {name!r} for its index; its columns are: {', '.join(by_name)}"
                )


_KEY_FROM_TEXT: Final[dict[ColumnKind, Convert]] = {
    "text": str,
    "integer": int,
    "uuid": UUID,
    "date": date.fromisoformat,
}


def definition_of(cls: type[ReadModel]) -> ReadModelDefinition:
    """Return the resolved definition of a read model."""
    definition = cls.__dict__.get("__fait_read_model__")
    if definition is None:
        raise DeclarationError(
            f"{cls.__qualname__} is not a read model. Declare it as class {cls.__name__}(fait.ReadModel, key=...)."
        )
    return cast("ReadModelDefinition", definition).resolve()


def _column_type(annotation: Any) -> tuple[ColumnKind, bool, Convert | None, Convert | None]:
    """Return the kind of a column, whether it is nullable, and the conversions of values to and from the column."""
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
    """Return the common type of the values; None if there are several."""
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
