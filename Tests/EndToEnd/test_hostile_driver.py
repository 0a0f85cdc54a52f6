"""Drivers that break the rules of virtio, PCI or the admin queue: the device says what is wrong, stops what it must, and serves on."""

import errno
import os
import struct

import pytest

import admin
from admin import AdminQueue, command
from harness import BDF, Opened, Raises
from virtio import INDIRECT, NEEDS_RESET, NEXT, READ, WRITE, BlockFunction, Descriptor

FAR_AWAY = 0x7777_0000_0000


@pytest.fixture
def disk(device):
    with BlockFunction(device) as disk:
        yield disk


@pytest.fixture(autouse=True)
def the_device_serves_on(device):
    """After every test the firmware answers, and another virtual function's disk works."""
    yield
    device.agent("identify")
    with BlockFunction(device, 2).start() as other:
        other.write(8, b"still here" * 512)
        assert other.read(8, 5120) == b"still here" * 512


# Virtqueues


def loop(disk):
    disk.ring.describe(Descriptor(disk.memory.bus_address, 16, NEXT, 1), Descriptor(disk.memory.bus_address, 16, NEXT, 0))


def outside_of_memory(disk):
    header, _, status = disk.prepare(READ, 0, 512)
    disk.ring.chain(header, (FAR_AWAY, 512, WRITE), status)


def next_outside_of_the_table(disk):
    disk.ring.describe(Descriptor(disk.memory.bus_address, 16, NEXT, 16))


def no_room_for_a_status(disk):
    disk.ring.chain((disk.base + disk.HEADER, 16, 0))


def readable_after_writable(disk):
    header, data, status = disk.prepare(READ, 0, 512)
    disk.ring.chain(data, status, header)


def indirect_without_the_feature(disk):
    disk.ring.describe(Descriptor(disk.memory.bus_address, 16, INDIRECT))


def beyond_the_address_space(disk):
    disk.ring.describe(Descriptor((1 << 64) - 8, 16, NEXT, 1), Descriptor(disk.memory.bus_address, 1, WRITE))


@pytest.mark.parametrize("mistake, error", [
    (loop, "the chain at descriptor 0 loops"),
    (outside_of_memory, "cannot be written by DMA"),
    (next_outside_of_the_table, "descriptor 0 continues at 16; its table has 16"),
    (no_room_for_a_status, "has 16 readable and 0 writable bytes, less than a request must have"),
    (readable_after_writable, "descriptor 2 is device-readable and follows a device-writable one"),
    (indirect_without_the_feature, "descriptor 0 is indirect, but VIRTIO_F_INDIRECT_DESC was not negotiated"),
    (beyond_the_address_space, "runs past the end of the address space"),
])
def test_a_broken_chain_stops_the_queue_until_a_reset(disk, mistake, error):
    disk.start().write(0, b"kept" * 128)
    mistake(disk)
    disk.ring.offer()
    disk.notify()
    disk.device.until(lambda: disk.status & NEEDS_RESET, "DEVICE_NEEDS_RESET")
    assert error in disk.state["last error"]
    assert disk.ring.take() is None, "nothing was used"
    assert disk.start().read(0, 512) == b"kept" * 128


@pytest.mark.parametrize("ahead", [17, 0x8000])
def test_an_available_index_too_far_ahead(disk, ahead):
    disk.start()
    disk.ring.set_available_index(ahead)
    disk.notify()
    disk.device.until(lambda: disk.status & NEEDS_RESET, "DEVICE_NEEDS_RESET")
    assert f"available index {ahead} is {ahead} ahead of the device's 0; the queue has 16 entries" == disk.state["last error"]


def test_a_head_outside_of_the_table(disk):
    disk.start().ring.offer(head=999)
    disk.notify()
    disk.device.until(lambda: disk.status & NEEDS_RESET, "DEVICE_NEEDS_RESET")
    assert disk.state["last error"] == "available ring names descriptor 999; the table has 16"


def test_a_request_beyond_the_disk_fails_alone(disk):
    disk.start()
    disk.submit(READ, 1 << 50, 512)
    assert disk.finish() == 1, "VIRTIO_BLK_S_IOERR"
    disk.submit(0x7777, 0, 512)
    assert disk.finish() == 2, "VIRTIO_BLK_S_UNSUPP"
    assert disk.read(0, 512) is not None


