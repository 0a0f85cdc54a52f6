"""A device as its users have it: `outrigger run` in a process of its own, its tree mounted, real programs around it.

Nothing here touches the mount from the process that serves it, and every call has a time limit: a test may fail, it can't hang.
"""

import contextlib
import json
import os
import pathlib
import select
import subprocess
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(os.environ.get("OUTRIGGER_PROGRAMS", ROOT / ".build/release"))
OUTRIGGER = PROGRAMS / "outrigger"
AGENT = PROGRAMS / "outrigger-agent"
FIRMWARE = ROOT / "build/firmware/offload-manager.elf"
WORKLOADS = ROOT / "build/workloads"
BDF = "0000:01:00.0"
LIMIT = 120


def run(*command, check=True, limit=LIMIT, **options):
    """Runs a program to its end; its output as text."""
    result = subprocess.run(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        text=True, timeout=limit, errors="replace", **options)
    if check:
        assert result.returncode == 0, f"{command}: exit {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result


class Device:
    """One running device and its mount."""

    def __init__(self, *options, firmware=FIRMWARE, environment=None):
        self.folder = tempfile.TemporaryDirectory(prefix="outrigger-test-")
        self.mount = pathlib.Path(self.folder.name) / "mnt"
        self.mount.mkdir()
        self.log = pathlib.Path(self.folder.name) / "log"
        ready = pathlib.Path(self.folder.name) / "ready"
        os.mkfifo(ready)
        # Opened for both directions, so that neither side waits for the other.
        descriptor = os.open(ready, os.O_RDWR | os.O_NONBLOCK)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [str(OUTRIGGER), "run", "--mount", str(self.mount), "--firmware", str(firmware), "--ready", str(ready), *map(str, options)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment)
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        poller.register(os.pidfd_open(self.process.pid), select.POLLIN)
        events = poller.poll(LIMIT * 1000)
        os.close(descriptor)
        if not any(fd == descriptor for fd, _ in events):
            self.close()
            raise AssertionError(f"the device did not start: {self.output()}")

    def output(self):
        return self.log.read_text(errors="replace")

    @property
    def pci(self):
        return self.mount / "sys/bus/pci/devices"

    @property
    def function(self):
        """The physical function's folder."""
        return self.pci / BDF

    @property
    def debug(self):
        return self.mount / "sys/kernel/debug/outrigger" / BDF

    @property
    def files(self):
        return self.mount / "dev/outrigger" / BDF

    def agent(self, command, *arguments, **options):
        return run(AGENT, *command.split(), "--device", self.function, *arguments, **options)

    def stats(self):
        return json.loads(self.agent("stats", "--json").stdout)

    def lspci(self, *arguments):
        return run("lspci", "-A", "linux-sysfs", "-O", f"sysfs.path={self.mount}/sys/bus/pci", *arguments)

    def setpci(self, *arguments):
        return run("setpci", "-A", "linux-sysfs", "-O", f"sysfs.path={self.mount}/sys/bus/pci", *arguments)

    def bar(self, number=0, function=BDF):
        """A BAR file, opened: use os.pread and os.pwrite."""
        return contextlib.closing(_Descriptor(os.open(self.pci / function / f"resource{number}", os.O_RDWR)))

    def close(self):
        """Ends the device as Ctrl-C does; the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(30)
        finally:
            # After a failure the kernel may still have the dead mount.
            subprocess.run(["fusermount3", "-u", "-z", str(self.mount)], stderr=subprocess.DEVNULL, timeout=30, check=False)
            if self.process.poll() is not None:
                self.cleanup()

    def cleanup(self):
        with contextlib.suppress(OSError):
            self.mount.rmdir()


class _Descriptor(int):
    def close(self):
        os.close(self)


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
    assert device.close() == 0, device.output()
