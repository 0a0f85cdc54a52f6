"""Mistakes of people: one clear line on standard error, an exit code that is not 0, and a device that goes on serving."""

import os
import re
import signal

import pytest

from harness import AGENT, FIRMWARE, OUTRIGGER, complaint, run
from mounts import unmount


@pytest.fixture
def mount(tmp_path):
    """An empty folder, to mount at."""
    folder = tmp_path / "mnt"
    folder.mkdir()
    yield folder
    # Should a device have come up against all expectations.
    unmount(folder)


@pytest.fixture(autouse=True)
def the_device_serves_on(device):
    """A device runs beside all of this, and after every test it still answers."""
    yield
    device.agent("identify")


# outrigger run


@pytest.mark.parametrize("length", [0, 3, 51, 100, 5000, FIRMWARE.stat().st_size - 1 if FIRMWARE.exists() else 1])
def test_truncated_firmware(mount, tmp_path, length):
    image = tmp_path / "short.elf"
    image.write_bytes(FIRMWARE.read_bytes()[:length])
    message = complaint(OUTRIGGER, "run", "--mount", mount, "--firmware", image)
    assert re.search(rf"short.elf: ELF file is truncated: .* needs \d+ bytes, the file has {length}$", message)
    assert not os.path.ismount(mount)


@pytest.mark.parametrize("offset, value, expected", [
    (4, 2, "class"), (5, 2, "data"), (18, 0x3e, "machine"), (16, 3, "type"),
])
def test_firmware_for_something_else(mount, tmp_path, offset, value, expected):
    """One byte of the ELF header changed: 64 bits, big-endian, x86-64, a shared object."""
    image, bytes_ = tmp_path / "other.elf", bytearray(FIRMWARE.read_bytes())
    bytes_[offset] = value
    image.write_bytes(bytes_)
    message = complaint(OUTRIGGER, "run", "--mount", mount, "--firmware", image)
    assert "other.elf: " in message and "expected" in message and expected in message.lower()


def test_firmware_of_the_host(mount):
    message = complaint(OUTRIGGER, "run", "--mount", mount, "--firmware", "/bin/true")
    assert "/bin/true: " in message and "expected" in message


def test_missing_firmware(mount):
    assert "nowhere.elf: No such file or directory" in complaint(OUTRIGGER, "run", "--mount", mount, "--firmware", "nowhere.elf")


def test_missing_mount_point(tmp_path):
    message = complaint(OUTRIGGER, "run", "--mount", tmp_path / "none", "--firmware", FIRMWARE)
    assert f"mount point {tmp_path}/none: no such directory" in message


