"""What a plan makes of values: spellings, switches, defaults, missing ones, and originals given back."""

from migrator.migration import Answers, Back, Change, Mapped, Switch
from tests.unit.migrating import back, cells, database, everything, forward, migration, plan_for, promote, tables


def test_a_value_read_through_spellings_may_be_of_a_new_column():
    before = "CREATE TABLE t (id INTEGER PRIMARY KEY, mood TEXT)"
    after = "CREATE TABLE t (id INTEGER PRIMARY KEY, mood TEXT, good BOOLEAN)"
    mapped = Mapped("coalesce(good, lower(mood))", {"yes": ("yes", "good"), "no": ("no", "bad")})
    change = migration(Change("t", before, after, values={"good": mapped}))
    connection = database(before, "INSERT INTO t (mood) VALUES ('Good'), ('BAD'), ('So So'), ('so so'), (NULL)")
    ((column, query),) = plan_for(connection, [change]).tables[0].unmapped
    assert (column, connection.execute(query).fetchall()) == ("good", [("so so", 2)])
    answers = Answers({"So so": None})
    plan = plan_for(connection, [change], answers)
    assert connection.execute(plan.tables[0].unmapped[0][1]).fetchall() == []
    promote(connection, plan)
    assert connection.execute("SELECT good FROM t").fetchall() == [("yes",), ("no",), (None,), (None,), (None,)]


def test_a_switch_turns_a_rule_on_and_is_off_otherwise():
    before = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)"
    change = migration(Change("t", before, before, values={"a": Switch("shout", on="upper(a)")}))
    for answers, expected in ((Answers(), "Hi"), (Answers(switches=frozenset({"shout"})), "HI")):
        connection = database(before, "INSERT INTO t VALUES (1, 'Hi')")
        forward(connection, change, answers=answers)
        assert connection.execute("SELECT a FROM t").fetchall() == [(expected,)]


def test_missing_values_are_counted_where_the_new_table_requires_them():
    before = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)"
    after = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL, b INTEGER NOT NULL DEFAULT 7)"
    connection = database(before, "INSERT INTO t (a) VALUES ('x'), (NULL), (NULL)")
    missing = plan_for(connection, [migration(Change("t", before, after))]).tables[0].missing
    assert [(column, connection.execute(query).fetchone()) for column, query in missing] == [("a", (2,)), ("b", (0,))]


def test_a_column_with_a_default_has_it_in_the_rows_that_are_there():
    before = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT DEFAULT 'old')"
    after = "CREATE TABLE t (id INTEGER PRIMARY KEY, b TEXT DEFAULT (1 || 'x''y'), c INTEGER NOT NULL DEFAULT -3)"
    connection = database(before, "INSERT INTO t (a) VALUES ('old'), (NULL), ('other')")
    was = everything(connection)
    change = migration(Change("t", before, after))
    forward(connection, change)
    assert connection.execute("SELECT b, c FROM t").fetchall() == [("1x'y", -3)] * 3
    assert connection.execute("SELECT * FROM t_legacy").fetchall() == [(2, None), (3, "other")]
    back(connection, change)
    assert everything(connection) == was


def test_an_original_is_given_back_beside_a_column_that_never_changed():
    before = "CREATE TABLE t (id INTEGER PRIMARY KEY, total INTEGER, rest INTEGER)"
    after = "CREATE TABLE t (id INTEGER PRIMARY KEY, total INTEGER)"
    change = migration(Change("t", before, after, back={"rest": Back("total", "total % 60")}))
    connection = database(before, "INSERT INTO t VALUES (1, 65, 5), (2, 65, 65), (3, 65, 65)")
    forward(connection, change)
    connection.execute("UPDATE t SET total = 3 WHERE id = 1")
    back(connection, change)
    assert connection.execute("SELECT * FROM t").fetchall() == [(1, 3, 3), (2, 65, 65), (3, 65, 65)]


def test_an_original_is_given_back_by_the_row_as_it_is_now():
    """Two old columns are made of one new one, with the help of a column that is in both tables."""
    before = "CREATE TABLE t (id INTEGER PRIMARY KEY, unit TEXT, whole INTEGER, rest INTEGER)"
    after = "CREATE TABLE t (id INTEGER PRIMARY KEY, unit TEXT, total INTEGER)"
    factor = "CASE unit WHEN 'min' THEN 60 ELSE 100 END"
    change = migration(
        Change(
            "t",
            before,
            after,
            values={"total": f"coalesce(total, whole * {factor} + rest)"},
            back={"whole": Back("total", f"total / ({factor})"), "rest": Back("total", f"total % ({factor})")},
        )
    )
    connection = database(
        before, "INSERT INTO t VALUES (1, 'min', 1, 5), (2, 'min', 0, 65), (3, 'eur', 0, 165), (4, 'eur', 0, 165)"
    )
    was = cells(connection, "t")
    forward(connection, change)
    assert connection.execute("SELECT total FROM t").fetchall() == [(65,), (65,), (165,), (165,)]
    assert connection.execute("SELECT id FROM t_legacy").fetchall() == [(2,), (3,), (4,)]
    connection.execute("UPDATE t SET total = 777 WHERE id = 4")
    back(connection, change)
    assert cells(connection, "t")[:3] == was[:3]
    assert connection.execute("SELECT * FROM t WHERE id = 4").fetchall() == [(4, "eur", 7, 77)]
    assert tables(connection) == {"t"}
    connection.execute("UPDATE t SET whole = 9 WHERE id = 4")
    forward(connection, change)
    assert connection.execute("SELECT total FROM t").fetchall() == [(65,), (65,), (165,), (977,)]


def test_what_was_put_aside_goes_back_to_the_row_of_the_same_identity_only():
    t = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, made TEXT)"
    connection = database(t, "INSERT INTO t VALUES (1, 'x', 'then'), (2, 'y', NULL), (3, 'z', 'then')")
    stars = migration(Change("t", t, t.replace("made", "stars INTEGER, made"), identity=("made",)))
    forward(connection, stars)
    connection.execute("UPDATE t SET stars = 5")
    back(connection, stars)
    connection.execute("DELETE FROM t WHERE id > 1")
    connection.execute("INSERT INTO t VALUES (2, 'y', 'now'), (3, 'other', 'then')")
    forward(connection, stars)
    assert connection.execute("SELECT id, stars FROM t").fetchall() == [(1, 5), (2, None), (3, 5)]


def test_a_repaired_row_that_was_edited_and_went_back_in_part_comes_forth_as_it_was_edited():
    connection = database(
        "CREATE TABLE chat (id INTEGER PRIMARY KEY, who TEXT, role TEXT, said TEXT)",
        "INSERT INTO chat VALUES (1, 'hello', 's1', 'user'), (3, 'x', 's2', 'bot')",
    )
    swapped = {"who": "role", "role": "said", "said": "who"}
    repaired = migration(Change("chat", values=swapped, where="said IN ('user', 'bot')"))
    forward(connection, repaired)
    connection.execute("UPDATE chat SET said = 'edited' WHERE id = 3")
    back(connection, repaired)
    # What was not edited is the original again.
    assert connection.execute("SELECT * FROM chat WHERE id = 3").fetchall() == [(3, "x", "s2", "edited")]
    forward(connection, repaired)
    assert connection.execute("SELECT * FROM chat").fetchall() == [
        (1, "s1", "user", "hello"),
        (3, "s2", "bot", "edited"),
    ]
