"""Programs of Debian that look at PCI devices, unmodified inside of `outrigger exec`: what they find is in golden files."""

import os
import re

import pytest

from harness import BDF, ROOT, Device, Opened, compare, execute, run

CLIENTS = ROOT / "Tests/EndToEnd/clients"
MACHINE = "physical_functions: [{function: 1, kind: net}, {function: 2}]"
NETWORK = f"{BDF[:-1]}1"


@pytest.fixture(scope="module")
def device(programs):
    """The management function, a network card and a disk, and two virtual functions."""
    with Device("--vfs", "2", machine=MACHINE, pace="lockstep") as device:
        yield device


def build(folder, name, *options):
    program = folder / name
    run("cc", "-O2", "-Wall", "-Werror", CLIENTS / f"{name}.c", "-o", program, *options)
    return program


def test_hwloc_finds_the_tree(device):
    """By way of libpciaccess; names come from the host's pci.ids."""
    text = execute(device, "lstopo-no-graphics", "--of", "console", "--whole-io", "--no-factorize", "-v").stdout
    lines = [re.sub(r' PCI(Vendor|Device)="[^"]*"', "", line.strip()) for line in text.splitlines()]
    compare("lstopo.txt", "".join(f"{line}\n" for line in lines if re.search(r"^[^(]*(HostBridge|PCI)", line) and "depth" not in line))


def test_hwinfo_finds_every_function(device):
    """Without what is of this host: numbers, unique ids that depend on them, names, and other devices."""
    text = execute(device, "hwinfo", "--pci").stdout
    # hwinfo cuts off "/sys" and expects the rest below it.
    text = text.replace(str(device.mount)[4:], "MNT")
    text = re.sub(r"^\d+: ", "", text, flags=re.MULTILINE)
    text = re.sub(r"^  (Unique ID|Parent ID|Attached to|Model|\[Created at|Config Status).*\n", "", text, flags=re.MULTILINE)
    compare("hwinfo.txt", re.sub(r'^(  (?:Sub)?(?:Vendor|Device): pci 0x\w{4}) .*$', r"\1", text, flags=re.MULTILINE))


def test_libpciaccess_reads_maps_and_uses_ports(device, tmp_path):
    program = build(tmp_path, "pciaccess", "-lpciaccess")
    # The magic number of the management function, the features of the network card by memory and by ports.
    result = execute(device, program, BDF, "0", "0", NETWORK, "4", "4", NETWORK, "0", "0")
    compare("pciaccess.txt", result.stdout)


def test_a_register_by_pcimem(device, tmp_path):
    program = build(tmp_path, "pcimem")
    bar = device.function / "resource0"
    assert execute(device, program, bar, "0x30", "l", "0x11223344").stdout == "0x11223344\n"
    assert execute(device, program, bar, "0x30", "l").stdout == "0x11223344\n"
    with Opened(bar) as file:
        assert os.pread(file, 4, 0x30) == bytes.fromhex("44332211")


def test_the_vectors_by_pcimem(device, tmp_path):
    """The last dword of the first entry of the table of interrupt vectors: it is masked at first."""
    program = build(tmp_path, "pcimem")
    table = device.pci / NETWORK / "resource1"
    assert execute(device, program, table, "0xc", "l").stdout == "0x1\n"
