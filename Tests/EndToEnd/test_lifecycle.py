"""Functions come, go, are reset and are lost, while others move data: those see nothing of it, and nothing stays behind."""

import contextlib
import errno
import os
import random
import select
import struct
import subprocess

import pytest

from client_memory import reserved_huge_pages
from client_state import client, emulator, is_lent, leaves_nothing, loops, other_driver, settle
from harness import AGENT, BDF, LIMIT, WORKLOADS, Device, Opened, Raises, complaint
from load import GUARD, SECTOR, Guards, Load
from network import NetworkFunction
from virtio import NEEDS_RESET, READ, WRITE, WRITE_OUT, BlockFunction

# Drivers' memory in host memory goes by numbers: these are not those of the virtual functions below.
MACHINE = """
virtual_functions: {total: 16, enabled: 4}
physical_functions:
  - {function: 5, kind: net, backend: loop}
  - {function: 6, kind: net, backend: loop}"""
FIFTH = 5


@pytest.fixture(scope="module")
def device(programs):
    with Device(machine=MACHINE) as device:
        yield device


@pytest.fixture(autouse=True)
def nothing_stays(device):
    """After every test the emulator has no more of others' memory, descriptors and threads than before, and all functions work."""
    settle(device, FIFTH)
    before = emulator(device)
    yield
    assert device.process.poll() is None, device.output()
    settle(device, FIFTH)
    leaves_nothing(device, before)
    device.set_virtual_functions(4)
    with BlockFunction(device, 4).start() as disk:
        disk.write(8, b"still here" * 512)
        assert disk.read(8, 5120) == b"still here" * 512
    with NetworkFunction(device, FIFTH) as network:
        assert loops(network.start())


# Virtual functions


def test_virtual_functions_come_and_go_under_load(device):
    chance = random.Random(1)
    with Load(device, "network", 5) as first, Load(device, "network", 6) as second:
        for _ in range(25):
            device.set_virtual_functions(0)
            count = chance.randint(1, 16)
            device.set_virtual_functions(count)
            assert len(list(device.function.glob("virtfn*"))) == count
            number = chance.randint(1, count) if count < 5 else chance.randint(1, 4)
            disk = BlockFunction(device, number).start()
            assert disk.read(0, 4096) is not None
            # It goes with a request on its way.
            disk.submit(WRITE_OUT, 0, chance.randbytes(1 << 15))
            device.set_virtual_functions(0)
            used = disk.memory.load(disk.ring.used, 16)
            with Raises(errno.ENODEV):
                disk.notify()
            first.advance()
            second.advance()
            assert disk.memory.load(disk.ring.used, 16) == used, "a function that is gone writes"
            disk.close()


# Function-level reset


def by_the_file(disk):
    (disk.folder / "reset").write_text("1\n")


def by_configuration_space(disk):
    """Initiate Function Level Reset in the device control register (PCIe 5.0, 7.5.3.4). What the kernel would put back is the driver's own
    affair then."""
    space = os.pread(disk.config, 256, 0)
    capability = space[0x34]
    while space[capability] != 0x10:
        capability = space[capability + 1]
    control = struct.unpack("<H", os.pread(disk.config, 2, capability + 8))[0]
    os.pwrite(disk.config, struct.pack("<H", control | 0x8000), capability + 8)
    assert os.pread(disk.config, 2, capability + 8)[1] & 0x80 == 0 and os.pread(disk.config, 1, 4)[0] & 4 == 0


