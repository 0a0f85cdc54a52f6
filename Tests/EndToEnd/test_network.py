"""Network functions and consoles, driven through their files: counts are equal on both sides."""

import os
import random
import struct

import pytest

from harness import BDF, Device
from network import HostInterface, NetworkFunction, capture, frame, tap_refusal
from virtio import IN_ORDER, RING_PACKED, BlockFunction

@pytest.fixture(scope="module")
def device(programs, tmp_path_factory):
    """Physical functions 1 (a loop), 2 and 3 (capture files), 4 (a console); the virtual functions are disks."""
    folder = tmp_path_factory.mktemp("network")
    (folder / "in.pcap").write_bytes(capture([frame(number, 60) for number in range(3)]))
    machine = f"""
virtual_functions: {{total: 2}}
physical_functions:
  - {{function: 1, kind: net, mac: "52:54:00:00:00:ab", queues: 2}}
  - {{function: 2, kind: net, backend: pcap, output: {folder}/out.pcap}}
  - {{function: 3, kind: net, backend: pcap, input: {folder}/in.pcap}}
  - {{function: 4, kind: console}}"""
    with Device("--vfs", "1", machine=machine) as device:
        device.captures = folder
        yield device


@pytest.mark.parametrize("legacy, features", [
    (False, 0), (False, RING_PACKED), (False, RING_PACKED | IN_ORDER), (False, IN_ORDER), (True, 0), (True, 1 << 27 | 1 << 15)],
    ids=["split", "packed", "packed in order", "split in order", "legacy", "legacy mergeable"])
def test_a_loop_gives_back_every_frame(device, legacy, features):
    with NetworkFunction(device, 1, legacy) as function:
        before = function.counters
        function.start(features)
        if legacy and features & 1 << 15:
            function.header = bytes(12)
        sizes = [14, 60, 64, 1514, 1518, *(random.Random(7).randrange(14, 1519) for _ in range(45))]
        for number, size in enumerate(sizes):
            function.listen()
            function.send(frame(number, size))
            assert function.receive() == frame(number, size), f"frame {number} of {size} bytes"
        after = function.counters
        for what in ("transmitted", "received"):
            assert int(after[what]) - int(before[what]) == len(sizes)
            assert int(after[f"{what} bytes"]) - int(before[f"{what} bytes"]) == sum(sizes)
        assert after["dropped"] == before["dropped"] and after["address"] == "52:54:00:00:00:ab"


def test_requests_of_a_disk_through_a_packed_ring(device):
    with BlockFunction(device) as disk:
        disk.start(features=RING_PACKED, size=7)
        assert disk.state["format"] == "packed"
        for number in range(20):
            data = random.Random(number).randbytes(1024)
            disk.write(8 * number, data)
            assert disk.read(8 * number, 1024) == data


def test_sysfs_shows_what_they_are(device):
    for number, identity, kind in ((1, "0x1000", "0x020000"), (4, "0x1003", "0x078000")):
        folder = device.pci / f"{BDF[:-1]}{number}"
        assert (folder / "device").read_text() == identity + "\n"
        assert (folder / "class").read_text() == kind + "\n"
    shown = device.lspci("-nn")
    assert "Virtio network device [1af4:1000]" in shown and "Virtio console [1af4:1003]" in shown


def test_what_is_sent_is_in_the_capture_file(device):
    with NetworkFunction(device, 2) as function:
        function.start()
        for number in range(3):
            function.send(frame(number, 100 + number))
    data = (device.captures / "out.pcap").read_bytes()
    assert struct.unpack_from("<IHH", data) == (0xA1B23C4D, 2, 4)
    offset = 24
    for number in range(3):
        _, _, length, original = struct.unpack_from("<IIII", data, offset)
        assert length == original == 100 + number
        assert data[offset + 16:offset + 16 + length] == frame(number, length)
        offset += 16 + length
    assert offset == len(data)


def test_what_is_in_the_capture_file_is_received(device):
    with NetworkFunction(device, 3) as function:
        function.start()
        for number in range(3):
            function.listen()
            assert function.receive() == frame(number, 60)


def test_a_tap_interface_carries_frames_both_ways(start):
    """Where the system lets nobody make such an interface, the device says so and doesn't start."""
    name = f"outr{os.getpid()}"
    machine = f"physical_functions:\n  - {{function: 1, kind: net, mac: '52:54:00:00:00:ab', backend: tap, interface: {name}}}"
    if refusal := tap_refusal():
        with pytest.raises(AssertionError, match=refusal):
            start(machine=machine)
        return
    device = start("--vfs", "0", machine=machine)
    with HostInterface(name) as host, NetworkFunction(device, 1) as function:
        function.start()
        for number, size in enumerate((60, 61, 1000, 1514)):
            function.send(frame(number, size))
            assert host.receive() == frame(number, size)
            function.listen()
            host.send(frame(number + 100, size))
            assert function.receive(cycles=60_000_000_000) == frame(number + 100, size)
        assert function.counters["transmitted"] == function.counters["received"] == "4" and function.counters["dropped"] == "0"
    assert device.close() == 0
    assert name not in os.listdir("/sys/class/net"), "the interface has gone with the device"


def test_a_console_is_a_file(device):
    console = device.files / "consoles/fn68"
    # A console's queues are those of a network device's first pair, and its text has no header.
    with NetworkFunction(device, 4) as function:
        function.start()
        function.header = b""
        function.listen()
        function.send(b"hello from the guest\n")
        assert console.read_bytes() == b"hello from the guest\n"
        console.write_text("hello from the host\n")
        assert function.receive() == b"hello from the host\n"


def test_a_link_goes_down_and_comes_back(device):
    with NetworkFunction(device, 1) as function:
        function.start()
        (device.debug / "inject").write_text(f"link {BDF[:-1]}1 down")
        assert function.counters["link"] == "down"
        function.send(frame(1, 60))
        (device.debug / "inject").write_text(f"link {BDF[:-1]}1 up")
        function.listen()
        function.send(frame(2, 60))
        assert function.receive() == frame(2, 60)


def test_a_broken_capture_file_is_refused_at_its_place(start, tmp_path):
    (tmp_path / "bad.pcap").write_bytes(bytes(24))
    complaint = "physical function 1: .*bad.pcap: byte 0: expected the magic number of a pcap file, found 0x0"
    with pytest.raises(AssertionError, match=complaint):
        start(machine=f"physical_functions:\n  - {{function: 1, kind: net, backend: pcap, input: {tmp_path}/bad.pcap}}")
