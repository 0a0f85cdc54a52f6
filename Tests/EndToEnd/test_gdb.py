"""The firmware under the system's own debugger: gdb-multiarch attached to a running device."""

import contextlib
import re
import socket
import sys
import time

import pytest

from debugger import address, place
from harness import FIRMWARE, OUTRIGGER, ROOT, Device, run

MANAGER = "firmware/OffloadManager/OffloadManager.swift"


@pytest.fixture(scope="module")
def device(programs, tmp_path_factory):
    """A device with a debugger's socket that the tests of this module share; each leaves it running."""
    path = tmp_path_factory.mktemp("gdb") / "gdb.sock"
    with Device("--gdb", path) as device:
        device.gdb = path
        yield device
    assert not path.exists(), "the socket goes with the device"


@pytest.fixture(autouse=True)
def goes_on_serving(device):
    """After every session the firmware answers its host."""
    yield
    assert "firmware" in device.agent("identify").stdout


def gdb(device, *commands):
    """A session: attaches, carries out the commands, detaches. What it printed."""
    start = [
        "set confirm off", "set pagination off", "set width 0", f"file {FIRMWARE}", f"directory {ROOT}", f"target remote {device.gdb}",
    ]
    words = ["gdb-multiarch", "-nx", "-q", "-batch"]
    for command in [*start, *commands]:
        words += ["-ex", command]
    result = run(*words, check=False)
    return result.stdout + result.stderr


def test_attaching(device):
    out = gdb(device, "info threads", "info registers pc sp mstatus mhartid priv", "thread 2", "print $mhartid", "info mem")
    assert re.search(r"\* 1 +Thread 1 \"hart 0\"", out) and re.search(r" 2 +Thread 2 \"hart 1\" \(off\)", out), out
    assert re.search(r"pc +0x800[0-9a-f]{5}", out) and re.search(r"sp +0x80[0-9a-f]{6}", out), out
    assert "MPP:3" in out or re.search(r"mstatus +0x", out), out
    assert "prv:3 [Machine]" in out, out
    assert "$1 = 1" in out, out
    assert re.search(r"0x00010000 0x00020000 ro", out) and re.search(r"0x80000000 0x80400000 rw", out), out


def test_memory(device):
    magic = address("SYSCTL.MAGIC")
    out = gdb(
        device, f"x/wx {magic}", "x/3i offload_main", "set $before = *(unsigned *)0x403ffffc", "set *(unsigned *)0x403ffffc = 0x12345678",
        "x/wx 0x403ffffc", "set *(unsigned *)0x403ffffc = $before", "set *(unsigned *)0x10000 = 1", "x/wx 0x30000000")
    assert f"{magic}:\t0x4f555452" in out, out
    assert "<offload_main>:" in out and "0x403ffffc:\t0x12345678" in out, out
    assert "Writing to flash memory forbidden" in out or "Cannot access memory at address 0x10000" in out, out
    assert "Cannot access memory at address 0x30000000" in out, out


def test_source_level(device):
    where = place(MANAGER, "counters.count(.passes)")
    out = gdb(
        device, f"break {where}", "continue", "backtrace", "info source", "next", "step", "info registers pc", "delete",
        "finish", "stepi", "x/i $pc", f"break {where}", "continue", "finish")
    name, line = where.split(":")
    assert re.search(rf"Breakpoint 1, .*pass.* at {MANAGER}:{line}", out), out
    assert f"{line}\t        counters.count(.passes)" in out, out
    assert re.search(r"#\d +offload_main \(\) at firmware/OffloadManager/Entry.swift", out), out
    # `next` stays in the function, `step` goes into what it calls, and `finish` comes out of it.
    assert re.search(rf"^{int(line) + 1}\t", out, re.MULTILINE), out
    assert "Interrupts.swift" in out, out
    # The function itself returns to the event loop.
    end = out.split("hit Breakpoint 2, ")
    assert len(end) == 2 and re.search(r"^\S*(stepyyF|offload_main) .* at firmware/OffloadManager/", end[1], re.MULTILINE), out


def test_from_the_first_instruction(device):
    out = gdb(
        device, "monitor reset", "maintenance flush register-cache", "x/i $pc", "tbreak offload_main", "continue", "backtrace",
        "break *_start", "hbreak offload_main", "info breakpoints")
    assert "the firmware is at its first instruction" in out, out
    assert "=> 0x80000000 <_start>:\tcsrw\tmie,zero" in out, out
    assert re.search(r"Temporary breakpoint 1, .*offload_main", out), out


def test_conditional_breakpoint(device):
    where = place(MANAGER, "counters.count(.passes)")
    out = gdb(device, "set $hits = 0", f"break {where} if $hits++ == 3 && $mhartid == 0", "continue", "print $hits", "info breakpoints")
    assert "$1 = 4" in out, out
    assert "breakpoint already hit 1 time" in out, out


