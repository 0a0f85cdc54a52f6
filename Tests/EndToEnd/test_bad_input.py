"""Mistakes: one clear line on standard error, an exit code that is not 0, and a device that goes on serving."""

import os
import pathlib
import subprocess

import pytest

from conftest import AGENT, BDF, FIRMWARE, OUTRIGGER, WORKLOADS, run


def fails(*command, **options):
    """What a program that must fail says on standard error, in one line."""
    result = run(*command, check=False, limit=60, **options)
    assert result.returncode not in (0, -6, -11), result.stdout
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.fixture
def mount(tmp_path):
    folder = tmp_path / "mnt"
    folder.mkdir()
    return folder


def test_truncated_firmware(programs, mount, tmp_path):
    image = tmp_path / "short.elf"
    image.write_bytes(FIRMWARE.read_bytes()[:5000])
    message = fails(OUTRIGGER, "run", "--mount", mount, "--firmware", image)
    assert "short.elf" in message and "expected" in message


def test_firmware_of_another_architecture(programs, mount):
    message = fails(OUTRIGGER, "run", "--mount", mount, "--firmware", "/bin/true")
    assert "/bin/true" in message and "expected" in message


def test_missing_firmware(programs, mount):
    assert "nowhere.elf: No such file or directory" in fails(OUTRIGGER, "run", "--mount", mount, "--firmware", "nowhere.elf")


def test_missing_mount_point(programs, tmp_path):
    assert "none" in fails(OUTRIGGER, "run", "--mount", tmp_path / "none", "--firmware", FIRMWARE)


def test_mount_point_that_is_a_file(programs, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    assert "file" in fails(OUTRIGGER, "run", "--mount", file, "--firmware", FIRMWARE)


def test_busy_mount_point(device):
    message = fails(OUTRIGGER, "run", "--mount", device.mount, "--firmware", FIRMWARE)
    assert "mounted" in message or "busy" in message
    device.agent("identify")


@pytest.mark.parametrize("text, expected", [
    ("seed: x\n", "machine.yaml:1: seed: a number"),
    ("link:\n  speed: 3\n", "machine.yaml:2: link.speed: unknown key"),
    ("virtual_functions:\n  disks:\n    - {vf: 1, file: /nowhere/disk}\n", "/nowhere/disk"),
    ("a: [\n", "machine.yaml"),
])
def test_bad_machine_file(programs, mount, tmp_path, text, expected):
    machine = tmp_path / "machine.yaml"
    machine.write_text(text)
    assert expected in fails(OUTRIGGER, "run", "--mount", mount, "--firmware", FIRMWARE, "--machine", machine)


def test_unknown_register(programs):
    assert "'WDT.CTRX': WDT has no register 'CTRX'; near it: CTRL" in fails(OUTRIGGER, "regs", "WDT.CTRX")
    assert "there is no block 'XYZ'" in fails(OUTRIGGER, "regs", "XYZ.CTRL")
    assert "a number expected" in fails(OUTRIGGER, "regs", "WDT.CTRL", "twelve")


def test_bad_trace(programs, tmp_path):
    assert "No such file" in fails(OUTRIGGER, "trace", tmp_path / "none")
    (tmp_path / "metadata").write_text("hello\n")
    assert "metadata of CTF 1.8 expected" in fails(OUTRIGGER, "trace", tmp_path)


def test_bad_workloads(device, tmp_path):
    bad = tmp_path / "bad.iolog"
    bad.write_text("fio version 2 iolog\ndisk read 1 2 3\n")
    assert "bad.iolog:2: read: an offset and a length expected" in fails(AGENT, "replay", "--device", device.function, bad)
    bad.write_text("time,op,size,lbn\n0,28,512,99999999999\n")
    assert "reaches byte" in fails(AGENT, "replay", "--device", device.function, bad)


def test_wrong_device_folder(programs, device):
    assert "a PCI function's folder" in fails(AGENT, "identify", "--device", "/tmp")
    assert "No such file" in fails(AGENT, "identify", "--device", device.mount / "none")
    bridge = next(path for path in device.pci.iterdir() if not path.name.startswith("0000:01"))
    assert bridge.name in fails(AGENT, "identify", "--device", bridge)


def test_accesses_that_a_bar_does_not_take(device):
    with device.bar() as bar:
        for size, offset in [(3, 0), (5, 0), (4, 2), (8, 4), (2, 1), (16, 0)]:
            with pytest.raises(OSError):
                os.pread(bar, size, offset)
            with pytest.raises(OSError):
                os.pwrite(bar, b"\xff" * size, offset)
        assert os.pread(bar, 4, 65536) == b"", "the end of the file"
        assert os.pread(bar, 4, 0xfff0) == b"\xff" * 4, "nothing answers there"
        assert os.pread(bar, 4, 0) == b"OUTR"


def test_what_the_firmware_refuses(device):
    message = fails(AGENT, "set", "allocation", "--device", device.function, "--vm", "1", "--guarantee", "2000")
    assert "refused" in message
    message = fails(AGENT, "set", "allocation", "--device", device.function, "--vm", "64", "--guarantee", "1")
    assert "refused" in message
    device.agent("identify")


def test_a_stale_mount_is_said_to_be_one(start, tmp_path):
    device = start("--vfs", "0")
    device.process.kill()
    device.process.wait(30)
    message = fails(OUTRIGGER, "run", "--mount", device.mount, "--firmware", FIRMWARE)
    assert "fusermount3 -u" in message or "stale" in message
    subprocess.run(["fusermount3", "-u", "-z", device.mount], check=True, timeout=30)
    again = run(OUTRIGGER, "run", "--help")
    assert "--mount" in again.stdout


def test_bdf_is_where_the_documentation_says(device):
    assert pathlib.Path(os.path.realpath(device.function)).name == BDF
