"""The trace of a run: what `outrigger trace` shows of it, and that babeltrace2 reads the same."""

import collections
import json
import os
import re
import struct

import pytest

from babeltrace import as_babeltrace_has_it, by_babeltrace
from harness import OUTRIGGER, WORKLOADS, Device, Opened, complaint, run


@pytest.fixture(scope="module")
def folder(programs, tmp_path_factory):
    """A trace of boot, a few accesses by hand, and a short workload."""
    folder = tmp_path_factory.mktemp("trace") / "ctf"
    device = Device("--vfs", "1", "--trace", folder, pace="lockstep")
    try:
        device.advance(150_000_000)
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


# The members of an event's object beside its class, cycle and initiator; whose those in the second set depend on.
MEMBERS = {
    "access": ({"wait", "access", "size", "status"}, {"pc", "pid", "register", "old", "new", "changed", "bus", "address", "value", "byte"}),
    "interrupt": (set(), {"line", "level", "function", "vector", "cause", "name", "pc", "handler"}),
    "dma": ({"function", "direction", "address", "bytes", "status"}, set()),
    "queue": ({"function", "queue", "step", "depth"}, {"head", "bytes"}),
    "fault": ({"kind", "name", "address"}, {"pc", "pid", "queue"}),
    "log": (set(), {"text", "record", "payload"}),
}


def test_every_event_is_told_in_order(events):
    assert len(events) > 1000
    cycles = [event["cycle"] for event in events]
    assert cycles == sorted(cycles)
    for event in events:
        always, sometimes = MEMBERS[event["event"]]
        members = set(event) - {"event", "cycle", "initiator"}
        assert always <= members <= always | sometimes, event
    assert {event["event"] for event in events} == set(MEMBERS)
    assert {event["initiator"] for event in events} == {"hart0", "host0", "host1", "dma0", "dma1", "device"}


def test_a_request_is_told_from_doorbell_to_interrupt(events):
    """Each request of the workload: rung for, taken, its bytes moved, completed, and the driver told."""
    own = [event for event in events if event["initiator"] == "dma1"]
    steps = collections.Counter(event["step"] for event in own if event["event"] == "queue")
    assert steps["taken"] == steps["completed"] == 100 and 0 < steps["doorbell"] <= 100 and 0 < steps["notified"] <= 100
    under_way, latencies = {}, []
    for event in own:
        if event.get("step") == "taken":
            assert event["head"] not in under_way
            under_way[event["head"]] = event["cycle"]
            assert event["depth"] == len(under_way)
        elif event.get("step") == "completed":
            latencies.append(event["cycle"] - under_way.pop(event["head"]))
            assert event["depth"] == len(under_way)
    assert not under_way and min(latencies) > 0
    written = sum(event["bytes"] for event in own if event["event"] == "dma" and event["direction"] == "write")
    assert written > sum(event["bytes"] for event in own if event.get("step") == "completed"), "and the used ring"
    messages = [event for event in own if event["event"] == "interrupt"]
    assert len(messages) == steps["notified"] and all("vector" in event for event in messages)


def test_interrupts_go_their_way(events):
    """A line of a block rises, the hart's pin follows, and both fall again: the firmware polls, it takes no trap for them."""
    lines = [event for event in events if "line" in event]
    assert {"PLIC.MAILBOX", "PLIC.WA", "hart0.external", "hart0.timer"} <= {event["line"] for event in lines}
    level = collections.defaultdict(int)
    for event in lines:
        assert event["level"] == 1 - level[event["line"]], event
        level[event["line"]] = event["level"]


def test_the_firmware_is_heard(events):
    """Its console, and the records of its trace ring by their names."""
    lines = [event["text"] for event in events if "text" in event]
    assert any(line.startswith("ready, virtual functions") for line in lines)
    records = [event["record"] for event in events if "record" in event]
    assert "boot" in records and "command" in records


