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
from inspect import ismethod
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast, dataclass_transform
from uuid import UUID

import msgspec
from msgspec import Struct, field

from fait._arguments import check_type, described
from fait._errors import DeclarationError, InvalidValue, UsageError
from fait._events.annotation import annotated_events, check_parameters, local_names
from fait._events.envelope import Envelope
from fait._events.record import Unresolved, fields_of, types_of
from fait._events.registry import Registry
from fait._events.stream import id_of
from fait._events.type_inspection import TypeReport, inspect_types
from fait._events.validation import precheck, validate_slow
from fait._store.ports.column_values import RowCheck, invalid_key_reason
from fait._store.ports.tables import Column, ColumnKind, Row, Table
from fait._subscriptions.failure import PARK_AT_ONCE, FailurePolicy, check_policy

__all__ = ["ReadModel", "ReadModelDefinition", "definition_of", "key_text"]

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
    from fait._decisions.definition_hash import CodeWalk
    from fait._decisions.definition_parts import DefinitionParts

    @dataclass_transform(kw_only_default=True, field_specifiers=(field,))
    class ReadModel:
        """Base class of read models: a SQL table whose rows are folds of events.

        Class options:
            key: name of the primary-key column; a str, int, UUID or date.
            table: name of the table; by default the class's name in snake_case.
            indexes: further indexes, each a tuple of column names.
            version: increase it to require a rebuild that no change of the code requires; 1 by default.
            on_failure: what follows an event that cannot be folded. By default its key is parked after one attempt,
                because the same code fails again. A skipped event changes no row; see below.

        Fields are the columns. `evolve` gets the row, or None, and returns the new row, or None to delete it; it may
        change and return the row it got. Its annotation lists the events that the read model handles.

        Every backend stores the same values, or the read model stops with `InvalidValue`: text without NUL, up to 1 MiB
        for a text, bytes or JSON, 64-bit integers, finite numbers, datetimes with time zone, and up to 2,000 bytes for
        the key and for the columns of an index together.

        A changed definition requires a rebuild: `evolve` and `key_of` with the code of the same top-level package that
        they refer to, the columns and their types, the key, or the events with their versions and upcasters. Increase
        `version` if `evolve` depends on something else that changed, such as a data file or another package.

        With `on_failure=FailurePolicy(attempts=..., then="skip")`, a row lacks the events that were skipped for it. If
        `key_of` returns several keys, only the rows whose fold has failed lack the event. A rebuild folds them again,
        and skips those that fail again. `on_failure` is no part of the definition: a change of it needs no rebuild.

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
            cls,
            *,
            key: str,
            table: str | None = None,
            indexes: Sequence[tuple[str, ...]] = (),
            version: int = 1,
            on_failure: FailurePolicy = PARK_AT_ONCE,
        ) -> None:
            """Declare a read model.

            Args:
                key: the column that identifies a row.
                table: the table's name; by default the class's in snake_case.
                indexes: columns of further indexes.
                version: increase it to require a rebuild; see the class options.
                on_failure: what follows an event that cannot be folded; see the class options.
            """

else:

    class _ReadModelMeta(type(Struct)):
        def __new__(
            mcs,
            name,
            bases,
            namespace,
            *,
            key=None,
            table=None,
            indexes=(),
            version=1,
            on_failure=PARK_AT_ONCE,
            **options,
        ):
            names = local_names(1)
            cls = super().__new__(mcs, name, bases, namespace, kw_only=True, **options)
            if namespace.get("__module__") != __name__:
                if key is None:
                    raise DeclarationError(
                        f"read model {cls.__qualname__} has no key. Name the key column in the class statement: "
                        f'class {name}(fait.ReadModel, key="...")'
                    )
                if isinstance(indexes, str) or not hasattr(indexes, "__iter__"):
                    raise DeclarationError(f"{name}: indexes= must be a list of columns, not {described(indexes)}")
                check_policy(f"read model {cls.__qualname__}", on_failure)
                cls.__fait_read_model__ = ReadModelDefinition(
                    cls, key, table or _snake_case(name), tuple(indexes), version, on_failure, names
                )
            return cls

    class ReadModel(Struct, metaclass=_ReadModelMeta):
        """Base class of read models: a SQL table whose rows are folds of events.

        Class options:
            key: name of the primary-key column; a str, int, UUID or date.
            table: name of the table; by default the class's name in snake_case.
            indexes: further indexes, each a tuple of column names.
            version: increase it to require a rebuild that no change of the code requires; 1 by default.
            on_failure: what follows an event that cannot be folded. By default its key is parked after one attempt,
                because the same code fails again. A skipped event changes no row; see below.

        Fields are the columns. `evolve` gets the row, or None, and returns the new row, or None to delete it; it may
        change and return the row it got. Its annotation lists the events that the read model handles.

        Every backend stores the same values, or the read model stops with `InvalidValue`: text without NUL, up to 1 MiB
        for a text, bytes or JSON, 64-bit integers, finite numbers, datetimes with time zone, and up to 2,000 bytes for
        the key and for the columns of an index together.

        A changed definition requires a rebuild: `evolve` and `key_of` with the code of the same top-level package that
        they refer to, the columns and their types, the key, or the events with their versions and upcasters. Increase
        `version` if `evolve` depends on something else that changed, such as a data file or another package.

        With `on_failure=FailurePolicy(attempts=..., then="skip")`, a row lacks the events that were skipped for it. If
        `key_of` returns several keys, only the rows whose fold has failed lack the event. A rebuild folds them again,
        and skips those that fail again. `on_failure` is no part of the definition: a change of it needs no rebuild.

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

        @classmethod
        def __get_pydantic_core_schema__(cls, source, handler):
            """Let web frameworks that use Pydantic write rows as JSON, and describe them in OpenAPI."""
            from fait._events.pydantic_schema import struct_schema  # Pydantic is optional

            return struct_schema(cls, definition_of(cls).types, handler)

        @classmethod
        def __get_pydantic_json_schema__(cls, schema, handler):
            return handler.resolve_ref_schema(handler(schema)) | {"title": cls.__name__}


