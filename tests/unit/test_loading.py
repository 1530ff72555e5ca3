"""Where the files of migrations lie, and which of them are refused when they are read."""

import re
from pathlib import Path

import pytest

from migrator.loading import load_migrations
from migrator.migration import DeclarationError

DECLARED = "from migrator.migration import Change, Migration\nMIGRATION = Migration((Change({table!r}, {more}),))\n"


def write(folder: Path, name: str, table: str = "t", more: str = "") -> None:
    (folder / name).write_text(DECLARED.format(table=table, more=more), encoding="utf-8")


def test_migrations_come_in_the_order_of_versions_with_their_names(tmp_path):
    write(tmp_path, "m0002_second_one.py", "b")
    write(tmp_path, "m0001_first.py", "a")
    (tmp_path / "__init__.py").touch()
    loaded = load_migrations(tmp_path)
    assert [(m.version, m.name, m.label) for m in loaded] == [
        (1, "first", "0001_first"),
        (2, "second_one", "0002_second_one"),
    ]
    assert [m.changes[0].table for m in loaded] == ["a", "b"]


def test_an_empty_folder_holds_no_migrations(tmp_path):
    assert load_migrations(tmp_path) == ()


@pytest.mark.parametrize("names", [["m0002_b.py"], ["m0001_a.py", "m0003_c.py"], ["m0000_a.py"]])
def test_a_gap_is_refused(tmp_path, names):
    for table, name in enumerate(names):
        write(tmp_path, name, f"t{table}")
    with pytest.raises(DeclarationError, match=r"is missing in .*; count from 0001 without gaps"):
        load_migrations(tmp_path)


def test_a_version_that_is_there_twice_is_refused(tmp_path):
    write(tmp_path, "m0001_a.py", "a")
    write(tmp_path, "m0001_b.py", "b")
    with pytest.raises(DeclarationError, match=r"version 0001 is declared twice in .*: m0001_a\.py and m0001_b\.py;"):
        load_migrations(tmp_path)


@pytest.mark.parametrize("name", ["m1_a.py", "0001_a.py", "m00001_a.py", "m0001-a.py", "m0001.py", "notes.py"])
def test_a_file_of_another_name_is_refused_and_not_passed_over(tmp_path, name):
    write(tmp_path, name)
    with pytest.raises(DeclarationError, match=r"is not named m0001_some_name\.py"):
        load_migrations(tmp_path)


