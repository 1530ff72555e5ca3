"""0001: stars.

- table people is new
- index once of people is new
- column author of notes is new
- column price of notes is new
- column old of notes goes
- column place of notes becomes spot
- column amount of notes changes: TEXT becomes INTEGER CHECK (amount > 0)
- column state of notes changes: TEXT NOT NULL DEFAULT 'open' becomes TEXT DEFAULT 'open'
- index by_author of notes is new
- column \u202edne of odd " größe is new
- column y of odd " größe is new
"""

from migrator.migration import Back, Change, Migration

PEOPLE_AFTER = """
CREATE TABLE people (name TEXT PRIMARY KEY) WITHOUT ROWID"""

NOTES_BEFORE = """
CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL, place TEXT, amount TEXT,
    state TEXT NOT NULL DEFAULT 'open', old REAL DEFAULT 0)"""

NOTES_AFTER = """
CREATE TABLE notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    author TEXT REFERENCES people (name), -- who wrote it: C:\\users\\...
    body TEXT NOT NULL,
    spot TEXT,
    amount INTEGER CHECK (amount > 0),
    state TEXT DEFAULT 'open',
    price REAL NOT NULL DEFAULT 0
)"""

ODD_GR_SSE_BEFORE = """
CREATE TABLE "odd "" größe" (id INTEGER PRIMARY KEY, x)"""

ODD_GR_SSE_AFTER = """
CREATE TABLE "odd "" größe" (
    id INTEGER PRIMARY KEY,
    x,
    "\u202edne" TEXT DEFAULT 'long, long long, long long, long long, long long, long long, long long, long long, long long, long long, long long, long long, long ',
    y TEXT CHECK (y <> '')
)"""  # noqa: E501

MIGRATION = Migration(
    changes=(
        Change(
            "people",
            after=PEOPLE_AFTER,
            indexes=("CREATE UNIQUE INDEX once ON people ( lower(name) )",),
        ),
        Change(
            "notes",
            before=NOTES_BEFORE,
            after=NOTES_AFTER,
            # What a column of the new type stores of the value: sqlite.org/datatype3.html, section 3.
            values={
                "spot": "place",
                "amount": """CASE WHEN CAST(amount AS NUMERIC) <> amount THEN amount
                    WHEN CAST(CAST(amount AS NUMERIC) AS INTEGER) = CAST(amount AS NUMERIC)
                    AND CAST(amount AS NUMERIC) > -9223372036854775808 THEN CAST(CAST(amount AS NUMERIC) AS INTEGER)
                    ELSE CAST(amount AS NUMERIC) END""",
            },
            back={
                "place": Back(of="spot", sql="spot"),
                "amount": Back(
                    of="amount",
                    sql="CASE WHEN typeof(amount) IN ('integer', 'real') THEN CAST(amount AS TEXT) ELSE amount END",
                ),
                "state": Back(of="state", sql="coalesce(state, ('open'))"),
            },
            indexes=("CREATE INDEX by_author ON notes (author)",),
        ),
        Change(
            'odd " größe',
            before=ODD_GR_SSE_BEFORE,
            after=ODD_GR_SSE_AFTER,
        ),
    ),
)
