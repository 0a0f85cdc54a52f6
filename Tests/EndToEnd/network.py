"""A driver of virtio network functions (virtio 1.2 section 5.1) with one pair of queues and one frame at a time, by the modern registers of
a BAR or the legacy ones of the I/O BAR."""

import fcntl
import os
import pathlib
import random
import socket
import struct

from harness import BDF, LIMIT, Device, register_map
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

    def receive(self, cycles: int = 1_000_000_000) -> bytes:
        """Waits for a frame in the buffer of `listen`, for so much device time."""
        _, written = self.device.until(self.receiver.take, "a frame", cycles)
        return self.memory.load(self.base + self.BUFFER, written)[len(self.header):]

    @property
    def counters(self) -> dict[str, str]:
        """What the device's files say."""
        text = (self.device.debug / f"functions/fn{self.index}/network").read_text()
        return dict(line.split(": ", 1) for line in text.splitlines())


MAC, EVERYBODY = bytes.fromhex("5254000000ab"), b"\xff" * 6


def frame(number: int, length: int, to: bytes = MAC) -> bytes:
    return to + bytes([2, 0, 0, 0, number >> 8, number & 255]) + random.Random(number).randbytes(length - 12)


def capture(frames: list[bytes]) -> bytes:
    """A capture file (libpcap 2.4): a frame each millisecond, from 10 seconds on."""
    records = (struct.pack("<IIII", 10, 1000 * number, len(data), len(data)) + data for number, data in enumerate(frames))
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"".join(records)


def tap_refusal() -> str | None:
    """Why no TAP interface can be made here, as the system says it; None if one can."""
    try:
        descriptor = os.open("/dev/net/tun", os.O_RDWR)
        try:
            # TUNSETIFF: IFF_TAP and IFF_NO_PI; the kernel chooses a name.
            fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", b"", 0x1002))
        finally:
            os.close(descriptor)
    except OSError as error:
        return error.strerror
    return None


class HostInterface:
    """The host's side of a TAP interface that a device has open: up, and without traffic of the host's own."""

    def __init__(self, name: str):
        own = pathlib.Path("/proc/sys/net/ipv6/conf") / name / "disable_ipv6"
        if own.exists():
            own.write_text("1\n")
        # ETH_P_ALL
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        # SIOCSIFFLAGS: IFF_UP
        fcntl.ioctl(self.socket, 0x8914, struct.pack("16sH22x", name.encode(), 1))
        self.socket.bind((name, 0))
        self.socket.settimeout(LIMIT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data: bytes) -> None:
        assert self.socket.send(data) == len(data)

    def receive(self) -> bytes:
        while True:
            data, (_, _, kind, *_) = self.socket.recvfrom(65536)
            if kind != socket.PACKET_OUTGOING:
                return data
