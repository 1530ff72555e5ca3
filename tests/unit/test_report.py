"""The report's files are for the owner of the database, whoever ran the migration."""

import os

from migrator.report import Report
from tests.notes import make_notes


def test_the_report_is_for_the_owner_of_the_database_only(tmp_path):
    database = tmp_path / "notes.db"
    make_notes(database)
    owner = 1234 if os.geteuid() == 0 else os.geteuid()
    os.chown(database, owner, -1)
    Report(str(database)).write(tmp_path)
    found = [(tmp_path / name).stat() for name in ("report.json", "report.html")]
    assert [(s.st_mode & 0o777, s.st_uid) for s in found] == [(0o600, owner)] * 2
