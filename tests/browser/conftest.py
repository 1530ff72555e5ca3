"""One server, three runs and one browser for all that is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.surroundings import Runs, chromium, make_runs, prefect_server

WIDTH, HEIGHT = 1280, 900
expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the databases lie."""
    return tmp_path_factory.mktemp("databases")


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prefect_server(tmp_path_factory.mktemp("server") / "server.log") as address:
        yield address


@pytest.fixture(scope="session")
def runs(url: str, folder: Path) -> Runs:
    return make_runs(url, folder)


@pytest.fixture(scope="session")
def browser(runs: Runs) -> Iterator[Browser]:
    """Opened after the runs, which need this thread without Playwright's loop."""
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="session")
def desktop(browser: Browser) -> Iterator[BrowserContext]:
    """What all pages of the UI share: its programs are loaded once."""
    with browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}) as context:
        yield context


@pytest.fixture
def page(desktop: BrowserContext) -> Iterator[Page]:
    """An empty page."""
    with desktop.new_page() as opened:
        yield opened
