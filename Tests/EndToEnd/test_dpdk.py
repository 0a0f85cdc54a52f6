"""DPDK's testpmd, from Debian, on network functions that loop: frames are counted on both sides, and the counts are equal.

The driver is DPDK's own; its memory is huge pages, its addresses are physical, its registers are mapped (modern) or ports (legacy).
"""

import re

import pytest

from client_memory import reserved_huge_pages
from harness import BDF, OUTRIGGER, Device
from testpmd import Testpmd

#: Physical functions by what their driver gets to see.
FUNCTIONS = {"modern, packed": 1, "modern, split": 2, "legacy": 3}
MACHINE = """
virtual_functions: {total: 1}
physical_functions:
  - {function: 1, kind: net, queues: 2}
  - {function: 2, kind: net, queues: 2, packed: false}
  - {function: 3, kind: net, queues: 2, packed: false, modern: false}"""


@pytest.fixture(scope="module")
def device(programs):
    with reserved_huge_pages(32):
        with Device("--vfs", "0", machine=MACHINE) as device:
            yield device


class DeviceTestpmd(Testpmd):
    """testpmd on one function of the device."""

    def __init__(self, device, function: int, queues: int = 1):
        self.device, self.index = device, 64 + function
        super().__init__(
            "-a", f"{BDF[:-1]}{function}", world=[OUTRIGGER, "exec", "--mount", device.mount, "--"], queues=queues)

    @property
    def device_counts(self) -> dict[str, int]:
        """What the device has counted."""
        text = (self.device.debug / f"functions/fn{self.index}/network").read_text()
        return {name: int(value) for name, value in re.findall(r"^([a-z ]+): (\d+)$", text, re.MULTILINE)}

    def file(self, name: str) -> str:
        return (self.device.debug / f"functions/fn{self.index}" / name).read_text()

    def queue(self, number: int) -> dict[str, str]:
        text = (self.device.files / f"queues/fn{self.index}/q{number}/state").read_text()
        return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)


def circulate(testpmd, frames: int) -> None:
    """Sends a burst of 32 frames on each queue, and sends again what comes back, until so many have been sent."""
    before = testpmd.device_counts["transmitted"]
    testpmd.command("set fwd io")
    testpmd.command("start tx_first 1")
    testpmd.device.until(lambda: testpmd.device_counts["transmitted"] - before > frames, f"{frames} frames", 60_000_000_000)


@pytest.mark.parametrize("queues", [1, 2])
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_frames_are_counted_alike_on_both_sides(device, kind, queues):
    with DeviceTestpmd(device, FUNCTIONS[kind], queues) as testpmd:
        assert ("trying with legacy virtio pci" if kind == "legacy" else "modern virtio pci detected") in testpmd.started
        assert testpmd.queue(0)["format"] == ("packed" if kind == "modern, packed" else "split")
        before = testpmd.device_counts
        circulate(testpmd, 20_000)
        said = testpmd.command("stop")
        if queues == 2:
            for queue in range(2):
                assert int(re.search(rf"RX Port= 0/Queue= {queue} .*\n\s+RX-packets: (\d+)", said)[1]) > 1000, said
        # What is still on its way is received and kept.
        testpmd.command("set fwd rxonly")
        testpmd.command("start")
        device.until(lambda: testpmd.counts["RX-packets"] == testpmd.counts["TX-packets"], "the last frames", 60_000_000_000)
        testpmd.command("stop")

        after = testpmd.device_counts
        difference = {name: after[name] - before[name] for name in after}
        counts = testpmd.counts
        assert counts["TX-packets"] == difference["transmitted"] and counts["RX-packets"] == difference["received"]
        assert counts["TX-bytes"] == difference["transmitted bytes"] and counts["RX-bytes"] == difference["received bytes"]
        assert difference["received"] == difference["transmitted"] > 20_000 and difference["dropped"] == 0
        assert counts["RX-errors"] == counts["TX-errors"] == counts["RX-missed"] == 0


def test_a_function_without_the_modern_interface_shows_the_legacy_one_alone(device):
    modern, legacy = (device.lspci("-v", "-s", f"{BDF[:-1]}{FUNCTIONS[kind]}") for kind in ("modern, split", "legacy"))
    assert "VirtIO: CommonCfg" in modern and "VirtIO" not in legacy
    folder = device.pci / f"{BDF[:-1]}{FUNCTIONS['legacy']}"
    assert (folder / "resource0").exists() and not (folder / "resource4").exists()


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_an_interrupt_tells_of_the_link(device, kind):
    """The configuration interrupt, through the UIO node: testpmd says so by itself."""
    function = FUNCTIONS[kind]
    with DeviceTestpmd(device, function) as testpmd:
        try:
            for state in ("down", "up"):
                (device.debug / "inject").write_text(f"link {BDF[:-1]}{function} {state}\n")
                testpmd.wait_for("Port 0: link state change event")
                assert f"Link status: {state}" in testpmd.command("show port info 0")
        finally:
            (device.debug / "inject").write_text(f"link {BDF[:-1]}{function} up\n")


def test_its_control_commands_reach_the_device(device):
    """Receive modes, address and queue pairs over the control queue."""
    with DeviceTestpmd(device, FUNCTIONS["modern, split"], 2) as testpmd:
        assert "queue pairs: 2" in testpmd.file("network")
        testpmd.command("set promisc 0 off")
        assert "promiscuous: no" in testpmd.file("network")
        testpmd.command("mac_addr set 0 52:54:00:12:34:56")
        assert "address: 52:54:00:12:34:56" in testpmd.file("network")
        testpmd.command("set promisc 0 on")
        assert "promiscuous: yes" in testpmd.file("network")
        assert testpmd.device_counts["control errors"] == 0


def test_memory_of_a_killed_driver_is_given_back(device):
    """DPDK is killed in the midst of traffic; the function serves the next one."""
    testpmd = DeviceTestpmd(device, FUNCTIONS["modern, packed"])
    try:
        circulate(testpmd, 1000)
    finally:
        testpmd.kill()
    device.until(lambda: "process: none" in testpmd.file("client"), "the end of the client", 60_000_000_000)
    with DeviceTestpmd(device, FUNCTIONS["modern, packed"]) as testpmd:
        circulate(testpmd, 1000)
        testpmd.command("stop")
