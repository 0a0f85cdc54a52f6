"""The examples for driver writers do what they say, and the device counts what they count."""

import sys

import pytest

from client_memory import reserved_huge_pages
from harness import OUTRIGGER, ROOT, Device, run

EXAMPLES = ROOT / "examples/virtio"
NET, BLOCK = 65, 66


@pytest.fixture(scope="module")
def device(programs):
    with reserved_huge_pages(4):
        with Device("--vfs", "0", "--machine", EXAMPLES / "machine.yaml") as device:
            yield device


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Builds the C programs, and the register layer for the Python one; a program's command by language and name."""
    folder = tmp_path_factory.mktemp("examples")
    run("make", "-C", EXAMPLES, f"OUT={folder}", "CFLAGS=-O2 -Werror")
    run(ROOT / "tools/regen", "--python", limit=600)
    return lambda language, name: [folder / name] if language == "c" else [sys.executable, EXAMPLES / "driver.py", name]


def frames(device):
    text = (device.debug / f"functions/fn{NET}/network").read_text()
    counters = dict(line.split(": ", 1) for line in text.splitlines())
    return int(counters["transmitted"]), int(counters["received"])


@pytest.mark.parametrize("registers", [[], ["legacy"]], ids=["modern", "legacy"])
@pytest.mark.parametrize("language, count", [("c", 5000), ("python", 200)])
def test_net(device, program, language, count, registers):
    sent, received = frames(device)
    said = run(*program(language, "net"), device.pci / "0000:01:00.1", count, *registers).stdout
    assert said == f"{count} frames sent, {count} received\n"
    assert frames(device) == (sent + count, received + count)
    # The driver has reset the device: its memory is its own again.
    assert "mapped" not in (device.debug / f"functions/fn{NET}/client").read_text()


@pytest.mark.parametrize("registers", [[], ["legacy"]], ids=["modern", "legacy"])
@pytest.mark.parametrize("language, count", [("c", 1000), ("python", 100)])
def test_block(device, program, language, count, registers):
    said = run(*program(language, "block"), device.pci / "0000:01:00.2", count, *registers).stdout
    assert said.startswith(f"{count} sectors") and said.endswith("written, read and compared\n")


@pytest.mark.parametrize("language, count", [("c", 5000), ("python", 1000)])
def test_a_driver_whose_queues_are_polled_is_replayed(start, program, language, count, tmp_path):
    """It runs beside the device, which finds most frames by looking at its memory: a recording has what each look found."""
    recording = tmp_path / "net.rec"
    with reserved_huge_pages(4):
        device = start("--vfs", 0, "--record", recording, machine=(EXAMPLES / "machine.yaml").read_text() + "\nservice: {polling: 100000}")
        run(*program(language, "net"), device.pci / "0000:01:00.1", count)
        counted = frames(device)
        assert device.close() == 0
    assert counted == (count, count)
    assert run(OUTRIGGER, "replay", recording, limit=300).stdout.splitlines()[-1] == "the same"


def test_a_function_that_is_none_is_named(device, program, tmp_path):
    result = run(*program("c", "net"), tmp_path / "nothing", 1, check=False)
    assert result.returncode == 1 and "nothing/config: No such file or directory" in result.stderr
    # A disk is no network card: it has one queue.
    result = run(*program("c", "net"), device.pci / "0000:01:00.2", 1, check=False)
    assert result.returncode == 1 and "no queue 1" in result.stderr
