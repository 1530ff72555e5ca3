"""The findings of a source check as SARIF 2.1.0, the format that code review tools read.

docs.oasis-open.org/sarif/sarif/v2.1.0
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from migrator.source.check import SourceCheck
from migrator.source.findings import SourceFinding
from migrator.source.statements import NotChecked
from migrator.source.tree import Skipped
from migrator.source.values import Place

SCHEMA_URI = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
NOT_CHECKED, NOT_READ = "not-checked", "not-read"
_ROOT = "%SRCROOT%"
"""What others call the root of the repository too; the reader knows where that is."""
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
    "old-schema": "On a new file the application would not make a table as it was migrated.",
    NOT_READ: "A file of the source cannot be read, so nothing is known of its SQL.",
    NOT_CHECKED: "Of a statement nothing can be said without running it.",
}


def to_sarif(check: SourceCheck, tool: str, root: Path) -> dict[str, object]:
    """One run of `tool` as a JSON object; lines and columns are counted from 1.

    Paths are relative to `root`, for the readers of reviews take them from the root of the repository; those of a
    source outside of `root` are absolute. What the pending migration mends is a note.
    """
    rules = [{"id": code, "shortDescription": {"text": text}} for code, text in RULES.items()]
    folder = check.folder.resolve()
    skipped = [(s, f"{s.name} was left out: {s.why}") for s in check.skipped]
    left_out = [{"level": "error" if s.is_fault else "warning", "message": {"text": text}} for s, text in skipped]
    results = [
        *map(_of_finding, check.findings),
        *map(_of_unread, check.unread),
        *map(_of_not_checked, check.not_checked),
    ]
    return {
        "$schema": SCHEMA_URI,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": tool, "rules": rules}},
                "columnKind": "unicodeCodePoints",
                "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": left_out}],
                "results": [_result(folder, root.resolve(), *result) for result in results],
            }
        ],
    }


_Result = tuple[str, str, str, Place, int]


def _of_finding(finding: SourceFinding) -> _Result:
    when = f" ({' and '.join(finding.sides)}{', mended by the pending migration' if finding.is_mended else ''})"
    text = finding.message + (when if finding.sides else "") + (f": {finding.statement}" if finding.statement else "")
    return finding.code, "note" if finding.is_mended else finding.level, text, finding.place, finding.end_column


def _of_unread(skipped: Skipped) -> _Result:
    """Reviewers see results, and no notifications of the tool."""
    return NOT_READ, "error", f"not read: {skipped.why}", Place(skipped.name, 1, 1), 0


def _of_not_checked(found: NotChecked) -> _Result:
    return NOT_CHECKED, "note", f"not checked: {found.shown}: {found.why}", found.place, 0


def _result(
    folder: Path, root: Path, code: str, level: str, text: str, place: Place, end_column: int
) -> dict[str, object]:
    # A region that ends in another line than it starts needs no column at its end: it takes the whole line.
    region = {"startLine": place.line, "startColumn": place.column, "endLine": place.end_line}
    if end_column:
        region["endColumn"] = end_column
    file = folder / place.file
    below = file.is_relative_to(root)
    artifact = (
        {"uri": quote(file.relative_to(root).as_posix()), "uriBaseId": _ROOT} if below else {"uri": file.as_uri()}
    )
    return {
        "ruleId": code,
        "ruleIndex": list(RULES).index(code),
        "level": level,
        "message": {"text": text},
        "locations": [{"physicalLocation": {"artifactLocation": artifact, "region": region}}],
    }
