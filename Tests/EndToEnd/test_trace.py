"""The access trace of a run: what `outrigger trace` shows of it, and that babeltrace2 reads the same."""

import json
import os
import re
import struct

import pytest

from harness import OUTRIGGER, WORKLOADS, Device, Opened, complaint, run


@pytest.fixture(scope="module")
def folder(programs, tmp_path_factory):
    """A trace of boot, a few accesses by hand, and a short workload."""
    folder = tmp_path_factory.mktemp("trace") / "ctf"
    device = Device("--vfs", "1", "--trace", folder, pace="lockstep")
    try:
        device.advance(20_000_000)
        with Opened(device.function / "resource0") as bar:
            scratch = device.hostif.map["SCRATCH[0]"][0]
            os.pwrite(bar, struct.pack("<I", 0x1111), scratch + 4)
            os.pwrite(bar, struct.pack("<I", 0x2222), scratch + 4)
            os.pread(bar, 4, 0xfff0)
            os.pread(bar, 8, device.hostif.map["TIME"][0])
        device.agent("set allocation", "--vm", 1, "--guarantee", 300)
        device.replay(WORKLOADS / "database.iolog", "--limit", 100)
    finally:
        assert device.close() == 0, device.output()
    return folder


@pytest.fixture(scope="module")
def events(folder):
    return trace(folder)


def trace(folder, *options):
    return [json.loads(line) for line in run(OUTRIGGER, "trace", folder, "--json", *options).stdout.splitlines()]


def test_every_access_is_told_in_order(events):
    assert len(events) > 1000
    cycles = [event["cycle"] for event in events]
    assert cycles == sorted(cycles)
    for event in events:
        assert set(event) - {"byte"} in (
            {"cycle", "wait", "initiator", "pc", "access", "size", "status", "register", "old", "new", "changed"},
            {"cycle", "wait", "initiator", "pid", "access", "size", "status", "register", "old", "new", "changed"},
            {"cycle", "wait", "initiator", "pid", "access", "size", "status", "bus", "address", "value"})
    assert {event["initiator"] for event in events} == {"hart0", "host0", "host1"}


def test_what_was_done_by_hand_is_in_it(events):
    writes = [event for event in events if event.get("register") == "HOSTIF.SCRATCH[1]" and event["initiator"] == "host0"]
    assert [(event["access"], event["size"], event["old"], event["new"]) for event in writes] == [
        ("write", 4, "0x0", "0x1111"), ("write", 4, "0x1111", "0x2222")]
    assert writes[0]["pid"] == os.getpid() and list(writes[1]["changed"].values()) == [["0x1111", "0x2222"]]
    (missed,) = [event for event in events if event.get("address") == "0xfff0"]
    assert (missed["bus"], missed["status"], missed["access"]) == ("pf-bar0", "unmapped", "read")
    # The firmware's answer to `set allocation`: the share staged, then committed.
    staged = [event for event in events if event.get("register", "").startswith("RM.STAGED[1].BANDWIDTH") and event["access"] == "write"]
    assert any(event["changed"].get("guarantee") == ["0", "0x12c"] for event in staged)


FILTERS = [
    (["--block", "WA"], lambda event: event.get("register", "").startswith("WA.")),
    (["--block", "wdt", "--block", "UART"], lambda event: event.get("register", "").startswith(("WDT.", "UART."))),
    (["--register", "HOSTIF.SCRATCH[1]"], lambda event: event.get("register") == "HOSTIF.SCRATCH[1]"),
    (["--register", "HOSTIF.SCRATCH"], lambda event: event.get("register", "").startswith("HOSTIF.SCRATCH[")),
    (["--field", "MAILBOX.FIRMWARE.state"],
     lambda event: event.get("register") == "MAILBOX.FIRMWARE" and "state" in event["changed"]),
    (["--initiator", "host1"], lambda event: event["initiator"] == "host1"),
    (["--initiator", "host"], lambda event: event["initiator"].startswith("host")),
    (["--since", "20000000"], lambda event: event["cycle"] >= 20_000_000),
    (["--until", "100000"], lambda event: event["cycle"] <= 100_000),
    (["--faults"], lambda event: event["status"] != "ok"),
    (["--writes"], lambda event: event["access"] == "write"),
    (["--no-writes"], lambda event: event["access"] == "read"),
    (["changed(HOSTIF.SCRATCH[1]) or fault"],
     lambda event: event["status"] != "ok" or (event.get("register") == "HOSTIF.SCRATCH[1]" and event["old"] != event["new"])),
    (["time in 1ms..2ms and not WDT"],
     lambda event: 1_000_000 <= event["cycle"] <= 2_000_000 and not event.get("register", "").startswith("WDT.")),
    (["WA and write", "--initiator", "hart0"],
     lambda event: event.get("register", "").startswith("WA.") and event["access"] == "write" and event["initiator"] == "hart0"),
    (["--block", "HOSTIF", "--initiator", "host0", "--writes"],
     lambda event: event.get("register", "").startswith("HOSTIF.") and event["initiator"] == "host0" and event["access"] == "write"),
]


