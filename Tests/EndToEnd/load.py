"""Functions under load, each driven by a process of its own that checks every byte, and the memory around its buffers: load.py MOUNT
disk|network NUMBER SEED.

The process says a line after each round, and ends when its standard input does. `Load` is the tests' side of it.
"""

import contextlib
import os
import pathlib
import random
import select
import subprocess
import sys

from client_process import Mounted
from harness import LIMIT, Device
from network import NetworkFunction
from virtio import BlockFunction

SECTOR = 512
GUARD = bytes(range(255, -1, -1)) * 16


class Guards:
    """Memory that no DMA may touch."""

    def __init__(self, memory, *offsets: int):
        self.memory, self.offsets = memory, offsets
        for offset in offsets:
            memory.store(offset, GUARD)

    def check(self) -> None:
        for offset in self.offsets:
            assert self.memory.load(offset, len(GUARD)) == GUARD, f"the memory at {offset:#x} was written"


class DiskLoad:
    """Writes and reads pieces of a disk; what was written is known."""

    SECTORS, MOST = 512, 64

    def __init__(self, device: Device, number: int, seed: int):
        self.random = random.Random(seed)
        self.disk = BlockFunction(device, number)
        self.guards = Guards(
            self.disk.memory, self.disk.base + self.disk.DATA - len(GUARD), self.disk.base + self.disk.DATA + self.MOST * SECTOR)
        self.disk.start()
        self.contents = bytearray(self.random.randbytes(self.SECTORS * SECTOR))
        for sector in range(0, self.SECTORS, self.MOST):
            self.disk.write(sector, bytes(self.contents[sector * SECTOR:(sector + self.MOST) * SECTOR]))

    def round(self) -> None:
        count = self.random.randint(1, self.MOST)
        sector = self.random.randrange(self.SECTORS - count)
        here = slice(sector * SECTOR, (sector + count) * SECTOR)
        if self.random.random() < 0.5:
            self.contents[here] = self.random.randbytes(count * SECTOR)
            self.disk.write(sector, bytes(self.contents[here]))
        else:
            found = self.disk.read(sector, count * SECTOR)
            assert found == self.contents[here], f"other data at sector {sector}"
        self.guards.check()

    def close(self) -> None:
        self.disk.__exit__()


class NetworkLoad:
    """Sends frames that come back."""

    def __init__(self, device: Device, number: int, seed: int):
        self.random = random.Random(seed)
        self.function = NetworkFunction(device, number)
        base, buffer = self.function.base, self.function.BUFFER
        self.guards = Guards(
            self.function.memory, base + buffer - len(GUARD), base + buffer + self.function.BUFFER_BYTES,
            base + self.function.FRAME - len(GUARD), base + self.function.FRAME + 2048)
        self.function.start()

    def round(self) -> None:
        frame = self.random.randbytes(self.random.randint(14, 1514))
        self.function.listen()
        self.function.send(frame)
        assert self.function.receive() == frame, "another frame"
        self.guards.check()

    def close(self) -> None:
        self.function.__exit__()


class Load:
    """A function under load while the context lasts; an error in its data fails the test."""

    def __init__(self, device: Device, kind: str, number: int, seed: int = 1):
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, __file__, device.mount, kind, str(number), str(seed)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.name = f"{kind} {number}"

    def advance(self, rounds: int = 3) -> None:
        """Waits until so many rounds more were begun and ended."""
        output = self.process.stdout.fileno()
        os.set_blocking(output, False)
        # What was said before now doesn't count, nor does the round that runs now.
        with contextlib.suppress(BlockingIOError):
            while os.read(output, 65536):
                pass
        left = rounds + 1
        while left > 0:
            assert select.select([output], [], [], LIMIT)[0], f"{self.name}: nothing moves"
            data = os.read(output, 65536)
            assert data, f"{self.name}: {self.process.stderr.read().decode()}"
            left -= data.count(b"\n")

    def __enter__(self):
        self.advance(1)
        return self

    def has_lost_its_device(self) -> None:
        """The driver notices that its device is gone, and ends with an error."""
        self.process.wait(LIMIT)
        code, said = self._end()
        assert code > 0 and said, f"{self.name}: {said}"

    def __exit__(self, kind, *_):
        code, said = self._end()
        assert kind or code == 0, f"{self.name}: {said}"

    def _end(self) -> tuple[int, str]:
        # This closes its standard input.
        _, said = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, said.decode()


def main(mount: str, kind: str, number: str, seed: str) -> None:
    load = {"disk": DiskLoad, "network": NetworkLoad}[kind](Mounted(pathlib.Path(mount)), int(number), int(seed))
    while not select.select([sys.stdin], [], [], 0)[0]:
        load.round()
        print(flush=True)
    load.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
