"""The host agent's commands, and what all programs of the project have in common."""

import re
import struct

import pytest

import admin
from admin import AdminQueue, command
from harness import AGENT, OUTRIGGER, run

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
