"""Recorded workloads through virtual functions: data, counts, determinism, policy."""

import json

import pytest

from conftest import ROOT, WORKLOADS, run

RECORDED = ROOT.parent / "shared/data/cloudPhysicsIO.csv"


def test_a_large_workload_is_verified_and_counted(start, tmp_path):
    """At least 100,000 requests, every byte checked, the Workload Analyzer's counts equal."""
    device = start("--vfs", "1", "--machine", machine(tmp_path, "virtual_functions: {disk: {size: 64 GiB}}"))
    if RECORDED.exists():
        result = json.loads(device.agent("replay", RECORDED, "--fresh", "--check-counts", "--json", limit=600).stdout)
    else:
        result = json.loads(device.agent("replay", WORKLOADS / "database.iolog", "--fresh", "--check-counts", "--json", limit=600).stdout)
    assert result["requests"] >= 100_000
    assert result["verified_bytes"] == result["read_bytes"]


def test_what_one_virtual_machine_writes_no_other_sees(start):
    device = start("--vfs", "2")
    for vf in (1, 2):
        result = json.loads(device.agent(
            "replay", WORKLOADS / "database.iolog", "--vf", vf, "--limit", 3000, "--fresh", "--check-counts", "--json").stdout)
        assert result["verified_bytes"] == result["read_bytes"] > 0


@pytest.mark.parametrize("options", [["--depth", "1"], ["--speed", "4"], ["--depth", "256"]])
def test_loops(start, options):
    device = start("--vfs", "1")
    result = json.loads(device.agent(
        "replay", WORKLOADS / "backup.iolog", "--limit", 1000, "--fresh", "--check-counts", "--json", *options).stdout)
    assert result["requests"] == 1000


def test_a_disk_in_a_file(start, tmp_path):
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(1 << 30)
    device = start("--vfs", "1", "--machine", machine(tmp_path, f"virtual_functions: {{disks: [{{vf: 1, file: {disk}}}]}}"))
    device.agent("replay", WORKLOADS / "database.iolog", "--limit", 5000, "--fresh", "--check-counts")
    assert device.close() == 0
    assert disk.stat().st_size == 1 << 30 and disk.stat().st_blocks > 0


def lockstep_trace(start, folder):
    device = start("--vfs", "1", "--pace", "lockstep", "--trace", folder)
    device.agent("replay", WORKLOADS / "database.iolog", "--limit", 2000, "--fresh")
    assert device.close() == 0
    # Process ids differ from run to run: they are the host's, not the machine's.
    text = run(ROOT / ".build/release/outrigger", "trace", folder, "--json").stdout
    return [{key: value for key, value in json.loads(line).items() if key != "pid"} for line in text.splitlines()]


def test_two_lockstep_runs_give_the_same_trace(start, tmp_path):
    first, second = lockstep_trace(start, tmp_path / "a"), lockstep_trace(start, tmp_path / "b")
    assert len(first) > 2000
    assert first == second


def machine(folder, text):
    """A machine description in a file."""
    file = folder / "machine.yaml"
    file.write_text(text + "\n")
    return file
