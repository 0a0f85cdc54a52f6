"""The host's side of the admin queue (regmaps/hostif/README.md), bare: commands that no agent would send."""

import struct

from harness import Device
from virtio import WRITE, Memory, Ring

SHARED_MEMORY = 0x4000_0000
SIZE = 4
COMMAND, RESULT = 0x1000, 0x2000

OK, INVALID, NO_SPACE = 0, 22, 28
(NONE, MALFORMED, OPCODE, FIELD, GROUP, MEMBER, NO_RESOURCE, TRY_AGAIN, SHORT_RESULT) = range(9)
LIST_OPCODES, IDENTIFY, SET_POLICY, GET_ALLOCATION, GET_LATENCY = 0x0000, 0x0001, 0x0021, 0x0030, 0x0051


class AdminQueue:
    """The queue, enabled while the context lasts. Nobody else may use it meanwhile."""

    def __init__(self, device: Device):
        self.device, self.registers = device, device.hostif
        self.memory = Memory(device.function / "resource2", SHARED_MEMORY, piece=8)

    def __enter__(self):
        self.enable()
        return self

    def __exit__(self, *_):
        self.registers["QUEUE_CONTROL"] = 0
        self.memory.close()

    def enable(self) -> int:
        """Lays the rings out anew and enables the queue; QUEUE_CONTROL."""
        self.registers["QUEUE_CONTROL"] = 0
        self.ring = Ring(self.memory, 0, SIZE)
        return self.configure(SIZE, *self.ring.addresses)

    def configure(self, size: int, descriptors: int, available: int, used: int) -> int:
        """Tells the device of rings, which may be wrong, and enables the queue; QUEUE_CONTROL."""
        self.registers["QUEUE_SIZE"] = size
        for name, address in (("DESC", descriptors), ("AVAIL", available), ("USED", used)):
            self.registers[f"QUEUE_{name}_LO"], self.registers[f"QUEUE_{name}_HI"] = address & 0xffff_ffff, address >> 32
        self.registers["QUEUE_CONTROL"] = 1
        return self.registers["QUEUE_CONTROL"]

    def send(self, command: bytes, room: int = 512) -> tuple[int, int, bytes]:
        """One command, whatever its bytes, and its answer: status, qualifier, result."""
        self.memory.store(COMMAND, command + bytes(-len(command) % 8))
        self.memory.store(RESULT, bytes(room + -room % 8))
        self.ring.chain((COMMAND, len(command), 0), (RESULT, room, WRITE))
        written = self.exchange()
        if written < 8:
            return None, None, b""
        answer = self.memory.load(RESULT, written)
        status, qualifier, _ = struct.unpack_from("<HHI", answer)
        return status, qualifier, answer[8:]

    def exchange(self) -> int:
        """Offers what descriptor 0 begins; bytes that the firmware wrote."""
        self.ring.offer()
        self.registers["DOORBELL"] = 1
        head, written = self.device.until(self.ring.take, "an answer from the firmware")
        assert head == 0
        return written

    def breaks(self, head: int = 0) -> int:
        """Offers a chain that the firmware must find broken; QUEUE_CONTROL.error."""
        self.ring.offer(head)
        self.registers["DOORBELL"] = 1
        self.device.until(lambda: self.registers["QUEUE_CONTROL"] & 1 == 0, "the queue turned off")
        return self.registers["QUEUE_CONTROL"] >> 8 & 0xff


def command(opcode: int, group: int = 0, member: int = 0, data: bytes = b"") -> bytes:
    return struct.pack("<HH12xQ", opcode, group, member) + data