class ReadModelDefinition:
    """The declaration of a read model: its table, its key, and the conversion between rows and instances."""

    def __init__(
        self,
        cls: type[ReadModel],
        key: str,
        table: str,
        indexes: tuple[tuple[str, ...], ...],
        version: int,
        policy: FailurePolicy,
        names: Mapping[str, Any],
    ) -> None:
        self.cls = cls
        self.key = key
        self.name = table
        self.version = version
        self.policy = policy
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
        kinds = [_column_type(name, types[name]) for name in fields]
        columns = tuple(
            Column(name, kind, nullable) for name, (kind, nullable, _, _) in zip(fields, kinds, strict=True)
        )
        self._check(columns)
        self.table: Table = Table(self.name, columns, self.key, self._indexes)
        self.fields = fields
        self.types: Mapping[str, Any] = types
        self._to_column: list[Convert | None] = [to_column for _, _, to_column, _ in kinds]
        self._from_column: list[Convert | None] = [from_column for _, _, _, from_column in kinds]
        self._row_check = RowCheck(self.table)
        self._key_of: Callable[[Any, Any], Any] | None = getattr(self.cls, "key_of", None)
        if self._key_of is not None:
            check_parameters(self._key_of, ("cls", "event", "envelope")[not ismethod(self._key_of) :])
        self._key_column = self.table.columns[self.table.index_of(self.key)]
        self._key_from_text = _KEY_FROM_TEXT[self._key_column.kind]
        self.events: tuple[type, ...] = annotated_events(
            self._evolve(), ("cls", "row", "event", "envelope"), self._names
        )
        self._resolved = True
        return self

    def definition_hash(self, registry: Registry) -> str:
        """Return the definition hash; rows of another one must be rebuilt.

        The indexes and the failure policy are left out, as they do not change how an event is folded, and the name of
        the table, as the checkpoint has it.

        Args:
            registry: holds the upcasters of the events.
        """
        return self._walk(registry).digest()

    def definition_parts(self, registry: Registry) -> "DefinitionParts":
        """Return what the definition hash covers, by name."""
        from fait._decisions.definition_parts import DefinitionParts, bounded  # slow to import

        walk = self._walk(registry).parts()
        columns = {each.name: f"{each.kind}, nullable" if each.nullable else each.kind for each in self.table.columns}
        order_key = "the stream" if self.keyed_by_stream else "that of key_of"
        settings = {"key": self.key, "order key": order_key, "version": str(self.version), **walk.settings}
        return DefinitionParts(settings, bounded(columns), walk.events, walk.code)

    def _walk(self, registry: Registry) -> "CodeWalk":
        from fait._decisions.definition_hash import walk_fold  # slow to import

        columns = [(column.name, column.kind, column.nullable) for column in self.table.columns]
        return walk_fold(
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
        if text and self._key_column.kind == "text":  # stream names are shorter than keys may be
            return text
        try:
            key = self._key_from_text(text)
        except ValueError:
            key = None
        # fault: streams-share-a-key
        if not text or str(key) != text or invalid_key_reason(self._key_column, key):
            raise UsageError(
                f"read model {self.cls.__name__} cannot derive a key of kind {self._key_column.kind} from stream "
                f"{stream!r}: the id {text!r} is not the usual text of a key, and streams must not share a row. "
                "Nothing was written. Define key_of(cls, event, envelope)."
            )
        return key

    def keys_of(self, envelope: Envelope[Any]) -> Sequence[Any]:
        """Return the keys of the rows that an event changes, according to `key_of`.

        Raises:
            InvalidValue: `key_of` returned a value that cannot be a key in every backend.
        """
        assert self._key_of is not None
        result = self._key_of(envelope.event, envelope)
        if result is None:
            return ()
        keys = cast("Sequence[Any]", result) if isinstance(result, list | tuple) else (result,)
        for key in keys:
            if reason := invalid_key_reason(self._key_column, key):
                event = f"event {envelope.version} of stream {envelope.stream!r}"
                raise InvalidValue(f"a key that {self.cls.__name__}.key_of returned for {event}", self.key, reason)
        return keys

    def to_row(self, instance: ReadModel) -> Row:
        """Convert an instance to column values; `check_rows` checks those that need no conversion.

        Raises:
            InvalidValue: the value of a JSON or Enum column cannot be stored exactly.
        """
        row: Row = msgspec.structs.astuple(cast("Any", instance))
        if any(self._to_column):
            try:
                row = tuple(
                    value if convert is None or value is None else convert(value)
                    for value, convert in zip(row, self._to_column, strict=True)
                )
            except InvalidValue as error:
                raise InvalidValue(self._describe_row(getattr(instance, self.key)), error.path, error.reason) from None
        return row

    def check_rows(self, rows: Sequence[Row]) -> None:
        """Check the rows of a batch.

        Raises:
            InvalidValue: a column cannot store its value exactly in every backend.
        """
        if problem := self._row_check.find_problem(rows):
            row, column, reason = problem
            raise InvalidValue(self._describe_row(row[self.table.index_of(self.key)]), column, reason)

    def _describe_row(self, key: Any) -> str:
        return f"the row with the key {key!r:.80} of read model {self.cls.__name__}"

    def from_row(self, row: Row) -> Any:
        """Convert column values to an instance."""
        values = {
            name: value if convert is None or value is None else convert(value)
            for name, value, convert in zip(self.fields, row, self._from_column, strict=True)
        }
        return self.cls(**values)

    def to_column(self, column: str, value: Any) -> Any:
        """Convert a value of `find` to the column's representation.

        Raises:
            InvalidValue: the value is not one of the column's type, or cannot be stored exactly.
        """
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
            for cls in _inspect_column(name, kind).identity_classes:  # no value would pass the check of its encoding
                raise DeclarationError(
                    f"read model {self.cls.__qualname__}: column {name!r} cannot be stored: {cls.__qualname__} "
                    f"instances with equal fields do not compare equal. Remove eq=False from {cls.__qualname__}."
                )
        key, _ = _stored_type(types.get(self.key))
        if isinstance(key, type) and issubclass(key, Enum) and not issubclass(key, str | int):
            raise DeclarationError(
                f"read model {self.cls.__qualname__}: the key {self.key!r} cannot be a {key.__qualname__}, because its "
                f"members are not equal to the values that are stored. Derive {key.__qualname__} from StrEnum or "
                "IntEnum, or use a str or int."
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


def key_text(key: Any) -> str:
    """Return the key of a row as an order key: JSON text."""
    return msgspec.json.encode(key).decode()


def definition_of(cls: type[ReadModel]) -> ReadModelDefinition:
    """Return the resolved definition of a read model."""
    check_type("a read model", cls, type, "a class of read models")
    definition = cls.__dict__.get("__fait_read_model__")
    if definition is None:
        raise DeclarationError(
            f"{cls.__qualname__} is not a read model. Declare it as class {cls.__name__}(fait.ReadModel, key=...)."
        )
    return cast("ReadModelDefinition", definition).resolve()


def _column_type(name: str, annotation: Any) -> tuple[ColumnKind, bool, Convert | None, Convert | None]:
    """Return the kind of a column, whether it is nullable, and the conversions of values to and from the column."""
    bare, nullable = _stored_type(annotation)
    if isinstance(bare, type) and issubclass(bare, Enum):
        kind = _KINDS.get(_only_type(member.value for member in bare) or NoneType)
        if kind in ("text", "integer"):
            return kind, nullable, _enum_to_column(name, bare), bare
    if isinstance(bare, type) and bare in _KINDS:
        return _KINDS[bare], nullable, None, None
    decode = msgspec.json.Decoder(bare).decode
    return "json", nullable, _json_to_column(name, annotation, decode), decode


def _enum_to_column(name: str, enum: type[Enum]) -> Convert:
    def to_column(member: Any) -> Any:
        if not isinstance(member, enum):
            kind = type(member).__name__
            raise InvalidValue(f"column {name!r}", name, f"it is of type {kind}, and the column holds {enum.__name__}")
        return member.value

    return to_column


_encode_json: Final = msgspec.json.Encoder().encode


def _json_to_column(name: str, type: Any, decode: Callable[[bytes | str], Any]) -> Convert:
    report = _inspect_column(name, type)
    unspecific = bool(report.problems)  # the values may have any type
    needs_check = precheck(
        integers=report.has_integers or unspecific,
        deep=report.is_recursive or unspecific,
        naive=report.has_naive_datetimes or unspecific,
        decimals=report.has_decimals or unspecific,
    )

    def to_column(value: Any) -> str:
        """Encode and check a value fast; if a check fails, `validate_slow` repeats it to find the reason."""
        try:
            data = _encode_json(value)
            if decode(data) == value and not needs_check(data):
                return data.decode()
        except Exception:  # noqa: S110 - `validate_slow` repeats it and reports the reason
            pass
        try:
            return validate_slow(value, f"column {name!r}", value.__class__, _encode_json, decode).decode()
        except InvalidValue as error:
            raise InvalidValue(f"column {name!r}", name + error.path.removeprefix("$"), error.reason) from None

    return to_column


def _inspect_column(name: str, type: Any) -> TypeReport:
    return inspect_types(msgspec.defstruct("Column", [(name, type)]), lambda _: None)


def _only_type(values: Iterable[Any]) -> type | None:
    """Return the common type of the values; None if there are several."""
    types: list[type] = list({value.__class__ for value in values})
    return types[0] if len(types) == 1 else None


def _stored_type(annotation: Any) -> tuple[Any, bool]:
    """Return the type of the values other than None, for `Literal` that of its members, and whether None is allowed."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _stored_type(arguments[0])
    if origin is Literal:
        return _only_type(arguments) or annotation, False
    if origin not in (typing.Union, UnionType):
        return annotation, False
    parts = [part for part in arguments if part is not NoneType]
    nullable = len(parts) < len(arguments)
    if len(parts) > 1:
        return typing.Union[tuple(parts)], nullable  # noqa: UP007
    bare, part_is_nullable = _stored_type(parts[0])
    return bare, nullable or part_is_nullable


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
