"""Going through recorded and live runs, forwards and backwards: `outrigger step` as a script and on a terminal, and GDB."""

import pathlib
import re
import shutil
import struct
import subprocess
import tempfile

import pytest

from debugger import address, place
from harness import FIRMWARE, OUTRIGGER, ROOT, Device, compare, complaint, run

# Counts, and writes each count to MSIP of hart 1, which keeps its lowest bit:
#   li t1, 7; lui t3, 0x2000; li t2, 0; loop: addi t2, t2, 1; sw t2, 4(t3); andi t4, t2, 3; bnez t4, loop; j loop
SMALL = [0x00700313, 0x02000E37, 0x00000393, 0x00138393, 0x007E2223, 0x0033FE93, 0xFE0E9AE3, 0xFF1FF06F]
BASE = 0x8000_0000


def elf(code) -> bytes:
    """An ELF32 executable with one segment, at the start of SRAM."""
    size = 4 * len(code)
    header = struct.pack("<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01", 2, 243, 1, BASE, 52, 0, 0, 52, 32, 1, 40, 0, 0)
    return header + struct.pack("<8I", 1, 84, BASE, BASE, size, size, 5, 4) + struct.pack(f"<{len(code)}I", *code)


@pytest.fixture(scope="module")
def recording(programs):
    """A recording of the firmware from its first instruction, with a host that looks at the device."""
    with tempfile.TemporaryDirectory(prefix="outrigger-step-") as folder:
        path = pathlib.Path(folder) / "run.rec"
        device = Device("--record", path, "--vfs", "1")
        device.until(lambda: device.hostif["FIRMWARE"] & 0xFF == 2, "the firmware is ready")
        device.hostif["SCRATCH[0]"] = 0x1234
        device.until(lambda: device.now > 20_000_000, "some time")
        assert device.close() == 0, device.output()
        yield path


@pytest.fixture(scope="module")
def small(programs):
    """A recording of a small program, the same in every run: in lockstep."""
    with tempfile.TemporaryDirectory(prefix="outrigger-step-") as folder:
        folder = pathlib.Path(folder)
        (folder / "small.elf").write_bytes(elf(SMALL))
        device = Device("--record", folder / "small.rec", pace="lockstep", firmware=folder / "small.elf")
        device.advance(3000)
        device.hostif["SCRATCH[0]"] = 0x1234
        device.advance(2000)
        assert device.close() == 0, device.output()
        yield folder / "small.rec"


def step(recording, *commands, check=True):
    """What a script of these commands prints, by command."""
    result = subprocess.run(
        [OUTRIGGER, "step", recording, "--sources", ROOT], input="".join(f"{command}\n" for command in commands), text=True,
        capture_output=True, timeout=120)
    if check:
        assert result.returncode == 0, result.stdout + result.stderr
    return answers(result.stdout) if check else (result.returncode, result.stdout, result.stderr)


def answers(text):
    """A script's output, command by command."""
    return [part for part in re.split(r"^(?=> [a-z])", text, flags=re.MULTILINE) if part]


def cycle(answer) -> int:
    return int(re.search(r"^cycle (\d+)", answer, re.MULTILINE)[1])


def test_searching(recording):
    code, text, error = step(
        recording, "next write MAILBOX.FIRMWARE", "next change MAILBOX.FIRMWARE.state", "previous change MAILBOX.FIRMWARE", "goto end",
        "who MAILBOX.FIRMWARE.state", "next write MAILBOX.FIRMWARE and new == 3", "previous interrupt", "next interrupt", "next dma",
        check=False)
    parts = answers(text)
    assert "state=reset->booting" in parts[0] and "state=booting->ready" in parts[1], text
    assert cycle(parts[2]) == cycle(parts[0]) < cycle(parts[1]), "back again"
    assert cycle(parts[4]) == cycle(parts[1]) and "booting->ready" in parts[4], "who set it"
    # The first command that can't be carried out ends a script.
    assert code == 1 and "line 6: no next event with" in error and len(parts) == 6, error


def test_steps_return(recording):
    first = step(recording, "goto 100us", "next function pass", "info", "backtrace")
    place = re.search(r"^cycle \d+ \(.*\)", first[2], re.MULTILINE)[0]
    there = first[1].splitlines()[-1]
    assert "OffloadManager.pass()" in there and "OffloadManager.swift" in there, there
    assert re.search(r"#\d+  0x[0-9a-f]+ offload_main at firmware/OffloadManager/Entry.swift", first[3]), first[3]
    for go, back in [("next instruction 50", "previous instruction 50"), ("next line 8", "previous line 8")]:
        went = step(recording, "goto 100us", "next function pass", go, back, "info", "source")
        assert cycle(went[3]) < cycle(went[2])
        if "instruction" in go:
            assert went[3].splitlines()[-1] == there and place in went[4], went
        assert re.search(r"^> \d+  ", went[5], re.MULTILINE), went[5]