def test_dma_with_bus_mastering_off(disk, device):
    """As setpci switches it off: not a byte moves, the IOMMU counts the refusal; switched on again, a reset brings the disk back."""
    disk.start().write(0, b"before" * 256)
    device.setpci("-s", disk.address, "COMMAND=0:4")
    assert int(device.setpci("-s", disk.address, "COMMAND"), 16) & 4 == 0
    faults = device.metric("outrigger_iommu_faults_total")
    used = disk.memory.load(disk.ring.used, 16)
    disk.submit(READ, 0, 1536)
    device.until(lambda: device.metric("outrigger_iommu_faults_total") > faults, "a DMA fault")
    assert disk.status & NEEDS_RESET and "not reachable by DMA" in disk.state["last error"]
    assert disk.memory.load(disk.ring.used, 16) == used
    assert disk.memory.load(disk.base + disk.STATUS, 1) == b"\xff"
    disk.start()
    device.setpci("-s", disk.address, "COMMAND=4:4")
    assert disk.read(0, 1536) == b"before" * 256


def test_rings_outside_of_memory(disk):
    disk.memory.bus_address = FAR_AWAY
    disk.start()
    disk.device.until(lambda: disk.status & NEEDS_RESET, "DEVICE_NEEDS_RESET")
    assert f"driver area at 0x{FAR_AWAY + disk.base + 258:x} is not reachable by DMA" == disk.state["last error"]


# Function-level reset


def test_a_function_level_reset_takes_everything_back(disk, device):
    with BlockFunction(device, 3).start() as neighbour:
        disk.start().write(0, b"disk" * 128)
        neighbour.write(0, b"side" * 128)
        disk.submit(READ, 0, 4096)
        (disk.folder / "reset").write_text("1")
        assert disk.status == 0 and disk.registers["QUEUE_ENABLE"] == 0 and disk.state["enabled"] == "no"
        assert disk.state["in flight"] == "0"
        # The kernel puts the command register back, as it was before.
        assert int(device.setpci("-s", disk.address, "COMMAND"), 16) & 4
        # What was in flight is gone; the neighbour goes on, and the disk's contents stay.
        used = disk.memory.load(disk.ring.used + 2, 2)
        assert neighbour.read(0, 512) == b"side" * 128
        assert disk.memory.load(disk.ring.used + 2, 2) == used
        assert disk.start().read(0, 512) == b"disk" * 128


def test_virtual_functions_vanish_with_requests_in_flight(device):
    disk = BlockFunction(device).start()
    disk.submit(READ, 0, 4096)
    device.set_virtual_functions(0)
    assert not disk.folder.exists() and device.lspci("-n", "-d", "1af4:1042") == ""
    with Raises(errno.ENODEV):
        disk.notify()
    disk.close()
    device.set_virtual_functions(4)
    with BlockFunction(device) as again:
        assert again.status == 0
        again.start().write(0, b"new!" * 128)
        assert again.read(0, 512) == b"new!" * 128


# Accesses


def refused(device):
    return device.metric("outrigger_refused_accesses_total", BDF)


def unsupported_requests(device):
    """Of all severities: a refused read is an advisory error, a refused write a non-fatal one (PCIe 5.0, 6.2.3.2.4)."""
    return device.metric("outrigger_aer_errors_total", BDF)


def test_accesses_of_registers_in_wrong_sizes(device):
    """Of a size that no bus access has: EINVAL. Of one that this register doesn't take: all ones, dropped, and an error in AER."""
    with Opened(device.function / "resource0") as bar:
        for size, offset in [(3, 0), (5, 0), (4, 2), (8, 4), (2, 1), (16, 0)]:
            with pytest.raises(OSError):
                os.pread(bar, size, offset)
            with pytest.raises(OSError):
                os.pwrite(bar, b"\xff" * size, offset)
        assert os.pread(bar, 4, 65536) == b"", "the end of the file"
        with pytest.raises(OSError):
            os.pwrite(bar, bytes(4), 65536)
        scratch = device.hostif.map["SCRATCH[0]"][0]
        os.pwrite(bar, b"\x78\x56\x34\x12", scratch)
        before, reported = refused(device), unsupported_requests(device)
        assert os.pread(bar, 4, 0xfff0) == b"\xff" * 4, "nothing is there"
        os.pwrite(bar, bytes(4), 0xfff0)
        assert os.pread(bar, 1, scratch) == b"\xff" and os.pread(bar, 2, scratch + 2) == b"\xff\xff", "registers of 32 bits"
        os.pwrite(bar, bytes(1), scratch)
        assert os.pread(bar, 8, scratch) == b"\xff" * 8
        assert refused(device) == before + 6 and unsupported_requests(device) > reported
        assert os.pread(bar, 4, scratch) == b"\x78\x56\x34\x12" and os.pread(bar, 4, 0) == b"OUTR"


def test_virtio_registers_in_wrong_sizes(disk, device):
    """4.1.3.1: a driver accesses each field in its own width."""
    disk.start()
    with Opened(disk.folder / "resource0") as bar:
        offset = disk.registers.map["DEVICE_STATUS"][0]
        for size in (2, 4, 8):
            os.pread(bar, size, offset & -size)
        os.pwrite(bar, bytes(8), disk.registers.map["NOTIFY[0]"][0])
    assert disk.read(0, 512) is not None


