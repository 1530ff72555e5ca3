"""The pictures of the documentation, taken anew: `make screenshots`. Its name keeps it out of the tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.surroundings import ROOT, Runs, await_graph
from tests.browser.test_what_people_see import report_of

FOLDER = Path("/srv/ltmc")
"""A path that says nothing of the machine; made for the pictures, and removed."""
PICTURES = ROOT / "docs" / "screenshots"
LARGEST_BYTES = 250_000


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    FOLDER.mkdir()
    yield FOLDER
    shutil.rmtree(FOLDER)


def keep(page: Page, name: str) -> None:
    """Afterwards the picture is there, as large as the window, of a page on which nothing moves any more."""
    page.wait_for_load_state("networkidle")
    page.mouse.move(0, 0)
    before, picture = b"", page.screenshot(animations="disabled")
    while picture != before:
        before, picture = picture, page.screenshot(animations="disabled")
    assert len(picture) < LARGEST_BYTES
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / f"{name}.png").write_bytes(picture)


def test_run_form(page: Page, runs: Runs) -> None:
    page.goto(runs.form)
    page.get_by_role("textbox", name="Run Name").fill("migrate tonight")
    page.get_by_role("textbox", name="Database").fill(str(runs.migrated.database))
    keep(page, "run-form")


def test_run(page: Page, runs: Runs) -> None:
    page.goto(f"{runs.migrated.page}?tab=TaskRuns")
    page.get_by_role("tabpanel").locator("a[href*='/runs/task-run/']").first.wait_for()
    await_graph(page)
    keep(page, "run")


def test_failed_run(page: Page, runs: Runs) -> None:
    page.goto(f"{runs.failed.page}?tab=TaskRuns")
    page.get_by_text("restore (PromotionError)").wait_for()
    await_graph(page)
    keep(page, "failed-run")


def test_graph(browser: Browser, runs: Runs) -> None:
    """What waits for what, with the names, over the whole of a large window."""
    with browser.new_context(viewport={"width": 1440, "height": 900}, device_scale_factor=2) as context:
        page = context.new_page()
        page.goto(runs.migrated.page)
        await_graph(page)
        settings = page.locator("[aria-haspopup=dialog]:visible")
        # No name tells the button that enlarges the graph; it stands before the settings.
        settings.last.locator("xpath=preceding-sibling::button[1]").click()
        settings.last.click()
        page.get_by_role("radio", name="Dependency grid").click()
        settings.last.click()
        page.get_by_role("dialog").wait_for(state="detached")
        keep(page, "graph")


@pytest.mark.parametrize("key", ["migration", "tools", "plan", "latency"])
def test_artifact(page: Page, runs: Runs, key: str) -> None:
    page.set_viewport_size({"width": 1440, "height": 1100})
    page.goto(runs.migrated.page_of(key))
    page.get_by_role("button", name="Show Raw Data").wait_for()
    keep(page, f"artifact-{key}")


@pytest.mark.parametrize(("name", "width", "height"), [("report", 1280, 900), ("report-phone", 375, 800)])
def test_report(browser: Browser, runs: Runs, name: str, width: int, height: int) -> None:
    with browser.new_context(viewport={"width": width, "height": height}) as context:
        page = context.new_page()
        page.goto(report_of(runs.migrated))
        if name == "report-phone":
            page.get_by_role("heading", name="Latency before and after").evaluate("it => it.scrollIntoView()")
        keep(page, name)
