"""What is found is told to people with its number, the same everywhere."""

import pytest

from migrator.findings import Finding


@pytest.mark.parametrize(
    ("message", "count", "text"),
    [
        ("rows of notes with new values", 59025, "59,025 rows of notes with new values"),
        ("rows of notes with new values", 1, "1 row of notes with new values"),
        ("tools with fewer checks", 20, "20 tools with fewer checks"),
        ("rowsets differ", 2, "rowsets differ (2)"),
        ("no tool uses the indexes a, b", 2000, "no tool uses the indexes a, b (2,000)"),
        ("no tool uses index a", 1, "no tool uses index a"),
    ],
)
def test_a_message_about_rows_or_tools_begins_with_their_number(message, count, text):
    assert Finding("code", message, count).text == text
