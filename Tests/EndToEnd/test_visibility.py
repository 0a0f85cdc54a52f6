"""What `outrigger firmware` shows of a running and of a crashed firmware."""

import json

from firmware import crash, wait_until_ready
from harness import FIRMWARE, OUTRIGGER, ROOT, complaint, run


def look(device, command: str, *options):
    """One command's output; JSON lines of `trace`, one value of the others."""
    output = run(OUTRIGGER, "firmware", command, device.mount, "--json", *options).stdout
    return [json.loads(line) for line in output.splitlines()] if command == "trace" else json.loads(output)


def test_trace_records_and_counters_have_the_firmwares_names(start):
    device = start("--vfs", "0", pace="lockstep")
    wait_until_ready(device, 1)
    device.agent("identify")
    records = look(device, "trace")
    assert records[0]["kind"] == "boot" and records[0]["fields"]["starts"] == 1
    commands = [record["fields"] for record in records if record["kind"] == "command"]
    assert {"opcode": "identify", "status": "ok", "qualifier": "none"} in commands
    counters = look(device, "counters")
    assert counters["commands"] == sum(record["times"] for record in records if record["kind"] == "command")
    windows = [record for record in records if record["kind"] == "window"]
    numbers = [record["fields"]["number"] for record in windows]
    assert counters["windows"] == len(windows) and numbers == sorted(numbers)
    # Looking changes nothing.
    assert look(device, "counters") == counters and look(device, "trace") == records


def test_a_crash_is_traced_back_to_its_lines_also_after_the_restart(start, tmp_path):
    device = start("--vfs", "0", pace="lockstep")
    wait_until_ready(device, 1)
    assert look(device, "faults") is None
    crash(device)
    fault = look(device, "faults")
    names = [frame["function"] for frame in fault["backtrace"]]
    assert "OffloadManager.pass()" in names and names[-2:] == ["offload_main", "_start"]
    # The first pass of the loop counts itself: the counter's word has the error.
    frame = next(frame for frame in fault["backtrace"] if frame["function"] == "OffloadManager.pass()")
    line = (ROOT / frame["file"]).read_text().splitlines()[frame["line"] - 1]
    assert "counters.count(.passes)" in line
    # The hart that is down says so by itself, with what it was doing when the trap came.
    (hart, *_) = look(device, "backtrace")
    below = [frame["function"] for frame in hart["backtrace"]]
    assert below.index("offload_fault") < below.index("trap_entry") < below.index("OffloadManager.pass()")

    # A snapshot has it all, without the device.
    snapshot = tmp_path / "crash.snapshot"
    snapshot.write_bytes((device.debug / "snapshot").read_bytes())
    for command in ("faults", "backtrace", "trace", "counters"):
        live = run(OUTRIGGER, "firmware", command, device.mount).stdout
        assert run(OUTRIGGER, "firmware", command, snapshot).stdout == live

    wait_until_ready(device, 2)
    assert look(device, "faults") == fault
    assert "outrigger firmware faults" in device.agent("fault").stdout


def test_a_recording_is_looked_into_at_any_place(start, tmp_path):
    recording = tmp_path / "crash.rec"
    files = [tmp_path / name for name in ("live.coverage", "replayed.coverage")]
    device = start("--vfs", "0", "--record", recording, "--coverage", files[0], pace="lockstep")
    wait_until_ready(device, 1)
    before = device.now
    commands = ("trace", "counters", "faults", "backtrace")

    def shown(source, *options):
        return {command: run(OUTRIGGER, "firmware", command, source, *options).stdout for command in commands}

    healthy = shown(device.mount)
    crash(device)
    crashed = shown(device.mount)
    assert device.close() == 0
    # What was seen while it ran is seen again, without --firmware and without the device.
    assert shown(recording) == crashed != healthy
    assert shown(recording, "--at", before) == healthy

    profile = json.loads(run(OUTRIGGER, "firmware", "profile", recording, "--format", "json", "--cycles", 1_000_000).stdout)
    functions = {row["function"]: row for row in profile["functions"]}
    assert 2_000_000 <= profile["cycles"] < 2_010_000, "two harts"
    assert functions["Console.log(_:_:_:)"]["inclusive"] > 0, "the boot is part of it"
    whole = json.loads(run(OUTRIGGER, "firmware", "profile", recording, "--format", "json").stdout)
    assert whole["cycles"] > 2 * before

    run(OUTRIGGER, "replay", recording, "--coverage", files[1])
    reports = [run(OUTRIGGER, "coverage", "report", file).stdout for file in files]
    assert reports[0] == reports[1]

    for option, said in (("yesterday", "--at: start, end, CYCLE"), ("3ms", "expected with a recording")):
        source = recording if option == "yesterday" else ROOT / "build"
        assert said in complaint(OUTRIGGER, "firmware", "trace", source, "--at", option)


