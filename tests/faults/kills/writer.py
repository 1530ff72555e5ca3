"""An application that writes to every table all the time, as its tools do, and keeps a journal of what it committed.

Arguments: database, journal, its number, of how many writers, whether foreign keys are enforced. It ends when its
standard input does. A line of the journal is JSON: what it knows of one thing that it wrote (`kind`, `name`, the `id`
that SQLite gave, the version `at` which it was written), or an `error`. In each transaction it looks at which version
the database is, and writes as the application for that version does.
"""

import json
import os
import select
import sqlite3
import sys
from collections.abc import Callable

GAP_S = 0.004
"""Not one write after the other, which would leave nobody else the lock."""
MANY = 60
"""Rows with ids up to this one are changed all at once, each writer's by the remainder of their id."""
REPLACED = 150
"""The message with this id, and the writer's number more, is replaced again and again."""
WEIGHTS = ("alpha", "beta", "gamma")
"""The weight that a writer changes, by its number."""

Record = dict[str, object]
Write = Callable[[sqlite3.Connection, int], Record]


def version_of(connection: sqlite3.Connection) -> int:
    """How many migrations the ledger says are applied."""
    there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'").fetchone()
    return connection.execute("SELECT count(*) FROM _sqlite_migrations").fetchone()[0] if there else 0


def next_vector_id(connection: sqlite3.Connection, at: int) -> int:
    """As the application gives it: until 0004 the id of a new row, since then what row 1 counts."""
    if at < 4:
        return connection.execute(
            "INSERT INTO VectorIdSequence (last_vector_id) SELECT max(last_vector_id) + 1 FROM VectorIdSequence"
        ).lastrowid
    connection.execute("UPDATE VectorIdSequence SET last_vector_id = last_vector_id + 1 WHERE id = 1")
    return connection.execute("SELECT last_vector_id FROM VectorIdSequence WHERE id = 1").fetchone()[0]