def test_watchpoints(device):
    heartbeat = address("MAILBOX.HEARTBEAT")
    out = gdb(device, f"awatch *(unsigned *){heartbeat}", "continue", "backtrace 1", "delete", "info registers pc")
    assert "Hardware access (read/write) watchpoint 1:" in out, out
    assert re.search(r"#0 .*(pass|write).*", out), out

    # Memory: where the first instructions of a function save the return address.
    function = "'$e14OffloadManagerAAV4passyyF'"
    out = gdb(
        device, f"break *{function}", "continue", "delete", "awatch -l *(unsigned *)($sp - 4)", "continue")
    assert re.search(r"Hardware access \(read/write\) watchpoint 2: -location", out), out
    assert out.count("= 2") >= 1 or "Value = " in out, out


def test_monitor(device):
    commands = ["help", "regs SYSCTL.MAGIC", "regs wdt", "regs NOTHING.AT", "nonsense"]
    out = gdb(device, *[f"monitor {command}" for command in commands])
    assert "regs NAME" in out and "SYSCTL.MAGIC  0x4f555452" in out and "WDT.CTRL  0x" in out, out
    assert "there is no block 'NOTHING'" in out and "unknown command 'nonsense'" in out, out


def test_time_stands_still(device):
    # The host's programs are served meanwhile: HOSTIF.MAGIC by way of the BAR, and configuration space many times over.
    read = f"shell dd if={device.function}/resource0 bs=4 count=1 status=none"
    reads = f"shell for round in $(seq 40); do dd if={device.function}/config of=/dev/null bs=4 status=none; done"
    stamp = f"shell {sys.executable} -c 'import time; print(\"stamp\", time.monotonic_ns())'"
    out = gdb(device, "monitor time", stamp, read, reads, stamp, "monitor time")
    before, held = map(int, re.findall(r"cycle (\d+)", out))
    assert before == held and "OUTR" in out, out
    # What was held is not made up for: at 1 GHz no more device time has passed since the last stamp than wall time, with a
    # tolerance of a tenth of what was held, 50 ms at most.
    begin, end = map(int, re.findall(r"stamp (\d+)", out))
    after = int(re.search(r"cycle (\d+)", gdb(device, "monitor time"))[1])
    assert after - held < time.monotonic_ns() - end + min(50_000_000, (end - begin) // 10)


def test_killing_is_refused(device):
    out = gdb(device, "kill", "info threads")
    assert "Can't kill process" in out and "hart 0" in out, out


def packet(text):
    return b"$" + text.encode() + b"#" + f"{sum(text.encode()) % 256:02x}".encode()


@contextlib.contextmanager
def connection(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(path))
        yield client


def receive(client, end):
    data = b""
    while not data.endswith(end):
        more = client.recv(4096)
        assert more, f"the connection ended after {data!r}"
        data += more
    return data


def test_interrupt_and_vanish(device):
    for _ in range(3):
        with connection(device.gdb) as client:
            client.sendall(packet("vCont;c"))
            assert receive(client, b"+") == b"+"
            client.sendall(b"\x03")
            assert receive(client, packet("T02thread:1;")).endswith(packet("T02thread:1;"))
            client.sendall(packet("Z1,80000000,4") + packet("Z2,80000000,4"))
            receive(client, b"$OK#9a+$OK#9a")
        # Gone without a word, with a breakpoint and a watchpoint set.
        assert "firmware" in device.agent("identify").stdout


def test_nonsense(device):
    with connection(device.gdb) as client:
        client.sendall(b"garbage$m80000000,4#00")
        assert receive(client, b"-") == b"-"
        client.sendall(b"$" + b"A" * 100_000 + b"#" + f"{0x41 * 100_000 % 256:02x}".encode())
        assert b"longer than" in receive(client, b"\x23" + receive_checksum(b"E.packet longer than 16384 bytes"))
        client.sendall(packet("mzz,4") + packet("vCont;x") + packet("D"))
        receive(client, b"$OK#9a")


def receive_checksum(payload):
    return f"{sum(payload) % 256:02x}".encode()


def test_port_and_bad_places(start, device, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    other = start("--gdb", port)
    other.gdb = f"localhost:{port}"
    assert "hart 0" in gdb(other, "info threads")
    (tmp_path / "mnt").mkdir()

    def refused(where):
        result = run(OUTRIGGER, "run", "--mount", tmp_path / "mnt", "--firmware", FIRMWARE, "--gdb", where, check=False)
        assert result.returncode == 1, result.stderr
        return result.stderr

    assert "Address already in use" in refused(port)
    assert "Address already in use" in refused(device.gdb)
    assert "a path outside the mounted tree expected" in refused(tmp_path / "mnt/gdb.sock")