@pytest.mark.parametrize("reset", [by_the_file, by_configuration_space])
def test_function_level_reset_with_requests_in_flight(device, reset):
    chance = random.Random(2)
    pieces, size = 16, 1 << 12
    with Load(device, "disk", 2) as neighbour, Load(device, "network", 5) as network, BlockFunction(device, 1) as disk:
        old = chance.randbytes(pieces * size)
        disk.start()
        for piece in range(pieces):
            disk.write(piece * size // SECTOR, old[piece * size:][:size])
        for turn in range(25):
            disk.start(size=64)
            # Sixteen writes at once, of which the reset meets those that it meets.
            new = chance.randbytes(pieces * size)
            data = disk.base + disk.DATA
            guards = Guards(disk.memory, data - len(GUARD), data + pieces * size)
            for piece in range(pieces):
                header = disk.base + disk.HEADER + 32 * piece
                disk.memory.store(header, struct.pack("<IIQB", WRITE_OUT, 0, piece * size // SECTOR, 0xff))
                disk.memory.store(data + piece * size, new[piece * size:][:size])
                place = disk.ring.offset + 16 * 3 * piece
                for number, (address, count, flags) in enumerate([
                        (header, 16, 1), (data + piece * size, size, 1), (header + 16, 1, WRITE)]):
                    disk.memory.store(place + 16 * number, struct.pack(
                        "<QIHH", disk.memory.bus_address + address, count, flags, 3 * piece + number + 1 if flags & 1 else 0))
                disk.memory.store(disk.ring.available + 4 + 2 * piece, struct.pack("<H", 3 * piece))
            disk.ring.set_available_index(pieces)
            disk.notify()
            # Some of them come back first.
            wanted = chance.randrange(pieces)
            device.until(lambda: struct.unpack("<H", disk.memory.load(disk.ring.used + 2, 2))[0] >= wanted, f"{wanted} writes")
            reset(disk)
            assert disk.status == 0 and disk.state["enabled"] == "no" and disk.state["in flight"] == "0"
            finished, = struct.unpack("<H", disk.memory.load(disk.ring.used + 2, 2))
            before = disk.memory.load(disk.base, 1 << 20)
            neighbour.advance()
            network.advance()
            assert disk.memory.load(disk.base, 1 << 20) == before, "a function that was reset writes"
            guards.check()
            # What was acknowledged is on the disk; of the rest each sector is as it was, or new.
            heads = {struct.unpack("<I", before[disk.ring.used - disk.base + 4 + 8 * entry:][:4])[0] // 3 for entry in range(finished)}
            disk.start()
            found = b"".join(disk.read(piece * size // SECTOR, size) for piece in range(pieces))
            for sector in range(pieces * size // SECTOR):
                here = slice(sector * SECTOR, (sector + 1) * SECTOR)
                is_finished = sector * SECTOR // size in heads
                assert found[here] == new[here] or (not is_finished and found[here] == old[here]), f"turn {turn}, sector {sector}"
            old = found


def test_a_reset_of_the_physical_function_takes_the_virtual_ones_but_not_its_neighbours(device):
    with Load(device, "network", 5) as network, BlockFunction(device, 1) as disk:
        disk.start().submit(READ, 0, 1 << 14)
        (device.function / "reset").write_text("1\n")
        # Linux puts VF Enable back, so they are there again, as at power-on.
        assert (device.function / "sriov_numvfs").read_text() == "4\n" and disk.status == 0
        network.advance()
    device.agent("identify")


# Drivers


def test_a_driver_is_unbound_and_bound_while_others_work(device):
    driver = device.mount / "sys/bus/pci/drivers/uio_pci_generic"
    with Load(device, "disk", 2) as neighbour, Load(device, "network", 5) as network:
        for turn in range(5):
            with BlockFunction(device, 1) as disk:
                disk.start().write(0, bytes([turn]) * 4096)
                disk.submit(READ, 0, 1 << 14)
                with Opened(device.uio(disk.folder), os.O_RDONLY) as node:
                    (driver / "unbind").write_text(disk.address)
                    with Raises(errno.ENODEV):
                        os.read(node, 4)
                assert not (disk.folder / "driver").exists() and not (disk.folder / "uio").exists()
                # pci_disable_device: the function may not master the bus any more.
                assert (disk.folder / "enable").read_text() == "0\n" and os.pread(disk.config, 1, 4)[0] & 4 == 0
                used = disk.memory.load(disk.ring.used, 2)
                neighbour.advance()
                network.advance()
                # The bus refuses what it still wants.
                disk.notify()
                device.until(lambda: disk.status & NEEDS_RESET, "DEVICE_NEEDS_RESET")
                (driver / "bind").write_text(disk.address)
                assert (disk.folder / "enable").read_text() == "1\n" and len(os.listdir(disk.folder / "uio")) == 1
                assert disk.memory.load(disk.ring.used, 2) == used
                assert disk.start().read(0, 4096) == bytes([turn]) * 4096


# Surprise removal


CARD = (BDF, f"{BDF[:-1]}5", f"{BDF[:-1]}6")


def find_anew(device):
    """What the host's hot-plug driver would do when there is a card again."""
    for address in CARD:
        with contextlib.suppress(FileNotFoundError):
            (device.pci / address / "remove").write_text("1\n")
    (device.mount / "sys/bus/pci/rescan").write_text("1\n")
    device.forget()


@contextlib.contextmanager
def pulled_out(device):
    """The card is out of its slot within the context; afterwards the host has found it anew."""
    inject = device.debug / "inject"
    inject.write_text(f"card {BDF} out\n")
    try:
        yield
    finally:
        inject.write_text(f"card {BDF} in\n")
        find_anew(device)


def has_returned(device):
    device.until(lambda: "state=ready" in (device.debug / "firmware").read_text(), "firmware that is ready", 60_000_000_000)


def test_a_card_that_is_pulled_out_reads_all_ones(device):
    port = device.pci / "0000:00:01.0"
    disk, network = BlockFunction(device, 1).start(), NetworkFunction(device, 5)
    network.start()
    disk.enable_interrupts()
    disk.write(0, b"kept" * 1024)
    node = os.open(device.uio(disk.folder), os.O_RDONLY)
    poller = select.poll()
    poller.register(node, select.POLLIN)
    waiting = subprocess.Popen(["head", "-c4", device.uio(disk.folder)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    disk.submit(WRITE_OUT, 8, b"lost" * 8192)
    network.listen()
    with Opened(device.function / "resource0") as management, pulled_out(device):
        image = disk.memory.load(0, 8 << 20)
        # Registers and configuration space, of every function, by descriptors that were open before.
        for bar in (management, disk.registers.descriptor, network.registers):
            for size in (1, 2, 4, 8):
                assert os.pread(bar, size, 0) == b"\xff" * size and os.pwrite(bar, bytes(size), 0) == size
        for config in (disk.config, network.config):
            assert os.pread(config, 64, 0) == b"\xff" * 64 and os.pwrite(config, bytes(2), 4) == 2
        assert disk.status == 0xff
        disk.notify()
        # Who waits for an interrupt learns that none will come.
        _, said = waiting.communicate(timeout=LIMIT)
        assert waiting.returncode != 0 and "Input/output error" in said
        assert poller.poll(LIMIT * 1000) == [(node, select.POLLERR | select.POLLHUP)]
        with Raises(errno.EIO):
            os.read(node, 4)
        for name, text in (("reset", "1"), ("sriov_numvfs", "0")):
            with Raises(errno.EIO):
                (device.function / name).write_text(text)
        # The port tells (PCIe 5.0, 7.5.3.8 and 7.5.3.11): the link is down, the slot is empty, and both are news.
        assert int(device.setpci("-s", port.name, "CAP_EXP+12.w"), 16) & 1 << 13 == 0
        assert int(device.setpci("-s", port.name, "CAP_EXP+1a.w"), 16) & 0x148 == 0x108
        device.setpci("-s", port.name, "CAP_EXP+1a.w=0108")
        # Programs end with an error.
        assert "expected" in complaint(AGENT, "identify", "--device", device.function)
        # It is gone for DMA too.
        (device.mount / "sys/bus/pci/rescan").write_text("1\n")
        assert disk.memory.load(0, 8 << 20) == image
        for number in (1, 5):
            assert "in flight: 0" in (device.files / f"queues/fn{number if number < 5 else 64 + number}/q0/state").read_text()
        with pytest.raises(OSError):
            (device.debug / "inject").write_text(f"card {BDF} out\n")
        (device.function / "remove").write_text("1\n")
        assert not device.function.exists()
        with Raises(errno.ENODEV):
            os.pread(management, 4, 0)
        # The host finds nothing, as long as there is nothing.
        (device.mount / "sys/bus/pci/rescan").write_text("1\n")
        assert not device.function.exists()
    os.close(node)
    network.memory.close()
    for descriptor in (network.registers, network.config):
        os.close(descriptor)
    disk.close()
    # Clean: as at power-on, and set up as the host sets up what it finds.
    assert int(device.setpci("-s", port.name, "CAP_EXP+1a.w"), 16) & 0x148 == 0x148
    assert (device.function / "sriov_numvfs").read_text() == "0\n" and (device.function / "driver").exists()
    has_returned(device)
    assert all(owner["writes"] == 0 for owner in device.stats()["owners"])
    device.set_virtual_functions(4)
    with BlockFunction(device, 1) as disk:
        assert disk.status == 0 and disk.state["enabled"] == "no"
        assert int(device.setpci("-s", disk.address, "CAP_MSIX+2.w"), 16) & 0xc000 == 0
        # What was written stays on the disk.
        assert disk.start().read(0, 4096) == b"kept" * 1024


def test_a_link_that_is_disabled_resets_the_card_and_leaves_the_firmware_alone(device):
    console = (device.debug / "console").read_text()
    disk = BlockFunction(device, 1).start()
    disk.write(0, b"kept" * 1024)
    disk.submit(READ, 0, 1 << 14)
    device.setpci("-s", "00:01.0", "CAP_EXP+10.w=10:10")
    used = disk.memory.load(disk.ring.used, 16)
    assert disk.status == 0xff and os.pread(disk.config, 64, 0) == b"\xff" * 64
    device.setpci("-s", "00:01.0", "CAP_EXP+10.w=0:10")
    # There is something, but without addresses.
    assert device.setpci("-s", BDF, "BASE_ADDRESS_0") == "00000000"
    find_anew(device)
    assert disk.memory.load(disk.ring.used, 16) == used
    disk.close()
    device.agent("identify")
    assert (device.debug / "console").read_text() == console
    device.set_virtual_functions(4)
    with BlockFunction(device, 1) as disk:
        assert disk.start().read(0, 4096) == b"kept" * 1024


def test_programs_that_work_when_the_card_goes_end_with_an_error(device):
    """Two drivers and two agents: none of them hangs."""
    for seed in range(3):
        loads = [Load(device, "disk", 2, seed), Load(device, "network", 6, seed)]
        replay = ["replay", WORKLOADS / "database.iolog", "--vf", "1", "--wrap", "--limit", "10000000"]
        agents = [
            subprocess.Popen([AGENT, *words, "--device", device.function], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True) for words in (["watch"], replay)]
        assert agents[0].stdout.readline(), agents[0].communicate(timeout=LIMIT)
        device.until(lambda: "in flight: 0" not in (device.files / "queues/fn1/q0/state").read_text(), "a request", 60_000_000_000)
        for load in loads:
            load.advance(seed)
        with pulled_out(device):
            for load in loads:
                load.has_lost_its_device()
            for agent in agents:
                _, said = agent.communicate(timeout=LIMIT)
                assert agent.returncode > 0 and said.startswith("Error: "), said
        has_returned(device)
        (device.function / "sriov_numvfs").write_text("4\n")
        with BlockFunction(device, 2) as disk:
            assert disk.start().read(0, SECTOR) is not None


# Clients that crash


@pytest.mark.parametrize("kind, addresses", [("memfd", "virtual"), ("private", "virtual"), ("huge memfd", "physical")])
def test_a_driver_that_is_killed_in_the_middle_of_dma_harms_nobody(device, kind, addresses):
    with reserved_huge_pages(8) if kind.startswith("huge") else contextlib.nullcontext():
        with Load(device, "disk", 2) as disk, Load(device, "network", 6) as network:
            for _ in range(5):
                with other_driver(device, FIFTH, kind, addresses) as (process, _):
                    assert is_lent(device, FIFTH) and client(device, FIFTH)["process"] == str(process.pid)
                    process.kill()
                    process.wait(LIMIT)
                device.until(
                    lambda: client(device, FIFTH)["process"] == "none" and not is_lent(device, FIFTH), "the client's end", 60_000_000_000)
                disk.advance()
                network.advance()
        with NetworkFunction(device, FIFTH) as function:
            assert loops(function.start())
