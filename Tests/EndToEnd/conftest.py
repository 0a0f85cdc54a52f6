"""Fixtures: how a test gets a device."""

import contextlib
import os
import signal
import subprocess
import time

import pytest

from harness import AGENT, FIRMWARE, LIMIT, OUTRIGGER, Device, run


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
    with Device("--vfs", "4") as device:
        yield device


@pytest.fixture
def terminal(tmp_path):
    """A terminal, of 100 columns and 30 rows unless it is started with others."""
    socket = tmp_path / "tmux"

    def tmux(*words):
        return run("tmux", "-S", socket, "-f", "/dev/null", *words, env={**os.environ, "LC_ALL": "C.UTF-8", "TERM": "xterm"}).stdout

    class Terminal:
        def start(self, *words, width=100, height=30):
            command = " ".join(map(str, words))
            tmux("new-session", "-d", "-x", str(width), "-y", str(height), "-s", "test", f"sh -c 'echo before; {command}; exec sh'")

        def type(self, *keys):
            tmux("send-keys", "-t", "test", *keys)

        def resize(self, width, height):
            tmux("resize-window", "-t", "test", "-x", str(width), "-y", str(height))

        @property
        def screen(self):
            return tmux("capture-pane", "-p", "-t", "test")

        def wait(self, holds, what):
            """The screen as soon as it is as it should be."""
            end = time.monotonic() + 60
            while not holds(screen := self.screen):
                assert time.monotonic() < end, f"{what}:\n{screen}"
            return screen

        def until(self, text):
            return self.wait(lambda screen: text in screen, f"{text!r} is not on the screen")

    yield Terminal()
    subprocess.run(["tmux", "-S", socket, "kill-server"], stderr=subprocess.DEVNULL, timeout=30)


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