@pytest.mark.parametrize("options, wanted", FILTERS, ids=[" ".join(options) for options, _ in FILTERS])
def test_filters(folder, events, options, wanted):
    expected = [event for event in events if wanted(event)]
    assert expected and len(expected) < len(events), "a filter that tells something"
    assert trace(folder, *options) == expected


def test_limit_and_text(folder, events):
    assert trace(folder, "--limit", 5) == events[:5]
    lines = run(OUTRIGGER, "trace", folder).stdout.splitlines()
    assert len(lines) == len(events) and "\x1b" not in "".join(lines), "no colours off a terminal"
    for line, event in zip(lines, events):
        words = line.split()
        assert int(words[0]) == event["cycle"] and words[1] == event["initiator"]
        assert event.get("register", "") in line and f"{event['access']}{8 * event['size']}" in words


def test_mistakes_in_filters(folder):
    """The message names the column, and the expression follows with a mark below it."""
    for words, expected in [
        (["--block", "XYZ"], "XYZ"), (["--register", "WDT.CTRX"], "CTRL"), (["--field", "WDT.CTRL.enabled"], "enable"),
        (["--initiator", "nobody"], "an initiator (hart0"), (["time <"], "expected"), (["WA and"], "expected"), (["(WA"], "expected"),
        (["time < 10 apples"], "expected"),
    ]:
        message, expression, mark = complaint(OUTRIGGER, "trace", folder, *words, lines=3).split("\n")
        column = int(re.search(r"column (\d+): ", message)[1])
        assert expected in message and words[-1] in expression
        assert mark.index("^") - (len(expression) - len(expression.lstrip())) == column - 1


def test_babeltrace_reads_the_same(folder, events):
    """Every event that `outrigger trace` shows, with its time and its fields, by an independent reader of the format."""
    text = run("babeltrace2", "--clock-cycles", "--no-delta", "--fields=all", folder).stdout
    seen = []
    for line in text.splitlines():
        number = lambda name: int(re.search(rf"\b{name} = (0x[0-9A-F]+|\d+)", line)[1], 0)
        cycle = int(line[1:line.index("]")])
        operation = re.search(r'operation = \( "(\w+)"', line)[1]
        status = re.search(r'status = \( "(\w+)"', line)[1]
        if " elsewhere: " in line:
            seen.append((cycle, operation, status, None, number("address"), number("value")))
        else:
            register = re.search(r'register = \( "([\w.]+)"', line)[1]
            seen.append((cycle, operation, status, register, number("old"), number("new")))
    assert sorted(seen, key=str) == sorted((
        (event["cycle"], f"{event['access']}{8 * event['size']}", event["status"],
         re.sub(r"\[\d+\]", "", event["register"]), int(event["old"], 16), int(event["new"], 16)) if "register" in event else
        (event["cycle"], f"{event['access']}{8 * event['size']}", event["status"], None, int(event["address"], 16), int(event["value"], 16))
        for event in events), key=str)


def test_a_trace_that_was_cut_off_is_read_up_to_there(folder, events, tmp_path):
    copy = tmp_path / "cut"
    copy.mkdir()
    for path in folder.iterdir():
        data = path.read_bytes()
        (copy / path.name).write_bytes(data[:-10] if path.name == "hart0" else data)
    result = run(OUTRIGGER, "trace", copy, "--json")
    assert "hart0" in result.stderr and 0 < len(result.stdout.splitlines()) < len(events)
