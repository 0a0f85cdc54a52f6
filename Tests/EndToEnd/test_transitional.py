"""Transitional block devices as further physical functions: seen, driven and reset like cards in a slot."""

import errno
import json
import os
import struct

import pytest

from harness import AGENT, BDF, WORKLOADS, Device, Opened, Raises, complaint

FIRST, SECOND = BDF[:-1] + "1", BDF[:-1] + "5"


@pytest.fixture(scope="module")
def device(programs, tmp_path_factory):
    """Two virtual functions, and physical functions 1 (in memory) and 5 (a file)."""
    disk = tmp_path_factory.mktemp("transitional") / "disk"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    device = Device("--vfs", "2", machine=f"""
virtual_functions: {{total: 4}}
physical_functions:
  - {{function: 1}}
  - {{function: 5, file: {disk}, serial: five, queues: 2}}""")
    device.disk = disk
    yield device
    output = device.output()
    assert device.close() == 0, output


def attribute(device, address, name):
    return (device.pci / address / name).read_text().strip()


def test_sysfs_shows_them(device):
    assert sorted(entry.name for entry in device.pci.iterdir()) == [
        "0000:00:00.0", "0000:00:01.0", BDF, FIRST, SECOND, "0000:01:01.0", "0000:01:01.1"]
    for address in (FIRST, SECOND):
        assert attribute(device, address, "vendor") == "0x1af4"
        assert attribute(device, address, "device") == "0x1001"
        assert attribute(device, address, "subsystem_device") == "0x0002"
        assert attribute(device, address, "class") == "0x010000"
        folder = (device.pci / address).resolve()
        assert (folder / "driver").resolve().name == "uio_pci_generic"
        assert len(list((folder / "uio").iterdir())) == 1
        assert (folder / "resource0").stat().st_size == 128
        assert (folder / "resource4").stat().st_size == 16 << 10
        assert not (folder / "physfn").exists()
        # Ids from configuration space itself, as drivers in user space read them.
        assert (folder / "config").read_bytes()[:4] == struct.pack("<HH", 0x1AF4, 0x1001)


def test_lspci_shows_them_without_a_warning(device):
    shown = device.lspci("-vvv", "-nn", "-k")
    assert "!!!" not in shown and "<access denied>" not in shown and "???" not in shown
    sections = {text.split()[0]: text for text in shown.split("\n\n") if text.strip()}
    for address in (FIRST, SECOND):
        text = sections[address[5:]]
        assert "Virtio block device [1af4:1001]" in text
        assert "Region 0: I/O ports at" in text and "[size=128]" in text
        assert "Region 4: Memory at" in text and "64-bit, prefetchable) [size=16K]" in text
        for capability in ("CommonCfg", "Notify", "ISR", "DeviceCfg"):
            assert f"VirtIO: {capability}" in text
        assert "Interrupt: pin A routed to IRQ" in text
        assert "Kernel driver in use: uio_pci_generic" in text
    # The multi-function bit of the header and the links of the ARI capability.
    assert device.setpci("-s", BDF, "HEADER_TYPE") == "80"
    assert "Next Function: 1" in sections[BDF[5:]] and "Next Function: 5" in sections[FIRST[5:]]
    assert "Next Function: 0" in sections[SECOND[5:]]


@pytest.mark.parametrize("number, address", [(1, FIRST), (5, SECOND)])
def test_a_workload_is_verified_and_counted_as_the_hosts(device, number, address):
    workload, options = WORKLOADS / "database.iolog", ["--limit", 3000, "--wrap", "--check-counts", "--json"]
    result = json.loads(device.agent("replay", workload, "--function", number, *options).stdout)
    assert result["function"] == address
    assert result["requests"] == 3000
    assert result["verified_bytes"] + result["unknown_bytes"] == result["read_bytes"]


def test_a_disk_in_a_file_holds_what_was_written(device):
    device.agent("replay", WORKLOADS / "database.iolog", "--function", 5, "--limit", 500, "--wrap")
    assert device.disk.stat().st_blocks > 0


def test_virtual_functions_work_beside_them(device):
    device.agent("replay", WORKLOADS / "backup.iolog", "--vf", 1, "--limit", 500, "--fresh", "--check-counts")
    try:
        device.set_virtual_functions(0)
        assert (device.pci / FIRST).exists() and (device.pci / SECOND).exists()
        device.agent("replay", WORKLOADS / "backup.iolog", "--function", 1, "--limit", 500, "--wrap", "--check-counts")
    finally:
        device.set_virtual_functions(2)


def test_the_legacy_bar_shows_the_same_device(device):
    def refused():
        return device.metric("outrigger_refused_accesses_total", f'function="{FIRST}"')

    before = refused()
    with Opened(device.pci / FIRST / "resource4") as modern, Opened(device.pci / FIRST / "resource0") as legacy:
        os.pwrite(modern, b"\x00", 0x14)
        os.pwrite(modern, b"\x03", 0x14)
        assert os.pread(legacy, 1, 0x12) == b"\x03"
        assert os.pread(legacy, 2, 0x0c) == struct.pack("<H", 256), "the size of queue 0"
        # Capacity in sectors, at the beginning of the device configuration: behind two vectors while MSI-X is enabled.
        start = 0x18 if int(device.setpci("-s", FIRST, "CAP_MSIX+2.w"), 16) & 0x8000 else 0x14
        assert os.pread(legacy, 4, start) == struct.pack("<I", (1 << 30) // 512)
        assert os.pread(legacy, 1, 0x0d) == b"\xff", "half a register"
        assert os.pwrite(legacy, b"\x00", 0x12) == 1
        assert os.pread(modern, 1, 0x14) == b"\x00"
        with Raises(errno.EINVAL):
            os.pread(legacy, 8, 0)
    assert refused() == before + 1


def test_a_reset_is_of_one_function(device):
    with Opened(device.pci / FIRST / "resource4") as first, Opened(device.pci / SECOND / "resource4") as second:
        for bar in (first, second):
            os.pwrite(bar, b"\x00", 0x14)
            os.pwrite(bar, b"\x03", 0x14)
        (device.pci / FIRST / "reset").write_text("1\n")
        assert os.pread(first, 1, 0x14) == b"\x00"
        assert os.pread(second, 1, 0x14) == b"\x03"


def test_queues_and_registers_have_files(device):
    device.agent("replay", WORKLOADS / "database.iolog", "--function", 5, "--limit", 10, "--wrap")
    queues = device.files / "queues"
    assert sorted(entry.name for entry in queues.iterdir()) == ["fn1", "fn2", "fn65", "fn69"]
    assert sorted(entry.name for entry in (queues / "fn69").iterdir()) == ["q0", "q1"]
    assert len((queues / "fn69/q0/desc").read_bytes()) > 0
    assert "VIRTIO.NUM_QUEUES 0x0002" in (device.debug / "functions/fn69/regs").read_text()


def test_a_function_that_is_not_there_is_named(device):
    line = complaint(AGENT, "replay", "--device", device.function, WORKLOADS / "backup.iolog", "--function", 2)
    assert f"{BDF}: the device has no physical function 2" in line


def test_a_replay_has_one_function(device):
    with pytest.raises(AssertionError, match="exit 64(.|\n)*--vf or --function expected, both found"):
        device.agent("replay", WORKLOADS / "backup.iolog", "--function", 1, "--vf", 1)


def test_a_bad_list_is_refused_with_its_line(start):
    with pytest.raises(AssertionError, match=r"machine.yaml:3: physical_functions\[1\].function: a number from 1 to 7 expected, '9' found"):
        start(machine="physical_functions:\n  - {function: 1}\n  - {function: 9}")
