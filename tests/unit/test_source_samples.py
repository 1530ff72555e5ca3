"""An application's tree without a fault raises no alarm; of one with faults each is found, at its line."""

import re
import shutil

from migrator.ddl import tokens
from migrator.source.check import DIFFERS, MADE_OTHERWISE, OLD_SCHEMA, check_source
from migrator.source.findings import BY_POSITION
from migrator.source.statements import find_statements, sql_of
from tests.unit.source_trees import CORRECT, SEEDED, after, before, marked

TABLE_CODES = {DIFFERS, MADE_OTHERWISE, OLD_SCHEMA, BY_POSITION}
SIDES = {"": ("before", "after"), "()": (), "(before)": ("before",), "(after)": ("after",)}


def faults(check):
    return sorted((f.place.file, f.place.line, f.message, f.sides) for f in check.findings if f.code not in TABLE_CODES)


def test_a_tree_that_fits_the_database_raises_no_alarm():
    check = check_source(CORRECT, after())
    assert (check.files, check.statements, check.unconcerned) == (13, 95, 4)
    assert check.findings == ()
    # Both ask first, or expect the error.
    assert [(str(n.place), n.why) for n in check.not_checked] == [
        (
            "database/schema.py:49",
            "duplicate column name: source_tool; whether the code expects that is not to be seen",
        ),
        ("tools/retrieve.py:31", "no such column: rc.archived; the code looks for it in the schema first"),
    ]
    assert (check.compiled, check.assumed) == (95 - 4 - 4, 2)
    assert check.skipped == ()


def test_before_the_migration_only_the_statements_on_the_migrated_table_fail():
    check = check_source(CORRECT, before(), after())
    assert {f.place.file for f in check.errors} == {"services/code_patterns.py"}
    assert {f.sides for f in check.errors} == {("before",)}
    missing = {re.split("[: ]", f.message)[-1] for f in check.errors}
    assert missing == {"function_name", "file_name", "module_name", "execution_time_ms", "tags", "vector_id"}


def test_every_seeded_fault_is_found_at_its_line_on_its_side_and_nothing_else():
    expected = []
    for file, line, mark in marked(SEEDED, "FAULT"):
        side, message = re.fullmatch(r"(\(\w*\))?\[.*?\]: (.*)", mark).groups()
        expected.append((file, line, message, SIDES[side or ""]))
    assert len(expected) >= 50
    assert faults(check_source(SEEDED, before(), after())) == sorted([*expected, *loose()])


def loose():
    """What only looks like SQL is found too."""
    return [(file, line, mark[2:], ("before", "after")) for file, line, mark in marked(SEEDED, "LOOKS")]


def test_what_nobody_is_seen_to_run_is_a_warning():
    check = check_source(SEEDED, before(), after())
    warnings = [f for f in check.findings if f.level == "warning" and f.code not in TABLE_CODES]
    assert [(f.place.file, f.place.line, f.message) for f in warnings] == [f[:3] for f in loose()]
    assert loose() != []


def test_of_what_nothing_can_be_said_that_is_said():
    check = check_source(SEEDED, before(), after())
    expected = [(file, line) for file, line, _ in marked(SEEDED, "NOT CHECKED")]
    assert [(n.place.file, n.place.line) for n in check.not_checked] == expected
    for found, (_, _, mark) in zip(check.not_checked, marked(SEEDED, "NOT CHECKED"), strict=True):
        assert mark.removeprefix(": ") in found.why


def test_every_name_that_is_misspelled_is_found_in_its_line(tmp_path):
    """In every statement of the tree that fits the database, one name at a time."""
    shutil.copytree(CORRECT, tmp_path / "app")
    missed = []
    for seeds in rounds():
        for file in {file for file, _, _ in seeds}:
            lines = (CORRECT / file).read_text(encoding="utf-8").splitlines(keepends=True)
            for line, name in {(line, name) for other, line, name in seeds if other == file}:
                lines[line - 1] = re.sub(rf"\b{name}\b", f"x{name}", lines[line - 1], count=1)
            (tmp_path / "app" / file).write_text("".join(lines), encoding="utf-8")
        found = {(f.place.file, f.place.line) for f in check_source(tmp_path / "app", after()).errors}
        missed += [seed for seed in seeds if seed[:2] not in found]
        shutil.copytree(CORRECT, tmp_path / "app", dirs_exist_ok=True)
    assert missed == []


def rounds():
    """File, line and name, in lists of which no two are in one statement."""
    seeds: dict[tuple[str, int, str], set[object]] = {}
    for statement in find_statements(CORRECT).statements:
        if next(tokens(sql_of(statement.text))).keyword in ("pragma", "create", "alter", "drop"):
            continue
        for literal in statement.text.literals:
            source = (CORRECT / literal.place.file).read_text(encoding="utf-8").splitlines()
            names = [token.text for token in tokens(literal.text) if token.text in NAMES]
            for number in range(literal.place.line, literal.place.end_line + 1):
                for name in names:
                    if re.search(rf"\b{name}\b", source[number - 1]):
                        seeds.setdefault((literal.place.file, number, name), set()).add(statement.place)
    assert len(seeds) > 150
    found: list[list[tuple[str, int, str]]] = []
    taken: list[set[object]] = []
    for seed, where in sorted(seeds.items()):
        index = next((i for i, used in enumerate(taken) if not used & where), len(found))
        if index == len(found):
            found.append([])
            taken.append(set())
        found[index].append(seed)
        taken[index] |= where
    return found


NAMES = {
    "Resources", "ResourceChunks", "ChatHistory", "ContextLinks", "Summaries", "Todos", "CodePatterns",
    "VectorIdSequence", "RetrievalWeights", "function_name", "file_name", "module_name", "input_prompt",
    "generated_code", "execution_time_ms", "error_message", "created_at", "vector_id", "conversation_id", "timestamp",
    "source_tool", "chunk_id", "message_id", "title", "description", "priority", "completed", "completed_at",
    "summary_text", "last_vector_id", "chunk_text", "alpha", "epsilon",
}  # fmt: skip
