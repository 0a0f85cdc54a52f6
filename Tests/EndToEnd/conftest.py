"""Fixtures: how a test gets a device."""

import contextlib
import os
import signal

import pytest

from harness import AGENT, FIRMWARE, LIMIT, OUTRIGGER, Device


@pytest.fixture(scope="session")
def programs():
    for path in (OUTRIGGER, AGENT, FIRMWARE):
        assert path.exists(), f"{path} is missing: tools/test builds it"


@pytest.fixture
def start(programs):
    """Starts devices that end with the test."""
    with contextlib.ExitStack() as stack:

        def start(*options, **named):
            device = Device(*options, **named)
            stack.callback(device.close)
            return device

        yield start


@pytest.fixture(scope="module")
def device(programs):
    """A device with four virtual functions that the tests of a module share; each leaves it as it was."""
    device = Device("--vfs", "4")
    yield device
    code, output = device.process.poll(), device.output()
    assert device.close() == 0 and code is None, output


@pytest.fixture(autouse=True)
def limit():
    """Ends a test that hangs in the kernel, so that its devices still end and unmount."""

    def expired(*_):
        raise TimeoutError(f"the test took more than {2 * LIMIT} seconds")

    previous = signal.signal(signal.SIGALRM, expired)
    signal.alarm(2 * LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    """In continuous integration everything that is needed is installed: a test that is skipped there has failed."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CI"):
        report.outcome, report.longrepr = "failed", f"skipped in continuous integration: {report.longrepr}"
