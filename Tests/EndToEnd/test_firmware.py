"""The firmware's crashes, restarts and replacement, as a host sees them."""

import errno
import json
import os
import re

import pytest

from firmware import boots, crash, symbol, wait_until_ready
from harness import FIRMWARE, WORKLOADS, Opened, Raises
from virtio import BlockFunction


def test_no_fault_is_recorded_of_a_firmware_that_works(start):
    device = start("--vfs", "0")
    assert device.agent("fault").stdout == "no fault recorded\n"


@pytest.mark.parametrize("pace", ["realtime", "lockstep"])
def test_a_crash_is_recorded_and_the_watchdog_restarts_the_firmware(start, pace):
    device = start("--vfs", "1", pace=pace)
    with BlockFunction(device).start() as disk:
        disk.write(0, b"data" * 128)
        wait_until_ready(device, 1)
        crash(device)
        record = device.agent("fault").stdout
        hart, kind, cycle = re.match(r"fault: (.+) on hart (\d) at cycle (\d+)\n", record).group(2, 1, 3)
        assert (hart, kind) == ("0", "memory error") and int(cycle) <= device.now
        cause, pc, address = (int(text, 16) for text in re.search(r"cause (\S+)  pc (\S+)  address (\S+)", record).groups())
        assert cause in (5, 7), "a load or a store access fault"
        assert symbol("__text_start") <= pc < symbol("__text_end") and address == symbol("offload_counters")
        registers = dict(re.findall(r"x(\d+) +(0x[0-9a-f]+)", record))
        assert len(registers) == 32 and int(registers["0"], 16) == 0
        assert symbol("__stack_bottom") <= int(registers["2"], 16) <= symbol("__stack_top"), "the stack pointer"
        # Disks need no firmware: they go on while it is down.
        assert disk.read(0, 512) == b"data" * 128

        wait_until_ready(device, 2)
        device.agent("identify")
        assert device.agent("fault", "--clear").stdout == record, "the record outlives the restart"
        assert device.agent("fault").stdout == "no fault recorded\n"
        assert "fault: cause" in (device.debug / "console").read_text()
        assert disk.read(0, 512) == b"data" * 128


def test_a_host_that_asks_while_the_firmware_is_down_is_told(start):
    device = start("--vfs", "0", pace="lockstep")
    wait_until_ready(device, 1)
    crash(device)
    result = device.agent("identify", check=False)
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.count("\n") == 1 and "'ready' expected, fault found; it has left a fault record" in result.stderr
    wait_until_ready(device, 2)
    device.agent("identify")


def test_a_correctable_memory_error_changes_nothing(start):
    device = start("--vfs", "0")
    wait_until_ready(device, 1)
    registers = device.debug / "regs"
    (device.debug / "inject").write_text(f"memory 0x{symbol('offload_counters'):x} correctable\n")
    device.until(lambda: re.search(r"^SYSCTL.ECC_CORRECTED 0x0*[1-9a-f]", registers.read_text(), re.M), "a corrected error")
    device.agent("identify")
    assert boots(device) == 1 and device.agent("fault").stdout == "no fault recorded\n"


def test_another_firmware_is_loaded_into_a_running_device(start):
    device = start("--vfs", "0")
    with Raises(errno.EINVAL), Opened(device.debug / "firmware", os.O_WRONLY) as file:
        os.write(file, FIRMWARE.read_bytes()[:5000])
        os.fsync(file)
    device.agent("identify")
    assert boots(device) == 1
    (device.debug / "firmware").write_bytes(FIRMWARE.read_bytes())
    wait_until_ready(device, 2)
    device.agent("identify")


def test_a_restart_in_the_middle_of_a_workload_loses_no_request(start):
    device = start("--vfs", "1")
    with BlockFunction(device).start() as disk:
        for number in range(20):
            disk.write(8 * number, bytes([number]) * 4096)
            if number % 5 == 0:
                wait_until_ready(device, 1 + number // 5)
                (device.debug / "firmware").write_text("restart\n")
        wait_until_ready(device, 5)
        assert all(disk.read(8 * number, 4096) == bytes([number]) * 4096 for number in range(20))
    result = device.agent("replay", WORKLOADS / "backup.iolog", "--limit", 200, "--check-counts", "--json")
    assert json.loads(result.stdout)["requests"] == 200
