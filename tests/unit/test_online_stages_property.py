"""Any table, any rows, several migrations, any writes at any time: online, forth, back and forth again.

What comes out is what one transaction makes of the same rows, and the values are those of a model in Python. Who has a
transaction open across the swap sees nothing of it.
"""

import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from migrator.errors import NotOnlineError, PromotionError, RehearsalError
from migrator.migration import Back, Change, Migration
from tests.examples import examples
from tests.unit.going_online import Steady, applied, cleaned, in_one, made, online, twin_of, whole
from tests.unit.migrating import migration
from tests.unit.test_online_property import FOLDER, KEYS, ROW, TYPES, UNIQUE, listed, statements


def _of_text(change: Callable[[str], str]) -> Callable[[object], object]:
    return lambda value: change(value) if isinstance(value, str) else value


# SQL over a column, and the same in Python: for any value, that converts what is converted already to itself.
RULES: dict[str, tuple[str, Callable[[object], object]]] = {
    "ends with a dot": (
        "CASE typeof({c}) WHEN 'text' THEN rtrim({c}, '.') || '.' ELSE {c} END",
        _of_text(lambda text: text.rstrip(".") + "."),
    ),
    "upper": ("CASE typeof({c}) WHEN 'text' THEN upper({c}) ELSE {c} END", _of_text(str.upper)),
    "no minus": (
        "CASE WHEN typeof({c}) = 'integer' AND {c} < 0 THEN -{c} ELSE {c} END",
        lambda value: abs(value) if isinstance(value, int) else value,
    ),
}
OF_ANOTHER = {
    **RULES,
    "its type": ("typeof({c})", lambda value: TYPE_NAMES[type(value)]),
    "7 where there is none": ("coalesce({c}, 7)", lambda value: 7 if value is None else value),
}
WHERES: dict[str, tuple[str | None, Callable[[object], bool]]] = {
    "everywhere": (None, lambda _: True),
    "where it is text": ("typeof({c}) = 'text'", lambda value: isinstance(value, str)),
    "where it is something": ("{c} IS NOT NULL", lambda value: value is not None),
}
TYPE_NAMES = {type(None): "null", int: "integer", float: "real", str: "text", bytes: "blob"}
LOWER_AGAIN = Back("b", "CASE typeof(b) WHEN 'text' THEN lower(b) ELSE b END")
NEWEST_GOES = "DELETE FROM t WHERE id = (SELECT max(id) FROM t)"
# Its value depends on other rows, so it is made in the swap; and it has a mark.
MARKED = Change(
    "u", values={"total": "max(total, coalesce((SELECT max(id) FROM u), 0))"}, where="id = 1",
    mark="(SELECT max(id) + 3 FROM u)", originals="u_legacy", ahead="u_ahead",
)  # fmt: skip
MORE = ("CREATE TABLE u (id INTEGER PRIMARY KEY AUTOINCREMENT, total INTEGER)", "INSERT INTO u VALUES (1, 2), (2, 3)")
STOPPED = (NotOnlineError, PromotionError, RehearsalError, sqlite3.IntegrityError)


