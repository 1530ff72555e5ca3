"""What is to be done to come from the version that a database has to the wanted one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from migrator.adoption import BASELINE, plan_adoption
from migrator.errors import RefusedError
from migrator.ledger import Applied
from migrator.migration import Answers, Migration
from migrator.plan import Plan, State
from migrator.planning import make_plan


def plan_pending(
    known: Sequence[Migration],
    applied: Sequence[Applied],
    state: State,
    to_version: int | None,
    answers: Answers,
    *,
    baseline: bool = False,
) -> Plan | None:
    """The plan from the `applied` migrations to `to_version` (None: the newest); None where nothing is pending.

    With `baseline` it writes the ledger alone. The way back takes the answers that the way forth was given. Raises
    RefusedError for a version that there is not, and what the planning raises.
    """
    newest, version = len(known), len(applied)
    wanted = newest if to_version is None else to_version
    if not 0 <= wanted <= newest:
        raise RefusedError(f"there is no version {wanted:04d}", f"versions go from 0000 to {newest:04d}")
    if wanted == version:
        return None
    if wanted < version and baseline:
        raise RefusedError(
            f"the database has version {version:04d}, and --baseline only leads forward", "leave --baseline out"
        )
    if wanted < version:
        return make_plan(known[wanted:version], state, {a.version: a.answers for a in applied}, reverse=True)
    pending = known[version:wanted]
    if baseline:
        there_already = replace(answers, switches=answers.switches | {BASELINE})
        return plan_adoption(pending, state, {m.version: there_already for m in pending})
    return make_plan(pending, state, {m.version: answers for m in pending})
