"""The same driver in Python, on the register layer that is generated from the register description.

    tools/regen --python            makes that layer, in build/registers/python
    driver.py net FOLDER FRAMES     sends frames through a network function whose wire leads back, and checks that each comes back
    driver.py block FOLDER SECTORS  writes sectors of a disk, reads them back and compares them

With `legacy` as a last word it uses the I/O registers from before virtio 1.0. The C files beside explain what is done and why; here is how
little it takes. Section numbers are those of the virtio specification 1.2.
"""

import ctypes
import mmap
import os
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "build/registers/python"))
import tf_bar0.lib
import vf_bar0.lib
from tf_bar0.reg_model.tf_bar0 import tf_bar0_cls
from vf_bar0.reg_model.vf_bar0 import vf_bar0_cls

ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK = 1, 2, 4, 8
VERSION_1 = 1 << 32
PAGE, HUGE_PAGE = 4096, 2 << 20
MAP_HUGETLB = 0x40000


class Memory:
    """A huge page: contiguous also in physical memory, which is what the device addresses."""

    def __init__(self):
        self.bytes = mmap.mmap(-1, HUGE_PAGE, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | MAP_HUGETLB)
        self.bytes[:] = bytes(HUGE_PAGE)
        virtual = ctypes.addressof(ctypes.c_char.from_buffer(self.bytes))
        with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
            (entry,) = struct.unpack("<Q", os.pread(pagemap.fileno(), 8, virtual // PAGE * 8))
        frame = entry & (1 << 55) - 1
        if not frame:
            raise OSError("no physical address: CAP_SYS_ADMIN is needed to see it")
        self.physical = frame * PAGE
        # What tells the device something has to change at once: `struct.pack_into` clears the bytes first, and a device that looks
        # just then finds a 0 that nobody wrote.
        self.halves = memoryview(self.bytes).cast("H")
        self.used = 0

    def take(self, count: int, alignment: int = 64) -> int:
        """The offset of so many bytes that nobody has."""
        start = -(-self.used // alignment) * alignment
        if start + count > HUGE_PAGE:
            raise MemoryError("the huge page is full")
        self.used = start + count
        return start

    def load(self, offset: int, format: str):
        return struct.unpack_from(format, self.bytes, offset)

    def store(self, offset: int, format: str, *values) -> None:
        struct.pack_into(format, self.bytes, offset, *values)


class Queue:
    """A split virtqueue (2.7), laid out as legacy devices have it, which suits all. One chain for each descriptor, at most."""

    NEXT, WRITE = 1, 2

    def __init__(self, memory: Memory, number: int, size: int):
        self.memory, self.number, self.size = memory, number, size
        available = 16 * size
        used = -(-(available + 6 + 2 * size) // PAGE) * PAGE
        self.descriptors = memory.take(used + 6 + 8 * size, PAGE)
        self.available, self.used = self.descriptors + available, self.descriptors + used
        self.areas = [memory.physical + place for place in (self.descriptors, self.available, self.used)]
        self.free = list(range(size))
        self.chains: dict[int, list[int]] = {}
        self.offered = self.taken = 0

    def add(self, *buffers: tuple[int, int, bool]) -> int:
        """Makes a chain of buffers (offset, bytes, whether the device writes it) available; what it is known by."""
        chain = [self.free.pop() for _ in buffers]
        for place, ((offset, length, is_written), index) in enumerate(zip(buffers, chain)):
            following = chain[place + 1:place + 2]
            flags = (self.WRITE if is_written else 0) | (self.NEXT if following else 0)
            address = self.memory.physical + offset
            self.memory.store(self.descriptors + 16 * index, "<QIHH", address, length, flags, *(following or [0]))
        self.memory.store(self.available + 4 + 2 * (self.offered % self.size), "<H", chain[0])
        self.offered = self.offered + 1 & 0xffff
        self.chains[chain[0]] = chain
        return chain[0]

    def publish(self) -> None:
        # The processor keeps stores in order where Python runs on x86; elsewhere a barrier belongs before this.
        self.memory.halves[(self.available + 2) // 2] = self.offered

    def take(self) -> tuple[int, int] | None:
        """The next chain that the device has used, and how many bytes it wrote."""
        if self.memory.load(self.used + 2, "<H")[0] == self.taken:
            return None
        head, written = self.memory.load(self.used + 4 + 8 * (self.taken % self.size), "<II")
        self.taken = self.taken + 1 & 0xffff
        self.free += self.chains.pop(head)
        return head, written


class Function:
    """A virtio function: `registers` are those of the generated layer, each with its name, fields and width."""

    def __init__(self, folder: str, is_legacy: bool, wanted: int):
        self.is_legacy = is_legacy
        self.config = os.open(f"{folder}/config", os.O_RDWR)
        # Transitional functions have the modern registers in BAR4, virtual ones in BAR0.
        modern = "resource4" if os.path.exists(f"{folder}/resource1") else "resource0"
        self.bar = os.open(f"{folder}/{'resource0' if is_legacy else modern}", os.O_RDWR)
        layer = tf_bar0 if is_legacy else vf_bar0
        callbacks = layer.lib.NormalCallbackSet(read_callback=self._read, write_callback=self._write)
        self.registers = tf_bar0_cls(callbacks=callbacks).VIRTIO_LEGACY if is_legacy else vf_bar0_cls(callbacks=callbacks).VIRTIO
        # Answer at the BARs, master the bus, no INTx.
        (command,) = struct.unpack("<H", os.pread(self.config, 2, 4))
        os.pwrite(self.config, struct.pack("<H", command | 7 | 1 << 10), 4)

        # 3.1.1.
        self.status = 0
        while self.status != 0:
            pass
        self.status = ACKNOWLEDGE
        self.status = ACKNOWLEDGE | DRIVER
        self.features = self._offered() & wanted
        self._accept(self.features)
        if not is_legacy:
            self.status = ACKNOWLEDGE | DRIVER | FEATURES_OK
            if not self.status & FEATURES_OK:
                raise OSError(f"{folder}: the device refuses features {self.features:#x}")

    # What the generated layer calls for an access.

    def _read(self, addr: int, width: int, accesswidth: int) -> int:
        return int.from_bytes(os.pread(self.bar, width // 8, addr), "little")

    def _write(self, addr: int, width: int, accesswidth: int, data: int) -> None:
        os.pwrite(self.bar, data.to_bytes(width // 8, "little"), addr)

    @property
    def status(self) -> int:
        return self.registers.DEVICE_STATUS.read()

    @status.setter
    def status(self, value: int) -> None:
        self.registers.DEVICE_STATUS.write(value)

    def _offered(self) -> int:
        if self.is_legacy:
            return self.registers.DEVICE_FEATURES.read()
        features = 0
        for word in (0, 1):
            self.registers.DEVICE_FEATURE_SELECT.write(word)
            features |= self.registers.DEVICE_FEATURE.read() << 32 * word
        return features

    def _accept(self, features: int) -> None:
        if self.is_legacy:
            return self.registers.DRIVER_FEATURES.write(features & 0xffff_ffff)
        for word in (0, 1):
            self.registers.DRIVER_FEATURE_SELECT.write(word)
            self.registers.DRIVER_FEATURE.write(features >> 32 * word & 0xffff_ffff)

    def start_queue(self, memory: Memory, number: int, size: int) -> Queue:
        registers = self.registers
        registers.QUEUE_SELECT.write(number)
        largest = registers.QUEUE_SIZE.read()
        queue = Queue(memory, number, largest if self.is_legacy else min(size, largest))
        if self.is_legacy:
            registers.QUEUE_ADDRESS.write(queue.areas[0] // PAGE)
        else:
            registers.QUEUE_SIZE.write(queue.size)
            for register, address in zip((registers.QUEUE_DESC, registers.QUEUE_DRIVER, registers.QUEUE_DEVICE), queue.areas):
                register.write(address)
            registers.QUEUE_ENABLE.write(1)
        return queue

    def start(self) -> None:
        self.status = self.status | DRIVER_OK

    def notify(self, queue: Queue) -> None:
        queue.publish()
        (self.registers.QUEUE_NOTIFY if self.is_legacy else self.registers.NOTIFY[queue.number]).write(queue.number)

    def close(self) -> None:
        self.status = 0
        os.close(self.bar)
        os.close(self.config)


def wait(queue: Queue) -> tuple[int, int]:
    while (used := queue.take()) is None:
        pass
    return used


def net(folder: str, frames: int, is_legacy: bool) -> str:
    memory = Memory()
    function = Function(folder, is_legacy, VERSION_1)
    receive, transmit = (function.start_queue(memory, number, 64) for number in (0, 1))
    # 5.1.6: the header's last field came with virtio 1.0.
    header = 10 if is_legacy else 12
    buffers = {}
    for _ in range(16):
        buffer = memory.take(2048)
        buffers[receive.add((buffer, 2048, True))] = buffer
    place = memory.take(2048)
    function.start()
    function.notify(receive)
    for number in range(frames):
        frame = b"\xff" * 6 + b"\x52\x54\x00\x00\x00\x01" + b"\x88\xb5" + struct.pack("<Q", number) + bytes(42)
        memory.bytes[place:place + header + len(frame)] = bytes(header) + frame
        transmit.add((place, header + len(frame), False))
        function.notify(transmit)
        head, written = wait(receive)
        buffer = buffers.pop(head)
        assert memory.bytes[buffer + header:buffer + written] == frame, f"frame {number} came back as another"
        buffers[receive.add((buffer, 2048, True))] = buffer
        function.notify(receive)
        wait(transmit)
    function.close()
    return f"{frames} frames sent, {frames} received"


def block(folder: str, sectors: int, is_legacy: bool) -> str:
    memory = Memory()
    function = Function(folder, is_legacy, VERSION_1)
    queue = function.start_queue(memory, 0, 16)
    header, status, data = memory.take(16), memory.take(1), memory.take(512)
    function.start()

    def request(kind: int, sector: int) -> None:
        """5.2.6: what to do, the data, and a byte of status."""
        memory.store(header, "<IIQ", kind, 0, sector)
        memory.store(status, "<B", 0xff)
        queue.add((header, 16, False), (data, 512, kind == 0), (status, 1, True))
        function.notify(queue)
        wait(queue)
        assert memory.load(status, "<B") == (0,), f"request {kind} at sector {sector} failed"

    def content(sector: int) -> bytes:
        return struct.pack("<Q", sector * 0x9e37_79b9 + 1) * 64

    for sector in range(sectors):
        memory.bytes[data:data + 512] = content(sector)
        request(1, sector)
    for sector in range(sectors):
        memory.bytes[data:data + 512] = bytes(512)
        request(0, sector)
        assert memory.bytes[data:data + 512] == content(sector), f"sector {sector} is not what was written"
    function.close()
    return f"{sectors} sectors written, read and compared"


if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[1] not in ("net", "block"):
        sys.exit("usage: driver.py net|block FOLDER COUNT [legacy]")
    print((net if sys.argv[1] == "net" else block)(sys.argv[2], int(sys.argv[3]), sys.argv[4:] == ["legacy"]))