# The admin queue


@pytest.fixture
def queue(device):
    with AdminQueue(device) as queue:
        yield queue


@pytest.mark.parametrize("text, room, status, qualifier", [
    (b"", 512, admin.INVALID, admin.MALFORMED),
    (command(admin.IDENTIFY)[:20], 512, admin.INVALID, admin.MALFORMED),
    (command(admin.SET_POLICY), 512, admin.INVALID, admin.MALFORMED),
    (command(0x7777), 512, admin.INVALID, admin.OPCODE),
    (command(0x0060), 512, admin.INVALID, admin.OPCODE),
    (command(admin.IDENTIFY, group=9), 512, admin.INVALID, admin.GROUP),
    (command(admin.IDENTIFY, group=1, member=1), 512, admin.INVALID, admin.GROUP),
    (command(admin.IDENTIFY, member=1), 512, admin.INVALID, admin.MEMBER),
    (command(admin.GET_ALLOCATION, group=1, member=0), 512, admin.INVALID, admin.MEMBER),
    (command(admin.GET_ALLOCATION, group=1, member=1 << 63), 512, admin.INVALID, admin.MEMBER),
    (command(admin.SET_POLICY, data=b"\xff" * 32), 512, admin.INVALID, admin.FIELD),
    (command(admin.IDENTIFY), 16, admin.INVALID, admin.SHORT_RESULT),
    (command(admin.IDENTIFY), 4, None, None),
])
def test_malformed_commands_are_answered(queue, text, room, status, qualifier):
    """Each is answered by what is wrong with it (or, with no room for an answer, by length 0), and the next one is served."""
    assert queue.send(text or bytes(1), room)[:2] == (status, qualifier)
    status, qualifier, identity = queue.send(command(admin.IDENTIFY))
    assert (status, qualifier) == (admin.OK, admin.NONE) and identity[:4] == b"OUTR"


def test_a_command_outside_of_shared_memory(queue):
    queue.ring.describe(Descriptor(FAR_AWAY, 24, NEXT, 1), Descriptor(admin.SHARED_MEMORY + admin.RESULT, 64, WRITE))
    assert queue.exchange() == 8
    assert struct.unpack("<HH", queue.memory.load(admin.RESULT, 4)) == (admin.INVALID, admin.MALFORMED)
    queue.memory.store(admin.COMMAND, command(admin.IDENTIFY))
    queue.ring.describe(Descriptor(admin.SHARED_MEMORY + admin.COMMAND, 24, NEXT, 1), Descriptor(FAR_AWAY, 64, WRITE))
    assert queue.exchange() == 0, "no room for an answer"


@pytest.mark.parametrize("descriptors, head, defect, place", [
    ([Descriptor(admin.SHARED_MEMORY, 8, NEXT, 1), Descriptor(admin.SHARED_MEMORY, 8, NEXT, 0)], 0, 4, 0),
    ([Descriptor(admin.SHARED_MEMORY, 8, NEXT, 7)], 0, 3, 7),
    ([Descriptor(admin.SHARED_MEMORY, 64, INDIRECT)], 0, 5, 0),
    ([Descriptor(admin.SHARED_MEMORY, 64, WRITE | NEXT, 1), Descriptor(admin.SHARED_MEMORY, 64)], 0, 6, 1),
    ([Descriptor(admin.SHARED_MEMORY, 64)], 9, 2, 9),
], ids=["loop", "next", "indirect", "order", "head"])
def test_a_broken_admin_ring_is_turned_off(queue, device, descriptors, head, defect, place):
    console = device.debug / "console"
    before = len(console.read_text())
    queue.ring.describe(*descriptors)
    assert queue.breaks(head) == 4, "broken"
    device.until(lambda: console.read_text()[before:].endswith("\n"), "a line on the console")
    assert console.read_text()[before:] == f"admin queue broken: defect, place {defect} {place}\n"
    assert queue.enable() == 1
    assert queue.send(command(admin.LIST_OPCODES))[0] == admin.OK


@pytest.mark.parametrize("change, error", [
    (dict(size=3), 1), (dict(size=0), 1), (dict(size=1 << 15), 1), (dict(descriptors=admin.SHARED_MEMORY + 8), 2),
    (dict(available=admin.SHARED_MEMORY + 1), 2), (dict(used=admin.SHARED_MEMORY + 2), 2), (dict(descriptors=0x1_0000_0000), 3),
    (dict(used=admin.SHARED_MEMORY + (16 << 20) - 8), 3), (dict(descriptors=0), 3),
])
def test_rings_that_hardware_refuses(queue, change, error):
    queue.registers["QUEUE_CONTROL"] = 0
    rings = dict(zip(("descriptors", "available", "used"), queue.ring.addresses)) | dict(size=admin.SIZE) | change
    assert queue.configure(**rings) == error << 8
