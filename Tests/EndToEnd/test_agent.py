"""The host agent's commands, and what all programs of the project have in common."""

import json
import re
import struct
import subprocess

import pytest

import admin
from admin import AdminQueue, command
from harness import AGENT, LIMIT, OUTRIGGER, WORKLOADS, run

GET_STATISTICS = 0x0050
HEADER_BYTES, ENTRY_BYTES = 64, 128


def test_identify(start):
    device = start("--vfs", "0", machine="{harts: 1, service: {cores: 3}, link: {bandwidth: 250 MB/s}, virtual_functions: {total: 7}}")
    rows = dict(re.split(r"  +", line, maxsplit=1) for line in device.agent("identify").stdout.splitlines())
    assert rows["device"].startswith("0000:01:00.0, 0x1af4:") and rows["protocol"] == "1.2"
    assert (rows["virtual functions"], rows["harts"], rows["service cores"], rows["link"]) == ("7", "1 at 1000 MHz", "3", "250 MB/s")
    assert rows["memory"] == "256 blocks of 64.0 KiB"


def test_the_hosts_baseline_reaches_the_firmware(device):
    text = device.agent("baseline", "--interval", "0.05").stdout
    assert [line.split(":")[0] for line in text.splitlines()] == ["processors", "memory", "block I/O", "network", "waiting", "confidence"]
    with AdminQueue(device) as queue:
        status, _, page = queue.send(command(GET_STATISTICS, data=struct.pack("<HHI", 0, 1, 0)), room=8 + HEADER_BYTES + ENTRY_BYTES)
    assert status == admin.OK
    flags = page[HEADER_BYTES + 1]
    processors, memory = struct.unpack_from("<II", page, HEADER_BYTES + 92)
    used, unit = re.search(r"memory: +([\d.]+) (MiB|GiB|TiB) of", text).groups()
    assert flags & 8, "baseline reported"
    assert memory == pytest.approx(float(used) * 1024 ** {"MiB": 1, "GiB": 2, "TiB": 3}[unit], rel=0.1) and processors < 1_000_000


@pytest.mark.parametrize("words", [
    ("set", "allocation", "--vm=-1"), ("set", "terms", "--vm=65"), ("set", "release", "--vm=0"), ("log", "start", "--vm=65"),
    ("component", "move", "0", "--to", "host"), ("key", "65", "1"),
])
def test_owners_that_are_none_are_named(words):
    result = run(AGENT, *words, check=False)
    assert result.returncode == 64 and result.stdout == "", result.stderr
    assert re.match(r"Error: (--)?vm: [01]\.\.\.64 expected, (-1|0|65) found\n", result.stderr), result.stderr


def test_allocations_are_set_and_released(device):
    vm = ("--vm", 4)
    text = device.agent("set allocation", *vm, "--guarantee", 50, "--weight", 7, "--limit", 80, "--cores", 2, "--pinned").stdout
    assert text.startswith("vm4: guarantee 50/1000, weight 7, limit 80 MB/s, service cores 2, memory blocks 0, slots 0 GPU and 0 FPGA, "
                           "pinned; partition table ")
    owner = device.stats()["owners"][4]
    assert [owner[key] for key in ("guarantee_permille", "weight", "limit", "service_cores")] == [50, 7, 80, 2]
    # What isn't given stays.
    assert "guarantee 60/1000, weight 7, limit 80" in device.agent("set allocation", *vm, "--guarantee", 60).stdout
    device.agent("set release", *vm)
    owner = device.stats()["owners"][4]
    assert [owner[key] for key in ("guarantee_permille", "limit", "service_cores")] == [0, 0, 0]


@pytest.mark.parametrize("program", [OUTRIGGER, AGENT], ids=["outrigger", "outrigger-agent"])
def test_help_and_completions(programs, program):
    text = run(program, "--help").stdout
    commands = re.findall(r"^  ([a-z]+)\b.*$", text.split("SUBCOMMANDS:")[1], re.M)
    assert len(commands) >= 4
    for name in commands:
        assert f"{program.name} {name}" in run(program, name, "--help").stdout
    for shell in ("bash", "zsh", "fish"):
        script = run(program, "--generate-completion-script", shell).stdout
        assert all(name in script for name in commands)
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", run(program, "--version").stdout)


@pytest.mark.parametrize("program", [OUTRIGGER, AGENT], ids=["outrigger", "outrigger-agent"])
def test_wrong_usage(programs, program):
    for words in (["nonsense"], ["--nonsense"]):
        result = run(program, *words, check=False)
        assert result.returncode == 64 and result.stdout == "" and "nonsense" in result.stderr.splitlines()[0]


def test_what_the_host_wants_is_a_command(start):
    """Everything that the agent tells the device, the firmware has served as an admin command, and remembers."""
    device = start("--vfs", "1", pace="lockstep")
    wishes = {
        "reportBaseline": ("baseline", "--interval", 0.01), "setPolicy": ("policy select", "latency-first"),
        "setAllocation": ("set allocation", "--vm", 1, "--guarantee", 100), "setTerms": ("set terms", "--vm", 1, "--latency", 500),
        "setFeature": ("set analysis", "--windows", 200), "getComponent": ("component list",),
    }
    for wish in wishes.values():
        device.agent(*wish)
    records = [json.loads(line) for line in run(OUTRIGGER, "firmware", "trace", device.mount, "--json").stdout.splitlines()]
    served = {record["fields"]["opcode"] for record in records if "opcode" in record["fields"] and record["fields"]["status"] == "ok"}
    assert served >= wishes.keys(), records


def test_a_killed_agent_leaves_the_device_with_its_policy(start):
    """However an agent ends, in the middle of a command too, the policy goes on deciding and the next agent is served."""
    device = start("--vfs", "2")
    device.agent("policy select", "latency-first")
    device.agent("set allocation", "--vm", 1, "--guarantee", 200, "--pinned")
    load = subprocess.Popen(
        [AGENT, "replay", "--device", device.function, WORKLOADS / "backup.iolog", "--vf", "2", "--repeat", "1000"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        decided = 0
        for pages in range(8):
            watch = subprocess.Popen(
                [AGENT, "watch", "--device", device.function, "--json", "--count", "100000", "--interval", "0.001"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            for _ in range(1 + pages % 3):
                assert watch.stdout.readline()
            watch.kill()
            watch.communicate(timeout=LIMIT)

            def page():
                return json.loads(device.agent("watch", "--once", "--json").stdout)

            shown = device.until(
                lambda: (now := page()) and now["decisions_taken"] + now["decisions_left"] > decided and now, "a decision", cycles=10**10)
            decided = shown["decisions_taken"] + shown["decisions_left"]
            assert shown["policy"] == "latency-first"
            assert next(owner for owner in shown["owners"] if owner["owner"] == "vm1")["has"]["guarantee_permille"] == 200
            assert load.poll() is None
    finally:
        load.kill()
        load.wait(LIMIT)
