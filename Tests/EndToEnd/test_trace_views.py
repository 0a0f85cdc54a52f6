"""A trace of a real run through every view of `outrigger trace`; exports read by independent readers."""

import collections
import json
import math
import os
import re
import subprocess

import pytest

from harness import FIRMWARE, OUTRIGGER, WORKLOADS, Device, Opened, run


@pytest.fixture(scope="module")
def trace(programs, tmp_path_factory):
    """The folder of a trace: the boot, then what host programs do, commands and block requests."""
    folder = tmp_path_factory.mktemp("traces") / "run.ctf"
    device = Device("--vfs", "1", "--pace", "lockstep", "--trace", folder)
    try:
        device.agent("identify")
        device.stats()
        device.replay(WORKLOADS / "database.iolog", "--limit", 50)
    finally:
        assert device.close() == 0, device.output()
    return folder


def lines(*arguments):
    return run(OUTRIGGER, "trace", *arguments).stdout.splitlines()


def events(*arguments):
    return [json.loads(line) for line in lines(*arguments, "--json")]


def of(kind, events):
    return [event for event in events if event["event"] == kind]


def test_filters(trace):
    everything = events(trace)
    assert len(everything) > 100
    accesses = of("access", everything)
    assert events(trace, "access and read") + events(trace, "access and write") == sorted(accesses, key=lambda event: event["access"])
    for kind in ("access", "interrupt", "dma", "queue", "log"):
        assert events(trace, kind) == of(kind, everything) != []
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
    # Accesses, and traps if there are any.
    hart = [event for event in events(trace, "initiator == hart") if "pc" in event]
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
    accesses = of("access", everything)
    summary = json.loads(run(OUTRIGGER, "trace", "summary", trace, "--json", "--top", "100000").stdout)
    assert {kind: count for kind, count in summary["events"].items() if count} == collections.Counter(
        event["event"] for event in everything)
    assert summary["accesses"] == len(accesses)
    by_initiator = collections.Counter(event["initiator"] for event in accesses)
    assert {row["name"]: row["accesses"] for row in summary["initiators"]} == by_initiator
    assert sum(row["waited"] for row in summary["by_waited"]) == sum(event["wait"] for event in accesses)
    assert sum(row["accesses"] for row in summary["by_accesses"]) == len(accesses)
    counts = [row["accesses"] for row in summary["by_accesses"]]
    assert counts == sorted(counts, reverse=True)
    rises = collections.Counter(event["line"] for event in everything if event.get("level") == 1)
    assert {row["name"].split()[1]: row["count"] for row in summary["interrupts"] if row["name"].endswith(" raised")} == rises
    (function,) = summary["dma"]
    moved = collections.Counter()
    for event in of("dma", everything):
        moved[event["direction"]] += event["bytes"]
    assert (function["name"], function["bytes_read"], function["bytes_written"]) == ("dma1", moved["read"], moved["write"])
    text = run(OUTRIGGER, "trace", "summary", trace).stdout
    assert text.startswith(f"{len(everything)} events, cycle {everything[0]['cycle']} to {everything[-1]['cycle']}")


def test_summary_of_latencies(trace):
    """Percentiles from taken to completed, against those counted here."""
    taken, latencies = {}, []
    for event in of("queue", events(trace)):
        if event["step"] == "taken":
            taken[event["head"]] = event["cycle"]
        elif event["step"] == "completed":
            latencies.append(event["cycle"] - taken.pop(event["head"]))
    latencies.sort()
    (queue,) = json.loads(run(OUTRIGGER, "trace", "summary", trace, "--json").stdout)["queues"]
    assert (queue["requests"], queue["completed"]) == (50, 50)
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("most", 1)):
        exact = latencies[max(math.ceil(share * len(latencies)) - 1, 0)]
        # Three digits.
        assert queue[name] == pytest.approx(exact, rel=2e-3), name


def test_summary_ranks_mistakes_once_for_each_place(start, tmp_path):
    folder = tmp_path / "mistakes.ctf"
    device = start("--vfs", "1", "--pace", "lockstep", "--trace", folder)
    with Opened(device.function / "resource0") as bar:
        for _ in range(3):
            os.pread(bar, 4, 0xfff0)
    assert device.close() == 0
    summary = json.loads(run(OUTRIGGER, "trace", "summary", folder, "--json").stdout)
    found = {(row["what"], row["name"], row["reason"], row["initiator"]): row["count"] for row in summary["mistakes"]}
    assert found["fault", "aer", "unsupportedRequest", "dma0"] == 3
    assert [count for (what, name, reason, _), count in found.items() if what == "read" and reason == "unmapped"] == [3]


def test_diff(trace, start, tmp_path):
    same = run(OUTRIGGER, "trace", "diff", trace, trace)
    assert same.stdout == f"the same: {len(events(trace))} events\n"
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


