"""The findings of a source check as SARIF 2.1.0, the format that code review tools read.

docs.oasis-open.org/sarif/sarif/v2.1.0
"""

from __future__ import annotations

from urllib.parse import quote

from migrator.source.check import SourceCheck
from migrator.source.findings import SourceFinding
from migrator.source.statements import NotChecked
from migrator.source.values import Place

SCHEMA_URI = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
NOT_CHECKED = "not-checked"
RULES = {
    "no-such-column": "A statement names a column that its table does not have.",
    "no-such-table": "A statement names a table that the database does not have.",
    "wrong-number-of-values": "An INSERT gives more or fewer values than there are columns.",
    "name-read-as-text": "A name in double quotes is no column, so SQLite takes it for a string.",
    "not-valid": "SQLite refuses the statement.",
    "insert-by-position": "An INSERT names no columns.",
    "table-made-twice": "A table is made in more than one place.",
    "table-made-otherwise": "Two places make a table in different forms.",
    "table-differs": "The source makes a table otherwise than the database has it.",
    "old-schema": "On a new file the application would make a table as it was before the migration.",
    NOT_CHECKED: "Of a statement nothing can be said without running it.",
}


def to_sarif(check: SourceCheck, tool: str) -> dict[str, object]:
    """One run of `tool` as a JSON object; paths are relative to the folder, lines and columns counted from 1."""
    rules = [{"id": code, "shortDescription": {"text": text}} for code, text in RULES.items()]
    return {
        "$schema": SCHEMA_URI,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": tool, "rules": rules}},
                "columnKind": "unicodeCodePoints",
                "originalUriBaseIds": {"SOURCE": {"description": {"text": "the folder that was checked"}}},
                "results": [*map(_of_finding, check.findings), *map(_of_not_checked, check.not_checked)],
            }
        ],
    }


def _of_finding(finding: SourceFinding) -> dict[str, object]:
    when = f" ({' and '.join(finding.sides)})" if finding.sides else ""
    statement = f": {finding.statement}" if finding.statement else ""
    return _result(finding.code, finding.level, finding.message + when + statement, finding.place, finding.end_column)


def _of_not_checked(found: NotChecked) -> dict[str, object]:
    return _result(NOT_CHECKED, "note", f"not checked: {found.shown}: {found.why}", found.place, 0)


def _result(code: str, level: str, message: str, place: Place, end_column: int) -> dict[str, object]:
    # A region that ends in another line than it starts needs no column at its end: it takes the whole line.
    region = {"startLine": place.line, "startColumn": place.column, "endLine": place.end_line}
    if end_column:
        region["endColumn"] = end_column
    location = {"uri": quote(place.file), "uriBaseId": "SOURCE"}
    return {
        "ruleId": code,
        "ruleIndex": list(RULES).index(code),
        "level": level,
        "message": {"text": message},
        "locations": [{"physicalLocation": {"artifactLocation": location, "region": region}}],
    }