def test_what_changed(recording):
    went = step(recording, "show MAILBOX.FIRMWARE SYSCTL.HART[1].STATUS", "next change MAILBOX.FIRMWARE", "regs", "events 3", "queues")
    assert "  MAILBOX.FIRMWARE" in went[0] and "* MAILBOX.FIRMWARE" in went[1] and "* MAILBOX.FIRMWARE" in went[2], went
    assert "  SYSCTL.HART[1].STATUS" in went[1]
    assert len(went[3].splitlines()) == 4 and "MAILBOX.FIRMWARE" in went[3].splitlines()[-1], went[3]
    assert "no virtqueue is enabled" in went[4]


def test_mistakes(recording, tmp_path):
    for command, message in [
        ("explode", "unknown command 'explode'"), ("next write NOTHING.AT", "no block 'NOTHING'"), ("goto yesterday", "goto: start"),
        ("next function nobody", "no function 'nobody'"), ("hart 7", "hart: 0 to 1 expected"),
        ("who", "who: a register or a field expected"),
        ("next time <", "column 7: a number"), ("regs", "a name expected"),
    ]:
        code, _, error = step(recording, command, check=False)
        assert code == 1 and message in error, (command, error)
    assert "No such file" in complaint(OUTRIGGER, "step", tmp_path / "none")
    # A journal that has been damaged is no recording, or one that ends earlier.
    shutil.copytree(recording, tmp_path / "cut")
    journal = tmp_path / "cut/journal"
    journal.write_bytes(journal.read_bytes()[:-100])
    code, out, error = step(tmp_path / "cut", "goto end", check=False)
    assert code == 0 and "stepping up to" in error, error


def test_terminal(small, terminal):
    terminal.start(OUTRIGGER, "step", small)
    terminal.until("'help' lists the commands")
    terminal.type("show ACLINT.MSIP[1] HOSTIF.SCRATCH", "Enter")
    terminal.until("ACLINT.MSIP[1]")
    terminal.type("next write ACLINT.MSIP[1]", "Enter")
    terminal.until("* ACLINT.MSIP[1]")
    # An empty line repeats the last.
    for _ in range(3):
        before = terminal.screen
        terminal.type("Enter")
        terminal.wait(lambda screen: screen != before, "the command is not repeated")
    terminal.type("previous write", "Enter")
    terminal.type("next write HOSTIF", "Enter")
    screen = terminal.until("HOSTIF.SCRATCH[0]  0x0 -> 0x1234")
    compare("step-screen.txt", re.sub(r"pid=(\d+) *", lambda found: "pid=1".ljust(len(found[0])), screen))
    terminal.resize(60, 20)
    # Lines are cut by the stepper, with a mark, and not by the terminal.
    screen = terminal.wait(
        lambda screen: any(len(line) == 60 and line.endswith(">") for line in screen.splitlines()), "nothing is drawn for the new size")
    assert "HOSTIF.SCRATCH" in screen
    terminal.type("nonsense", "Enter")
    terminal.until("unknown command 'nonsense'")
    # The terminal is as it was.
    terminal.type("quit", "Enter")
    assert "HOSTIF" not in terminal.until("before")
    terminal.type("stty -a | tr ' ' '\\n' | grep -c -x -e echo -e icanon | sed s/^/modes:/", "Enter")
    terminal.until("modes:2")


# GDB


START = ["monitor goto start", "maintenance flush register-cache"]


def gdb(where, *commands):
    """A session with this remote; what it printed."""
    start = [
        "set confirm off", "set pagination off", "set width 0", f"file {FIRMWARE}", f"directory {ROOT}",
        f"target remote {where}",
    ]
    words = ["gdb-multiarch", "-nx", "-q", "-batch"]
    for command in [*start, *commands]:
        words += ["-ex", command]
    result = run(*words, check=False)
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def replayed(recording):
    """The recording, served to GDB."""
    socket = recording.parent / "gdb.sock"
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", OUTRIGGER, "replay", recording, "--gdb", socket, "--sources", ROOT], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, text=True)
    assert "can be debugged" in process.stdout.readline()
    yield socket
    process.terminate()
    assert process.wait(30) == 0
    process.stdout.close()


MANAGER = "firmware/OffloadManager/OffloadManager.swift"


def test_gdb_goes_back(replayed):
    where = place(MANAGER, "counters.count(.passes)")
    out = gdb(
        replayed, *START, f"break {where}", "continue", "continue", "info registers mcycle", "continue", "reverse-continue",
        "info registers mcycle", "stepi", "stepi", "stepi", "reverse-stepi", "reverse-stepi", "reverse-stepi",
        "info registers mcycle", "backtrace 2",
        "delete", "reverse-continue", "x/i $pc", "reverse-continue")
    cycles = re.findall(r"mcycle +0x([0-9a-f]+)", out)
    assert len(cycles) == 3 and len(set(cycles)) == 1, out
    assert out.count("hit Breakpoint 1, ") == 5, out
    # At power-on there is no firmware in the memory yet.
    assert out.count("No more reverse-execution history.") == 2 and "=> 0x80000000 <_start>:" in out, out


