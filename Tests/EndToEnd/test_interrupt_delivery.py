"""What lies between a device's wish and the host's interrupt: command register, MSI-X table, the driver's own wishes in the rings."""

import errno
import os
import select
import struct

import pytest

from harness import Device, Opened, Raises
from network import NetworkFunction
from virtio import NO_VECTOR, READ, RING_PACKED, BlockFunction

MACHINE = "physical_functions:\n  - {function: 1, kind: net, backend: loop}"
EVENT_INDEX = 1 << 29
NETWORK = 65
INTERRUPT_DISABLE, STATUS_INTERRUPT = 1 << 10, 1 << 3


@pytest.fixture(scope="module")
def device(programs):
    with Device("--vfs", "1", machine=MACHINE) as device:
        yield device


class Node:
    """A function's UIO node, read without waiting unless asked to."""

    def __init__(self, device, folder):
        self.descriptor = os.open(device.uio(folder), os.O_RDONLY | os.O_NONBLOCK)
        self.poller = select.poll()
        self.poller.register(self.descriptor, select.POLLIN)
        self.count = int((folder / "uio" / os.listdir(folder / "uio")[0] / "event").read_text())

    def close(self):
        os.close(self.descriptor)

    def has(self, events: int) -> None:
        """So many more have come than at the last time."""
        if events == 0:
            with Raises(errno.EAGAIN):
                os.read(self.descriptor, 4)
            return
        assert self.poller.poll(0) == [(self.descriptor, select.POLLIN)]
        self.count += events
        assert struct.unpack("<I", os.read(self.descriptor, 4)) == (self.count,)


class MessageInterrupts:
    """A function's MSI-X capability and table (PCIe 5.0, 7.7.2); the file of its BAR has the table at 0, the pending bits at 0x800."""

    ENABLE, MASK = 0x8000, 0x4000

    def __init__(self, config: int, table: os.PathLike, vectors: int):
        self.config, self.table = config, os.open(table, os.O_RDWR)
        space = os.pread(config, 256, 0)
        self.capability = space[0x34]
        while space[self.capability] != 0x11:
            self.capability = space[self.capability + 1]
        for vector in range(vectors):
            os.pwrite(self.table, struct.pack("<Q", 0xfee0_0000 + 0x1000 * vector), 16 * vector)
            os.pwrite(self.table, struct.pack("<I", 0x40 + vector), 16 * vector + 8)
            self.mask(vector, False)

    def control(self, bits: int) -> None:
        os.pwrite(self.config, struct.pack("<H", bits), self.capability + 2)

    def mask(self, vector: int, on: bool) -> None:
        os.pwrite(self.table, struct.pack("<I", on), 16 * vector + 12)

    @property
    def pending(self) -> int:
        return struct.unpack("<Q", os.pread(self.table, 8, 0x800))[0]

    def close(self) -> None:
        self.control(0)
        os.close(self.table)


@pytest.fixture
def network(device):
    with NetworkFunction(device, 1) as network:
        # No pending bits of another test's.
        (network.folder / "reset").write_text("1\n")
        yield network.start()


@pytest.fixture
def node(device, network):
    node = Node(device, network.folder)
    yield node
    node.close()


@pytest.fixture
def vectors(network):
    """Vector 0 for changes of the configuration, 1 for received frames, 2 for those sent."""
    interrupts = MessageInterrupts(network.config, network.folder / "resource1", 3)
    network["CONFIG_MSIX_VECTOR"] = 0
    for queue in (0, 1):
        network["QUEUE_SELECT"] = queue
        network["QUEUE_MSIX_VECTOR"] = queue + 1
        assert network["QUEUE_MSIX_VECTOR"] == queue + 1
    yield interrupts
    interrupts.close()


def shown(device, function=NETWORK) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in (device.debug / f"functions/fn{function}/interrupts").read_text().splitlines())


def exchange(network) -> None:
    """One frame out and in: both queues have used buffers, and the device has said what it wanted to say."""
    network.listen()
    network.send(b"frame" * 20)
    assert network.receive() == b"frame" * 20
    # This waits for the machine: the step in which the buffers were used has ended.
    network.device.metric("outrigger_interrupts_total")


# INTx (PCIe 5.0, 6.1.3 and 7.5.1.1)


