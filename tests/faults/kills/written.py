"""What the database must hold, by the journals of those who wrote to it."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tests.faults.kills.drawing import Case, quiet
from tests.faults.kills.writer import MANY, REPLACED, WEIGHTS, Record, version_of

LOST, REFUSED = "lost or stale write", "refused write"
Fault = tuple[str, str]
_WRITERS_ROW = "GLOB 'w[0-9]*.[0-9]*'"


def faults_of(database: Path, case: Case, journals: list[Path]) -> tuple[int, list[Fault]]:
    """How much the writers of `case`, which have ended, committed; what of it is lost, stale, back again or twice."""
    lines = [json.loads(line) for journal in journals for line in journal.read_text().splitlines()]
    faults = [(REFUSED, line["error"]) for line in lines if "error" in line]
    records = [line for line in lines if "error" not in line]
    with closing(sqlite3.connect(database)) as connection:
        version = version_of(connection)
        lost = [
            *_of_each(connection, version, records),
            *_of_the_last(connection, records),
            *_given_twice(connection, version, records),
            *_of_others(connection, version, case),
        ]
    return len(records), [*faults, *((LOST, what) for what in lost)]


def _of_each(connection: sqlite3.Connection, version: int, records: list[Record]) -> Iterator[str]:
    """What has a name of its own is there once, as last written, or not any more."""
    wanted = {(r["kind"], r["name"]): r for r in records if "last" not in r}
    for kind, (query, forms) in KINDS.items():
        status = ", status" if version >= 2 else ""
        new = ", execution_time_ms, function_name, vector_id" if version else ", execution_time, language, NULL"
        found: dict[str, list[tuple]] = {}
        for name, *row in connection.execute(query.format(status=status, new=new)):
            found.setdefault(name, []).append(tuple(row))
        for name in sorted(found.keys() | {name for of, name in wanted if of == kind}):
            record = wanted.get((kind, name))
            allowed = [[]] if record is None or record["gone"] else [[row] for row in forms(record, version)]
            if found.get(name, []) not in allowed:
                yield f"{kind} {name} is {found.get(name, [])} at {version}, not one of {allowed}: {record}"


def _changed(record: Record, as_made: str | None) -> str | None:
    return as_made if record["in"] is None else f"changed in {record['in']}"


def _pattern(record: Record, version: int) -> list[tuple]:
    """A row of the old application is converted; one of the new one goes back as far as the old schema holds it."""
    name, error = record["name"], _changed(record, None)
    was_old = record["at"] == 0
    if version:
        more = ("pass", 1500, None if was_old else name, record["vector"])
    else:
        more = ("success", 1.5, "python", None) if was_old else ("pass", 1.5, None, None)
    # The trigger of a user has noted it once.
    return [(record["id"], error, name, 1, *more)]


def _todo(record: Record, version: int) -> list[tuple]:
    done = record["in"] is not None
    status = ("completed" if done else "pending",) if version >= 2 else ()
    return [(record["id"], int(done), _changed(record, "d"), *status)]


def _message(record: Record, version: int) -> list[tuple]:
    """With its values in the wrong order it is put right on the way to 0005, and on the way back as it was before."""
    name, sentence = record["name"], f"A sentence of {record['name']}"
    right, wrong = (name, "user", sentence), (sentence, name, "user")
    orders = [wrong] if record["swapped"] else [right]
    # Written at 0005, it may have been there and back since; changed at 0005, it is another message to the way back.
    changed_at_5 = record["changed_at"] is not None and record["changed_at"] >= 5
    if record["swapped"] and version >= 5:
        orders = [right] if record["at"] < 5 else [right, wrong]
    elif record["swapped"] and changed_at_5:
        orders = [right, wrong]
    return [(record["id"], _changed(record, name), 1, *order) for order in orders]


def _chunk(record: Record, version: int) -> list[tuple]:
    return [(record["id"], record["resource"], record["vector"], 1)]


KINDS = {
    "pattern": (
        "SELECT input_prompt, id, error_message, created_at, (SELECT count(*) FROM CodePatternContext WHERE "
        "pattern_id = p.id AND context_data = created_at), result{new} FROM CodePatterns AS p "
        f"WHERE input_prompt {_WRITERS_ROW}",
        _pattern,
    ),
    "todo": (f"SELECT title, id, completed, description{{status}} FROM Todos WHERE title {_WRITERS_ROW}", _todo),
    "message": (
        "SELECT CASE WHEN content = 'user' THEN role ELSE conversation_id END, id, timestamp, (SELECT count(*) FROM "
        "ContextLinks WHERE message_id = m.id), conversation_id, role, content FROM ChatHistory AS m WHERE "
        "'user' IN (role, content) AND (content GLOB 'A sentence of w*' OR conversation_id GLOB 'A sentence of w*')",
        _message,
    ),
    "chunk": (
        "SELECT chunk_text, c.id, r.id, vector_id, (SELECT count(*) FROM Summaries WHERE resource_id = r.id AND "
        "doc_id = chunk_text) FROM ResourceChunks AS c LEFT JOIN Resources AS r ON r.id = resource_id AND "
        f"r.file_name = chunk_text WHERE chunk_text {_WRITERS_ROW}",
        _chunk,
    ),
}
"""For each kind the rows of the writers, each with its name first, and what a record of the journal allows."""


def _of_the_last(connection: sqlite3.Connection, records: list[Record]) -> Iterator[str]:
    """What a writer changes again and again is as it wrote it last, all rows of it."""
    for record in {(r["kind"], r["name"]): r for r in records if "last" in r}.values():
        kind, number, writers, last = record["kind"], record["number"], record["writers"], record["last"]
        mine, stamp = f"id <= {MANY} AND id % {writers} = {number}", f"IS NOT '{last} of ' || id"
        query, wanted = {
            "patterns": (f"SELECT count(*) FROM CodePatterns WHERE {mine} AND error_message {stamp}", 0),
            "messages": (f"SELECT count(*) FROM ChatHistory WHERE {mine} AND agent_name {stamp}", 0),
            "replaced": (
                "SELECT conversation_id || ' ' || role || ' ' || content || ' ' || timestamp FROM ChatHistory "
                f"WHERE id = {REPLACED + number}",
                f"again user once more {last}",
            ),
            "weight": (f"SELECT {WEIGHTS[number]} FROM RetrievalWeights", float(record["step"])),
        }[kind]
        if (found := connection.execute(query).fetchall()) != [(wanted,)]:
            yield f"{kind} of writer {number}: {found}, not {wanted}"


def _given_twice(connection: sqlite3.Connection, version: int, records: list[Record]) -> Iterator[str]:
    """No id is given twice, whatever was deleted since, and no vector id."""
    made = {(r["kind"], r["name"]): r for r in reversed(records) if "last" not in r}.values()
    given = Counter((r["kind"], r["id"]) for r in made)
    vectors = Counter(("vector", r["vector"]) for r in made if r.get("vector") is not None)
    yield from (
        f"{kind} {id_} was given {times} times" for (kind, id_), times in (given + vectors).items() if times > 1
    )
    highest = max((vector for _, vector in vectors), default=0)
    (next_one,) = connection.execute(
        "SELECT last_vector_id + 1 FROM VectorIdSequence WHERE id = 1"
        if version >= 4
        else "SELECT seq + 1 FROM sqlite_sequence WHERE name = 'VectorIdSequence'"
    ).fetchone()
    if next_one <= highest:
        yield f"the next vector id is {next_one}, and {highest} was given"


def _of_others(connection: sqlite3.Connection, version: int, case: Case) -> Iterator[str]:
    """What no writer touched is what it is where nobody wrote while it was migrated."""
    with closing(sqlite3.connect(":memory:")) as still:
        still.deserialize(quiet(case.rows, version))
        for table, condition in OTHERS.items():
            names = [name for (name,) in still.execute(f"SELECT name FROM pragma_table_info('{table}')")]
            listed = ", ".join(
                f"CASE WHEN id > {MANY} THEN {name} END" if name in ("error_message", "agent_name") else name
                for name in names
                if name not in WEIGHTS
            )
            (last,) = still.execute(f"SELECT max(rowid) FROM {table}").fetchone()
            query = f"SELECT {listed} FROM {table} WHERE rowid <= {last or 0} AND {condition} ORDER BY rowid"
            wanted, found = (set(c.execute(query)) for c in (still, connection))
            if other := wanted ^ found:
                yield f"{len(other)} rows of {table} that nobody touched, such as {min(other, key=repr)}"


OTHERS = {
    "CodePatterns": "true", "CodePatternContext": "true", "Todos": "true", "Resources": "true",
    "ResourceChunks": "true", "ContextLinks": "true", "Summaries": "true", "RetrievalWeights": "true",
    "ChatHistory": f"rowid NOT BETWEEN {REPLACED} AND {REPLACED + len(WEIGHTS)}", "VectorIdSequence": "rowid <> 1",
}  # fmt: skip
"""The rows that were there before the writers, and that they leave alone."""
