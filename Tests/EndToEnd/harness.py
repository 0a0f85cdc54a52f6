"""What the end-to-end tests share: a device as its users have it, real programs around it, and its files.

`outrigger run` is a process of its own: nothing here touches a mount from the process that serves it. Every program has a time
limit, and what waits for the device waits for so much device time: a test may fail, it can't hang.
"""

import contextlib
import errno
import functools
import json
import os
import pathlib
import select
import subprocess
import tempfile

from mounts import unmount

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(os.environ.get("OUTRIGGER_PROGRAMS", ROOT / ".build/release"))
OUTRIGGER = PROGRAMS / "outrigger"
AGENT = PROGRAMS / "outrigger-agent"
FIRMWARE = ROOT / "build/firmware/offload-manager.elf"
WORKLOADS = ROOT / "build/workloads"
GOLDEN = ROOT / "Tests/EndToEnd/golden"
BDF = "0000:01:00.0"
# Seconds that a program may take.
LIMIT = 120


def run(*command, check=True, limit=LIMIT, **options):
    """Runs a program to its end; its output as text."""
    result = subprocess.run(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        text=True, timeout=limit, errors="replace", **options)
    if check:
        assert result.returncode == 0, f"{command}: exit {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result


def complaint(*command, lines=1, **options):
    """What a program that must fail says: so many lines on standard error, nothing on standard output, an exit code and no signal."""
    result = run(*command, check=False, limit=60, **options)
    assert result.returncode > 0, f"{command}: exit {result.returncode}\n{result.stdout}\n{result.stderr}"
    said = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(said) == lines and result.stdout == "", f"{command}\n{result.stdout}\n{result.stderr}"
    return "\n".join(said)


def execute(device, *command, **options):
    """Runs a program in the device's world; `device` has a `mount`."""
    return run(OUTRIGGER, "exec", "--mount", device.mount, "--", *command, **options)


def compare(name: str, text: str):
    """Compares with a golden file; OUTRIGGER_REFRESH=1 writes it anew."""
    path = GOLDEN / name
    if os.environ.get("OUTRIGGER_REFRESH"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), f"{path.relative_to(ROOT)} differs; OUTRIGGER_REFRESH=1 tools/test --filter golden renews it"


class Raises:
    """Expects an OSError with this number."""

    def __init__(self, number: int):
        self.number = number

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        assert isinstance(error, OSError), f"expected {errno.errorcode[self.number]}, found {error!r}"
        assert error.errno == self.number, f"expected {errno.errorcode[self.number]}, found {errno.errorcode[error.errno]}"
        return True


class Opened:
    """A raw file descriptor."""

    def __init__(self, path: pathlib.Path, flags: int = os.O_RDWR):
        self.descriptor = os.open(path, flags)

    def __enter__(self) -> int:
        return self.descriptor

    def __exit__(self, *_):
        os.close(self.descriptor)