def test_what_was_done_by_hand_is_in_it(events):
    writes = [event for event in events if event.get("register") == "HOSTIF.SCRATCH[1]" and event["initiator"] == "host0"]
    assert [(event["access"], event["size"], event["old"], event["new"]) for event in writes] == [
        ("write", 4, "0x0", "0x1111"), ("write", 4, "0x1111", "0x2222")]
    assert writes[0]["pid"] == os.getpid() and list(writes[1]["changed"].values()) == [["0x1111", "0x2222"]]
    (missed,) = [event for event in events if event["event"] == "access" and event.get("address") == "0xfff0"]
    assert (missed["bus"], missed["status"], missed["access"]) == ("pf-bar0", "unmapped", "read")
    (reported,) = [event for event in events if event["event"] == "fault"]
    assert (reported["kind"], reported["name"], reported["initiator"]) == ("aer", "unsupportedRequest", "dma0")
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
    (["--until", "1500000"], lambda event: event["cycle"] <= 1_500_000),
    (["--faults"], lambda event: event["event"] == "fault" or event.get("status", "ok") != "ok"),
    (["--writes"], lambda event: "write" in (event.get("access"), event.get("direction"))),
    (["--no-writes"], lambda event: "read" in (event.get("access"), event.get("direction"))),
    (["changed(HOSTIF.SCRATCH[1]) or fault"],
     lambda event: event["event"] == "fault" or event.get("status", "ok") != "ok" or (
         event.get("register") == "HOSTIF.SCRATCH[1]" and event["old"] != event["new"])),
    (["time in 1ms..2ms and not WDT"],
     lambda event: 1_000_000 <= event["cycle"] <= 2_000_000 and not event.get("register", "").startswith("WDT.")),
    (["WA and write", "--initiator", "hart0"],
     lambda event: event.get("register", "").startswith("WA.") and event["access"] == "write" and event["initiator"] == "hart0"),
    (["--block", "HOSTIF", "--initiator", "host0", "--writes"],
     lambda event: event.get("register", "").startswith("HOSTIF.") and event["initiator"] == "host0" and event["access"] == "write"),
    (["--block", "log"], lambda event: event.get("register", "").startswith("LOG.")),
    (["interrupt"], lambda event: event["event"] == "interrupt"),
    (["dma and bytes >= 4096"], lambda event: event["event"] == "dma" and event["bytes"] >= 4096),
    (["queue"], lambda event: event["event"] == "queue"),
    (["step == taken and depth > 1"], lambda event: event.get("step") == "taken" and event["depth"] > 1),
    (["line == PLIC and level == 1"], lambda event: event.get("line", "").startswith("PLIC.") and event["level"] == 1),
    (["function == 1 and vector == 1"], lambda event: event.get("vector") == 1 and event["function"] == 1),
    (["kind == aer"], lambda event: event.get("kind") == "aer"),
    (["record == boot"], lambda event: event.get("record") == "boot"),
    (['text contains "ready"'], lambda event: "ready" in event.get("text", "") + event.get("record", "")),
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
        assert event.get("register", event.get("line", event.get("text", ""))) in line
        verb = {
            "access": lambda: f"{event['access']}{8 * event['size']}", "dma": lambda: f"dma-{event['direction']}",
            "queue": lambda: event["step"], "fault": lambda: "fault", "log": lambda: "log",
            "interrupt": lambda: "line" if "line" in event else "message" if "vector" in event else "trap",
        }[event["event"]]()
        assert verb in words, line


def test_mistakes_in_filters(folder):
    """The message names the column, and the expression follows with a mark below it."""
    for words, expected in [
        (["--block", "XYZ"], "XYZ"), (["--register", "WDT.CTRX"], "CTRL"), (["--field", "WDT.CTRL.enabled"], "enable"),
        (["--initiator", "nobody"], "an initiator (hart0"), (["time <"], "expected"), (["WA and"], "expected"), (["(WA"], "expected"),
        (["time < 10 apples"], "expected"), (["interupt"], "near it: interrupt"), (["step == take"], "near it: taken"),
        (["line == PLIC.WX"], "near it: PLIC.WA"),
    ]:
        message, expression, mark = complaint(OUTRIGGER, "trace", folder, *words, lines=3).split("\n")
        column = int(re.search(r"column (\d+): ", message)[1])
        assert expected in message and words[-1] in expression
        assert mark.index("^") - (len(expression) - len(expression.lstrip())) == column - 1


def test_babeltrace_reads_the_same(folder, events):
    """Every event that `outrigger trace` shows, with its time and its fields, by an independent reader of the format."""
    assert sorted(by_babeltrace(folder), key=str) == sorted(map(as_babeltrace_has_it, events), key=str)


def test_a_trace_that_was_cut_off_is_read_up_to_there(folder, events, tmp_path):
    copy = tmp_path / "cut"
    copy.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            data = path.read_bytes()
            (copy / path.name).write_bytes(data[:-10] if path.name == "hart0" else data)
    result = run(OUTRIGGER, "trace", copy, "--json")
    assert "hart0" in result.stderr and 0 < len(result.stdout.splitlines()) < len(events)