def test_gdb_source_lines_backwards(replayed):
    where = place(MANAGER, "counters.count(.passes)")
    line = int(where.split(":")[1])
    out = gdb(
        replayed, *START, f"break {where}", "continue", "delete", "next", "next", "reverse-next", "reverse-next", "reverse-step", "finish")
    lines = [int(number) for number in re.findall(r"^(\d+)\t", out, re.MULTILINE)]
    assert lines[0] == 9 or line in lines, out
    assert lines.count(line) >= 2, out


def test_gdb_back_to_a_watchpoint(replayed):
    counters = re.search(r"0x([0-9a-f]+)", gdb(replayed, "info address offload_counters"))[0]
    out = gdb(
        replayed, *START, "tbreak OffloadManager.swift:" + place(MANAGER, "counters.count(.passes)").split(":")[1], "continue",
        f"watch *(unsigned *){counters}", "continue", "continue", f"x/wx {counters}", "reverse-continue", f"x/wx {counters}",
        "reverse-continue", f"x/wx {counters}", "delete", "continue")
    values = [int(value, 16) for value in re.findall(rf"{counters[2:]}.*:\t0x([0-9a-f]+)", out)]
    assert len(values) == 3 and values[1] == values[0] - 1 and values[2] == values[1] - 1, out
    assert out.count("Hardware watchpoint 2: ") >= 4, out
    assert "No more reverse-execution history." in out, "the end of the recording"

    heartbeat = address("MAILBOX.HEARTBEAT")
    out = gdb(
        replayed, "monitor goto end", "maintenance flush register-cache", f"awatch *(unsigned *){heartbeat}", "reverse-continue",
        "backtrace 1", "x/i $pc")
    assert "Hardware access (read/write) watchpoint 1" in out and re.search(r"=> 0x[0-9a-f]+.*:\tsw", out), out


def test_gdb_monitor(replayed):
    out = gdb(
        replayed, *START, "monitor help", "monitor next change MAILBOX.FIRMWARE", "maintenance flush register-cache", "backtrace 1",
        "monitor who MAILBOX.FIRMWARE.state", "monitor goto 1ms", "monitor info", "monitor regs SYSCTL.MAGIC", "monitor reset",
        "monitor checkpoints",
        "monitor next write NOTHING", "set *(unsigned *)0x80200000 = 1")
    assert "goto PLACE" in out and "state=reset->booting" in out and "cycle 1000000 " in out, out
    assert "SYSCTL.MAGIC  0x4f555452" in out and "the past can't be changed" in out and "no block 'NOTHING'" in out, out


def test_gdb_on_a_live_device(start, tmp_path):
    device = start("--gdb", tmp_path / "gdb.sock", "--history", "--sources", ROOT)
    where = place(MANAGER, "counters.count(.passes)")
    out = gdb(
        tmp_path / "gdb.sock", f"break {where}", "continue", "info registers mcycle", "continue", "reverse-continue",
        "info registers mcycle", "set $t0 = 1", "continue", "continue", "continue", "delete", "monitor time")
    cycles = re.findall(r"mcycle +0x([0-9a-f]+)", out)
    assert len(cycles) == 2 and cycles[0] == cycles[1], out
    assert "No more reverse-execution history." in out, "back at the present"
    assert out.count("hit Breakpoint 1, ") >= 4, out
    # The device goes on from where it was.
    before = device.now
    device.until(lambda: device.now > before + 1_000_000, "time goes on")


def test_stepping_a_live_device(start, tmp_path):
    device = start("--gdb", tmp_path / "gdb.sock", "--history", "--sources", ROOT)
    device.until(lambda: device.hostif["FIRMWARE"] & 0xFF == 2, "the firmware is ready")
    answers = step(
        tmp_path / "gdb.sock", "info", "who MAILBOX.FIRMWARE.state", "previous write", "goto end", "continue 10us", "info", "source")
    assert "booting->ready" in answers[1], answers
    before, after = cycle(answers[3]), cycle(answers[4])
    assert before < after < before + 100_000, answers
    assert cycle(answers[2]) < cycle(answers[1]) < before
    now = device.now
    device.until(lambda: device.now > now + 1_000_000, "time goes on")
    plain = start("--gdb", tmp_path / "plain.sock")
    assert "expected a device with a history" in complaint(OUTRIGGER, "step", tmp_path / "plain.sock")
    assert plain.hostif["MAGIC"]
