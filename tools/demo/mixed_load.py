"""Several virtual machines on one device, each with a load of its own, in device time alone: a run of it is the same every time.

The device is in lockstep. One loop advances it a step, takes what has been done, and sends what is due by then.
"""

import collections
import dataclasses
import json
import mmap
import os
import pathlib
import random
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "Tests/EndToEnd"))
from harness import Device, run, AGENT  # noqa: E402
from virtio import BlockFunction, NEXT, READ, WRITE, WRITE_OUT  # noqa: E402

MILLISECOND = 1_000_000
STEP = MILLISECOND // 10
SECTOR = 512


@dataclasses.dataclass
class Load:
    """What a virtual machine does. `due` yields requests in the order of their times: (cycle, bytes, is a write)."""

    vm: int
    name: str
    due: object
    #: Most requests in flight; what is due beyond that waits in the virtual machine, and its latency counts from when it was due.
    depth: int = 64


def steady(generator, per_second, count, start, end):
    """Reads at random times, so many in a second on average."""
    cycle = start
    while (cycle := cycle + int(generator.expovariate(per_second) * 1000 * MILLISECOND)) < end:
        yield cycle, count, False


def bursts(generator, period, requests, count, is_write, start, end):
    """So many requests at once, once in a period; a tenth of the period sooner or later."""
    for place in range((end - start) // period):
        cycle = start + place * period + generator.randrange(period // 10)
        for _ in range(requests):
            yield cycle, count, is_write


def scenario(length):
    """Four virtual machines for so many cycles of device time."""
    def generator(vm):
        return random.Random(f"mixed load {vm}")

    def phases():
        # Idle, heavy, light, heavy: a quarter of the time each.
        quarter = length // 4
        for place, per_second in enumerate((0, 1400, 100, 1400)):
            if per_second:
                yield from steady(generator(f"3.{place}"), per_second, 64 << 10, place * quarter, (place + 1) * quarter)

    return [
        Load(1, "latency-critical", steady(generator(1), 2000, 4 << 10, 0, length)),
        Load(2, "batch", bursts(generator(2), 100 * MILLISECOND, 100, 128 << 10, False, length // 8, length), depth=16),
        Load(3, "phases", phases()),
        Load(4, "bursts of writes", bursts(generator(4), 250 * MILLISECOND, 96, 32 << 10, True, 0, length)),
    ]


class Disk:
    """The driver's side of a virtual function's disk: a slot of three descriptors for each request in flight, in mapped memory."""

    SIZE = 256
    HEADERS, DATA = 0x8000, 0x10000

    def __init__(self, device: Device, vm: int, memory: mmap.mmap, bus_address: int):
        self.function = BlockFunction(device, vm).start(size=self.SIZE)
        ring = self.function.ring
        self.memory, self.available, self.used = memory, ring.available, ring.used
        self.base, self.table, self.bus_address = self.function.base, ring.offset, bus_address
        self.free = list(range(self.SIZE // 3))
        self.offered = self.taken = 0
        self.sector = 0

    def send(self, count: int, is_write: bool) -> int:
        """Makes a request available. Returns its slot."""
        slot = self.free.pop()
        header, data = self.base + self.HEADERS + 32 * slot, self.base + self.DATA
        struct.pack_into("<IIQ", self.memory, header, WRITE_OUT if is_write else READ, 0, self.sector)
        self.sector = (self.sector + count // SECTOR) % (1 << 18)
        place, first = self.table + 48 * slot, 3 * slot
        for offset, length, flags, following in (
                (header, 16, NEXT, first + 1), (data, count, NEXT | (0 if is_write else WRITE), first + 2), (header + 16, 1, WRITE, 0)):
            struct.pack_into("<QIHH", self.memory, place, self.bus_address + offset, length, flags, following)
            place += 16
        struct.pack_into("<H", self.memory, self.available + 4 + 2 * (self.offered % self.SIZE), first)
        self.offered = self.offered + 1 & 0xffff
        return slot

    def notify(self) -> None:
        struct.pack_into("<H", self.memory, self.available + 2, self.offered)
        self.function.notify()

    def take(self) -> int | None:
        """The slot of the next request that is done."""
        if struct.unpack_from("<H", self.memory, self.used + 2)[0] == self.taken:
            return None
        head = struct.unpack_from("<I", self.memory, self.used + 4 + 8 * (self.taken % self.SIZE))[0]
        self.taken = self.taken + 1 & 0xffff
        slot = head // 3
        status = self.memory[self.base + self.HEADERS + 32 * slot + 16]
        assert status == 0, f"vm{self.function.number}: a request ended with status {status}"
        self.free.append(slot)
        return slot


class Player:
    """A load at work."""

    def __init__(self, load: Load, disk: Disk):
        self.load, self.disk = load, disk
        self.due = iter(load.due)
        self.next = next(self.due, None)
        self.waiting = collections.deque()
        self.flying = {}
        self.begin()

    def begin(self) -> None:
        """A new sample: bytes that fell due and that were done, and how long requests took."""
        self.asked = self.done = 0
        self.latencies = []

    def step(self, now: int) -> None:
        while (slot := self.disk.take()) is not None:
            cycle, count = self.flying.pop(slot)
            self.done += count
            self.latencies.append(now - cycle)
        while self.next and self.next[0] <= now:
            self.waiting.append(self.next)
            self.asked += self.next[1]
            self.next = next(self.due, None)
        sent = False
        while self.waiting and len(self.flying) < self.load.depth and self.disk.free:
            cycle, count, is_write = self.waiting.popleft()
            self.flying[self.disk.send(count, is_write)] = cycle, count
            sent = True
        if sent:
            self.disk.notify()

    def p99(self) -> int | None:
        """Of the requests that were done, in cycles; None if none was."""
        ordered = sorted(self.latencies)
        return ordered[len(ordered) * 99 // 100] if ordered else None


def play(device: Device, length: int, sample: int):
    """Plays the scenario; yields at the end of each sample what the virtual machines saw, and what the agent's view shows."""
    bus_address = int((device.files / "hostmem.iova").read_text(), 16)
    descriptor = os.open(device.files / "hostmem", os.O_RDWR)
    memory = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
    players = [Player(load, Disk(device, load.vm, memory, bus_address)) for load in scenario(length)]
    start = now = cycle(device)
    end = start + sample
    while now - start < length:
        device.advance(STEP)
        now = cycle(device)
        for player in players:
            player.step(now - start)
        if now >= end:
            view = json.loads(run(AGENT, "watch", "--device", device.function, "--once", "--json").stdout)
            yield {
                "time": now - start, "view": view,
                "vms": {player.load.vm: {"asked": player.asked, "done": player.done, "p99": player.p99()} for player in players},
            }
            for player in players:
                player.begin()
            end += sample
    os.close(descriptor)


def cycle(device: Device) -> int:
    """Device time, without an access."""
    return int((device.debug / "time").read_text().split("\n", 1)[0].split()[1])
