"""What the report says of a run, that it is one file that asks nothing of anybody, and whose it is."""

import os
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from migrator.findings import Finding
from migrator.migration import Change
from migrator.performance import Latency
from migrator.quick_check import ToolState
from migrator.report import MIGRATED, RESTORED, Report, StepTaken
from migrator.report_markdown import latency, plan, prose, summary
from migrator.tool_server.validation import ServerRow, ServerValidation
from migrator.tools import ToolResult
from tests.notes import make_notes, migration, notes_application
from tests.runs import live_of, migrate

HOSTILE = "</td></pre><script>alert(1)</script><img src=x>|`*_]\x1b"
TOOLS = [
    ToolResult("add_note", "passed", "failed", "passed", "failed before: no such column: stars"),
    ToolResult("read_notes", "passed", "passed", "passed"),
    ToolResult("ping", "skipped", "skipped", "skipped", "asks a server, not the database"),
]
LATENCIES = (Latency("add_note", 1.0, 2.0, None), Latency("read_notes", 3.0, 4.5, 4.0))


@pytest.fixture(scope="module")
def promoted(tmp_path_factory):
    database = tmp_path_factory.mktemp("promoted") / "notes.db"
    make_notes(database)
    return migrate(database)


@pytest.fixture
def report(promoted):
    """A run that migrated."""
    made = Report("")
    made.describe(live_of(promoted))
    made.outcome, made.promoted, made.backup = MIGRATED, promoted, promoted.candidate.inspection.backup
    made.tools, made.latencies = [*TOOLS], LATENCIES
    made.steps = [StepTaken("back up", 1.0, 100), StepTaken("tool ping", 0.001), StepTaken("promote", 0.5, 100)]
    return made