@pytest.mark.parametrize("text", ["", "MIGRATION = 1", "migration = None"])
def test_a_file_without_a_migration_is_refused(tmp_path, text):
    (tmp_path / "m0001_a.py").write_text(text)
    with pytest.raises(DeclarationError, match=r"m0001_a\.py has no MIGRATION"):
        load_migrations(tmp_path)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["", "def ("], "m0001_a.py cannot be read (SyntaxError: invalid syntax (m0001_a.py, line 2))"),
        (["", "import no_such_module_here"], "m0001_a.py:2 cannot be read (ModuleNotFoundError: No module named"),
        (["raise SystemExit(0)"], "m0001_a.py:1 cannot be read (SystemExit: 0)"),
        (["", "MIGRATION = Migration(change=())"], "m0001_a.py:2 cannot be read (TypeError: "),
        (
            ["", "", "MIGRATION = Migration((Change('t', after='CREATE TABLE t ('),))"],
            "m0001_a.py:3: the definition list",
        ),
        (["MIGRATION = Migration((Change('t', after=b'CREATE'),))"], "m0001_a.py:1 cannot be read (TypeError: "),
        (
            ["MIGRATION = Migration((Change('t', values={'b': '1'}, after='CREATE TABLE t (a)'),))"],
            "m0001_a.py:1: the c",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_name_and_line(tmp_path, lines, said):
    head = "from migrator.migration import Change, Migration; "
    (tmp_path / "m0001_a.py").write_text("\n".join([head + lines[0], *lines[1:]]))
    with pytest.raises(DeclarationError, match=f"^migration file {re.escape(said)}"):
        load_migrations(tmp_path)


def test_a_tool_that_nobody_could_try_is_refused(tmp_path):
    head = "from migrator.migration import Migration\nfrom migrator.probes import Probe\n"
    probe = "probes=(Probe('search', print),)"
    (tmp_path / "m0001_a.py").write_text(f"{head}MIGRATION = Migration((), tools=('read', 'search'))")
    (tmp_path / "m0002_b.py").write_text(f"{head}MIGRATION = Migration((), {probe})")
    with pytest.raises(DeclarationError, match="0001_a names the tool 'search', which the application does not have"):
        load_migrations(tmp_path, ("read",))
    # From the version on that brings its probe.
    (tmp_path / "m0001_a.py").write_text(f"{head}MIGRATION = Migration((), tools=('read', 'search'), {probe})")
    assert len(load_migrations(tmp_path, ("read",))) == 2


def test_two_changes_that_would_keep_values_in_one_table_are_refused(tmp_path):
    values = "values={'a': '1'}"
    write(tmp_path, "m0001_a.py", more=values)
    write(tmp_path, "m0002_b.py", "T", values)
    with pytest.raises(
        DeclarationError, match=r"0002_b keeps values in table T_legacy, as 0001_a does; .* `originals`"
    ):
        load_migrations(tmp_path)
    write(tmp_path, "m0002_b.py", "T", f"{values}, originals='T_2_legacy'")
    with pytest.raises(DeclarationError, match="table T_ahead, as 0001_a does; name another with `ahead`"):
        load_migrations(tmp_path)
    write(tmp_path, "m0002_b.py", "T", f"{values}, originals='T_2_legacy', ahead='T_2_ahead'")
    assert load_migrations(tmp_path)[1].own_tables == {"T_2_legacy", "T_2_ahead"}


def test_a_change_of_indexes_keeps_no_values_and_shares_no_table_for_them(tmp_path):
    write(tmp_path, "m0001_a.py", more="values={'a': '1'}")
    write(tmp_path, "m0002_b.py", more="indexes=('CREATE INDEX i ON t (a)',)")
    assert [m.own_tables for m in load_migrations(tmp_path)] == [{"t_legacy", "t_ahead"}, set()]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            "indexes=('CREATE INDEX i ON u (a)',)",
            "the change of t has an index of table u among its `indexes`: CREATE INDEX i ON u (a); give u a change of "
            "its own",
        ),
        (
            "indexes=('CREATE INDEX i ON t (a)', 'CREATE UNIQUE INDEX IF NOT EXISTS main.j ON[U](a)')",
            "the change of t has an index of table U among its `indexes`: CREATE UNIQUE INDEX IF NOT EXISTS main.j "
            "ON[U](a); give U a change of its own",
        ),
        (
            "drops=('CREATE INDEX i ON u (a)',)",
            "the change of t has an index of table u among its `drops`: CREATE INDEX i ON u (a); give u a change of "
            "its own",
        ),
        (
            "drops=('DROP INDEX i',)",
            "the change of t has 'DROP INDEX i' among its `drops`; give CREATE INDEX statements",
        ),
        (
            "indexes=('CREATE VIEW i AS SELECT 1 ON t',)",
            "the change of t has 'CREATE VIEW i AS SELECT 1 ON t' among its `indexes`; give CREATE INDEX statements",
        ),
        (
            "indexes=('CREATE INDEX i ON',)",
            "the change of t has 'CREATE INDEX i ON' among its `indexes`; give CREATE INDEX statements",
        ),
        (
            "after='CREATE TABLE u (a)'",
            "the `after` of the change of t makes table u; name one table in both",
        ),
        (
            "before='CREATE TABLE t (a)', after='CREATE TABLE tt (a)'",
            "the `after` of the change of t makes table tt; name one table in both",
        ),
        (
            "before='CREATE TABLE \"t \" (a)', after='CREATE TABLE t (a)'",
            "the `before` of the change of t makes table t ; name one table in both",
        ),
    ],
)
def test_a_statement_about_another_table_than_its_changes_is_refused_with_file_change_and_way_out(
    tmp_path, fields, said
):
    write(tmp_path, "m0001_a.py", more=fields)
    with pytest.raises(DeclarationError) as refused:
        load_migrations(tmp_path)
    assert str(refused.value) == f"migration file m0001_a.py:2: {said}"


def test_a_table_may_be_spelled_in_any_way_that_sqlite_takes_for_its_own(tmp_path):
    indexes = ("create unique index if not exists main.[on] on 'T' (a)", 'CREATE INDEX "i on u" ON t(a);')
    texts = "before='CREATE TABLE \"T\" (a)', after='create table if not exists main.[t] (a, b)'"
    write(tmp_path, "m0001_a.py", more=f"{texts}, indexes={indexes!r}")
    assert load_migrations(tmp_path)[0].changes[0].indexes == indexes
