"""DMA into the driver's own memory: whatever it is, it is reached; what is somebody else's is not; nothing is left behind."""

import os

import pytest

from client_memory import PAGE, ClientMemory, physical_address, reserved_huge_pages
from client_state import FRAME, MACHINE, client, emulator, is_lent, leaves_nothing, loops, other_driver, settle
from harness import BDF, LIMIT, OUTRIGGER, Device, run
from network import NetworkFunction
from virtio import NEEDS_RESET


@pytest.fixture(scope="module", autouse=True)
def huge_pages():
    with reserved_huge_pages(8):
        yield


@pytest.fixture(scope="module")
def device(programs):
    with Device("--vfs", "0", machine=MACHINE) as device:
        yield device


# The page number of a legacy queue has 32 bits: virtual addresses are beyond.
@pytest.mark.parametrize("legacy, physical", [(False, False), (False, True), (True, True)], ids=["virtual", "physical", "legacy"])
@pytest.mark.parametrize("kind", ["hugetlbfs", "unlinked", "huge memfd", "huge private"])
def test_huge_pages(device, kind, legacy, physical):
    with NetworkFunction(device, 1, legacy=legacy, memory=ClientMemory(kind, physical)) as function:
        assert loops(function.start())
        said = client(device)
        assert said["process"] == str(os.getpid())
        assert said["addresses"] == f"automatic, {'physical' if physical else 'virtual'}"
        # What a process has for itself, others can't map.
        assert ("copied" if kind == "huge private" else "mapped") in said
    assert not is_lent(device), "the driver's reset gives the memory back"
    assert emulator(device)[0] == []


@pytest.mark.parametrize("kind", ["memfd", "shared", "private"])
def test_small_pages(device, kind):
    with NetworkFunction(device, 1, memory=ClientMemory(kind, physical=False)) as function:
        assert loops(function.start())
        assert ("copied" if kind == "private" else "mapped") in client(device)


def test_scattered_physical_pages(device):
    """A frame that begins at the end of one page and ends in another, elsewhere in physical memory, in a buffer of two descriptors."""
    memory = ClientMemory("memfd", physical=True)
    with NetworkFunction(device, 1, memory=ClientMemory("huge memfd", physical=True)) as function:
        function.start()
        pages = [memory.virtual + PAGE * page for page in (3, 5)]
        memory.store(3 * PAGE + PAGE - 20, function.header + FRAME[:8])
        memory.store(5 * PAGE, FRAME[8:])
        here = function.memory.bus_address
        function.listen()
        function.sender.chain(
            (physical_address(pages[0]) + PAGE - 20 - here, 20, 0), (physical_address(pages[1]) - here, len(FRAME) - 8, 0))
        function.sender.offer()
        function._notify(1)
        device.until(function.sender.take, "a used transmit buffer")
        assert function.receive() == FRAME
    memory.close()


@pytest.mark.parametrize("addresses", ["virtual", "physical"])
def test_memory_of_others_is_a_fault(device, addresses):
    """Function 2 is another process's: this one's function finds nothing at that one's addresses, and that one goes on."""
    with other_driver(device, 2, "huge memfd", addresses) as (process, address):
        assert client(device, 2)["process"] == str(process.pid)
        with NetworkFunction(device, 1, memory=ClientMemory("huge memfd", physical=addresses == "physical")) as function:
            assert loops(function.start())
            faults = device.metric("outrigger_iommu_faults_total")
            # A virtual address that this process has nothing at.
            wild = address if addresses == "physical" else 0x10_0000_0000
            function.sender.chain((wild - function.memory.bus_address, 64, 0))
            function.sender.offer()
            function._notify(1)
            device.until(lambda: function["DEVICE_STATUS"] & NEEDS_RESET, "the end of service")
            assert device.metric("outrigger_iommu_faults_total") > faults
            assert f"{wild:#x}" in client(device)["last refusal"]
            # The driver resets it and goes on.
            assert loops(function.start())
        assert process.poll() is None
        sent = int(network(device, 2)["transmitted"])
        device.until(lambda: int(network(device, 2)["transmitted"]) > sent, "more frames of the other function")


def network(device, number):
    text = (device.debug / f"functions/fn{64 + number}/network").read_text()
    return dict(line.split(": ", 1) for line in text.splitlines())


@pytest.mark.parametrize("kind", ["huge memfd", "private"])
def test_a_killed_client_leaves_nothing(device, kind):
    settle(device)
    before = emulator(device)
    for _ in range(3):
        with other_driver(device, 2, kind) as (process, _):
            process.kill()
            process.wait(LIMIT)
        settle(device)
        leaves_nothing(device, before)
    with NetworkFunction(device, 2, memory=ClientMemory("huge memfd", physical=True)) as function:
        assert loops(function.start())


def test_a_file_that_becomes_shorter_harms_nobody(device):
    """What is gone is zeroes until it is noticed, and no memory after that; the emulator goes on."""
    memory = ClientMemory("memfd", physical=False)
    with NetworkFunction(device, 1, memory=memory) as function, NetworkFunction(device, 2) as other:
        assert loops(function.start()) and loops(other.start())
        os.ftruncate(memory.descriptor, 0)
        function._notify(1)
        function._notify(0)
        device.until(lambda: not is_lent(device), "the end of the lent memory", 60_000_000_000)
        assert loops(other)
        os.ftruncate(memory.descriptor, memory.size)
        assert loops(function.start())


def test_memory_that_is_replaced_is_found_anew(device):
    with NetworkFunction(device, 1, memory=ClientMemory("memfd", physical=False)) as function:
        assert loops(function.start())
        old = function.memory.bytes[:]
        function.memory.remap()
        device.until(lambda: not is_lent(device), "the end of the lent memory", 60_000_000_000)
        function.memory.store(0, old)
        assert loops(function)


def test_unbinding_gives_the_memory_back(device):
    address = BDF[:-1] + "1"
    with NetworkFunction(device, 1, memory=ClientMemory("memfd", physical=False)) as function:
        assert loops(function.start())
        driver = device.mount / "sys/bus/pci/drivers/uio_pci_generic"
        (driver / "unbind").write_text(address)
        assert not is_lent(device)
        (driver / "bind").write_text(address)


def test_a_replay_has_the_clients_memory(start, tmp_path):
    """Mapped and copied memory, by virtual and physical addresses: the recording has what the device read there."""
    recording = tmp_path / "client.rec"
    device = start("--vfs", 0, "--record", recording, "--trace", recording / "trace", machine=MACHINE)
    for kind, physical in (("huge memfd", True), ("private", False), ("memfd", False)):
        with NetworkFunction(device, 1, memory=ClientMemory(kind, physical)) as function:
            function.start()
            for size in (60, 1000, 1514):
                assert loops(function, os.urandom(size))
    assert device.close() == 0
    replay = run(OUTRIGGER, "replay", recording, limit=300)
    assert replay.stdout.splitlines()[-1] == "the same" and replay.stderr == ""
