"""A Prefect server with its UI, runs that it has recorded, and the system's Chromium to look at them."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, FloatRect, Page, sync_playwright
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments.runner import RunnerDeployment

from flows.server import OWN_SERVER_SETTINGS
from migrator import promotion
from migrator.ltmc import LTMC
from tests.pipeline.runs import Ended, on_server, run

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
# The UI asks prefect.io for news: no test may depend on the network.
FLAGS += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]


@contextlib.contextmanager
def prefect_server(log: Path) -> Iterator[str]:
    """The address of a server as an operator starts it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as written:
        child = subprocess.Popen(
            command,
            env={**os.environ, **OWN_SERVER_SETTINGS, "PREFECT_UI_API_URL": f"{url}/api"},
            stdout=written,
            stderr=written,
            start_new_session=True,
        )
    try:
        while not _answers(f"{url}/api/health"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"the server ended with {child.wait(0.1)}:\n{log.read_text()}")
        yield url
    finally:
        child.terminate()
        try:
            child.wait(PATIENCE_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException):
        return False


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with an empty profile. Until it is closed Prefect's own client cannot be used in this thread: it would
    take Playwright's loop for its caller's."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def await_graph(page: Page) -> None:
    """Returns once the graph on the page of a flow run has task runs that are completed; it is drawn, not text."""
    graph = page.get_by_role("main").locator("canvas").first
    graph.wait_for()
    drawn = graph.bounding_box()
    assert drawn is not None and drawn["width"] > 900
    # Without the bar of the flow run at its foot.
    clip = FloatRect(x=drawn["x"], y=drawn["y"], width=drawn["width"], height=0.9 * drawn["height"])
    patience = time.monotonic() + PATIENCE_S
    while _green_points(page, page.screenshot(clip=clip)) < 500:
        assert time.monotonic() < patience, "the graph has no completed task runs"


def _green_points(page: Page, picture: bytes) -> int:
    """How many points of `picture`, a PNG, have the colour of what is completed."""
    return int(
        page.evaluate(
            """async address => {
            const picture = new Image()
            picture.src = address
            await picture.decode()
            const canvas = new OffscreenCanvas(picture.width, picture.height)
            const ink = canvas.getContext('2d')
            ink.drawImage(picture, 0, 0)
            const points = ink.getImageData(0, 0, canvas.width, canvas.height).data
            let green = 0
            for (let n = 0; n < points.length; n += 4)
                if (points[n + 1] > points[n] + 60 && points[n + 1] > points[n + 2] + 40) green += 1
            return green
        }""",
            f"data:image/png;base64,{base64.b64encode(picture).decode()}",
        )
    )


@dataclass(frozen=True)
class Seen:
    """A run as the UI and the API show it."""

    ended: Ended
    database: Path
    url: str

    @property
    def flow_run_id(self) -> str:
        return str(self.ended.report.flow_run_id)

    @property
    def page(self) -> str:
        return f"{self.url}/v2/runs/flow-run/{self.flow_run_id}"

    def artifact(self, key: str) -> dict[str, Any]:
        """The run's artifact `key`."""
        (found,) = [a for a in self.artifacts() if a["key"] == key]
        return found

    def artifacts(self) -> list[dict[str, Any]]:
        """All that have a key, which are those that the UI lists."""
        chosen = {"flow_run_id": {"any_": [self.flow_run_id]}, "key": {"exists_": True}}
        request = urllib.request.Request(
            f"{self.url}/api/artifacts/filter",
            json.dumps({"artifacts": chosen}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return list(json.load(answer))

    def page_of(self, key: str, older: bool = False) -> str:
        """Where the UI, or the older UI, shows the artifact."""
        return f"{self.url}{'' if older else '/v2'}/artifacts/artifact/{self.artifact(key)['id']}"


@dataclass(frozen=True)
class Runs:
    """One run of each kind; `form` is where the UI asks for the next."""

    migrated: Seen
    online: Seen
    failed: Seen
    form: str


def make_runs(url: str, folder: Path) -> Runs:
    """Three databases migrated in `folder`: at once, online, and one whose application changes its schema meanwhile."""
    with on_server(f"{url}/api"), pytest.MonkeyPatch.context() as patched:
        migrated = _migrated(url, folder / "ltmc.db", 1000)
        patched.setattr("tasks.prove.MEMORY_S", 0.0)
        patched.setattr("tasks.artifacts._SHOWN_EVERY_S", 0.0)
        online = _migrated(url, folder / "large.db", 1000, max_lock_ms=0.001)
        with _changed_before_promotion(folder / "changing.db"):
            failed = _migrated(url, folder / "changing.db", 200)
        return Runs(migrated, online, failed, f"{url}/v2/deployments/deployment/{_deployed()}/run")


def _migrated(url: str, database: Path, rows: int, **options: Any) -> Seen:
    LTMC.make_demo(database, rows)
    # One migration: what is expected of it does not change with those that come later.
    ended = run(database, to=1, **options)
    ended.task_runs()
    return Seen(ended, database, url)


@contextlib.contextmanager
def _changed_before_promotion(database: Path) -> Iterator[None]:
    promote = promotion.promote

    def after_a_change(*arguments: Any) -> Any:
        with contextlib.closing(sqlite3.connect(database)) as application:
            application.execute("ALTER TABLE CodePatterns ADD COLUMN rating INTEGER")
        return promote(*arguments)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(promotion, "promote", after_a_change)
        yield


def _deployed() -> str:
    """The id of the deployment `migrate` as prefect.yaml describes it."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    (described,) = [d for d in deployments if d["name"] == "migrate"]
    pool = described["work_pool"]["name"]
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    deployment = RunnerDeployment.from_entrypoint(
        described["entrypoint"], name=described["name"], parameters=described["parameters"], work_pool_name=pool
    )
    return str(deployment.apply())
