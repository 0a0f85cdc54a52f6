"""Interrupts of a disk as a UIO driver sees them: a read that waits, poll, and what MSI-X masks."""

import os
import select
import struct

import pytest

from virtio import READ, BlockFunction


@pytest.fixture(params=["realtime", "lockstep", "max"])
def disk(start, request):
    device = start("--vfs", "1", pace=request.param)
    with BlockFunction(device) as disk:
        disk.enable_interrupts()
        yield disk.start(vector=0)


@pytest.fixture
def node(disk):
    node = os.open(disk.device.uio(disk.folder), os.O_RDONLY)
    yield node
    os.close(node)


def test_a_read_waits_for_the_completion(disk, node):
    for number in range(1, 20):
        disk.submit(READ, 0, 512)
        assert struct.unpack("<I", os.read(node, 4))[0] == number
        assert disk.ring.take() is not None and disk.memory.load(disk.base + disk.STATUS, 1) == b"\0"


def test_poll_tells_of_the_completion(disk, node):
    poller = select.poll()
    poller.register(node, select.POLLIN)
    for number in range(1, 20):
        disk.submit(READ, 0, 512)
        assert poller.poll(30_000) == [(node, select.POLLIN)]
        assert struct.unpack("<I", os.read(node, 4))[0] == number
        assert disk.ring.take() is not None


def test_a_masked_vector_is_pending_until_it_is_unmasked(disk, node):
    table = os.open(disk.folder / "resource4", os.O_RDWR)
    os.pwrite(table, struct.pack("<I", 1), 12)
    disk.submit(READ, 0, 512)
    disk.device.until(disk.ring.take, "a used entry")
    assert os.pread(table, 8, 0x800)[0] & 1, "the pending bit"
    interrupts = disk.device.metric("outrigger_interrupts_total", disk.address)
    os.pwrite(table, bytes(4), 12)
    assert os.pread(table, 8, 0x800)[0] & 1 == 0
    assert disk.device.metric("outrigger_interrupts_total", disk.address) == interrupts + 1
    assert struct.unpack("<I", os.read(node, 4))[0] == interrupts + 1
    os.close(table)


def test_every_opening_counts_for_itself(disk, node):
    disk.submit(READ, 0, 512)
    os.read(node, 4)
    late = os.open(disk.device.uio(disk.folder), os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(BlockingIOError):
        os.read(late, 4)
    os.close(late)
