"""Which statements the application sends, and on how many of them each backend takes offence."""

import sqlite3

from tests.benchmarks.backends.dialects import broken
from tests.benchmarks.backends.tools import TOOLS, call_as_the_application


class Recording(sqlite3.Connection):
    """Keeps the text of each statement, with its parameters still ?."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.sent = []

    def execute(self, sql, *parameters):
        self.sent.append(sql)
        return super().execute(sql, *parameters)


def sent_by_tools(path, given):
    """Tool: the statements of one call as the application makes it."""
    found = {}
    for tool in TOOLS:
        connection = sqlite3.connect(path, factory=Recording)
        call_as_the_application(lambda made=connection: made, tool, given)
        found[tool.name] = connection.sent
    return found


def what_breaks(sent, rules):
    """A row for each rule that a statement needs: in how many different statements, in how many tools."""
    rows = []
    for rule in rules:
        found = [{sql for sql in statements if rule.breaks in broken(sql, rules)} for statements in sent.values()]
        if different := set().union(*found):
            rows.append({"breaks": rule.breaks, "statements": len(different), "tools": sum(map(bool, found))})
    return rows
