"""What the application did to a schema since a plan was made for it, told so that a person knows what to do."""

from __future__ import annotations

from migrator.ddl import canonical, folded, parse_create_table, words
from migrator.errors import PromotionError
from migrator.findings import Finding
from migrator.plan import Plan, State
from migrator.schema import Schema, SchemaObject, is_virtual

_Key = tuple[str, str]


def refuse_changed(plan: Plan, expected: State, now: State) -> None:
    """Raises PromotionError where a migrated table, what names one, or what a value is read from is not as it was."""
    named, read = _changed_around(plan, expected.schema, now.schema), _changed_reads(plan, expected.schema, now.schema)
    own = sorted(n for n in expected.own.keys() | now.own.keys() if expected.own.get(n) != now.own.get(n))
    if not (named or read or own):
        return
    was, is_ = _by_key(expected.schema), _by_key(now.schema)
    needed = _touched(plan) | what_is_read(plan, expected.schema)
    gone = [was[key] for key in sorted((named | read) - is_.keys()) if key in needed]
    if gone:
        # All else that changed went or was renamed with it.
        told = [_gone(found, expected.schema, now.schema) for found in gone]
        did, way_out = [text for text, _ in told], told[0][1]
    else:
        changes = [(_did(key in was, key in is_), (is_.get(key) or was[key])) for key in sorted(named | read)]
        did, way_out = [f"{verb} {found.kind} {found.name}" for verb, found in changes], "start again"
    did += [f"{_did(n in expected.own, n in now.own)} table {n}, which is a name of this tool's" for n in own]
    tables = ", ".join(sorted(plan.touched))
    what = f"the schema of {tables} or of what names it" if named or own else f"what the migration of {tables} reads"
    raise PromotionError(
        f"{what} changed since the backup: the application {', '.join(did)}; live was left as it is", way_out
    )


def changed_elsewhere(plan: Plan, expected: State, now: State) -> tuple[Finding, ...]:
    """What the application made, changed or dropped that names no migrated table."""
    changed = _unrelated(now.schema, plan).items() ^ _unrelated(expected.schema, plan).items()
    return tuple(
        Finding("schema_changed_meanwhile", f"the application made, changed or dropped {name}")
        for name in sorted({name for name, _ in changed})
    )


def _unrelated(schema: Schema, plan: Plan) -> dict[str, object]:
    related = schema.naming(plan.touched)
    return {o.name: o.canonical for o in schema.objects if o.canonical not in related}


def _changed_around(plan: Plan, was: Schema, is_: Schema) -> set[_Key]:
    return {(kind, name) for kind, name, _, _ in was.naming(plan.touched) ^ is_.naming(plan.touched)}


def _changed_reads(plan: Plan, was: Schema, is_: Schema) -> set[_Key]:
    before, after = _by_key(was), _by_key(is_)
    read = what_is_read(plan, was)
    return {key for key in read if key not in after or after[key].canonical != before[key].canonical}


def _touched(plan: Plan) -> set[_Key]:
    return {("table", folded(table)) for table in plan.touched}


def what_is_read(plan: Plan, schema: Schema) -> set[tuple[str, str]]:
    """The tables and views, as kind and folded name, that a statement of the plan names, and those that such a view
    names."""
    there = {key: found for key, found in _by_key(schema).items() if found.kind in ("table", "view")}
    adopted = {word for table in plan.adopted for word in words(table.differing)}
    read = {key for key, found in there.items() if plan.names(found.name) or key[1] in adopted}
    new = read
    while new:
        named = {word for key in new if key[0] == "view" for word in words(there[key].sql)}
        new = {key for key in there.keys() - read if key[1] in named}
        read = read | new
    return read


def _by_key(schema: Schema) -> dict[_Key, SchemaObject]:
    return {(found.kind, folded(found.name)): found for found in schema.objects}


def _did(was_there: bool, is_there: bool) -> str:
    return "changed" if was_there and is_there else "dropped" if was_there else "made"


def _gone(found: SchemaObject, was: Schema, is_: Schema) -> tuple[str, str]:
    """What became of a table or view that is not there any more, and the way out."""
    if found.kind == "view":
        return f"dropped view {found.name}", "if that was not meant, bring the view back; then start again"
    new = [o for o in is_.objects if o.kind == "table" and was.table(o.name) is None]
    for table in new:
        if _named(table, found.name) == _named(found, found.name):
            way_out = "if that was not meant, give the table its name back; then start again"
            return f"renamed table {found.name} to {table.name}", way_out
    did = "dropped or renamed" if new else "dropped"
    way_out = "if that was not meant, bring the table back (the backup has its rows); then start again"
    return f"{did} table {found.name}", way_out


def _named(table: SchemaObject, name: str) -> str:
    """The table's text under that name; of a virtual one, which is none that can be split, as it is."""
    return canonical(table.sql if is_virtual(table.sql) else parse_create_table(table.sql).named(name).sql)