def test_waveforms_pass_through_gtkwaves_own_format(trace, tmp_path):
    """vcd2fst takes the file; what fst2vcd gives back has the lines, depths and registers of the trace."""
    import vcdvcd

    file, packed, back = tmp_path / "run.vcd", tmp_path / "run.fst", tmp_path / "back.vcd"
    run(OUTRIGGER, "trace", "export", trace, "--format", "vcd", "--output", file)
    run("vcd2fst", file, packed)
    with back.open("w") as output:
        subprocess.run(["fst2vcd", packed], stdout=output, check=True, timeout=60)
    dump = vcdvcd.VCDVCD(str(back))
    everything = events(trace)

    def changes(name):
        """Cycles and values; x as none."""
        return [(time, None if "x" in value else int(value, 2)) for time, value in dump[name].tv]

    def settled(changes):
        """Of several changes in one cycle the last counts, and only if it is one."""
        last = list(dict(changes).items())
        return [entry for before, entry in zip([(None, None)] + last, last) if before[1] != entry[1]]

    lines = collections.defaultdict(list)
    for event in everything:
        if "line" in event:
            lines[event["line"]].append((event["cycle"], event["level"]))
    assert lines
    for line, expected in lines.items():
        # Before the first change the line had the other level.
        start = (everything[0]["cycle"], 1 - expected[0][1])
        assert settled(changes(f"device.interrupts.{line}")) == settled([start] + expected)
    depths = [(event["cycle"], event["depth"]) for event in of("queue", everything)]
    found = [entry for entry in changes("device.queues.fn1.queue0_depth[15:0]") if entry[1] is not None]
    assert settled(found) == settled(depths)
    last = {event["register"]: int(event["new"], 16) for event in everything if event.get("register", "").startswith("WDT.")}
    for register, value in last.items():
        name = register.removeprefix("WDT.")
        assert changes(f"device.WDT.{name}.{name}[31:0]")[-1][1] == value


def test_perfetto_parses_with_the_published_protos(trace, tmp_path):
    from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as protos

    file = tmp_path / "run.pftrace"
    run(OUTRIGGER, "trace", "export", trace, "--format", "perfetto", "--firmware", FIRMWARE, "--output", file)
    parsed = protos.Trace()
    parsed.ParseFromString(file.read_bytes())
    tracks = {packet.track_descriptor.uuid: packet.track_descriptor for packet in parsed.packet if packet.HasField("track_descriptor")}

    def path(track):
        parent = tracks[track].parent_uuid
        return (path(parent) if parent else []) + [tracks[track].name]

    groups = {track.name for track in tracks.values() if not track.parent_uuid}
    assert groups == {"initiators", "blocks", "interrupts", "DMA", "queues", "firmware"}
    on, begins, open_slices = collections.defaultdict(list), collections.defaultdict(list), collections.Counter()
    for packet in parsed.packet:
        if not packet.HasField("track_event"):
            continue
        event = packet.track_event
        group, *rest = path(event.track_uuid)
        if event.type == protos.TrackEvent.TYPE_SLICE_BEGIN:
            begins[group].append((packet.timestamp, rest[-1], event.name))
            open_slices[event.track_uuid] += 1
        elif event.type == protos.TrackEvent.TYPE_SLICE_END:
            open_slices[event.track_uuid] -= 1
        elif event.type == protos.TrackEvent.TYPE_COUNTER:
            on["depth"].append((packet.timestamp, event.counter_value))
        else:
            on[group].append((packet.timestamp, rest[-1], event.name))
        # Slices of a track nest: here none overlaps another at all.
        assert 0 <= open_slices[event.track_uuid] <= 1
    assert not any(open_slices.values())

    everything = events(trace)
    accesses = of("access", everything)
    assert [(time, track) for time, track, _ in begins["initiators"]] == [(event["cycle"], event["initiator"]) for event in accesses]
    assert collections.Counter(track for _, track, _ in on["blocks"]) == collections.Counter(
        event["register"].split(".")[0] for event in accesses if "register" in event)
    assert [time for time, _, _ in begins["queues"]] == [event["cycle"] for event in everything if event.get("step") == "taken"]
    assert on["depth"] == [(event["cycle"], event["depth"]) for event in of("queue", everything)]
    assert [(time, track) for time, track, _ in begins["interrupts"]] == [
        (event["cycle"], event["line"]) for event in everything if event.get("level") == 1]
    assert len(on["DMA"]) == len(of("dma", everything))
    # Functions: each access is in the slice of the function that its program counter is in.
    executed = [(time, name) for time, track, name in begins["firmware"] if track == "hart0 functions"]
    assert len(executed) > 20 and any("Sampler" in name for _, name in executed)
    names = {name for _, name in executed}
    name = max(names, key=lambda name: sum(other == name for _, other in executed))
    inside = {event["cycle"] for event in events(trace, f'pc in "{name}"', "--firmware", FIRMWARE)}
    assert {time for time, other in executed if other == name} <= inside
