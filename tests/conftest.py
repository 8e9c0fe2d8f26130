"""What every test may ask for, and what every test must leave behind: nothing."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest
import structlog
from hypothesis import HealthCheck, settings

from edge_agent.store import ObjectStore
from edge_agent.store.directory import DirectoryStore
from edge_agent.store.s3 import S3Store
from tests.support import faults, wait
from tests.support import moto_server as moto

TESTS = Path(__file__).parent
SETTLE_SECONDS = 30.0
QUICK = ("contracts", "unit")
STORM_SECONDS = 3600.0  # for one test of a storm

# Examples do I/O on a small machine: time says nothing there. A fixture shared by all examples of a test is meant.
settings.register_profile(
    "edge-capture",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("edge-capture")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--storm", action="store_true", help="run the fault storms in full")
    parser.addoption("--acceptance", action="store_true", help="run the tests that boot a guest machine")


def pytest_configure(config: pytest.Config) -> None:
    wait.alone = bool(config.getoption("--storm"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests that boot a guest machine out of the ordinary suite; give storms the time they take.

    What takes long comes first: where processes share the files, none is left with the longest at the end.
    """
    items.sort(key=lambda item: any(part in QUICK for part in item.path.parts))
    if config.getoption("--storm"):
        for item in items:
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(STORM_SECONDS))
    if not config.getoption("--acceptance"):
        for item in items:
            if item.get_closest_marker("acceptance"):
                item.add_marker(pytest.mark.skip(reason="boots a guest machine: make acceptance"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Of several processes that share the tests, each hands its rows of the table to the one that prints it."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["faults"] = faults.ROWS


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    faults.ROWS.extend(tuple(row) for row in getattr(node, "workeroutput", {}).get("faults", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if faults.ROWS:
        terminalreporter.section("what was tried, and what was lost")
        for line in faults.table():
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Where a test sends the log lines of its process is no affair of the next one's."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(autouse=True)
def _nothing_left_running() -> Iterator[None]:
    """A test that leaks a thread or a child process fails."""
    threads = set(threading.enumerate())
    processes = set(_children())
    yield
    deadline = time.monotonic() + SETTLE_SECONDS
    leaked_threads = [thread for thread in threading.enumerate() if thread not in threads]
    for thread in leaked_threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    leaked_processes = [process for process in _children() if process not in processes]
    _, alive = psutil.wait_procs(leaked_processes, timeout=max(0.0, deadline - time.monotonic()))
    names = [thread.name for thread in leaked_threads if thread.is_alive()]
    commands = [command for process in alive if (command := _command(process))]
    assert not names, f"threads still running after the test: {names}"
    assert not commands, f"processes still running after the test: {commands}"


def _command(process: psutil.Process) -> str:
    """Empty when the process has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _children() -> list[psutil.Process]:
    """Processes below this one, but for servers meant to run, what runs below them, and multiprocessing's helper."""
    children = []
    for process in psutil.Process().children(recursive=True):
        try:
            meant = process.pid in moto.running or any(above.pid in moto.running for above in process.parents())
            if not meant and not any("resource_tracker" in part for part in process.cmdline()):
                children.append(process)
        except psutil.NoSuchProcess:
            continue
    return children


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    """The URL of a moto server that all tests share: use names of your own in it."""
    with moto.moto_server() as url:
        yield url


@pytest.fixture
def aws_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials that nobody issued, and nothing of the machine's own AWS configuration."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-aws-credentials"))


@pytest.fixture
def s3_store(moto_endpoint: str, aws_environment: None) -> Iterator[S3Store]:
    """A store on a new, empty bucket."""
    store = S3Store(f"bucket-{uuid.uuid4().hex}", endpoint_url=moto_endpoint, region="us-east-1")
    store.client.create_bucket(Bucket=store.name)
    yield store
    store.close()


@pytest.fixture
def directory_store(tmp_path: Path) -> DirectoryStore:
    """A store on a new, empty directory."""
    root = tmp_path / "store"
    root.mkdir()
    return DirectoryStore(root)


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    """An empty store of each kind in turn."""
    found: ObjectStore = request.getfixturevalue(f"{request.param}_store")
    return found


@pytest.fixture(scope="session")
def footage() -> Path:
    """The directory of short real videos, named by class."""
    return TESTS / "footage"


@pytest.fixture(scope="session")
def yellow_box(footage: Path) -> Path:
    """A short real video of class ``yellow_box``."""
    return footage / "yellow_box_1.mp4"


@pytest.fixture(scope="session")
def black_cup() -> Path:
    """The video the demo ships with, of class ``black_cup``."""
    return TESTS.parent / "edge_agent" / "demo" / "black_cup_1.mp4"
