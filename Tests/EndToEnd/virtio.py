"""A driver of virtio block devices (virtio 1.2) with nothing between a test and the rings: what a driver can do wrong, it can.

`Ring` is the driver's side of any split virtqueue: those of virtual functions in host memory, and the admin queue in BAR2. `PackedRing` is
that of a packed one.
"""

import dataclasses
import os
import pathlib
import struct

from harness import Device, Registers

NEXT, WRITE, INDIRECT = 1, 2, 4
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET = 1, 2, 4, 8, 64
VERSION_1 = 1 << 32
RING_PACKED = 1 << 34
IN_ORDER = 1 << 35
READ, WRITE_OUT, FLUSH = 0, 1, 4
NO_VECTOR = 0xffff


class Memory:
    """Memory that host and device share, from `bus_address` on; a file takes it in naturally aligned pieces, a BAR's of 8 bytes."""

    def __init__(self, path: pathlib.Path, bus_address: int, piece: int = 4096):
        self.descriptor = os.open(path, os.O_RDWR)
        self.bus_address = bus_address
        self.piece = piece

    def _pieces(self, offset: int, count: int):
        end = offset + count
        while offset < end:
            size = self.piece
            while offset % size or offset + size > end:
                size //= 2
            yield offset, size
            offset += size

    def load(self, offset: int, count: int) -> bytes:
        return b"".join(os.pread(self.descriptor, size, place) for place, size in self._pieces(offset, count))

    def store(self, offset: int, data: bytes) -> None:
        for place, size in self._pieces(offset, len(data)):
            os.pwrite(self.descriptor, data[place - offset:place - offset + size], place)

    def close(self) -> None:
        os.close(self.descriptor)


@dataclasses.dataclass
class Descriptor:
    """struct virtq_desc (2.7.5)."""

    address: int
    length: int
    flags: int = 0
    next: int = 0

    def bytes(self) -> bytes:
        return struct.pack("<QIHH", self.address, self.length, self.flags, self.next)


class Ring:
    """A split virtqueue (2.7) of `size` entries at `offset`: descriptors, available ring and used ring, one after the other."""

    def __init__(self, memory: Memory, offset: int, size: int, alignment: int = 4):
        self.memory, self.offset, self.size = memory, offset, size
        self.available = offset + 16 * size
        self.used = (self.available + 6 + 2 * size + alignment - 1) & ~(alignment - 1)
        self.offered = self.taken = 0
        memory.store(offset, bytes(self.used + 6 + 8 * size - offset))

    @property
    def addresses(self) -> tuple[int, int, int]:
        """Of descriptors, available ring and used ring, as the device sees them."""
        return tuple(self.memory.bus_address + place for place in (self.offset, self.available, self.used))

    def describe(self, *descriptors: Descriptor) -> None:
        """Fills the table, from its beginning."""
        self.memory.store(self.offset, b"".join(descriptor.bytes() for descriptor in descriptors))

    def chain(self, *buffers: tuple[int, int, int]) -> None:
        """Describes one chain of buffers (offset in memory, bytes, flags), beginning at descriptor 0."""
        last = len(buffers) - 1
        link = [(NEXT, place + 1) for place in range(last)] + [(0, 0)]
        self.describe(*(
            Descriptor(self.memory.bus_address + offset & (1 << 64) - 1, length, flags | more, following)
            for (offset, length, flags), (more, following) in zip(buffers, link)))

    def offer(self, head: int = 0) -> None:
        """Makes the chain at `head` available; the device still has to be told."""
        self.memory.store(self.available + 4 + 2 * (self.offered % self.size), struct.pack("<H", head))
        self.set_available_index(self.offered + 1)

    def set_available_index(self, index: int) -> None:
        self.offered = index & 0xffff
        self.memory.store(self.available + 2, struct.pack("<H", self.offered))

    def take(self) -> tuple[int, int] | None:
        """The next used entry: head and bytes written."""
        if struct.unpack("<H", self.memory.load(self.used + 2, 2))[0] == self.taken:
            return None
        entry = self.memory.load(self.used + 4 + 8 * (self.taken % self.size), 8)
        self.taken = (self.taken + 1) & 0xffff
        return struct.unpack("<II", entry)


class PackedRing:
    """A packed virtqueue (2.8) of `size` descriptors at `offset`, then the two event suppression structures. One chain at a time."""

    AVAILABLE, USED = 1 << 7, 1 << 15

    def __init__(self, memory: Memory, offset: int, size: int):
        self.memory, self.offset, self.size = memory, offset, size
        self.next = self.reaped = 0
        self.next_wrap = self.reaped_wrap = True
        self.length, self.first_flags, self.first = 0, 0, 0
        memory.store(offset, bytes(16 * size + 8))

    @property
    def addresses(self) -> tuple[int, int, int]:
        """Of the ring, the driver's and the device's event suppression, as the device sees them."""
        ring = self.memory.bus_address + self.offset
        return ring, ring + 16 * self.size, ring + 16 * self.size + 4

    def chain(self, *buffers: tuple[int, int, int]) -> None:
        """Describes one chain of buffers (offset in memory, bytes, flags), all but the flags that make it available."""
        self.first, self.length = self.next, len(buffers)
        for place, (offset, length, flags) in enumerate(buffers):
            flags |= self.AVAILABLE if self.next_wrap else self.USED
            flags |= NEXT if place < self.length - 1 else 0
            if place == 0:
                self.first_flags = flags
                flags ^= self.AVAILABLE | self.USED
            descriptor = struct.pack("<QIHH", self.memory.bus_address + offset & (1 << 64) - 1, length, 0, flags)
            self.memory.store(self.offset + 16 * self.next, descriptor)
            self.next += 1
            if self.next == self.size:
                self.next, self.next_wrap = 0, not self.next_wrap

    def offer(self) -> None:
        """Makes the chain available; the device still has to be told."""
        self.memory.store(self.offset + 16 * self.first + 14, struct.pack("<H", self.first_flags))

    def take(self) -> tuple[int, int] | None:
        """The next used descriptor: buffer ID and bytes written."""
        _, written, identity, flags = struct.unpack("<QIHH", self.memory.load(self.offset + 16 * self.reaped, 16))
        if not bool(flags & self.AVAILABLE) == bool(flags & self.USED) == self.reaped_wrap:
            return None
        self.reaped += self.length
        if self.reaped >= self.size:
            self.reaped, self.reaped_wrap = self.reaped - self.size, not self.reaped_wrap
        return identity, written