def test_a_waiting_hart_is_in_the_event_loop(start):
    device = start("--vfs", "0", pace="lockstep")
    wait_until_ready(device, 1)
    device.advance(500_000)
    first, second = look(device, "backtrace")
    assert first["activity"] == "waiting (wfi)" and second["activity"] == "off"
    assert "Interrupts.wait()" in [frame["function"] for frame in first["backtrace"]]


def test_a_profile_accounts_for_every_cycle(start):
    device = start("--vfs", "0", pace="lockstep")
    wait_until_ready(device, 1)
    # The firmware samples windows of a millisecond.
    profile = look_at_profile(device, "--cycles", 10_000_000, "--interval", 1)
    functions = {row["function"]: row for row in profile["functions"]}
    assert sum(row["exclusive"] for row in profile["functions"]) == profile["cycles"]
    assert 20_000_000 <= profile["cycles"] < 20_100_000, "two harts"
    assert functions["OffloadManager.sampleWindow()"]["inclusive"] <= functions["OffloadManager.pass()"]["inclusive"]
    assert functions["offload_main"]["inclusive"] + functions["(waiting)"]["exclusive"] == profile["cycles"]
    folded = run(OUTRIGGER, "firmware", "profile", device.mount, "--cycles", 10_000_000, "--format", "folded").stdout.splitlines()
    assert any(line.startswith("hart0;(waiting) ") for line in folded)


def look_at_profile(device, *options):
    return json.loads(run(OUTRIGGER, "firmware", "profile", device.mount, "--format", "json", *options).stdout)


def test_another_image_is_refused(start, tmp_path):
    device = start("--vfs", "0", pace="lockstep")
    wait_until_ready(device, 1)
    image = bytearray(FIRMWARE.read_bytes())
    image[0x1100] ^= 0xff
    (tmp_path / "other.elf").write_bytes(image)
    said = complaint(OUTRIGGER, "firmware", "trace", device.mount, "--firmware", tmp_path / "other.elf")
    assert "another firmware is loaded" in said
    assert "no mounted device" in complaint(OUTRIGGER, "firmware", "trace", tmp_path)


def test_coverage_of_two_runs_is_merged_and_lcov_reads_it(start, tmp_path):
    files = []
    for number, command in enumerate(("identify", "stats")):
        files.append(tmp_path / f"{number}.coverage")
        device = start("--vfs", "0", "--coverage", files[-1], pace="lockstep")
        wait_until_ready(device, 1)
        device.agent(command)
        assert device.close() == 0
    merged = tmp_path / "all.coverage"
    run(OUTRIGGER, "coverage", "merge", *files, "--output", merged)

    def report(file):
        return json.loads(run(OUTRIGGER, "coverage", "report", file, "--format", "json").stdout)

    def lines(report):
        return {(file["path"], line) for file in report["files"] for line in file["hit"]}

    first, second, both = report(files[0]), report(files[1]), report(merged)
    assert lines(both) == lines(first) | lines(second) and lines(first) != lines(second)
    path = "firmware/OffloadManager/OffloadManager.swift"
    source = (ROOT / path).read_text().splitlines()
    (kick,) = [number for number, line in enumerate(source, 1) if "counters.count(.passes)" in line]
    assert (path, kick) in lines(first)
    registers = {register["name"]: register for register in both["registers"]}
    assert registers["HOSTIF.MAGIC"]["reads"] > 0 and registers["HOSTIF.MAGIC"]["writes"] == 0

    info = tmp_path / "firmware.info"
    info.write_text(run(OUTRIGGER, "coverage", "report", merged, "--format", "lcov").stdout)
    totals = both["totals"]["lines"]
    assert f"({totals['hit']} of {totals['of']} lines)" in run("lcov", "--summary", info).stdout
    damaged = bytearray(merged.read_bytes())
    damaged[100] ^= 1
    merged.write_bytes(damaged)
    assert "checksum" in complaint(OUTRIGGER, "coverage", "report", merged)
