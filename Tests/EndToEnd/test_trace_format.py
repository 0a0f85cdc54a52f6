"""Traces as files: babeltrace2 reads what `outrigger trace` does, however and whenever a recording ended, and what of a run they keep."""

import json
import os
import re
import shutil
import signal
import struct

import pytest

from babeltrace import as_babeltrace_has_it, by_babeltrace
from harness import OUTRIGGER, WORKLOADS, Device, Opened, complaint, run


def told(folder, *options):
    """Events as `outrigger trace` has them, and what it says beside."""
    result = run(OUTRIGGER, "trace", folder, "--json", *options)
    return [json.loads(line) for line in result.stdout.splitlines()], result.stderr


def ending(folder):
    """What babeltrace2 shows of the event that ends a trace: how many events there were, and their hash."""
    lines = run("babeltrace2", folder).stdout.splitlines()
    (end,) = [re.search(r"end: .* \{ events = (\d+), hash = 0x([0-9A-F]+) \}", line) for line in lines if " end: " in line]
    return int(end[1]), int(end[2], 16)


def assert_same(folder):
    """Both readers agree on every event. Returns the events, and what `outrigger trace` says beside."""
    events, complaint = told(folder)
    assert sorted(by_babeltrace(folder), key=str) == sorted(map(as_babeltrace_has_it, events), key=str)
    return events, complaint


@pytest.fixture(scope="module")
def recorded(programs, tmp_path_factory):
    """A trace of boot, accesses by hand and a short workload, in lockstep, and what the device said."""
    folder = tmp_path_factory.mktemp("format") / "ctf"
    device = Device("--vfs", "1", "--trace", folder, pace="lockstep")
    try:
        work(device)
    finally:
        assert device.close() == 0, device.output()
    return folder, device.output()


def work(device):
    device.advance(20_000_000)
    with Opened(device.function / "resource0") as bar:
        os.pread(bar, 4, 0xfff0)
        os.pread(bar, 8, device.hostif.map["TIME"][0])
    device.agent("set allocation", "--vm", 1, "--guarantee", 300)
    device.replay(WORKLOADS / "database.iolog", "--limit", 100)


def test_the_totals_are_told_and_stored(recorded):
    folder, output = recorded
    count, hash = ending(folder)
    events, complaint = told(folder)
    assert count == len(events) > 1000 and complaint == ""
    assert f"the trace has {count} events, hash 0x{hash:016x}" in output


def test_an_access_takes_twelve_bytes_at_most(recorded):
    """Accesses are by far the most of the streams of harts and host programs: all bytes of those, their headers included."""
    folder, _ = recorded
    events, _ = told(folder)
    streams = [path for path in folder.iterdir() if re.fullmatch(r"h(art|ost)\d+", path.name)]
    accesses = sum(event["event"] == "access" for event in events)
    assert sum(path.stat().st_size for path in streams) <= 12 * accesses


def test_every_file_has_an_index(recorded):
    folder, _ = recorded
    streams = {path.name for path in folder.iterdir() if path.is_file() and path.name != "metadata"}
    assert {path.name for path in (folder / "index").iterdir()} == {name + ".idx" for name in streams}
    for name in streams:
        data = (folder / "index" / (name + ".idx")).read_bytes()
        magic, major, minor, size = struct.unpack(">4I", data[:16])
        assert (magic, major, minor, size) == (0xc1f1dcc1, 1, 1, 72) and len(data) % 72 == 16
        offset, bits = struct.unpack(">2Q", data[-72:-56])
        assert offset + bits // 8 == (folder / name).stat().st_size


def test_a_killed_device_leaves_a_readable_trace(programs, tmp_path):
    folder = tmp_path / "ctf"
    device = Device("--vfs", "1", "--trace", folder)
    try:
        device.agent("stats")
        # What is recorded is on the disk within a second: two of the device's, which follow the wall clock.
        before = device.now
        device.until(lambda: device.now > before + 2_000_000_000, "two seconds", 4_000_000_000)
        device.process.send_signal(signal.SIGKILL)
        device.process.wait()
        events, complaint = assert_same(folder)
        assert "the recording has no end: it was killed, or goes on" in complaint
        assert len(events) > 1000 and events[-1]["cycle"] > before
    finally:
        device.close()


def test_a_limit_keeps_the_newest(programs, tmp_path):
    folder = tmp_path / "ctf"
    device = Device("--vfs", "1", "--trace", folder, "--trace-limit", "1MiB", pace="lockstep")
    try:
        device.replay(WORKLOADS / "database.iolog", "--limit", 5000)
        device.advance(200_000_000)
    finally:
        assert device.close() == 0, device.output()
    total = int(re.search(r"the trace has (\d+) events", device.output())[1])
    events, _ = assert_same(folder)
    assert 10_000 < len(events) < total
    assert sum(path.stat().st_size for path in folder.iterdir() if path.name not in ("metadata", "index")) <= 1 << 20


def test_a_filter_and_a_trigger_keep_parts_of_the_same_run(recorded, programs, tmp_path):
    whole, _ = told(recorded[0])
    for options, part in [
        (["--trace-filter", "WDT or fault"], lambda events: [event for event in events if event.get("register", "").startswith("WDT.")
                                                             or event["event"] == "fault" or event.get("status", "ok") != "ok"]),
        (["--trace-start", "changed(MAILBOX.FIRMWARE.state)", "--trace-stop", "initiator == host and write"], None),
    ]:
        folder = tmp_path / "part"
        device = Device("--vfs", "1", "--trace", folder, *options, pace="lockstep")
        try:
            work(device)
        finally:
            assert device.close() == 0, device.output()
        assert f"the trace has {len(whole)} events" in device.output(), "what is kept changes nothing"
        events, _ = assert_same(folder)
        same = lambda event: {key: value for key, value in event.items() if key != "pid"}
        if part:
            assert [same(event) for event in events] == [same(event) for event in part(whole)]
        else:
            assert events[0]["register"] == "MAILBOX.FIRMWARE" and 0 < len(events) < len(whole)
        shutil.rmtree(folder)


def test_bad_options_and_folders(tmp_path):
    (tmp_path / "notes").write_text("mine")
    mount = tmp_path / "mnt"
    mount.mkdir()
    base = [OUTRIGGER, "run", "--mount", mount]
    assert "one with 'mnt' found" in complaint(*base, "--trace", tmp_path)
    assert (tmp_path / "notes").read_text() == "mine"
    folder = tmp_path / "ctf"
    assert "column 1" in complaint(*base, "--trace", folder, "--trace-filter", "XYZ", lines=3)
    assert "--trace expected" in complaint(*base, "--trace-limit", "1MiB", lines=3)
    assert "--trace-start expected" in complaint(*base, "--trace", folder, "--trace-history", "1MiB", lines=3)
    assert "1MiB or more expected, 4KiB found" in complaint(*base, "--trace", folder, "--trace-limit", "4KiB", lines=3)


def test_damage_is_told_with_file_packet_and_byte(recorded, tmp_path):
    folder, _ = recorded
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    data = bytearray((copy / "hart0").read_bytes())
    data[500] ^= 1
    (copy / "hart0").write_bytes(data)
    assert re.search(r"hart0: packet 0: byte 0: a packet's checksum 0x\w+ expected", complaint(OUTRIGGER, "trace", copy))
