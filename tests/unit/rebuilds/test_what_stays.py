"""What a migration does not name does what it did: after it and after the way back, in every way of promotion."""

import pytest

from tests.unit.rebuilds.around import AROUND
from tests.unit.rebuilds.case import Case, answers, make
from tests.unit.rebuilds.columns import COLUMNS
from tests.unit.rebuilds.files import FILES
from tests.unit.rebuilds.keys import KEYS
from tests.unit.rebuilds.texts import TEXTS
from tests.unit.rebuilds.virtual import VIRTUAL
from tests.unit.rebuilds.ways import CHANGES, WAYS, forth_and_back

CASES: dict[str, Case] = {**COLUMNS, **KEYS, **AROUND, **VIRTUAL, **TEXTS, **FILES}
TRIED = [
    pytest.param(case, changed, way, id=f"{what}, {changed}, {way}")
    for what, case in CASES.items()
    for changed in CHANGES
    for way in WAYS
    if case.online or way != "online"
]


@pytest.mark.parametrize(("case", "changed", "way"), TRIED)
def test_what_a_migration_does_not_name_does_what_it_did(folder, case, changed, way):
    path = make(folder / "live.db", case.statements)
    for state in forth_and_back(path, changed, way, case.touched):
        assert answers(state, case) == case.answers


@pytest.mark.parametrize("what", CASES)
def test_a_database_without_it_would_do_something_else(folder, what):
    case = CASES[what]
    assert answers(make(folder / "with it.db", case.statements), case) == case.answers
    assert answers(make(folder / "without it.db", case.without), case) != case.answers
