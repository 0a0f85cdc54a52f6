"""Recorded workloads through virtual functions: every byte verified, every request counted, and the same again in lockstep."""

import json

import pytest

from harness import AGENT, OUTRIGGER, ROOT, WORKLOADS, complaint, run

# A production system's disk, where it is present; a workload recorded with fio otherwise.
RECORDED = ROOT.parent / "shared/data/cloudPhysicsIO.csv"


def test_a_large_workload_is_verified_and_counted(start):
    """At least 100,000 requests; the agent checks each byte, and the Workload Analyzer's counts."""
    device = start("--vfs", "1", machine="virtual_functions: {disk: {size: 64 GiB}}")
    workload = RECORDED if RECORDED.exists() else WORKLOADS / "database.iolog"
    result = device.replay(workload, limit=200)
    assert result["requests"] >= 100_000
    assert result["verified_bytes"] == result["read_bytes"] > 0 and result["unknown_bytes"] == 0
    owner = device.stats()["owners"][1]
    sent = [result[key] for key in ("reads", "writes", "flushes", "read_bytes", "written_bytes")]
    assert [owner[key] for key in ("reads", "writes", "others", "read_bytes", "written_bytes")] == sent
    # Also on the wire: what was read, with a status byte each and the ring's entries, went over the link to the host.
    assert device.metric("outrigger_link_bytes_total", 'direction="to-host"') > result["read_bytes"]
    assert device.metric("outrigger_link_bytes_total", 'direction="from-host"') > result["written_bytes"]


def test_counts_are_those_of_the_file(start):
    """Counted here, independently of the agent: the file's lines are what the Workload Analyzer saw."""
    device = start("--vfs", "1")
    limit, sent = 5000, {"reads": 0, "writes": 0, "others": 0, "read_bytes": 0, "written_bytes": 0}
    requests = [line.split() for line in (WORKLOADS / "database.iolog").read_text().splitlines()[1:]]
    requests = [words for words in requests if words[2] in ("read", "write", "sync", "datasync")][:limit]
    for words in requests:
        sent[{"read": "reads", "write": "writes"}.get(words[2], "others")] += 1
        if words[2] in ("read", "write"):
            sent[{"read": "read_bytes", "write": "written_bytes"}[words[2]]] += int(words[4])
    assert sent["reads"] > 3000 and sent["writes"] > 1000 and sent["others"] > 10
    device.replay(WORKLOADS / "database.iolog", "--limit", limit)
    owner = device.stats()["owners"][1]
    assert {key: owner[key] for key in sent} == sent


def test_what_one_virtual_machine_writes_no_other_sees(start):
    device = start("--vfs", "2")
    for vf in (1, 2):
        result = device.replay(WORKLOADS / "database.iolog", "--vf", vf, "--limit", 3000)
        assert result["verified_bytes"] == result["read_bytes"] > 0
    # On the same disk again the data is no longer all zeros: the check can fail.
    assert "wrong data at byte" in complaint(
        AGENT, "replay", "--device", device.function, WORKLOADS / "database.iolog", "--vf", 2, "--limit", 3000, "--fresh")


@pytest.mark.parametrize("options", [["--depth", "1"], ["--speed", "4"], ["--depth", "256"], ["--repeat", "3"]])
def test_loops(start, options):
    device = start("--vfs", "1")
    repeat = 3 if "--repeat" in options else 1
    assert device.replay(WORKLOADS / "backup.iolog", "--limit", 500, *options)["requests"] == 500 * repeat


@pytest.mark.parametrize("pace", ["max", "lockstep"])
def test_paces(start, pace):
    device = start("--vfs", "1", pace=pace)
    assert device.replay(WORKLOADS / "database.iolog", "--limit", 1000)["requests"] == 1000


def test_a_disk_in_a_file(start, tmp_path):
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(1 << 30)
    device = start("--vfs", "1", machine=f"virtual_functions: {{disks: [{{vf: 1, file: {disk}}}]}}")
    written = device.replay(WORKLOADS / "database.iolog", "--limit", 5000)["written_bytes"]
    assert device.close() == 0
    assert disk.stat().st_size == 1 << 30 and 0 < disk.stat().st_blocks * 512 <= 2 * written


def test_the_human_report(start):
    device = start("--vfs", "1")
    text = device.agent("replay", WORKLOADS / "backup.iolog", "--limit", 300, "--fresh", "--check-counts").stdout
    for part in ("300 requests", "every byte read was checked", "latency, device time: p50 <", "the Workload Analyzer counted the same"):
        assert part in text
    table = device.agent("stats").stdout.splitlines()
    assert table[1].split()[:2] == ["owner", "share"] and any(line.startswith("vm1") for line in table)
    assert len(device.agent("watch", "--count", 2, "--interval", 0.01).stdout.splitlines()) >= 6


def lockstep_run(start, folder):
    """Records a run in lockstep: its events, and what the firmware printed."""
    device = start("--vfs", "2", "--trace", folder, pace="lockstep")
    for vf in (1, 2):
        device.replay(WORKLOADS / "database.iolog", "--vf", vf, "--limit", 1000)
    console = (device.debug / "console").read_text()
    assert device.close() == 0
    events = [json.loads(line) for line in run(OUTRIGGER, "trace", folder, "--json").stdout.splitlines()]
    return events, console


def test_two_lockstep_runs_give_the_same_trace(start, tmp_path):
    events, console = lockstep_run(start, tmp_path / "a")
    again, console_again = lockstep_run(start, tmp_path / "b")
    assert len(events) > 10_000
    assert {event["initiator"] for event in events} >= {"hart0", "host0", "host1", "host2", "dma1", "dma2", "device"}
    assert console == console_again
    # Of the host's accesses only the process ids differ, which the host's kernel hands out.
    for event in events + again:
        event.pop("pid", None)
    assert events == again