@dataclass(frozen=True)
class Batch:
    """A transaction of the application's."""

    statements: list[str]
    committed: bool
    recursive: bool

    def __call__(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA recursive_triggers={int(self.recursive)}")
        connection.execute("BEGIN IMMEDIATE")
        for statement in self.statements:
            # What a constraint refuses has no effect, and a column that is gone is not written to.
            with suppress(sqlite3.IntegrityError, sqlite3.OperationalError):
                connection.execute(statement)
        if connection.in_transaction:
            connection.execute("COMMIT" if self.committed else "ROLLBACK")


@dataclass(frozen=True)
class Stage:
    """One migration of t, after which it has `columns` by name with their types.

    `made`: of which column each new value is made, and by which rule, for the rows `where` a column is so.
    """

    change: Change
    columns: dict[str, str]
    made: dict[str, tuple[str, str]]
    where: tuple[str, str]


@dataclass(frozen=True)
class Way:
    """The application's writes between the transactions, and just before the swap."""

    between: list[Batch]
    last: Batch


@dataclass(frozen=True)
class Case:
    """Several migrations of a table with some rows, and what the application does on each way."""

    stages: list[Stage]
    migrations: tuple[Migration, ...]
    before: str
    rows: list[tuple[object, ...]]
    journal_mode: str
    at_once: int
    forth: Way
    back: Way
    again: Way


@dataclass(frozen=True)
class _Form:
    """What a table is but for its columns: one with UNIQUE over c keeps c."""

    key: str
    table_key: str
    suffix: str
    uniques: tuple[str, ...]
    keeps: str

    def text(self, columns: dict[str, str], unique: str) -> str:
        listed = ", ".join([self.key, *(f"{name} {type_}" for name, type_ in columns.items())])
        return f"CREATE TABLE t ({listed}{self.table_key}{unique}){self.suffix}"


@st.composite
def stages(draw, number: int, form: _Form, columns: dict[str, str], text: str):
    """A migration of the table `text` with `columns`, and the text that it leads to."""
    where_of, where = draw(st.sampled_from(sorted(columns))), draw(st.sampled_from(sorted(WHERES)))
    condition = WHERES[where][0] and WHERES[where][0].format(c=where_of)
    free = [column for column in columns if column != "a" or "NOT NULL" not in columns["a"]]
    made = {c: (c, draw(st.sampled_from(sorted(RULES)))) for c in draw(st.lists(st.sampled_from(free), max_size=2))}
    kept = {
        "originals": f"t_{number}_legacy", "ahead": f"t_{number}_ahead",
        "identity": draw(st.sampled_from([(), ("id",)])),
    }  # fmt: skip
    if draw(st.integers(0, 2)) == 0:
        made = made or {"b": ("b", "upper")}
        change = Change("t", values=_sql(made), where=condition or "true", **kept)
        return Stage(change, columns, made, (where_of, where)), text
    new = f"n{number}"
    made[new] = draw(st.sampled_from(sorted(columns))), draw(st.sampled_from(sorted(OF_ANOTHER)))
    gone = draw(st.sampled_from([None, None, *(c for c in columns if c not in form.keeps)]))
    # Without a type it stores any value as it is, which is what a value that is declared has to be.
    left = {c: type_ for c, type_ in columns.items() if c != gone} | {new: ""}
    left = {c: left[c] for c in draw(st.permutations(list(left)))}
    made = {c: rule for c, rule in made.items() if c in left}
    after = form.text(left, draw(st.sampled_from(form.uniques)))
    back = {"b": LOWER_AGAIN} if "b" in made and draw(st.booleans()) else {}
    indexes = draw(st.sampled_from([(), (f"CREATE INDEX i{number} ON t (b, a)",)]))
    change = Change("t", text, after, values=_sql(made), where=condition, back=back, indexes=indexes, **kept)
    return Stage(change, left, made, (where_of, where)), after


def _sql(made: dict[str, tuple[str, str]]) -> dict[str, str]:
    return {column: OF_ANOTHER[rule][0].format(c=of) for column, (of, rule) in made.items()}


@st.composite
def cases(draw) -> Case:
    unique = draw(st.sampled_from(UNIQUE))
    form = _Form(*KEYS[draw(st.sampled_from(sorted(KEYS)))], (unique, ""), "abc" if "c" in unique else "ab")
    columns = {name: draw(st.sampled_from(TYPES)) for name in "abc"}
    if "(a" in form.table_key:
        columns["a"] += " NOT NULL"
    before = text = form.text(columns, unique)
    drawn: list[Stage] = []
    for number in range(1, 1 + draw(st.integers(1, 4))):
        stage, text = draw(stages(number, form, drawn[-1].columns if drawn else columns, text))
        drawn.append(stage)
    changes = [*(stage.change for stage in drawn), *draw(st.sampled_from([[], [MARKED]]))]
    batches = st.builds(
        Batch,
        st.lists(st.one_of(statements(), st.just(NEWEST_GOES)), min_size=1, max_size=3),
        st.sampled_from([True, True, True, False]),
        st.just(draw(st.booleans())),
    )
    way = st.builds(Way, st.lists(batches, min_size=4, max_size=8), batches)
    return Case(
        drawn,
        tuple(migration(change, version=number) for number, change in enumerate(changes, 1)),
        before,
        draw(st.lists(ROW, min_size=6, max_size=14)),
        draw(st.sampled_from(["wal", "delete"])),
        draw(st.integers(1, 4)),
        draw(way),
        # Often nobody wrote since: then the old rows are back.
        draw(st.one_of(st.just(Way([], Batch([], True, False))), way)),
        draw(way),
    )


def held(path: Path) -> dict[str, object]:
    """Everything; a mark of 0, as SQLite leaves it where nothing was inserted, is none."""
    found = whole(path)
    return found | {"sqlite_sequence": [row for row in found["sqlite_sequence"] if row[1] != 0]}


def rows_of(path: Path, columns: dict[str, str]) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return sorted(connection.execute(f"SELECT id, {', '.join(columns)} FROM t").fetchall(), key=repr)


def modelled(case: Case, rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """What the migrations make of the `rows` of id, a, b and c."""
    named = [dict(zip(("id", "a", "b", "c"), row, strict=True)) for row in rows]
    for stage in case.stages:
        of, where = stage.where
        with closing(sqlite3.connect(":memory:")) as stores:
            stores.execute(f"CREATE TABLE t ({', '.join(f'{c} {type_}' for c, type_ in stage.columns.items())})")
            for row in named:
                values = {column: row.get(column) for column in stage.columns}
                if WHERES[where][1](row[of]):
                    values |= {c: OF_ANOTHER[rule][1](row[source]) for c, (source, rule) in stage.made.items()}
                stores.execute(f"INSERT INTO t VALUES ({', '.join('?' * len(values))})", [*values.values()])
            stored = stores.execute("SELECT * FROM t ORDER BY rowid").fetchall()
        named = [
            {"id": row["id"], **dict(zip(stage.columns, values, strict=True))}
            for row, values in zip(named, stored, strict=True)
        ]
    return sorted((tuple(row.values()) for row in named), key=repr)


class Reader:
    """A connection that begins to read when it is called, and goes on."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)

    def begin(self) -> None:
        self._connection.execute("BEGIN")
        self._seen = self._connection.execute("SELECT * FROM t").fetchall()

    def end(self) -> None:
        """It still sees what it saw, and may not write on the strength of it (SQLITE_BUSY_SNAPSHOT)."""
        with closing(self._connection):
            if self._connection.in_transaction:
                assert self._connection.execute("SELECT * FROM t").fetchall() == self._seen
                with pytest.raises(sqlite3.OperationalError, match="locked"):
                    self._connection.execute("DELETE FROM t")


def carry_out(case: Case, path: Path, twin: Path, way: Way, *, reverse: bool = False) -> list[Batch] | None:
    """Online and, on the twin, in one transaction after the same writes; returns those.

    None where the promotion stopped, after which the rows are as the application left them.
    """
    done, reader = list[Batch](), Reader(path)

    def noted(batch: Batch) -> Callable[[sqlite3.Connection], None]:
        def write(connection: sqlite3.Connection) -> None:
            done.append(batch)
            batch(connection)

        return write

    def just_before_the_swap(connection: sqlite3.Connection) -> None:
        noted(way.last)(connection)
        if case.journal_mode == "wal":
            reader.begin()

    try:
        online(
            path, *case.migrations, reverse=reverse, between=[noted(batch) for batch in way.between],
            last=just_before_the_swap, pace=Steady(case.at_once),
        )  # fmt: skip
    except STOPPED as error:
        event(f"stopped: {type(error).__name__}")
        applied(twin, *done)
        assert held(cleaned(path, *case.migrations)) == held(twin)
        return None
    except AssertionError as error:
        # Few rows are few transactions.
        if "had no turn" not in str(error):
            raise
    finally:
        reader.end()
    applied(twin, *done)
    in_one(twin, *case.migrations, reverse=reverse)
    assert held(cleaned(path, *case.migrations)) == held(twin)
    return done


@examples(50)
@given(cases())
def test_any_writes_at_any_time_are_in_after_any_migrations_and_back(case: Case):
    with tempfile.TemporaryDirectory(dir=FOLDER) as name:
        fill = [f"INSERT OR IGNORE INTO t (id, a, b, c) VALUES {listed(row)}" for row in case.rows]
        more = ("CREATE INDEX kept ON t (a)", *MORE)
        path = made(Path(name, "live.db"), case.before, *fill, *more, journal_mode=case.journal_mode)
        twin, never = twin_of(path), Path(name, "never migrated.db")
        never.write_bytes(path.read_bytes())

        done = carry_out(case, path, twin, case.forth)
        if done is None:
            return
        event("forth")
        applied(never, *done)
        old = rows_of(never, dict.fromkeys("abc", ""))
        assert rows_of(path, case.stages[-1].columns) == modelled(case, old)

        if carry_out(case, path, twin, case.back, reverse=True) is None:
            return
        event("back")
        if not case.back.between and not case.back.last.statements:
            assert rows_of(path, dict.fromkeys("abc", "")) == old
        if carry_out(case, path, twin, case.again) is not None:
            event("forth again")