def test_mount_point_that_is_a_file(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    message = complaint(OUTRIGGER, "run", "--mount", file, "--firmware", FIRMWARE)
    assert f"mount point {file}: expected a directory, found a file" in message


def test_mount_point_that_is_not_empty(mount):
    (mount / "something").write_text("")
    message = complaint(OUTRIGGER, "run", "--mount", mount, "--firmware", FIRMWARE)
    assert f"mount point {mount}: expected an empty directory" in message and (mount / "something").exists()


def test_busy_mount_point(device):
    for force in ([], ["--force-unmount"]):
        message = complaint(OUTRIGGER, "run", "--mount", device.mount, "--firmware", FIRMWARE, *force)
        assert str(device.mount) in message and "mounted" in message
    device.agent("identify")


def test_a_stale_mount_is_named_and_can_be_taken_away(start):
    device = start("--vfs", "0")
    device.process.kill()
    assert device.process.wait(30) == -signal.SIGKILL
    message = complaint(OUTRIGGER, "run", "--mount", device.mount, "--firmware", FIRMWARE)
    assert str(device.mount) in message and "--force-unmount" in message
    assert str(device.function) in complaint(AGENT, "identify", "--device", device.function)
    again = start("--vfs", "0", "--force-unmount", mount=device.mount)
    again.agent("identify")
    assert again.close() == 0 and os.listdir(device.mount) == []


@pytest.mark.parametrize("text, expected", [
    ("quantum: x\n", "machine.yaml:1: quantum: a number"),
    ("harts: 1\nlink:\n  speed: 3\n", "machine.yaml:3: link.speed: unknown key"),
    ("harts: 1\n\nlink: {bandwidth: fast}\n", "machine.yaml:3: link.bandwidth: a rate such as 500 MB/s expected, 'fast' found"),
    ("memory: {host: 3 apples}\n", "machine.yaml:1: memory.host: "),
    ("harts: 9999\n", "machine.yaml:1: harts: "),
    ("virtual_functions:\n  total: 65\n", "machine.yaml:2: virtual_functions.total: "),
    ("virtual_functions:\n  disks:\n    - {vf: 99, size: 1 MiB}\n", "machine.yaml:3: virtual_functions.disks"),
    ("harts: 1\nharts: 2\n", "machine.yaml:1: harts: a key can be given only once"),
    ("- a\n- b\n", "machine.yaml:1: "),
    ("harts: 1\na: [\n", "machine.yaml:3: YAML expected"),
    ("virtual_functions:\n  disks:\n    - {vf: 1, file: /nowhere/disk}\n", "/nowhere/disk"),
])
def test_bad_machine_file(mount, tmp_path, text, expected):
    machine = tmp_path / "machine.yaml"
    machine.write_text(text)
    assert expected in complaint(OUTRIGGER, "run", "--mount", mount, "--firmware", FIRMWARE, "--machine", machine)
    assert not os.path.ismount(mount)


def test_bad_options(mount):
    for options, expected in [
        (["--vfs", "65"], "--vfs: 0...64 expected, 65 found"), (["--ratio", "0"], "--ratio: a number above 0"),
        (["--polling", "9999999"], "--polling: at most 1000000"), (["--pace", "warp"], "'warp'"),
    ]:
        result = run(OUTRIGGER, "run", "--mount", mount, *options, check=False)
        assert result.returncode == 64 and result.stdout == "" and expected in result.stderr.splitlines()[0]


def test_a_trace_that_cannot_be_written(mount, tmp_path):
    (tmp_path / "file").write_text("")
    message = complaint(OUTRIGGER, "run", "--mount", mount, "--firmware", FIRMWARE, "--trace", tmp_path / "file/trace")
    assert str(tmp_path / "file/trace") in message


# outrigger regs, outrigger trace


def test_unknown_registers():
    for words, expected in [
        (["WDT.CTRX"], "'WDT.CTRX': WDT has no register 'CTRX'; near it: CTRL"), (["XYZ.CTRL"], "there is no block 'XYZ'"),
        (["WDT.CTRL.enabled"], "near it: enable"), (["HOSTIF.SCRATCH[4]"], "0...3"), (["WDT.CTRL", "twelve"], "a number expected"),
        (["WDT.CTRL", "0x1_0000"], "a number expected"),
    ]:
        assert expected in complaint(OUTRIGGER, "regs", *words)


def test_live_registers_of_no_device(tmp_path):
    assert "no mounted device" in complaint(OUTRIGGER, "regs", "--mount", tmp_path, "WDT.CTRL")


def test_bad_trace(tmp_path):
    assert "none: No such file" in complaint(OUTRIGGER, "trace", tmp_path / "none").replace("/metadata", "")
    (tmp_path / "metadata").write_text("hello\n")
    assert "metadata of CTF 1.8 expected" in complaint(OUTRIGGER, "trace", tmp_path)


# outrigger-agent


@pytest.mark.parametrize("name, text, expected", [
    ("bad.iolog", "fio version 2 iolog\ndisk read 1 2 3\n", "bad.iolog:2: read: an offset and a length expected"),
    ("bad.iolog", "fio version 9 iolog\n", "bad.iolog:1: "),
    ("bad.csv", "time,op,size,lbn\n0,28,512,99999999999\n", "reaches byte"),
    ("bad.csv", "time,op,size,lbn\n0,28,512\n", "bad.csv:2: "),
    ("bad.csv", "time,op,size,lbn\n0,28,-512,0\n", "bad.csv:2: "),
    ("bad.txt", "this is no workload\n", "bad.txt:1: "),
    ("bad.txt", "", "bad.txt: "),
])
def test_bad_workloads(device, tmp_path, name, text, expected):
    (tmp_path / name).write_text(text)
    assert expected in complaint(AGENT, "replay", "--device", device.function, tmp_path / name)


def test_wrong_device_folder(device):
    assert "a PCI function's folder" in complaint(AGENT, "identify", "--device", "/tmp")
    assert "No such file" in complaint(AGENT, "identify", "--device", device.mount / "none")
    for other in ("0000:00:01.0", device.virtual(1).name):
        assert other in complaint(AGENT, "identify", "--device", device.pci / other)


@pytest.mark.parametrize("words", [
    ["set", "allocation", "--vm", "1", "--guarantee", "2000"], ["set", "allocation", "--vm", "1", "--cores", "255"],
    ["set", "window", "1"], ["policy", "set", "--smoothing", "0"], ["policy", "set", "--least", "500", "--most", "400"],
    ["log", "start", "--vm", "1", "--records", "17"],
])
def test_what_the_firmware_refuses(device, words):
    before = device.stats()["generation"]
    command = words[:2] if words[0] in ("set", "log", "policy") else words[:1]
    message = complaint(AGENT, *command, "--device", device.function, *words[len(command):])
    assert "the firmware refused" in message
    assert device.stats()["generation"] == before


@pytest.mark.parametrize("words, expected", [
    (["set", "allocation", "--vm", "65", "--guarantee", "1"], "0...64"), (["log", "start", "--vm", "65"], "1...64"),
])
def test_owners_that_are_none(device, words, expected):
    result = run(AGENT, *words[:2], "--device", device.function, *words[2:], check=False)
    assert result.returncode == 64 and f"--vm: {expected} expected, 65 found" in result.stderr


def test_more_virtual_functions_than_there_are(device):
    result = run(AGENT, "replay", "--device", device.function, "/dev/null", "--vf", "65", check=False)
    assert result.returncode == 64 and "--vf: 1...64 expected, 65 found" in result.stderr
