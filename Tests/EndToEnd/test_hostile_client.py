"""Drivers that do everything wrong, and are killed at any moment: other functions are served, memory of others stays as it is, and
nothing is left behind."""

import os
import pathlib
import random
import subprocess
import sys

import pytest

from client_memory import ClientMemory, physical_address, reserved_huge_pages
from client_state import MACHINE, emulator, leaves_nothing, loops, settle
from harness import LIMIT, Device
from network import NetworkFunction

SEED = int(os.environ.get("OUTRIGGER_HOSTILE_SEED", 20261121))
# Of all clients together at least; every second client does all of its part.
STEPS = 100_000
CLIENTS = 10
PART = -(-STEPS // (CLIENTS * 70)) * 100
PATTERN = bytes(range(256)) * 16


@pytest.fixture(scope="module")
def device(programs):
    with reserved_huge_pages(8):
        with Device("--vfs", "0", machine=MACHINE) as device:
            yield device


def test_a_hundred_thousand_steps(device):
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    guards = [ClientMemory(kind, physical=False) for kind in ("huge memfd", "memfd", "private")]
    for guard in guards:
        guard.store(0, PATTERN * (guard.size // len(PATTERN)))
    # Where the guards are, for this process and in physical memory.
    addresses = [address for guard in guards for address in (guard.virtual, physical_address(guard.virtual))]
    settle(device, 1)
    before, faults = emulator(device), device.metric("outrigger_iommu_faults_total")
    done = number = 0
    with NetworkFunction(device, 2) as other:
        other.start()
        while done < STEPS:
            # Every second one is killed, at any of its steps.
            last = chance.randrange(PART // 100) if number % 2 else PART // 100
            with subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", sys.executable, pathlib.Path(__file__).with_name("hostile_client.py"), device.mount,
                 "1", str(SEED + number), str(PART), *(f"{address:#x}" for address in addresses)],
                stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as client:
                for line, steps in enumerate(client.stdout):
                    if number % 2 and line >= last:
                        client.kill()
                        break
                    if line % 25 == 0:
                        assert loops(other, bytes([line & 0xff]) * 60), f"seed {SEED + number}"
                done += int(steps)
                assert client.wait(LIMIT) == (-9 if number % 2 else 0), f"seed {SEED + number}"
            assert loops(other), f"seed {SEED + number}"
            assert all(guard.bytes[:] == PATTERN * (guard.size // len(PATTERN)) for guard in guards), f"seed {SEED + number}"
            number += 1
    settle(device, 1)
    leaves_nothing(device, before)
    assert before[0] == []
    assert device.metric("outrigger_iommu_faults_total") > faults + 100, "the clients did no harm"
    # The function is as good as ever.
    with NetworkFunction(device, 1, memory=ClientMemory("huge memfd", physical=True)) as function:
        assert loops(function.start())
    for guard in guards:
        guard.close()
