"""A driver that does everything wrong: hostile_client.py MOUNT NUMBER SEED STEPS ADDRESS...

It has memory of its own and, beside that, gives the device the addresses of others' memory and any other number. All follows from the seed.
It says so after every 100 steps, and may be killed at any of them.
"""

import os
import pathlib
import random
import struct
import sys

from client_memory import HUGE_PAGE, ClientMemory
from client_process import Mounted
from network import NetworkFunction
from virtio import RING_PACKED, Ring

HEADER = 256
INDIRECT_DESC, EVENT_IDX = 1 << 28, 1 << 29


class HostileClient:
    def __init__(self, mount: str, number: int, seed: int, addresses: list[int]):
        self.random = random.Random(seed)
        self.memory = ClientMemory(self.random.choice(["memfd", "huge memfd", "private"]), physical=False)
        self.others = addresses
        self.function = NetworkFunction(Mounted(pathlib.Path(mount)), number, memory=self.memory)
        # What the host's software had set up: without it nothing answers any more.
        self.header = os.pread(self.function.config, HEADER, 0)
        self.is_misconfigured = False
        self.begin()

    def begin(self) -> None:
        """Starts the device as it should be; what was done to it before may be in the way."""
        if self.is_misconfigured:
            for offset in range(4, HEADER, 4):
                os.pwrite(self.function.config, self.header[offset:offset + 4], offset)
        self.is_misconfigured = False
        try:
            features = self.random.choice([0, RING_PACKED]) | self.random.choice([0, INDIRECT_DESC]) | self.random.choice([0, EVENT_IDX])
            self.function.start(features, size=self.random.choice([1, 2, 16, 256]))
            self.function.listen()
        except AssertionError:
            self.function["DEVICE_STATUS"] = 0

    def address(self) -> int:
        own = self.memory.bus_address + self.random.randrange(HUGE_PAGE)
        any_bits = self.random.getrandbits(self.random.randint(1, 64))
        return self.random.choice([own, own, own, any_bits, self.random.choice(self.others), 0, 2**64 - self.random.randint(1, 4096)])

    def step(self) -> None:
        function, number = self.function, self.random.randrange(100)
        if number < 10:
            # A chain as it should be, but for where its buffers are.
            ring, flags = self.random.choice([(function.receiver, 2), (function.sender, 0)])
            here, size = self.memory.bus_address, self.random.choice([12, 72, 2058])
            ring.chain(*((self.address() - here & (1 << 64) - 1, size, flags) for _ in range(self.random.randint(1, 3))))
            ring.offer()
            function._notify(0 if flags else 1)
        elif number < 25:
            # A descriptor.
            length = self.random.choice([0, 1, 10, 12, 60, 1514, 4096, 2**31, 2**32 - 1, self.random.getrandbits(32)])
            flags, following = self.random.randrange(16), self.random.choice([0, 1, 5, 255, 0xffff])
            queue = self.random.choice([function.RECEIVE, function.TRANSMIT])
            place = queue + 16 * self.random.randrange(256)
            self.memory.store(place, struct.pack("<QIHH", self.address(), length, flags, following))
        elif number < 45:
            # Anything, anywhere in the rings.
            data = self.random.randbytes(self.random.randint(1, 16))
            self.memory.store(self.random.randrange(0x8000), data)
        elif number < 60:
            # More buffers than there are, or fewer.
            ring = self.random.choice([function.receiver, function.sender])
            ahead = self.random.choice([1, 2, 16, 300, 0x8000])
            if isinstance(ring, Ring):
                ring.set_available_index(ring.offered + ahead)
            else:
                # The same in a packed ring: any of its descriptors is available, or used, whatever it says.
                place = ring.offset + 16 * (ahead % ring.size) + 14
                self.memory.store(place, struct.pack("<H", self.random.choice([ring.AVAILABLE, ring.USED]) | self.random.randrange(8)))
        elif number < 85:
            function._notify(self.random.randrange(5))
        elif number < 92:
            size = self.random.choice([1, 2, 4, 8])
            offset = self.random.choice([0, 0, 0x1000, 0x2000, 0x3000]) + self.random.randrange(0, 0x40 if number < 91 else 0x1000, size)
            if self.random.random() < 0.5:
                os.pwrite(function.registers, self.random.randbytes(size), offset)
            else:
                os.pread(function.registers, size, offset)
        elif number < 96:
            size = self.random.choice([1, 2, 4])
            os.pwrite(function.config, self.random.randbytes(size), self.random.randrange(0, 4096 - size))
            self.is_misconfigured = True
        elif number < 98:
            function["DEVICE_STATUS"] = 0
        elif number < 99:
            (function.folder / "reset").write_text("1\n")
        else:
            self.begin()


def main(mount: str, number: str, seed: str, steps: str, *addresses: str) -> None:
    client = HostileClient(mount, int(number), int(seed), [int(address, 16) for address in addresses])
    for step in range(int(steps)):
        client.step()
        # It has to be served, or what comes next would meet a device that has failed.
        if step % 20 == 0:
            client.begin()
        if step % 100 == 99:
            print(step + 1, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