@functools.cache
def register_map(block: str) -> dict[str, tuple[int, int]]:
    """Offset in its BAR and bytes of each of a block's registers, as `outrigger regs` has them."""
    registers = json.loads(run(OUTRIGGER, "regs", block, "--json").stdout)
    return {register["name"].split(".", 1)[1]: (int(register["address"], 16), register["width"] // 8) for register in registers}


class Registers:
    """The registers of one block in a function's BAR0, by their names."""

    def __init__(self, function: pathlib.Path, block: str):
        self.map = register_map(block)
        self.descriptor = os.open(function / "resource0", os.O_RDWR)

    def __getitem__(self, name: str) -> int:
        offset, size = self.map[name]
        return int.from_bytes(os.pread(self.descriptor, size, offset), "little")

    def __setitem__(self, name: str, value: int) -> None:
        offset, size = self.map[name]
        os.pwrite(self.descriptor, value.to_bytes(size, "little"), offset)

    def close(self) -> None:
        os.close(self.descriptor)


class Device:
    """One running device and its mount. `options` are those of `outrigger run`, `machine` the text of a machine description; without
    `firmware` the options say what it starts with."""

    def __init__(self, *options, pace="realtime", firmware=FIRMWARE, machine=None, mount=None):
        self.pace = pace
        self.folder = tempfile.TemporaryDirectory(prefix="outrigger-test-")
        folder = pathlib.Path(self.folder.name)
        self.mount = mount or folder / "mnt"
        if mount is None:
            self.mount.mkdir()
        self.log = folder / "log"
        if machine is not None:
            (folder / "machine.yaml").write_text(machine + "\n")
            options += ("--machine", folder / "machine.yaml")
        if firmware is not None:
            options += ("--firmware", firmware)
        coverage = os.environ.get("OUTRIGGER_COVERAGE")
        if coverage and not {"--coverage", "--restore"} & set(map(str, options)):
            # One file for each device; tools/test merges them.
            options += ("--coverage", pathlib.Path(coverage) / f"{folder.name}.coverage")
        ready = folder / "ready"
        os.mkfifo(ready)
        self.resources = contextlib.ExitStack()
        # Opened for both directions, so that neither side waits for the other.
        with Opened(ready, os.O_RDWR | os.O_NONBLOCK) as pipe, self.log.open("w") as log:
            # setpriv: however the tests end, the device unmounts and ends with them.
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", OUTRIGGER, "run", "--mount", self.mount, "--ready", ready, "--pace", pace,
                 *map(str, options)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
            poller = select.poll()
            poller.register(pipe, select.POLLIN)
            process = os.pidfd_open(self.process.pid)
            poller.register(process, select.POLLIN)
            events = [descriptor for descriptor, _ in poller.poll(LIMIT * 1000)]
            os.close(process)
        if pipe not in events:
            output = self.output()
            self.close()
            raise AssertionError(f"the device did not start: {output}")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        """A device that several tests have used is still there, and ends well."""
        has_ended = self.process.poll() is not None
        code = self.close()
        assert kind is not None or code == 0 and not has_ended, self.output()

    #: What the device had said when it was closed.
    said = ""

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else self.said

    # Its files

    @property
    def pci(self) -> pathlib.Path:
        return self.mount / "sys/bus/pci/devices"

    @property
    def function(self) -> pathlib.Path:
        """The physical function's folder."""
        return self.pci / BDF

    def virtual(self, number: int) -> pathlib.Path:
        """The folder of virtual function 1...; it must exist."""
        return (self.function / f"virtfn{number - 1}").resolve(strict=True)

    @property
    def debug(self) -> pathlib.Path:
        return self.mount / "sys/kernel/debug/outrigger" / BDF

    @property
    def files(self) -> pathlib.Path:
        return self.mount / "dev/outrigger" / BDF

    def uio(self, function: pathlib.Path) -> pathlib.Path:
        """A function's UIO node."""
        (name,) = os.listdir(function / "uio")
        return self.mount / "dev" / name

    @functools.cached_property
    def hostif(self) -> Registers:
        """The registers of the device's management."""
        registers = Registers(self.function, "HOSTIF")
        self.resources.callback(registers.close)
        return registers

    def forget(self) -> None:
        """Its functions are new ones: what was open leads nowhere."""
        self.resources.close()
        self.__dict__.pop("hostif", None)

    def set_virtual_functions(self, count: int) -> None:
        numvfs = self.function / "sriov_numvfs"
        if int(numvfs.read_text()) not in (0, count):
            numvfs.write_text("0\n")
        numvfs.write_text(f"{count}\n")

    def metric(self, name: str, label: str = "") -> int:
        """The sum of a metric over its samples, or over those with this label."""
        lines = (self.debug / "metrics").read_text().splitlines()
        samples = [line.rsplit(" ", 1) for line in lines if line.startswith((name + "{", name + " "))]
        assert samples, f"no metric {name}"
        return sum(int(value) for key, value in samples if label in key)

    # Its time

    @property
    def now(self) -> int:
        """The present device cycle."""
        cycle = self.hostif["TIME"]
        # As of every card, all ones say that it is gone.
        assert cycle != (1 << 64) - 1, "the device is gone"
        return cycle

    def until(self, condition, what: str, cycles: int = 1_000_000_000):
        """Polls until the condition holds, for at most so much device time."""
        end = self.now + cycles
        while not (value := condition()):
            assert self.now < end, f"{what}: not within {cycles} cycles"
            # Elsewhere it passes by itself.
            if self.pace == "lockstep":
                self.advance(100_000)
        return value

    def advance(self, cycles: int) -> None:
        (self.debug / "time").write_text(f"advance {cycles}\n")

    # Programs

    def agent(self, command: str, *arguments, **options):
        return run(AGENT, *command.split(), "--device", self.function, *arguments, **options)

    def stats(self) -> dict:
        return json.loads(self.agent("stats", "--json").stdout)

    def replay(self, workload: pathlib.Path, *arguments, **options) -> dict:
        """Replays a workload on a disk that is all zeros; the agent checks every byte and the Workload Analyzer's counts."""
        return json.loads(self.agent("replay", workload, "--fresh", "--check-counts", "--json", *arguments, **options).stdout)

    def _pciutils(self, program: str, *arguments):
        result = run(program, "-A", "linux-sysfs", "-O", f"sysfs.path={self.mount}/sys/bus/pci", *arguments)
        # What lspci says on a host that has no kernel modules.
        result.stderr = "".join(line for line in result.stderr.splitlines(keepends=True) if "libkmod" not in line)
        assert result.stderr == ""
        return result.stdout

    def lspci(self, *arguments) -> str:
        return self._pciutils("lspci", *arguments)

    def setpci(self, *arguments) -> str:
        return self._pciutils("setpci", *arguments).strip()

    # Its end

    def close(self) -> int:
        """Ends the device as Ctrl-C does; the exit code."""
        self.resources.close()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(30)
        finally:
            # After a failure the kernel may still have the dead mount.
            unmount(self.mount)
            self.said = self.output()
            self.folder.cleanup()