class BlockFunction:
    """One virtual function's disk. Each has a MiB of host memory: the ring at its start, header, status and data behind."""

    HEADER, STATUS, DATA = 0x8000, 0x8010, 0x10000

    def __init__(self, device: Device, number: int = 1):
        self.device, self.number = device, number
        self.folder = device.virtual(number)
        self.address = self.folder.name
        self.registers = Registers(self.folder, "VIRTIO")
        self.config = os.open(self.folder / "config", os.O_RDWR)
        bus_address = int((device.files / "hostmem.iova").read_text(), 16)
        self.base = number << 20
        self.memory = Memory(device.files / "hostmem", bus_address)
        self.ring = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.registers["DEVICE_STATUS"] = 0
        self.master(False)
        self.close()

    def close(self) -> None:
        os.close(self.config)
        self.registers.close()
        self.memory.close()

    def master(self, on: bool) -> None:
        """Bus mastering, bit 2 of the command register."""
        os.pwrite(self.config, struct.pack("<H", 4 if on else 0), 4)

    @property
    def status(self) -> int:
        return self.registers["DEVICE_STATUS"]

    @property
    def state(self) -> dict[str, str]:
        """What the device's files say of queue 0."""
        text = (self.device.files / f"queues/fn{self.number}/q0/state").read_text()
        return dict(line.split(": ", 1) for line in text.splitlines())

    def start(self, size: int = 16, vector: int = NO_VECTOR, features: int = 0) -> "BlockFunction":
        """Initialises the device as 3.1.1 says, with no feature but VERSION_1 and those given, and queue 0."""
        registers = self.registers
        self.master(True)
        registers["DEVICE_STATUS"] = 0
        assert self.status == 0
        registers["DEVICE_STATUS"] = ACKNOWLEDGE | DRIVER
        for word in (0, 1):
            registers["DRIVER_FEATURE_SELECT"] = word
            registers["DRIVER_FEATURE"] = (features | VERSION_1) >> 32 * word & 0xffff_ffff
        registers["DEVICE_STATUS"] = ACKNOWLEDGE | DRIVER | FEATURES_OK
        assert self.status & FEATURES_OK
        self.ring = (PackedRing if features & RING_PACKED else Ring)(self.memory, self.base, size)
        registers["QUEUE_SELECT"] = 0
        registers["QUEUE_SIZE"] = size
        registers["QUEUE_MSIX_VECTOR"] = vector
        assert registers["QUEUE_MSIX_VECTOR"] == vector
        registers["QUEUE_DESC"], registers["QUEUE_DRIVER"], registers["QUEUE_DEVICE"] = self.ring.addresses
        registers["QUEUE_ENABLE"] = 1
        registers["DEVICE_STATUS"] = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK
        return self

    def enable_interrupts(self) -> None:
        """MSI-X on, vector 0 unmasked (PCIe 5.0, 7.7.2)."""
        space = os.pread(self.config, 256, 0)
        capability = space[0x34]
        while space[capability] != 0x11:
            capability = space[capability + 1]
            assert capability, "no MSI-X capability"
        table = os.open(self.folder / "resource4", os.O_RDWR)
        for place, word in enumerate((0xfee0_0000, 0, 0, 0)):
            os.pwrite(table, struct.pack("<I", word), 4 * place)
        os.close(table)
        os.pwrite(self.config, struct.pack("<H", 0x8000 | space[capability + 2]), capability + 2)

    def notify(self) -> None:
        """Rings queue 0's doorbell."""
        self.registers["NOTIFY[0]"] = 0

    def prepare(self, kind: int, sector: int, data: bytes | int) -> list[tuple[int, int, int]]:
        """Lays a request (5.2.6) out in memory: `data` to write, or how many bytes to read. Its buffers, for `Ring.chain`."""
        self.memory.store(self.base + self.HEADER, struct.pack("<IIQ", kind, 0, sector))
        self.memory.store(self.base + self.STATUS, b"\xff")
        buffers = [(self.base + self.HEADER, 16, 0)]
        if isinstance(data, bytes):
            self.memory.store(self.base + self.DATA, data)
            buffers.append((self.base + self.DATA, len(data), 0))
        elif data:
            buffers.append((self.base + self.DATA, data, WRITE))
        return buffers + [(self.base + self.STATUS, 1, WRITE)]

    def submit(self, kind: int, sector: int, data: bytes | int) -> None:
        self.ring.chain(*self.prepare(kind, sector, data))
        self.ring.offer()
        self.notify()

    def finish(self) -> int:
        """Waits for a request's end; its status."""
        head, _ = self.device.until(self.ring.take, "a used entry")
        assert head == 0
        return self.memory.load(self.base + self.STATUS, 1)[0]

    def read(self, sector: int, count: int) -> bytes:
        self.submit(READ, sector, count)
        assert self.finish() == 0
        return self.memory.load(self.base + self.DATA, count)

    def write(self, sector: int, data: bytes) -> None:
        self.submit(WRITE_OUT, sector, data)
        assert self.finish() == 0
