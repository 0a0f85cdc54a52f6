"""A driver of virtio network functions (virtio 1.2 section 5.1) with one pair of queues and one frame at a time, by the modern registers of
a BAR or the legacy ones of the I/O BAR."""

import os
import struct

from harness import BDF, Device, register_map
from virtio import ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, RING_PACKED, VERSION_1, WRITE, Memory, PackedRing, Ring


class NetworkFunction:
    """Physical function `number` of the device. Its rings and buffers have a MiB of host memory, or of the driver's own `memory`."""

    RECEIVE, TRANSMIT, BUFFER, FRAME = 0, 0x4000, 0x10000, 0x20000
    # Receive buffers that drivers use: a header of 10 bytes and 2048 for the frame.
    BUFFER_BYTES = 2058

    def __init__(self, device: Device, number: int, legacy: bool = False, memory=None):
        self.device, self.legacy = device, legacy
        self.index = 64 + number
        self.folder = device.pci / f"{BDF[:-1]}{number}"
        self.config = os.open(self.folder / "config", os.O_RDWR)
        self.map = register_map("VIRTIO_LEGACY" if legacy else "VIRTIO")
        self.registers = os.open(self.folder / ("resource0" if legacy else "resource4"), os.O_RDWR)
        bus_address = int((device.files / "hostmem.iova").read_text(), 16)
        self.base = 0 if memory else number << 20
        self.memory = memory or Memory(device.files / "hostmem", bus_address)
        self.header = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self["DEVICE_STATUS"] = 0
        self.memory.close()
        os.close(self.registers)
        os.close(self.config)

    def __getitem__(self, name: str) -> int:
        offset, size = self.map[name]
        return int.from_bytes(os.pread(self.registers, size, offset), "little")

    def __setitem__(self, name: str, value: int) -> None:
        offset, size = self.map[name]
        os.pwrite(self.registers, value.to_bytes(size, "little"), offset)

    def start(self, features: int = 0, size: int = 16) -> "NetworkFunction":
        # I/O and memory decoding, bus mastering; INTx is not waited for.
        os.pwrite(self.config, struct.pack("<H", 7 | 1 << 10), 4)
        return self._start_legacy(features) if self.legacy else self._start_modern(features, size)

    def _start_legacy(self, features: int) -> "NetworkFunction":
        for status in (0, ACKNOWLEDGE, DRIVER):
            self["DEVICE_STATUS"] = status
        assert self["DEVICE_FEATURES"] & features == features
        self["DRIVER_FEATURES"] = features
        self.header = bytes(10)
        rings = []
        for queue, offset in enumerate((self.RECEIVE, self.TRANSMIT)):
            self["QUEUE_SELECT"] = queue
            ring = Ring(self.memory, self.base + offset, self["QUEUE_SIZE"], alignment=4096)
            self["QUEUE_ADDRESS"] = ring.addresses[0] >> 12
            rings.append(ring)
        self.receiver, self.sender = rings
        self["DEVICE_STATUS"] = DRIVER_OK
        return self

    def _start_modern(self, features: int, size: int) -> "NetworkFunction":
        features |= VERSION_1
        self["DEVICE_STATUS"] = 0
        self["DEVICE_STATUS"] = ACKNOWLEDGE | DRIVER
        for word in (0, 1):
            self["DRIVER_FEATURE_SELECT"] = word
            self["DRIVER_FEATURE"] = features >> 32 * word & 0xffff_ffff
        self["DEVICE_STATUS"] = FEATURES_OK
        assert self["DEVICE_STATUS"] & FEATURES_OK
        self.header = bytes(12)
        rings = []
        for queue, offset in enumerate((self.RECEIVE, self.TRANSMIT)):
            ring = (PackedRing if features & RING_PACKED else Ring)(self.memory, self.base + offset, size)
            self["QUEUE_SELECT"], self["QUEUE_SIZE"] = queue, size
            self["QUEUE_DESC"], self["QUEUE_DRIVER"], self["QUEUE_DEVICE"] = ring.addresses
            self["QUEUE_ENABLE"] = 1
            rings.append(ring)
        self.receiver, self.sender = rings
        self["DEVICE_STATUS"] = DRIVER_OK
        return self

    def _notify(self, queue: int) -> None:
        if self.legacy:
            self["QUEUE_NOTIFY"] = queue
        else:
            os.pwrite(self.registers, struct.pack("<H", queue), self.map["NOTIFY[0]"][0] + 4 * queue)

    def listen(self) -> None:
        """Offers one receive buffer."""
        self.receiver.chain((self.base + self.BUFFER, self.BUFFER_BYTES, WRITE))
        self.receiver.offer()
        self._notify(0)

    def send(self, frame: bytes) -> None:
        """Sends a frame and waits until its buffer comes back."""
        data = self.header + frame
        self.memory.store(self.base + self.FRAME, data)
        self.sender.chain((self.base + self.FRAME, len(data), 0))
        self.sender.offer()
        self._notify(1)
        _, written = self.device.until(self.sender.take, "a used transmit buffer")
        assert written == 0

    def receive(self) -> bytes:
        """Waits for a frame in the buffer of `listen`."""
        _, written = self.device.until(self.receiver.take, "a frame")
        return self.memory.load(self.base + self.BUFFER, written)[len(self.header):]

    @property
    def counters(self) -> dict[str, str]:
        """What the device's files say."""
        text = (self.device.debug / f"functions/fn{self.index}/network").read_text()
        return dict(line.split(": ", 1) for line in text.splitlines())
