"""The log of what device DMA writes to a virtual machine's memory (regmaps/log): records of real transfers, by file and in BAR2."""

import dataclasses
import os
import re
import struct

import pytest

from harness import Opened
from virtio import BlockFunction

RECORD = 32


@dataclasses.dataclass
class Record:
    sequence: int
    cycle: int
    address: int
    bytes: int
    writes: int
    owner: int
    flags: int

    @classmethod
    def all(cls, data: bytes) -> list["Record"]:
        assert len(data) % RECORD == 0
        return [cls(*fields) for fields in struct.iter_unpack("<QQQIHBB", data)]


def status(device, verb: str, *options) -> dict[str, int | str]:
    """What `outrigger-agent log` says."""
    text = device.agent(f"log {verb}", "--vm", 1, *options).stdout
    match = re.fullmatch(
        r"(active|stopped), granularity (\d+), ring of (\d+) records at BAR2 offset (0x[0-9a-f]+): (\d+) waiting, (\d+) in all, "
        r"(\d+) lost; (.+) written, (\d+) dirty pages\n", text)
    assert match, text
    state, granularity, size, offset, waiting, stored, lost, _, dirty = match.groups()
    return dict(state=state, granularity=int(granularity), size=int(size), offset=int(offset, 16), waiting=int(waiting),
                stored=int(stored), lost=int(lost), dirty=int(dirty))


def ring(device, offset: int, count: int) -> bytes:
    """Records as they lie in shared memory."""
    with Opened(device.function / "resource2", os.O_RDONLY) as bar:
        return b"".join(os.pread(bar, 8, offset + place) for place in range(0, count * RECORD, 8))


@pytest.fixture
def disk(device):
    with BlockFunction(device).start() as disk:
        yield disk
    device.agent("log stop", "--vm", 1, check=False)


def covered(records, first: int, count: int) -> bool:
    """Whether the extents cover every byte from `first` on."""
    bytes_ = set()
    for record in records:
        bytes_.update(range(max(record.address, first), min(record.address + record.bytes, first + count)))
    return len(bytes_) == count


def test_records_are_what_dma_wrote(device, disk):
    started = status(device, "start", "--granularity", 100, "--records", 1024)
    assert (started["state"], started["size"], started["stored"]) == ("active", 1024, 0)
    before = device.now
    for sector in range(10):
        disk.read(sector, 512 * (sector + 1))
    disk.write(100, bytes(4096))
    harvested = status(device, "harvest")
    assert harvested["stored"] == harvested["waiting"] > 10 and harvested["lost"] == 0

    in_memory = ring(device, harvested["offset"], harvested["stored"])
    with Opened(device.files / "log/vm1/fast", os.O_RDONLY) as log:
        data = os.read(log, 1 << 20)
        assert data == in_memory, "the file is the ring"
        assert os.read(log, 1 << 20) == b"", "reading consumes"
    records = Record.all(data)
    assert [record.sequence for record in records] == list(range(len(records)))
    assert all(record.owner == 1 and record.flags == 0 and before <= record.cycle <= device.now for record in records)
    # Exactly the data read, the status bytes and the used ring were written; what the driver wrote to the disk was not.
    memory = disk.memory.bus_address
    data, state, used = memory + disk.base + disk.DATA, memory + disk.base + disk.STATUS, memory + disk.ring.used
    for record in records:
        assert (data <= record.address and record.address + record.bytes <= data + 5120) or record.address == state \
            or (used <= record.address < used + 6 + 8 * disk.ring.size), record
    assert covered(records, data, 5120)
    assert sum(record.bytes * record.writes for record in records if record.address == state) >= 11
    assert status(device, "stop")["state"] == "stopped"


def test_granularity_rounds_outwards(device, disk):
    status(device, "start", "--granularity", 75)
    disk.read(0, 512)
    assert status(device, "harvest")["granularity"] == 75
    records = Record.all((device.files / "log/vm1/fast").read_bytes())
    assert records and all(record.address % 4096 == 0 and record.bytes % 4096 == 0 for record in records)
    assert covered(records, disk.memory.bus_address + disk.base + disk.DATA, 512)


def test_dirty_pages_count_without_records(device, disk):
    status(device, "start", "--granularity", 0)
    disk.read(0, 8192)
    harvested = status(device, "harvest")
    # Two pages of data, one with the status byte, one with the ring.
    assert harvested["stored"] == 0 and harvested["dirty"] == 4


def test_a_full_ring_counts_what_it_loses(device, disk):
    size = status(device, "start", "--granularity", 100, "--records", 16)["size"]
    for number in range(16):
        disk.read(number, 512)
    harvested = status(device, "harvest")
    assert harvested["stored"] == size == 16 and harvested["lost"] > 0
    first = Record.all((device.files / "log/vm1/fast").read_bytes())
    assert len(first) == 16
    disk.read(0, 512)
    status(device, "harvest")
    later = Record.all((device.files / "log/vm1/fast").read_bytes())
    assert later[0].flags & 1, "records before this one were lost"
    assert later[0].sequence == first[-1].sequence + 1 + harvested["lost"]


def test_a_log_that_is_off_stays_empty(device, disk):
    disk.read(0, 4096)
    assert (device.files / "log/vm1/fast").read_bytes() == b""


def test_shared_memory_is_mapped_where_the_system_allows_it(device, disk):
    import mmap

    offset = status(device, "start", "--granularity", 100)["offset"]
    disk.read(0, 4096)
    count = status(device, "harvest")["stored"]
    with Opened(device.function / "resource2") as bar, mmap.mmap(bar, 16 << 20, prot=mmap.PROT_READ) as mapping:
        assert mapping[offset:offset + count * RECORD] == ring(device, offset, count) != bytes(count * RECORD)
