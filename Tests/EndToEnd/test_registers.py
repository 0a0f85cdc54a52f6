"""`outrigger regs`: what is known of every register, and the present values of a running device."""

import json
import os
import re
import struct

from harness import OUTRIGGER, Opened, complaint, run

BLOCKS = {
    "ACLINT", "PLIC", "UART", "WDT", "SYSCTL", "FABRIC", "WA", "RM", "VIC", "MAILBOX", "LOG", "AUDIT",  # the firmware's bus
    "HOSTIF", "LOG_HOST", "VIC_HOST", "VIRTIO", "VIRTIO_LEGACY",  # the host's
}


def regs(*words) -> str:
    return run(OUTRIGGER, "regs", *words).stdout


def test_every_block_is_listed():
    assert {line.split()[0] for line in regs().splitlines()} == BLOCKS
    listed = json.loads(regs("--json"))
    assert {block["name"] for block in listed} == BLOCKS
    for block in listed:
        registers = json.loads(regs(block["name"], "--json"))
        assert len(registers) == block["registers"] > 0
        assert len(regs(block["name"]).splitlines()) == len(registers)
        for register in registers:
            assert register["name"].startswith(block["name"] + ".")
            start = int(register["address"], 16) - int(block["base"], 16)
            assert 0 <= start <= int(block["size"], 16) - register["width"] // 8
            bits = [bit for field in register["fields"] for bit in range(field["lsb"], field["lsb"] + field["width"])]
            assert len(bits) == len(set(bits)) and max(bits) < register["width"], "fields that don't overlap"


def test_a_register_is_looked_up():
    text = regs("hostif.firmware")
    assert text.startswith("HOSTIF.FIRMWARE  at 0x18, 32 bits, reset 0x0\n") and "state" in text
    assert "HOSTIF.SCRATCH[3]  at 0x3c" in regs("HOSTIF.SCRATCH[3]")
    assert re.search(r"^ +2 +ready", regs("HOSTIF.FIRMWARE.state"), re.M), "a field's values by their names"


def test_a_value_is_taken_apart():
    assert re.search(r"state +r +ready", regs("HOSTIF.FIRMWARE", "0x2"))
    assert regs("HOSTIF.FIRMWARE", "2") == regs("HOSTIF.FIRMWARE", "0x2")
    decoded = json.loads(regs("HOSTIF.QUEUE_CONTROL", "0x401", "--json"))
    fields = {field["name"]: field for field in decoded["fields"]}
    assert decoded["value"] == "0x401" and fields["enable"]["value"] == "0x1"
    assert (fields["error"]["value"], fields["error"]["means"]) == ("0x4", "broken")


def test_values_of_a_running_device(device):
    live = ("--mount", device.mount)
    scratch = device.hostif.map["SCRATCH[0]"][0]
    with Opened(device.function / "resource0") as bar:
        os.pwrite(bar, struct.pack("<I", 0xcafe_f00d), scratch + 8)
    assert "value 0xcafef00d" in regs("HOSTIF.SCRATCH[2]", *live)
    assert json.loads(regs("MAILBOX.SCRATCH[2]", *live, "--json"))["value"] == "0xcafef00d", "the firmware sees the same"
    (device.function / "reset").write_text("1")
    registers = json.loads(regs("HOSTIF", *live, "--json"))
    values = {register["name"]: int(register["value"], 16) for register in registers if "value" in register}
    assert len(registers) - len(values) == 2, "DOORBELL and INTR_TEST can only be written"
    assert values["HOSTIF.MAGIC"] == 0x5254_554f and values["HOSTIF.FIRMWARE"] & 0xff == 2
    assert re.search(r"^0x18 +FIRMWARE .*state=ready", regs("HOSTIF", *live), re.M)
    assert re.search(r"^0x50 +DOORBELL +32 +-$", regs("HOSTIF", *live), re.M)
    assert "doesn't show this register's value" in complaint(OUTRIGGER, "regs", "HOSTIF.DOORBELL", *live)


def test_looking_changes_nothing(start):
    """Reading WA.DIRTY or UART.RBR on the bus has effects; showing every register has none, and takes no device time."""
    device = start("--vfs", "1", pace="lockstep")
    device.advance(20_000_000)
    text = (device.debug / "time").read_text()
    first = (device.debug / "regs").read_text()
    for block in BLOCKS - {"VIRTIO", "VIRTIO_LEGACY"}:
        regs(block, "--mount", device.mount)
    assert (device.debug / "regs").read_text() == first and (device.debug / "time").read_text() == text
