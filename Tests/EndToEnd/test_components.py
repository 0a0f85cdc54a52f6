"""A disk that moves between device and host while a workload runs on it: every byte is verified, every request counted once."""

import contextlib
import json
import os
import signal
import subprocess

import pytest

from harness import AGENT, LIMIT, WORKLOADS, Raises, complaint

# Long enough for many moves; its process ends when all of it is verified.
WORKLOAD = ("replay", WORKLOADS / "database.iolog", "--limit", "3000", "--repeat", "4", "--json", "--depth", "16")


@contextlib.contextmanager
def serving(device):
    """A host agent that serves components, from when it says so."""
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", AGENT, "serve", "--device", device.function], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "serving\n"
        yield process
    finally:
        process.kill()
        process.wait(LIMIT)
        process.stdout.close()


@contextlib.contextmanager
def workload(device, *options):
    """The workload's process; at its end it must have found nothing wrong."""
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", AGENT, *map(str, WORKLOAD), *options, "--device", device.function],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
        said, complaints = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, complaints
        result = json.loads(said)
        assert result["requests"] == 12_000 and result["verified_bytes"] + result["unknown_bytes"] == result["read_bytes"]
    finally:
        process.kill()
        process.wait(LIMIT)


def workloads(device, *options, until):
    """Runs workloads, and yields each while it runs, until there is enough: how much fits into one is the machine's affair."""
    for _ in range(20):
        with workload(device, *options) as process:
            yield process
        if until():
            return
    raise AssertionError("20 workloads are over, and still it is not enough")


def move(device, place, *options):
    """Moves the first virtual machine's disk; False where its driver isn't up yet, or is gone."""
    result = device.agent("component move", "1", "--to", place, *options, check=False)
    if result.returncode == 0:
        assert f"moved to the {place}: image of " in result.stdout or "already" in result.stdout
        return "moved" in result.stdout
    assert "again" in result.stderr or "driver's wish" in result.stderr, result.stderr
    return False


def location(device):
    lines = device.agent("component list").stdout.splitlines()
    # One that nobody has used yet isn't listed.
    return next((line.split()[2:4] for line in lines if line.startswith("vm1 ")), ["device", "running"])


def test_moves_under_a_workload(start):
    device = start("--vfs", "1")
    moves, runs, descriptors = 0, 0, set()
    with serving(device) as agent:
        for replay in workloads(device, "--check-counts", until=lambda: moves >= 4):
            runs += 1
            while replay.poll() is None:
                moves += move(device, "host")
                moves += move(device, "device")
                if moves:
                    descriptors.add(len(os.listdir(f"/proc/{agent.pid}/fd")))
    assert len(descriptors) == 1, "the agent opens a medium once, however often its component comes"
    owner = device.stats()["owners"][1]
    assert owner["reads"] + owner["writes"] + owner["others"] == 12_000 * runs


def test_stop_and_copy(start):
    device = start("--vfs", "1")
    moves = 0
    with serving(device):
        for replay in workloads(device, "--check-counts", until=lambda: moves >= 2):
            while replay.poll() is None:
                moves += move(device, "host", "--stop-and-copy")
                moves += move(device, "device")


def test_an_agent_that_is_killed_loses_nothing(start):
    """kill -9 while the disk is on the host, or on its way: the device goes on, again and again.

    What the medium did for a request that was never answered counts, too: the Workload Analyzer may have one more for each kill.
    """
    device = start("--vfs", "1")
    kills = 0
    for replay in workloads(device, until=lambda: kills >= 2):
        while replay.poll() is None:
            with serving(device) as agent:
                if kills % 2 == 0:
                    move(device, "host")
                    os.kill(agent.pid, signal.SIGKILL)
                else:
                    mover = subprocess.Popen(
                        [AGENT, "component", "move", "1", "--to", "host", "--device", device.function],
                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                    os.kill(agent.pid, signal.SIGKILL)
                    mover.wait(LIMIT)
                agent.wait(LIMIT)
                device.until(lambda: location(device) == ["device", "running"], "the device's taking over", cycles=120_000_000_000)
                kills += 1


def test_one_agent_at_a_time_and_media_only_for_it(start):
    device = start("--vfs", "1")
    assert "Device or resource busy" in complaint_of_second(device)
    medium = device.files / "media/fn1"
    with open(medium, "rb", buffering=0) as file, Raises(5):
        file.read(512)


def complaint_of_second(device):
    with serving(device):
        return complaint(AGENT, "serve", "--device", device.function)


def test_without_an_agent(start):
    device = start("--vfs", "1")
    assert "again" in complaint(AGENT, "component", "move", "1", "--to", "host", "--device", device.function)


@pytest.mark.parametrize("arguments", [["65", "--to", "host"], ["1", "--to", "nowhere"]])
def test_mistakes(start, arguments):
    device = start("--vfs", "1")
    result = device.agent("component move", *arguments, check=False)
    assert result.returncode > 0 and result.stdout == ""