class Writer:
    """One of several, told apart by `number`."""

    def __init__(self, database: str, journal: str, number: int, writers: int, foreign_keys: bool) -> None:
        self._database, self._number, self._writers, self._foreign_keys = database, number, writers, foreign_keys
        self._journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._known: dict[tuple[str, str], Record] = {}

    def write(self, what: Write) -> None:
        """One transaction on a connection of its own; a line when it is committed, or was refused."""
        connection = sqlite3.connect(self._database, timeout=5, isolation_level=None)
        try:
            connection.execute(f"PRAGMA foreign_keys={int(self._foreign_keys)}")
            connection.execute("BEGIN IMMEDIATE")
            record = what(connection, version_of(connection))
            connection.execute("COMMIT")
            self._known[str(record["kind"]), str(record["name"])] = record
        except sqlite3.Error as error:
            record = {"error": f"{what.__name__}: {error}"}
        finally:
            connection.close()
        os.write(self._journal, (json.dumps(record) + "\n").encode())

    def step(self, step: int) -> None:
        """Each table gets a row; of the earlier ones some are changed and some deleted, the newest among them."""
        self._name, self._step = f"w{self._number}.{step}", step
        for what in (self.add_pattern, self.add_todo, self.add_message, self.store_memory):
            self.write(what)
        if step % 5 == 0:
            self.write(self.delete_pattern)
            self.write(self.delete_todo)
        # Rows that a run has copied meanwhile, most of them.
        for what, kind, ago in (
            (self.change_pattern, "pattern", 1 + 7 * step % 40),
            (self.replace_pattern, "pattern", 0 if step % 2 else 1 + 3 * step % 40),
            (self.complete_todo, "todo", 1 + 11 * step % 40),
            (self.change_message, "message", 1 + 13 * step % 40),
            (self.delete_message, "message", 30 if step % 3 else 0),
        ):
            self._name = f"w{self._number}.{step - ago}"
            if ago and not self._known.get((kind, self._name), {"gone": True})["gone"]:
                self.write(what)
        self._name = f"w{self._number}.{step}"
        if step % 7 == 0:
            for what in (self.change_many_patterns, self.change_many_messages, self.replace_message, self.weigh):
                self.write(what)

    def add_pattern(self, connection: sqlite3.Connection, at: int) -> Record:
        # Its foreign key names the wrong table. And what is deleted below leaves no vector id to be given again.
        has_vector = at > 0 and not self._foreign_keys and self._step % 5
        return self._insert_pattern(connection, at, next_vector_id(connection, at) if has_vector else None)

    def replace_pattern(self, connection: sqlite3.Connection, at: int) -> Record:
        """It gets a new id: the row with the old one goes because of its vector id, and no trigger says so."""
        known = self._known["pattern", self._name]
        if at == 0 or known["vector"] is None:
            return self.change_pattern(connection, at)
        connection.execute("DELETE FROM CodePatternContext WHERE pattern_id = ?", (known["id"],))
        return self._insert_pattern(connection, at, known["vector"])

    def _insert_pattern(self, connection: sqlite3.Connection, at: int, vector: object) -> Record:
        if at == 0:
            cursor = connection.execute(
                "INSERT INTO CodePatterns (input_prompt, generated_code, result, language, execution_time, created_at) "
                "VALUES (?1, 'code', 'success', 'python', 1.5, ?1)",
                (self._name,),
            )
        else:
            cursor = connection.execute(
                "INSERT OR REPLACE INTO CodePatterns (function_name, input_prompt, generated_code, result, "
                "execution_time_ms, created_at, vector_id) VALUES (?1, ?1, 'code', 'pass', 1500, ?1, ?2)",
                (self._name, vector),
            )
        return self._made("pattern", at, id=cursor.lastrowid, vector=vector)

    def change_pattern(self, connection: sqlite3.Connection, at: int) -> Record:
        query = "UPDATE CodePatterns SET error_message = ? WHERE input_prompt = ?"
        connection.execute(query, (f"changed in {self._step}", self._name))
        return self._changed("pattern", at)

    def delete_pattern(self, connection: sqlite3.Connection, at: int) -> Record:
        of_it = "SELECT id FROM CodePatterns WHERE input_prompt = ?"
        connection.execute(f"DELETE FROM CodePatternContext WHERE pattern_id IN ({of_it})", (self._name,))
        connection.execute("DELETE FROM CodePatterns WHERE input_prompt = ?", (self._name,))
        return self._changed("pattern", at, gone=True)

    def add_todo(self, connection: sqlite3.Connection, at: int) -> Record:
        columns, values = ("", "") if at < 2 else (", status", ", 'pending'")
        cursor = connection.execute(
            f"INSERT INTO Todos (title, description, completed, created_at{columns}) VALUES (?1, 'd', 0, ?1{values})",
            (self._name,),
        )
        return self._made("todo", at, id=cursor.lastrowid)

    def complete_todo(self, connection: sqlite3.Connection, at: int) -> Record:
        more = "" if at < 2 else ", status = 'completed'"
        query = f"UPDATE Todos SET completed = 1, description = ?{more} WHERE title = ?"
        connection.execute(query, (f"changed in {self._step}", self._name))
        return self._changed("todo", at)

    def delete_todo(self, connection: sqlite3.Connection, at: int) -> Record:
        connection.execute("DELETE FROM Todos WHERE title = ?", (self._name,))
        return self._changed("todo", at, gone=True)

    def add_message(self, connection: sqlite3.Connection, at: int) -> Record:
        """Every fourth with its values in the wrong order, which 0005 puts right."""
        swapped = self._step % 4 == 1
        values = (f"A sentence of {self._name}", self._name, "user")
        if not swapped:
            values = (values[1], values[2], values[0])
        cursor = connection.execute(
            "INSERT INTO ChatHistory (conversation_id, role, content, timestamp) VALUES (?, ?, ?, ?)",
            (*values, self._name),
        )
        connection.execute("INSERT INTO ContextLinks (message_id, chunk_id) VALUES (?, 1)", (cursor.lastrowid,))
        return self._made("message", at, id=cursor.lastrowid, swapped=swapped)

    def change_message(self, connection: sqlite3.Connection, at: int) -> Record:
        of_it = "WHERE ?2 IN (conversation_id, role)"
        query = f"UPDATE ChatHistory SET timestamp = ?1 {of_it}"
        if self._step % 2:
            # With it all over again, as REPLACE does; what was missed of that nobody writes later.
            columns = "id, conversation_id, role, content"
            query = f"REPLACE INTO ChatHistory ({columns}, timestamp) SELECT {columns}, ?1 FROM ChatHistory {of_it}"
        connection.execute(query, (f"changed in {self._step}", self._name))
        return self._changed("message", at)

    def delete_message(self, connection: sqlite3.Connection, at: int) -> Record:
        of_it = "SELECT id FROM ChatHistory WHERE ? IN (conversation_id, role)"
        connection.execute(f"DELETE FROM ContextLinks WHERE message_id IN ({of_it})", (self._name,))
        connection.execute("DELETE FROM ChatHistory WHERE ? IN (conversation_id, role)", (self._name,))
        return self._changed("message", at, gone=True)

    def store_memory(self, connection: sqlite3.Connection, at: int) -> Record:
        vector = next_vector_id(connection, at)
        resource = connection.execute(
            "INSERT INTO Resources (file_name, type, created_at) VALUES (?1, 'document', ?1)", (self._name,)
        ).lastrowid
        chunk = connection.execute(
            "INSERT INTO ResourceChunks (resource_id, chunk_text, vector_id) VALUES (?, ?, ?)",
            (resource, self._name, vector),
        ).lastrowid
        connection.execute(
            "INSERT INTO Summaries (resource_id, doc_id, summary_text, created_at) VALUES (?1, ?2, 's', ?2)",
            (resource, self._name),
        )
        return self._made("chunk", at, id=chunk, resource=resource, vector=vector)

    def change_many_patterns(self, connection: sqlite3.Connection, at: int) -> Record:
        connection.execute(
            f"UPDATE CodePatterns SET error_message = ? || id WHERE id <= {MANY} AND id % ? = ?",
            (f"{self._name} of ", self._writers, self._number),
        )
        return self._last("patterns")

    def change_many_messages(self, connection: sqlite3.Connection, at: int) -> Record:
        connection.execute(
            f"UPDATE ChatHistory SET agent_name = ? || id WHERE id <= {MANY} AND id % ? = ?",
            (f"{self._name} of ", self._writers, self._number),
        )
        return self._last("messages")

    def replace_message(self, connection: sqlite3.Connection, at: int) -> Record:
        connection.execute(
            "INSERT OR REPLACE INTO ChatHistory (id, conversation_id, role, content, timestamp) "
            "VALUES (?, 'again', 'user', 'once more', ?)",
            (REPLACED + self._number, self._name),
        )
        return self._last("replaced")

    def weigh(self, connection: sqlite3.Connection, at: int) -> Record:
        connection.execute(f"UPDATE RetrievalWeights SET {WEIGHTS[self._number]} = ?", (self._step,))
        return self._last("weight")

    def _made(self, kind: str, at: int, **more: object) -> Record:
        return {"kind": kind, "name": self._name, "at": at, "changed_at": None, "in": None, "gone": False, **more}

    def _changed(self, kind: str, at: int, *, gone: bool = False) -> Record:
        known = self._known[kind, self._name]
        return known | {"changed_at": max(at, known["changed_at"] or 0), "in": self._step, "gone": gone}

    def _last(self, kind: str) -> Record:
        """Of such a thing each writer has one, and what it wrote last is in it."""
        record = {"kind": kind, "name": str(self._number), "last": self._name, "step": self._step}
        return record | {"number": self._number, "writers": self._writers}


def main() -> None:
    database, journal, *numbers = sys.argv[1:]
    number, writers, foreign_keys = map(int, numbers)
    writer, step = Writer(database, journal, number, writers, bool(foreign_keys)), 0
    while True:
        step += 1
        writer.step(step)
        if step == 1:
            print("ready", flush=True)
        if select.select([sys.stdin], [], [], GAP_S * writers)[0]:
            return