class Page(HTMLParser):
    """The tags of a page, and its text by the tag that it stands in."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            del self.open[len(self.open) - self.open[::-1].index(tag) - 1 :]

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "svg"):
            self.texts.append(data.strip())

    @property
    def text(self):
        return " ".join(" ".join(text for text in self.texts if text).split())


def page(report):
    return Page(report.as_html())


def test_the_report_is_for_the_owner_of_the_database_only(tmp_path):
    database = tmp_path / "notes.db"
    make_notes(database)
    owner = 1234 if os.geteuid() == 0 else os.geteuid()
    os.chown(database, owner, -1)
    Report(str(database)).write(tmp_path)
    found = [(tmp_path / name).stat() for name in ("report.json", "report.html")]
    assert [(s.st_mode & 0o777, s.st_uid) for s in found] == [(0o600, owner)] * 2


def test_the_page_has_the_tools_before_and_after_with_their_times(report):
    said = page(report).text
    assert "add_note failed before: no such column: stars failed passed 1.00 2.00" in said
    assert "read_notes passed passed 3.00 4.50 4.00" in said
    assert "ping asks a server, not the database skipped skipped" in said
    assert "2 passed , 0 failed , 1 skipped" in said


def test_the_page_has_a_chart_of_the_latencies_and_one_of_the_steps(report):
    charts = [attributes for tag, attributes in page(report).tags if tag == "svg"]
    assert [c["class"] for c in charts] == ["pygal-chart"] * 2


def test_the_slowest_tool_stands_first_in_the_chart_of_the_latencies(report):
    names = re.findall(r">(add_note|read_notes)</text>", report.latency_chart())
    # pygal writes from the bottom.
    assert names == ["add_note", "read_notes"]


def test_short_steps_share_a_bar(report):
    assert re.findall(r">(back up|tool ping|promote|\d+ shorter steps)</text>", report.steps_chart()) == [
        "1 shorter steps",
        "promote",
        "back up",
    ]
    assert re.findall(r'<desc class="value">([\d.]+) s</desc>', report.steps_chart()) == ["0.001", "0.5", "1"]


def test_without_measurements_there_is_no_chart_of_them(report):
    report.latencies, report.steps = (), []
    assert [tag for tag, _ in page(report).tags if tag == "svg"] == []


def test_the_page_has_the_plan_in_words_and_as_statements(report):
    said = page(report).text
    assert "notes is made anew" in said
    assert "why ALTER TABLE cannot change the definition of mood ALTER TABLE cannot add a UNIQUE column: code" in said
    assert "adds stars INTEGER code INTEGER UNIQUE removes place TEXT" in said
    assert "converts mood: good from 'good', 'happy'; bad from 'bad', 'sad'" in said
    assert "because DROP TABLE takes them along" in said
    assert 'INSERT INTO "_mig_notes"' in said


def test_the_page_says_what_the_rehearsal_predicted(report, promoted):
    quick = replace(promoted.candidate, rebuild_s=0.0214)
    report.promoted = replace(promoted, candidate=quick, lock_ms=33.3)
    assert "the write lock held for 33.3 ms. The rehearsal predicted 21.4 ms for its statements" in page(report).text


def test_a_run_that_ended_early_has_a_page_of_what_there_is():
    said = page(Report("/srv/notes.db", error="no such file", outcome="refused")).text
    assert "/srv/notes.db refused run , started " in said and said.endswith(" s no such file Steps step seconds rows")
    assert "Tools" not in said and "Plan" not in said


def test_the_page_says_when_the_run_began_and_where_the_database_is(report):
    report.started_at = datetime(2026, 11, 23, 5, 47, 52, tzinfo=UTC)
    text = page(report).text
    assert "migrated version 0000 → 0001 run" in text
    assert re.search(r", started 2026-11-23 05:47:52 UTC, took \d+\.\d s ", text)
    report.outcome = RESTORED
    assert "restored version 0000, not 0001 run" in page(report).text


def test_the_reason_of_a_tool_stands_under_its_name(report):
    html = report.as_html()
    assert "<th>reason</th>" not in html
    assert re.search(r'add_note\s*<br><span class="dim">failed before: no such column: stars</span></td>', html)


def test_whatever_a_run_meets_its_page_is_text_and_asks_nothing_of_anybody(report):
    report.database, report.error, report.run_id = HOSTILE, HOSTILE, HOSTILE
    report.tools = [ToolResult(HOSTILE, "failed", "passed", "failed", HOSTILE)]
    report.latencies = (Latency(HOSTILE, 1.0, 2.0, 1.0),)
    report.steps = [StepTaken(HOSTILE, 1.0, 1)]
    report.findings = [Finding("code", HOSTILE, 2)]
    report.tool_changes = [ToolState(HOSTILE, HOSTILE, "fails", HOSTILE)]
    row = ServerRow(HOSTILE, "failed", "passed", "failed", 1.0, 2.0, HOSTILE, True)
    report.tool_server = ServerValidation(HOSTILE, (row,), {"before": (), "after": (HOSTILE,)}, (), None)
    html = report.as_html()
    tags = {tag for tag, _ in Page(html).tags}
    assert not tags & {"script", "img", "image", "link", "a", "iframe", "foreignobject"}
    assert not [mark for mark in ("url(", "@import", "javascript:") if mark in html]
    assert {*re.findall(r"https?://[^\"<> ]+", html)} == {"http://www.w3.org/2000/svg"}
    assert Page(html).text.count("<script>alert(1)</script>") >= 10


def test_a_table_that_comes_is_called_new(tmp_path):
    database = tmp_path / "notes.db"
    make_notes(database)
    moods = Change("moods", after="CREATE TABLE moods (id INTEGER PRIMARY KEY, name TEXT)")
    made = Report("")
    made.describe(live_of(migrate(database, notes_application(migration(moods, tools=())))))
    assert made.planned_tables() == [
        ("moods is new", [("why", "there is no such table"), ("adds", "id INTEGER PRIMARY KEY"), ("adds", "name TEXT")])
    ]


def test_the_facts_are_those_that_the_run_reached(report):
    assert [label for label, _ in report.facts()] == [
        "version",
        "tools",
        "slowest tool",
        "promoted",
        "backup",
        "report",
    ]
    facts = dict(report.facts())
    assert facts["version"] == "0000 -> 0001"
    assert facts["tools"] == "2 passed (1 of them failed before), 0 failed, 1 skipped"
    assert facts["slowest tool"] == "read_notes, p95 4.5 ms of 500 ms"
    assert facts["report"].endswith("/report.html")
    report.outcome = RESTORED
    assert "version" not in dict(report.facts())


def test_on_the_way_back_the_tools_that_lose_what_they_need_fail_as_they_did(tmp_path):
    database = tmp_path / "notes.db"
    make_notes(database)
    migrate(database)
    made = Report("")
    made.describe(live_of(migrate(database, to_version=0)))
    made.outcome = MIGRATED
    made.tools = [
        ToolResult("add_note", "failed", "passed", "failed", "no such column: stars"),
        ToolResult("ping", "failed", "failed", "failed", "no such table: x"),
        ToolResult("count_good", "failed", "failed", "failed", "no such table: x"),
        ToolResult("read_notes", "passed", "passed", "passed"),
    ]
    said = "1 fails as it did at 0000 (add_note); 2 fail as they did before (ping, count_good)"
    assert dict(made.facts())["failed tools"] == said
    assert (
        "1 fails as it did at 0000 (add_note). 2 fail as they did before (ping, count_good). A skipped tool"
        in page(made).text
    )
    made.outcome = RESTORED
    assert "failed tools" not in dict(made.facts())


def test_the_summary_has_outcome_error_facts_and_notes(report):
    report.error, report.findings = "promote failed: `x`", [Finding("index_unused", "no tool uses index notes_mood", 2)]
    said = summary(report)
    assert said.startswith("# migrated\n")
    assert "```text\npromote failed: `x`\n```" in said
    assert "| version | 0000 -\\> 0001 |" in said
    assert "- no tool uses index notes\\_mood (2)" in said


def test_what_a_name_holds_is_no_markup_in_the_ui(report):
    report.database, report.error, report.findings = HOSTILE, "```\n<b>", [Finding("code", HOSTILE)]
    said = summary(report)
    assert "````text\n```\n<b>\n````" in said
    assert "- \\</td\\>\\</pre\\>\\<script\\>alert(1)" in said
    outside = re.sub(r"````text.*?````", "", said, flags=re.DOTALL)
    assert re.findall(r"(?<!\\)<script", re.sub(r"``.*?``", "", outside)) == []


def test_prose_keeps_to_one_line():
    assert prose("a\n\n# b | c") == "a \\# b \\| c"


def test_the_plan_in_the_ui_begins_with_the_lock(report):
    said = plan(report, "It locks for 5 ms.")
    assert said.startswith("# Plan\n\nIt locks for 5 ms.\n\n## notes is made anew\n")
    assert "- **why** ALTER TABLE cannot add a UNIQUE column: code" in said
    assert "- **adds** `code INTEGER UNIQUE`" in said
    assert '```sql\nCREATE TABLE "_mig_notes"' in said


def test_the_latencies_in_the_ui_are_a_picture_in_the_page(report):
    said = latency(report)
    assert "The budget is 500 ms" in said
    assert re.search(r"\n!\[p95 of each tool before and after\]\(data:image/svg\+xml;base64,[\w+/=]+\)\n$", said)
