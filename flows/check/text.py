"""What `python -m flows.check` found, for people: lines of at most the terminal's width, but for long words."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from flows.check.new_text import new_fact, new_lines
from flows.check.source_text import source_fact, source_lines, written_fact
from migrator.check.explanation import Explanation, explain, in_names
from migrator.check.forecast import Forecast
from migrator.check.wording import KINDS, wording
from migrator.ddl import tokens
from migrator.findings import Finding
from migrator.plan import Plan, State

_LABEL = 14


def lines_of(result: dict[str, Any]) -> Iterator[str]:
    """The whole answer; `result` is what `--json` prints."""
    yield f"{result['database'] or 'python -m flows.check'}: {_headline(result)}"
    if result["error"] is not None:
        yield from _fact("error", result["error"])
    yield from _status(result)
    if result["logs"]:
        yield from _logs(result["logs"])
    if result["docs"]:
        yield from _fact("docs", f"{result['docs']['path']}{'' if result['docs']['changed'] else ', unchanged'}")
    source, written, new = result["source"], result["write_schema"], result["new"]
    if source:
        yield from _fact("source", source_fact(source))
    if written:
        yield from _fact("write-schema", written_fact(written))
    if new:
        yield from _fact("new", new_fact(new))
    if result["plan"]:
        # What was asked for, or what failed, is not to be searched for among the statements.
        brief = source or written or new or result["error"]
        yield from _plan_fact(result["plan"]) if brief else _plan(result["plan"])
    if source:
        yield from source_lines(source, _width())
    if new:
        yield from new_lines(new, _width())
    if written and written["diff"]:
        yield ""
        yield written["diff"].removesuffix("\n")


def _headline(result: dict[str, Any]) -> str:
    if result["outcome"] == "error":
        return "the check could not be made"
    faults, pending = len(result["drift"]), len(result["pending"])
    said = "clean" if result["outcome"] == "clean" else "drift"
    if result["outcome"] == "drift" and faults == 0:
        said = _without_drift(result)
    found = [f"{faults} not as it should be"] if faults else []
    mismatches = result["source"]["mismatches"] if result["source"] else 0
    found += [f"{mismatches} mismatch{'es' if mismatches > 1 else ''}"] if mismatches else []
    return ", ".join([said, *found, *([f"{pending} migration{'s' if pending > 1 else ''} pending"] if pending else [])])


def _without_drift(result: dict[str, Any]) -> str:
    """What is not as it should be, where the database is."""
    logs, source, written = result["logs"], result["source"], result["write_schema"]
    if logs and logs["missing"]:
        return "the application misses columns or tables"
    if (source and source["mismatches"]) or (written and written["changed"] and not written["applied"]):
        return "the source does not fit"
    if source and source["unread"]:
        return "not all of the source could be read"
    return "the new migration is not ready"


def _status(result: dict[str, Any]) -> Iterator[str]:
    if result["version"] is not None:
        yield from _fact("version", f"{result['version']:04d} of {result['newest_version']:04d}")
    for made in result["applied"]:
        when = "" if made["applied_at"] is None else f", {_when(made['applied_at'])} by run {made['run_id']}"
        yield from _fact("applied", f"{_name(made)}{when}")
    for made in result["undone"]:
        yield from _fact("undone", f"{_name(made)}, {_when(made['reversed_at'])} by {made['reversed_by']}")
    for migration in result["pending"]:
        yield from _fact("pending", _name(migration))
    for drift in result["drift"]:
        yield from _fact("drift", drift["message"])
    for finding in result["findings"]:
        yield from _fact("note", finding["message"])
    if result["refusal"] is not None and "refused" not in {drift["code"] for drift in result["drift"]}:
        yield from _fact("refusal", f"a migration would be refused: {result['refusal']}")


def _plan_fact(plan: dict[str, Any]) -> Iterator[str]:
    yield from _fact("plan", f"to version {plan['to_version']:04d}{_lock(plan['lock_estimate'])}")


def _plan(plan: dict[str, Any]) -> Iterator[str]:
    yield from _plan_fact(plan)
    for table in plan["tables"]:
        yield ""
        yield from _table(table)
    if plan["lock_estimate"] and plan["lock_estimate"]["way"] == "online":
        yield ""
        yield from _comment("Of one transaction; online the same rows go a few at a time, and the tables are swapped.")
    heading = ""
    for step in plan["statements"]:
        yield ""
        if step["heading"] != heading:
            heading = step["heading"]
            yield from _comment(heading)
        yield from _comment(step["only"] or step["about"])
        # What is not always sent stands in comments, so that the whole can be read as one script.
        if step["sql"]:
            yield from (f"-- {line}" if step["only"] else line for line in _sql(step["sql"]))


def plan_in_brief(plan: Plan, state: State, expected: Forecast | Finding, max_lock_ms: float) -> Iterator[str]:
    """What becomes of each table in a few lines, and how long that may lock, as far as that is `expected`."""
    known = isinstance(expected, Forecast)
    lock = asdict(expected) | {"max_lock_ms": max_lock_ms} if known else None
    yield from _plan_fact({"to_version": plan.to_version, "lock_estimate": lock})
    if isinstance(expected, Finding):
        yield from _fact("note", expected.message)
    for explained in explain(plan, state):
        yield from _table(asdict(in_names(explained)))
    yield f"{len(plan.statements)} statement{'s' * (len(plan.statements) != 1)}; --sql prints them"


def _lock(lock: dict[str, Any] | None) -> str:
    if lock is None:
        return ""
    rows = f"{lock['rows']:,} rows" if lock["counted"] else f"at most {lock['rows']:,} rows"
    held = f"about {lock['lock_ms']:,.0f} ms of write lock for {rows}"
    ways = {
        "one_transaction": f"in one transaction, {held} (limit {lock['max_lock_ms']:g} ms)",
        "online": f"online, in short holds: one transaction would take {held} (limit {lock['max_lock_ms']:g} ms)",
    }
    return f", {ways[lock['way']]}; estimated on {lock['sample']} rows in memory, the rehearsal measures it"


def _table(table: dict[str, Any]) -> Iterator[str]:
    explained, before = Explanation(**table), ""
    yield f"{explained.table} {KINDS[explained.kind]}"
    for label, line in wording(explained):
        yield from _fact("" if label == before else f"  {label}", line)
        before = label


def _logs(logs: dict[str, Any]) -> Iterator[str]:
    files = len(logs["files"])
    since = "ever, nothing was promoted yet" if logs["since"] is None else f"since {_when(logs['since'])}"
    older = f", {logs['earlier']:,} older ones not counted" if logs["earlier"] else ""
    yield from _fact("logs", f"{logs['lines']:,} lines of {files} file{'s' if files > 1 else ''}, {since}{older}")
    if not logs["missing"]:
        yield from _fact("", "no column or table was missed")
        return
    yield f"{'missed':<30}{'lines':>8}{'undated':>9}  {'first (UTC)':<15}  last"
    for missing in logs["missing"]:
        times = (missing[end][5:19] if missing[end] else "" for end in ("first", "last"))
        first, last = times
        counts = f"{missing['count']:>8,}{missing['undated']:>9,}"
        yield f"{missing['kind'] + ' ' + missing['name']:<30}{counts}  {first:<15}  {last}".rstrip()


def _name(migration: dict[str, Any]) -> str:
    return f"{migration['version']:04d}_{migration['name']}"


def _when(stored: str) -> str:
    return f"{datetime.fromisoformat(stored):%Y-%m-%d %H:%M:%S} UTC"


def _fact(label: str, text: str) -> Iterator[str]:
    """One fact, its further lines below its first."""
    filled = textwrap.wrap(text, _width() - _LABEL, break_long_words=False, break_on_hyphens=False)
    for number, line in enumerate(filled or [""]):
        yield f"{'' if number else label:<{_LABEL}}{line}".rstrip()


def _sql(statement: str) -> Iterator[str]:
    """The statement without its comments, broken only where it has blanks between tokens: those in a string count."""
    found = [*tokens(statement)]
    line, word = "", ""
    for token, following in zip(found, [*found[1:], None], strict=True):
        word += token.text
        if following is None or token.end < following.start:
            if line.strip() and len(line) + len(word) + 1 > _width() - 1:
                yield line
                line = "  "
            line += word if not line.strip() else f" {word}"
            word = ""
    yield f"{line};"


def _comment(text: str) -> Iterator[str]:
    yield from (f"-- {line}" for line in textwrap.wrap(text, _width() - 3))


def _width() -> int:
    return max(60, shutil.get_terminal_size().columns)