def test_intx_is_masked_on_each_interrupt_and_comes_back_by_the_command_register(device, network, node):
    def command(bits):
        os.pwrite(network.config, struct.pack("<H", 7 | bits), 4)

    def registers():
        return struct.unpack("<HH", os.pread(network.config, 4, 4))

    # The driver has disabled it: the status bit shows the line, the host hears nothing.
    exchange(network)
    assert registers()[0] & INTERRUPT_DISABLE and registers()[1] & STATUS_INTERRUPT
    assert shown(device)["intx"] == "asserted disabled" and shown(device)["msix"] == "off"
    node.has(0)
    # Enabled with the line asserted: at once. The host's handler disables it (pci_check_and_mask_intx), or it would never end.
    command(0)
    node.has(1)
    assert registers()[0] & INTERRUPT_DISABLE and registers()[1] & STATUS_INTERRUPT
    # The driver has served nothing yet: again.
    command(0)
    node.has(1)
    # Reading the ISR status takes the line back (virtio 1.2, 4.1.4.5).
    assert network["ISR_STATUS"] & 1 and network["ISR_STATUS"] == 0
    assert registers()[1] & STATUS_INTERRUPT == 0 and shown(device)["intx"] == "idle disabled"
    command(0)
    node.has(0)
    assert shown(device)["intx"] == "idle"
    # It rises once for whatever comes until it is served.
    for _ in range(3):
        exchange(network)
    node.has(1)
    assert network["ISR_STATUS"] & 1


def test_msix_silences_intx(device, network, node, vectors):
    os.pwrite(network.config, struct.pack("<H", 7), 4)
    vectors.control(vectors.ENABLE)
    exchange(network)
    node.has(2)
    assert shown(device)["intx"] == "idle" and os.pread(network.config, 1, 6)[0] & STATUS_INTERRUPT == 0
    assert os.pread(network.config, 2, 4) == struct.pack("<H", 7), "nobody has disabled INTx"


# MSI-X (6.1.4)


def test_the_functions_mask_holds_all_vectors_back(device, network, node, vectors):
    vectors.control(vectors.ENABLE | vectors.MASK)
    for _ in range(3):
        exchange(network)
    assert vectors.pending == 0b110
    said = shown(device)
    assert said["msix"] == "masked" and [said[f"vector {n}"].endswith(" pending") for n in range(3)] == [False, True, True]
    node.has(0)
    # What was raised several times is one message.
    vectors.control(vectors.ENABLE)
    node.has(2)
    assert vectors.pending == 0 and shown(device)["msix"] == "on"
    exchange(network)
    node.has(2)


def test_a_vectors_mask_holds_one_back(device, network, node, vectors):
    vectors.control(vectors.ENABLE)
    vectors.mask(1, True)
    exchange(network)
    node.has(1)
    assert vectors.pending == 0b010
    said = shown(device)
    assert said["vector 1"] == "address 0xfee01000 data 0x41 masked pending" and said["vector 2"] == "address 0xfee02000 data 0x42"
    assert said["configuration"] == "vector 0" and said["queue 0"] == "vector 1" and said["queue 1"] == "vector 2"
    # Both masks have to go.
    vectors.control(vectors.ENABLE | vectors.MASK)
    vectors.mask(1, False)
    node.has(0)
    assert vectors.pending == 0b010
    vectors.control(vectors.ENABLE)
    node.has(1)
    assert vectors.pending == 0


def test_pending_bits_are_read_only_and_a_reset_clears_them(device, network, node, vectors):
    vectors.control(vectors.ENABLE | vectors.MASK)
    exchange(network)
    os.pwrite(vectors.table, bytes(8), 0x800)
    assert vectors.pending == 0b110
    (network.folder / "reset").write_text("1\n")
    assert vectors.pending == 0 and shown(device)["msix"] == "off"
    # All vectors are masked, as at power-on.
    assert all(shown(device)[f"vector {n}"] == "address 0x0 data 0x0 masked" for n in range(3))
    node.has(0)


def test_a_change_of_the_configuration_has_its_vector(device, network, node, vectors):
    vectors.control(vectors.ENABLE)
    for queue in (1, 2):
        vectors.mask(queue, True)
    for state in ("down", "up"):
        (device.debug / "inject").write_text(f"link {network.folder.name} {state}\n")
        node.has(1)
    # That bit is set with MSI-X, too; the one for queues is not (virtio 1.2, 4.1.4.5.1).
    exchange(network)
    assert network["ISR_STATUS"] == 2


