"""The migration, in the order in which it happens."""

if __name__ == "__main__":
    import sys

    # Above the imports: whatever only reads or refuses is answered before Prefect, two seconds of imports, is loaded.
    from flows.command_line import main

    sys.exit(main(sys.argv[1:]))

from typing import Any

from prefect import flow

from flows.ending import Run
from flows.one_at_a_time import one_at_a_time
from flows.recover import recover_after_crash
from flows.request import MigrationRequest
from migrator.journal import read_journal
from migrator.journal_mode import kept_open
from migrator.ltmc import LTMC
from migrator.report import MIGRATED, PLANNED, UP_TO_DATE
from tasks.promote import promote, remove_old, verify_live
from tasks.protect import back_up, copy_off_machine, inspect, look_ahead, preflight, recover
from tasks.prove import check_constraints, check_performance, copy_for_tools, validate_tool_server, validate_tools
from tasks.rehearse import add_column, convert_data, create_indexes, drop_indexes, rebuild_table, stage
from tasks.report import report


@flow(
    flow_run_name="migrate {request.database}",
    on_crashed=[recover_after_crash],
    on_cancellation=[recover_after_crash],
    persist_result=False,
)
def migrate(request: MigrationRequest) -> Any:
    """Migrates one SQLite database with proof, or leaves it as it was; returns the run's report."""
    run = Run(request)
    with one_at_a_time(request.real_database, run):
        try:
            if not request.dry_run and read_journal(request.real_database):
                recover(request.real_database, LTMC)
            live = run.live = preflight(request.database, LTMC, request.preflight_options)
            if live.plan is None:
                return run.end(UP_TO_DATE)
            if request.dry_run:
                look_ahead(live)
                return run.end(PLANNED)

            backup = back_up(live, request.max_lock_ms)
            with kept_open(live.database):
                inspection = inspect(backup)
                candidate = stage(inspection)
                for table in inspection.plan.tables:
                    for column in table.added:
                        candidate = add_column(candidate, table.table, column)
                    if table.kind == "rebuild":
                        candidate = convert_data(candidate, table)
                    if table.kind != "indexes":
                        candidate = rebuild_table(candidate, table)
                    elif table.drops:
                        candidate = drop_indexes(candidate, table)
                candidate = create_indexes(candidate)

                scratch = copy_for_tools(candidate)
                tools = validate_tools(scratch, live.probes)
                check_constraints(scratch)
                performance = check_performance(scratch, live.probes, tools)
                if request.tool_server is not None:
                    validate_tool_server(scratch, request.tool_server, LTMC.server_tools)
                report("the rehearsal")

                promoted = promote(candidate, performance, request.max_lock_ms)
                verify_live(promoted)
                if promoted.strategy == "online":
                    remove_old(promoted)
            if request.copy_to is not None:
                copy_off_machine(backup, request.copy_to)
            return run.end(MIGRATED)
        except BaseException as error:
            return run.end_badly(error)
