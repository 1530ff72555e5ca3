"""What people see of a run: in Prefect's UI, and in the report beside the backup."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from migrator.ltmc import LTMC
from tests.browser.surroundings import Runs, Seen, await_graph
from tests.pipeline.runs import ADDED

pytestmark = pytest.mark.system("chromium")

TOOLS = [f"tool {probe.tool}" for probe in LTMC.probes]
OF_A_RUN = ["latency", "migration", "plan", "tool-changes", "tools"]
TOO_WIDE = """elements => elements.filter(
    element => !element.closest('.scroll table') && element.getBoundingClientRect().right > innerWidth
).map(element => element.outerHTML.slice(0, 80))"""


def field(page: Page, name: str) -> Locator:
    return page.get_by_role("main").get_by_text(f"{name} (Optional)", exact=True)


def task_runs(page: Page, seen: Seen, named: str) -> Locator:
    """The links to the first task runs whose names hold `named`."""
    page.goto(f"{seen.page}?tab=TaskRuns")
    page.get_by_label("Search by run name").fill(named)
    return page.get_by_role("tabpanel").locator("a[href*='/runs/task-run/']")


def logs(page: Page, seen: Seen, level: str) -> Locator:
    page.goto(f"{seen.page}?tab=Logs")
    page.get_by_label("log level filter").click()
    page.get_by_role("option", name=level).click()
    return page.get_by_role("log").get_by_role("listitem")


def test_the_run_form_has_every_field_with_what_it_means(page: Page, runs: Runs) -> None:
    page.goto(runs.form)
    expect(page.get_by_text("Migrate one SQLite database, or show what that would do.")).to_be_visible()
    for name, meaning in (
        ("Database", "The database file."),
        ("To version", "The schema version to reach; 0000 undoes everything."),
        ("Longest lock (ms)", "How many milliseconds the application's writes may have to wait."),
        ("Tool server", "The command that starts the application's tool server"),
        ("Copy to", "After the migration, copy its backup to this URL"),
    ):
        expect(field(page, name)).to_be_visible()
        expect(page.get_by_text(meaning)).to_be_visible()
    expect(page.get_by_label("Longest lock (ms)")).to_have_value("250")
    expect(page.get_by_role("switch", name="Dry run")).not_to_be_checked()


def test_the_run_form_says_which_value_is_out_of_bounds_and_starts_nothing(page: Page, runs: Runs) -> None:
    page.goto(runs.form)
    page.get_by_label("Longest lock (ms)").fill("0")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_text("0 is less than or equal to the minimum of 0", exact=True)).to_be_visible()
    assert page.url == runs.form


def test_the_page_of_a_run_has_its_state_its_task_runs_and_its_graph(page: Page, runs: Runs) -> None:
    page.goto(runs.migrated.page)
    main = page.get_by_role("main")
    expect(main.get_by_text(f"migrate {runs.migrated.database}", exact=True)).to_be_visible()
    expect(main.get_by_text("Completed", exact=True).first).to_be_visible()
    expect(main.get_by_text("48 Task runs")).to_be_visible()
    await_graph(page)


def test_each_tool_is_a_task_run_of_its_own(page: Page, runs: Runs) -> None:
    found = task_runs(page, runs.migrated, "tool ")
    page.get_by_label("Items per page").click()
    page.get_by_role("option", name="50").click()
    expect(found).to_have_count(28)
    assert sorted(found.all_inner_texts()) == sorted(TOOLS)


def test_each_added_column_is_a_task_run_of_its_own(page: Page, runs: Runs) -> None:
    found = task_runs(page, runs.migrated, "add column")
    expect(found).to_have_count(6)
    assert sorted(found.all_inner_texts()) == sorted(f"add column CodePatterns.{column}" for column in ADDED)


def test_a_good_run_logs_nothing_above_info(page: Page, runs: Runs) -> None:
    expect(logs(page, runs.migrated, "Info and above").nth(1)).to_contain_text(
        f"INFOpreflight {runs.migrated.database} in "
    )
    page.get_by_label("log sort order").click()
    page.get_by_role("option", name="Newest to oldest").click()
    lines = page.get_by_role("log").get_by_role("listitem")
    expect(lines.filter(has_text=re.compile(r"^INFOpromote in [\d.]+ s, 1,000 rows"))).to_have_count(1)
    page.get_by_label("log level filter").click()
    page.get_by_role("option", name="Warning and above").click()
    expect(page.get_by_text("No logs")).to_be_visible()


def test_the_error_of_a_failed_run_stands_in_its_logs_as_one(page: Page, runs: Runs) -> None:
    said = logs(page, runs.failed, "Error and above").filter(has_text="promote failed: ")
    expect(said).to_have_count(1)
    expect(said).to_contain_text("ERROR")
    expect(said).to_contain_text(f"{runs.failed.database} is as before; the backup is ")


def test_the_page_of_a_failed_run_has_its_restore(page: Page, runs: Runs) -> None:
    restored = task_runs(page, runs.failed, "restore")
    expect(restored).to_have_text(["restore (PromotionError)"])
    expect(page.get_by_role("main").get_by_text("Failed", exact=True).first).to_be_visible()
    expect(page.get_by_role("tabpanel").get_by_role("listitem").filter(has_text="restore").last).to_be_visible()


def test_a_run_lists_its_artifacts(page: Page, runs: Runs) -> None:
    page.goto(f"{runs.migrated.page}?tab=Artifacts")
    for key in OF_A_RUN:
        expect(page.get_by_role("tabpanel").get_by_text(key, exact=True)).to_be_visible()
    assert sorted(a["key"] for a in runs.migrated.artifacts()) == OF_A_RUN
    assert sorted(a["key"] for a in runs.online.artifacts()) == sorted([*OF_A_RUN, "promotion"])


def test_the_summary_says_what_became_of_the_database(page: Page, runs: Runs) -> None:
    page.goto(runs.migrated.page_of("migration"))
    expect(page.get_by_role("heading", name="migrated", exact=True)).to_be_visible()
    for cells in (["version", "0000 -> 0001"], ["tools", "20 passed (3 of them failed before), 0 failed, 8 skipped"]):
        expect(page.get_by_role("row").filter(has_text=cells[0]).first.get_by_role("cell")).to_have_text(cells)
    expect(page.get_by_text("no tool uses index idx_codepatterns_result")).to_be_visible()


def test_the_summary_of_a_failed_run_says_that_the_database_is_as_before(page: Page, runs: Runs) -> None:
    page.goto(runs.failed.page_of("migration"))
    expect(page.get_by_role("heading", name="restored", exact=True)).to_be_visible()
    expect(page.get_by_role("code").filter(has_text="promote failed: ")).to_contain_text("is as before")


def test_the_tools_stand_in_a_table_those_first_that_changed(page: Page, runs: Runs) -> None:
    page.goto(runs.migrated.page_of("tools"))
    expect(page.get_by_role("columnheader")).to_have_text(
        ["tool", "before", "after", "p50 ms", "p95 ms", "before ms", "reason"]
    )
    first = page.get_by_role("row").nth(1).get_by_role("cell")
    expect(first.nth(0)).to_have_text("log_code_attempt")
    expect(first.nth(1)).to_have_text("failed")
    expect(first.nth(2)).to_have_text("passed")
    expect(first.nth(6)).to_have_text("failed before: table CodePatterns has no column named function_name")
    expect(page.get_by_text("Page 1 of 3")).to_be_visible()


def test_the_steps_that_repaired_tools_stand_in_a_table(page: Page, runs: Runs) -> None:
    page.goto(runs.migrated.page_of("tool-changes"))
    works = page.get_by_role("row").filter(has_text="works")
    expect(works).to_have_count(3)
    expect(works.filter(has_text="add column CodePatterns.vector_id")).to_have_count(3)


def test_the_plan_says_what_happens_to_the_table_and_how_long_that_locks(page: Page, runs: Runs) -> None:
    page.goto(runs.migrated.page_of("plan"))
    shown = page.get_by_test_id("markdown-display")
    expect(shown.get_by_role("heading", name="CodePatterns is made anew")).to_be_visible()
    expect(shown.get_by_text(re.compile(r"The rehearsal predicted [\d.]+ ms of write lock"))).to_be_visible()
    expect(shown.get_by_text("ALTER TABLE cannot add a UNIQUE column: vector_id")).to_be_visible()
    expect(shown.locator("pre")).to_contain_text('CREATE TABLE "_mig_CodePatterns"')


@pytest.mark.parametrize("older", [False, True])
def test_the_chart_of_the_latencies_is_a_picture_on_the_page(page: Page, runs: Runs, older: bool) -> None:
    page.goto(runs.migrated.page_of("latency", older))
    chart = page.get_by_alt_text("p95 of each tool before and after")
    expect(chart).to_be_visible()
    assert chart.evaluate("chart => chart.decode().then(() => chart.naturalWidth)") > 0
    size = chart.bounding_box()
    assert size is not None and size["width"] > 400 and size["height"] > size["width"]


def test_a_long_promotion_has_a_bar_that_is_full_at_its_end(page: Page, runs: Runs) -> None:
    page.goto(runs.online.page_of("promotion"))
    expect(page.get_by_text("1,000 of about 1,000 rows", exact=True)).to_be_visible()
    expect(page.get_by_text("Progress: 100%")).to_be_visible()


def report_of(seen: Seen) -> str:
    backup = seen.ended.report.backup
    assert backup is not None
    return backup.path.with_name("report.html").as_uri()


@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_report_fits_its_window_and_has_its_charts_without_network_and_script(
    browser: Browser, runs: Runs, width: int, colours: str
) -> None:
    with browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=colours, java_script_enabled=False, offline=True
    ) as context:
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report_of(runs.migrated))
        assert asked == [page.url]
        assert page.locator("svg.pygal-chart").count() == 2
        for chart in page.locator("svg.pygal-chart").all():
            drawn = chart.bounding_box()
            assert drawn is not None and drawn["width"] > 0.8 * min(width, 576) and drawn["height"] > 80
        assert page.locator("*").evaluate_all(TOO_WIDE) == []
