"""A trace of a real run through every view of `outrigger trace`; exports read by independent readers."""

import collections
import json
import re

import pytest

from harness import FIRMWARE, OUTRIGGER, Device, run


@pytest.fixture(scope="module")
def trace(programs, tmp_path_factory):
    """The folder of a trace: the boot, then what a host program does."""
    folder = tmp_path_factory.mktemp("traces") / "run.ctf"
    device = Device("--vfs", "1", "--pace", "lockstep", "--trace", folder)
    try:
        device.agent("identify")
        device.stats()
    finally:
        assert device.close() == 0, device.output()
    return folder


def lines(*arguments):
    return run(OUTRIGGER, "trace", *arguments).stdout.splitlines()


def events(*arguments):
    return [json.loads(line) for line in lines(*arguments, "--json")]


def test_filters(trace):
    everything = events(trace)
    assert len(everything) > 100
    assert events(trace, "read") + events(trace, "write") == sorted(everything, key=lambda event: event["access"])
    watchdog = [event for event in everything if event.get("register", "").startswith("WDT.")]
    assert events(trace, "WDT") == events(trace, "--block", "WDT") == watchdog != []
    enabled = events(trace, "changed(WDT.CTRL.enable) and WDT.CTRL.enable == 1")
    assert [event["changed"]["enable"] for event in enabled] == [["0", "1"]]
    middle = everything[len(everything) // 2]["cycle"]
    assert events(trace, f"time < {middle}") + events(trace, "--since", middle) == everything
    assert events(trace, "WDT", "--initiator", "host") == []
    assert events(trace, "not (WDT or not WDT)") == []


def test_functions(trace):
    """`pc in NAME` gives what the function's own addresses give."""
    from elftools.elf.elffile import ELFFile

    with FIRMWARE.open("rb") as file:
        symbols = [
            (symbol.name, symbol["st_value"], symbol["st_size"])
            for symbol in ELFFile(file).get_section_by_name(".symtab").iter_symbols()
            if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_size"] > 0]
    names = collections.Counter(name for name, _, _ in symbols)
    hart = events(trace, "initiator == hart")
    name, start, size = max(
        (symbol for symbol in symbols if names[symbol[0]] == 1),
        key=lambda symbol: sum(symbol[1] <= int(event["pc"], 16) < symbol[1] + symbol[2] for event in hart))
    inside = [event for event in hart if start <= int(event["pc"], 16) < start + size]
    assert inside
    assert events(trace, f"pc in {name}", "--firmware", FIRMWARE) == inside
    # Swift's own name of a function is in the linker's, after its length.
    swift = [(start, size) for name, start, size in symbols if re.match(r"\$.*(?<!\d)9addTotals", name)]
    inside = [event for event in hart if any(start <= int(event["pc"], 16) < start + size for start, size in swift)]
    assert inside and events(trace, "pc in addTotals", "--firmware", FIRMWARE) == inside


def test_errors_point_at_the_column(trace):
    result = run(OUTRIGGER, "trace", trace, "WDT and CTRL.enable = 1", check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-2:] == ["  WDT and CTRL.enable = 1", "                      ^"]
    assert "column 21" in result.stderr
    result = run(OUTRIGGER, "trace", trace, "--block", "WDX", "--faults", check=False)
    assert "no block 'WDX'" in result.stderr and "  (WDX) and (fault)\n   ^\n" in result.stderr


def test_summary(trace):
    everything = events(trace)
    summary = json.loads(run(OUTRIGGER, "trace", "summary", trace, "--json", "--top", "100000").stdout)
    assert summary["accesses"] == len(everything)
    by_initiator = collections.Counter(event["initiator"] for event in everything)
    assert {row["name"]: row["accesses"] for row in summary["initiators"]} == by_initiator
    assert sum(row["waited"] for row in summary["by_waited"]) == sum(event["wait"] for event in everything)
    assert sum(row["accesses"] for row in summary["by_accesses"]) == len(everything)
    counts = [row["accesses"] for row in summary["by_accesses"]]
    assert counts == sorted(counts, reverse=True)
    faults = [event for event in everything if event["status"] != "ok"]
    assert sum(row["count"] for row in summary["mistakes"] if row["status"] != "reserved") == len(faults)
    text = run(OUTRIGGER, "trace", "summary", trace).stdout
    assert text.startswith(f"{len(everything)} accesses, cycle {everything[0]['cycle']} to {everything[-1]['cycle']}")


def test_diff(trace, start, tmp_path):
    same = run(OUTRIGGER, "trace", "diff", trace, trace)
    assert same.stdout == f"the same: {len(events(trace))} accesses\n"
    other = tmp_path / "other.ctf"
    device = start("--vfs", "1", "--pace", "lockstep", "--trace", other)
    device.agent("identify")
    assert device.close() == 0
    # The two runs have the boot and the first command in common, but for the process's number.
    result = run(OUTRIGGER, "trace", "diff", trace, other, "--context", "2", check=False)
    assert result.returncode == 1
    common = int(result.stdout.split()[0])
    assert common > 100
    assert f"- {lines(trace)[common]}" in result.stdout
    assert run(OUTRIGGER, "trace", "diff", trace, tmp_path / "none", check=False).returncode == 2


def test_vcd_is_read_by_another_program(trace, tmp_path):
    import vcdvcd

    file = tmp_path / "wdt.vcd"
    run(OUTRIGGER, "trace", "export", trace, "WDT", "--format", "vcd", "--output", file)
    dump = vcdvcd.VCDVCD(str(file))
    assert float(dump.timescale["timescale"]) == pytest.approx(1e-9)
    enable = dump["device.WDT.CTRL.enable"].tv
    [change] = events(trace, "changed(WDT.CTRL.enable)")
    assert enable[0][1] == "x" and (change["cycle"] + change["wait"], "1") in enable
    last = {event["register"]: int(event["new"], 16) for event in events(trace, "WDT")}
    for register, value in last.items():
        name = register.removeprefix("WDT.")
        assert int(dump[f"device.WDT.{name}.{name}[31:0]"].tv[-1][1], 2) == value


def test_perfetto_parses_with_the_published_protos(trace, tmp_path):
    from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as protos

    file = tmp_path / "run.pftrace"
    run(OUTRIGGER, "trace", "export", trace, "--format", "perfetto", "--output", file)
    parsed = protos.Trace()
    parsed.ParseFromString(file.read_bytes())
    tracks = {packet.track_descriptor.uuid: packet.track_descriptor for packet in parsed.packet if packet.HasField("track_descriptor")}
    groups = {track.uuid: track.name for track in tracks.values() if not track.parent_uuid}
    assert sorted(groups.values()) == ["blocks", "initiators"]
    begins = [packet for packet in parsed.packet if packet.track_event.type == protos.TrackEvent.TYPE_SLICE_BEGIN]
    everything = events(trace)
    assert [packet.timestamp for packet in begins] == [event["cycle"] for event in everything]
    assert [tracks[packet.track_event.track_uuid].name for packet in begins] == [event["initiator"] for event in everything]
    instants = collections.Counter(
        tracks[packet.track_event.track_uuid].name for packet in parsed.packet if packet.track_event.type == protos.TrackEvent.TYPE_INSTANT)
    assert instants == collections.Counter(event["register"].split(".")[0] for event in everything if "register" in event)