def test_a_queue_without_a_vector_has_no_interrupt(device, network, node, vectors):
    vectors.control(vectors.ENABLE)
    network["QUEUE_SELECT"] = 1
    network["QUEUE_MSIX_VECTOR"] = NO_VECTOR
    exchange(network)
    node.has(1)
    assert shown(device)["queue 1"] == "no vector" and vectors.pending == 0
    # One that the function doesn't have is refused by the same value (virtio 1.2, 4.1.5.1.2).
    network["QUEUE_MSIX_VECTOR"] = 77
    assert network["QUEUE_MSIX_VECTOR"] == NO_VECTOR


# UIO


def test_epoll_tells_of_the_one_that_has_events(device, network, node, vectors):
    vectors.control(vectors.ENABLE)
    with BlockFunction(device, 1) as disk, Opened(device.uio(disk.folder), os.O_RDONLY) as other:
        disk.enable_interrupts()
        disk.start(vector=0)
        for mode in (0, select.EPOLLET):
            with select.epoll() as poller:
                poller.register(node.descriptor, select.EPOLLIN | mode)
                poller.register(other, select.EPOLLIN | mode)
                for _ in range(5):
                    assert poller.poll(0) == []
                    exchange(network)
                    assert poller.poll(60) == [(node.descriptor, select.EPOLLIN)]
                    node.has(2)
                    disk.submit(READ, 0, 512)
                    assert poller.poll(60) == [(other, select.EPOLLIN)]
                    os.read(other, 4)
                    assert disk.finish() == 0


# The driver's wishes (virtio 1.2, 2.7.7, 2.7.10 and 2.8.10)


@pytest.fixture
def disk(device):
    with BlockFunction(device, 1) as disk:
        disk.enable_interrupts()
        yield disk


def interrupts_of(disk, requests: int) -> list[int]:
    """How many interrupts each of so many requests has brought."""
    brought = []
    for _ in range(requests):
        before = disk.device.metric("outrigger_interrupts_total", disk.address)
        disk.submit(READ, 0, 512)
        disk.device.until(disk.ring.take, "a used entry")
        brought.append(disk.device.metric("outrigger_interrupts_total", disk.address) - before)
    return brought


def test_a_split_rings_driver_suppresses_interrupts_by_a_flag(disk):
    disk.start(vector=0)
    assert interrupts_of(disk, 3) == [1, 1, 1]
    disk.memory.store(disk.ring.available, struct.pack("<H", 1))
    assert interrupts_of(disk, 3) == [0, 0, 0]
    disk.memory.store(disk.ring.available, struct.pack("<H", 0))
    assert interrupts_of(disk, 3) == [1, 1, 1]


def test_a_split_rings_driver_asks_for_an_interrupt_by_its_place(disk):
    disk.start(vector=0, features=EVENT_INDEX)

    def ask(index):
        disk.memory.store(disk.ring.available + 4 + 2 * disk.ring.size, struct.pack("<H", index & 0xffff))

    ask(0)
    assert interrupts_of(disk, 4) == [1, 0, 0, 0]
    ask(disk.ring.taken + 5)
    assert interrupts_of(disk, 8) == [0, 0, 0, 0, 0, 1, 0, 0]
    # The flag doesn't count with event indexes (2.7.6.1).
    disk.memory.store(disk.ring.available, struct.pack("<H", 1))
    ask(disk.ring.taken)
    assert interrupts_of(disk, 2) == [1, 0]
    # Beyond a whole lap of the ring.
    ask(disk.ring.taken + 20)
    assert interrupts_of(disk, 22) == [0] * 20 + [1, 0]


def test_a_packed_rings_driver_suppresses_interrupts_and_asks_by_place(disk):
    disk.start(vector=0, features=EVENT_INDEX | RING_PACKED)
    ring = disk.ring

    def wish(flags, offset=0, wrap=True):
        disk.memory.store(ring.offset + 16 * ring.size, struct.pack("<HH", offset | wrap << 15, flags))

    enable, suppress, by_place = 0, 1, 2
    wish(enable)
    assert interrupts_of(disk, 2) == [1, 1]
    wish(suppress)
    assert interrupts_of(disk, 3) == [0, 0, 0]
    # A request has three descriptors of a ring of 16: of the next three the second one passes the place.
    place = ring.next + 4
    wish(by_place, place % ring.size, ring.next_wrap ^ (place >= ring.size))
    assert interrupts_of(disk, 4) == [0, 1, 0, 0]
