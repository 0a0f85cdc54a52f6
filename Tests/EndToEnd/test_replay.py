"""Recordings: a run with all its host programs is repeated without them, event by event."""

import contextlib
import errno
import mmap
import os
import re
import signal
import struct
import tarfile

import pytest

from harness import FIRMWARE, OUTRIGGER, PROGRAMS, ROOT, WORKLOADS, Opened, Raises, run
from network import EVERYBODY, HostInterface, NetworkFunction, capture, frame, tap_refusal


def replay(recording, *options, check=True):
    """What a replay prints, and its exit code."""
    result = run(OUTRIGGER, "replay", recording, *options, check=False, limit=300)
    assert result.returncode == 0 or not check, result.stdout + result.stderr
    return result


def trace_hash(text):
    return re.search(r"^trace: \d+ events, hash (0x[0-9a-f]{16})$", text, re.MULTILINE).group(1)


def use(device):
    """Host programs of all kinds."""
    device.hostif["SCRATCH[0]"] = 0x1234
    assert device.replay(WORKLOADS / "database.iolog", "--limit", 400)["requests"] == 400
    device.lspci("-vv")
    device.stats()
    (device.debug / "inject").write_text("aer 0000:01:00.0 poisonedTLP\n")
    (device.function / "virtfn0/reset").write_text("1")
    device.set_virtual_functions(3)
    (device.debug / "regs").read_text()
    (device.debug / "metrics").read_text()


@pytest.fixture
def recorded(start, tmp_path):
    """Records a run at a pace; the recording."""

    def record(pace="realtime", *options):
        recording = tmp_path / f"{pace}.rec"
        device = start("--vfs", 1, "--record", recording, "--trace", recording / "trace", *options, pace=pace)
        use(device)
        assert device.close() == 0
        return recording

    return record


@pytest.mark.parametrize("pace", ["realtime", "max", "lockstep"])
def test_a_replay_is_the_run_again(recorded, pace, tmp_path):
    recording = recorded(pace)
    first, second = replay(recording, "--trace", tmp_path / "again"), replay(recording)
    assert first.stdout.splitlines()[-1] == "the same" and first.stderr == ""
    assert trace_hash(first.stdout) == trace_hash(second.stdout)
    run(OUTRIGGER, "trace", "diff", recording / "trace", tmp_path / "again", "--pids")


def test_the_main_job(start, tmp_path):
    """The demo of the bandwidth policy: two virtual machines under load, an agent that looks and sets, in real time."""
    recording = tmp_path / "demo.rec"
    device = start("--vfs", 2, "--record", recording, "--trace", recording / "trace",
                   machine="link: {bandwidth: 100 MB/s}\nmedium: {bandwidth: 2 GB/s}")
    run(ROOT / "tools/demo/competition", PROGRAMS, device.function, cwd=ROOT, limit=120)
    assert device.close() == 0
    hashes = set()
    for _ in range(2):
        result = replay(recording)
        assert result.stdout.splitlines()[-1] == "the same"
        hashes.add(trace_hash(result.stdout))
    assert len(hashes) == 1


GOLDEN = ROOT / "Tests/EndToEnd/golden/main-job.tar.xz"


def test_the_golden_recording_is_the_same_everywhere(start, tmp_path):
    """A recording of the main job, made by whatever machine renewed it last, has the same trace here. OUTRIGGER_REFRESH=1 renews it: after
    a change of what the device does or how long it takes."""
    recording = tmp_path / "main-job.rec"
    if os.environ.get("OUTRIGGER_REFRESH"):
        record_main_job(start, recording, tmp_path)
    else:
        with tarfile.open(GOLDEN) as archive:
            archive.extractall(tmp_path, filter="data")
    result = replay(recording, check=False)
    said = result.stdout.splitlines()
    assert said[-1] == "the same", f"OUTRIGGER_REFRESH=1 renews it\n{result.stdout}{result.stderr}"
    hash_file = GOLDEN.parent / "main-job.txt"
    if os.environ.get("OUTRIGGER_REFRESH"):
        hash_file.write_text(trace_hash(result.stdout) + "\n")
    assert trace_hash(result.stdout) == hash_file.read_text().strip()


def record_main_job(start, recording, folder):
    """What tools/run does, with fewer requests, by a firmware without debug information."""
    firmware = folder / "firmware.elf"
    run("llvm-objcopy", "--strip-debug", FIRMWARE, firmware)
    device = start("--vfs", 4, "--record", recording, "--trace", folder / "trace", firmware=firmware)
    device.lspci("-nnk")
    device.agent("identify")
    device.agent("baseline", "--interval", 0.05)
    for number, workload in ((1, "database"), (2, "backup")):
        assert device.replay(WORKLOADS / f"{workload}.iolog", "--vf", number, "--limit", 40)["requests"] == 40
    device.stats()
    assert device.close() == 0
    with tarfile.open(GOLDEN, "w:xz", preset=9) as archive:
        for file in sorted(recording.iterdir()):
            archive.add(file, f"{recording.name}/{file.name}", filter=anonymous)


def anonymous(member):
    """Who made a recording, and when, is nobody's business."""
    member.mtime, member.uid, member.gid, member.uname, member.gname = 0, 0, 0, "", ""
    return member


def test_a_disk_in_a_file_is_not_needed(start, tmp_path):
    disk, recording = tmp_path / "disk", tmp_path / "disk.rec"
    disk.write_bytes(os.urandom(1 << 20) * 64)
    device = start("--vfs", 1, "--record", recording, "--trace", recording / "trace",
                   machine=f"virtual_functions: {{disk: {{file: {disk}}}}}")
    device.agent("replay", WORKLOADS / "backup.iolog", "--limit", 300)
    assert device.close() == 0
    disk.unlink()
    assert replay(recording).stdout.splitlines()[-1] == "the same"


def test_networks_are_not_needed(start, tmp_path):
    """A loop, a switch, a capture file and, where one can be made, a TAP interface: the replay has none of what is outside."""
    recording, name = tmp_path / "network.rec", f"outr{os.getpid()}"
    mac = "mac: '52:54:00:00:00:ab'"
    functions = [f"kind: net, {mac}", "kind: net, backend: switch", "kind: net, backend: switch",
                 f"kind: net, backend: pcap, input: {tmp_path}/in.pcap, output: {tmp_path}/out.pcap"]
    if tap_refusal() is None:
        functions.append(f"kind: net, backend: tap, interface: {name}")
    (tmp_path / "in.pcap").write_bytes(capture([frame(number, 60 + number) for number in range(5)]))
    machine = "physical_functions:\n" + "\n".join(
        f"  - {{function: {number}, {settings}}}" for number, settings in enumerate(functions, 1))
    device = start("--vfs", 1, "--record", recording, "--trace", recording / "trace", machine=machine)
    with contextlib.ExitStack() as stack:
        drivers = [stack.enter_context(NetworkFunction(device, number)).start() for number in range(1, len(functions) + 1)]
        loop, left, right, file, *taps = drivers
        for number in range(20):
            loop.listen()
            loop.send(frame(number, 60 + 60 * number))
            assert loop.receive() == frame(number, 60 + 60 * number)
            sender, receiver = (left, right) if number % 2 else (right, left)
            receiver.listen()
            sender.send(frame(number, 64 + number, EVERYBODY))
            assert receiver.receive() == frame(number, 64 + number, EVERYBODY)
        for number in range(5):
            file.listen()
            assert file.receive() == frame(number, 60 + number)
            file.send(frame(number, 70))
        for tap in taps:
            host = stack.enter_context(HostInterface(name))
            for number in range(5):
                tap.listen()
                host.send(frame(number, 80, EVERYBODY))
                assert tap.receive(cycles=60_000_000_000) == frame(number, 80, EVERYBODY)
                tap.send(frame(number, 90))
                assert host.receive() == frame(number, 90)
    assert device.close() == 0
    sent = (tmp_path / "out.pcap").read_bytes()
    for end in ("in.pcap", "out.pcap"):
        (tmp_path / end).unlink()
    first, second = replay(recording, "--trace", tmp_path / "again"), replay(recording)
    assert first.stdout.splitlines()[-1] == second.stdout.splitlines()[-1] == "the same"
    assert trace_hash(first.stdout) == trace_hash(second.stdout)
    run(OUTRIGGER, "trace", "diff", recording / "trace", tmp_path / "again", "--pids")
    assert sent and not (tmp_path / "out.pcap").exists(), "a replay sends nothing"


def test_a_killed_emulator_leaves_a_recording(start, tmp_path):
    recording = tmp_path / "killed.rec"
    device = start("--vfs", 1, "--record", recording)
    device.replay(WORKLOADS / "database.iolog", "--limit", 400)
    device.process.send_signal(signal.SIGKILL)
    device.process.wait()
    result = replay(recording)
    assert result.stdout.splitlines()[-1] == "the same"
    assert "expected a closing record" in result.stderr or "cut off" in result.stderr
    # What was in the open chunk is lost.
    assert int(result.stdout.split()[2]) > 100


def test_a_flipped_bit_is_named(recorded, tmp_path):
    """One bit of the firmware's code differs: the first access that does is shown, with its function."""
    recording = recorded("lockstep")
    image = bytearray(FIRMWARE.read_bytes())
    trace = run(OUTRIGGER, "trace", recording / "trace", "read and initiator == hart0", "--limit", 40).stdout.splitlines()
    pc = int(re.search(r"pc=([0-9a-f]+)", trace[-1]).group(1), 16)
    place = file_place(image, pc)
    # A load of 32 bits: bit 20, the immediate's lowest but two after the 4 that keep it aligned.
    code = int.from_bytes(image[place:place + 4], "little")
    if code & 3 == 3:
        code ^= 1 << 22
        image[place:place + 4] = code.to_bytes(4, "little")
    else:
        half = int.from_bytes(image[place:place + 2], "little") ^ 1 << 10
        image[place:place + 2] = half.to_bytes(2, "little")
    other = tmp_path / "flipped.elf"
    other.write_bytes(image)
    result = replay(recording, "--firmware", other, check=False)
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert any(line.startswith("not the same: cycle ") for line in lines)
    differing = next(line for line in lines if line.startswith("+ "))
    assert f"pc={pc:08x}" in differing or f"pc={pc:x}" in differing, result.stdout
    assert " in " in differing


def file_place(image, address):
    """Where in an ELF32 file an address is loaded from."""
    headers, = struct.unpack_from("<I", image, 28)
    count, = struct.unpack_from("<H", image, 44)
    for number in range(count):
        kind, offset, virtual, _, size = struct.unpack_from("<5I", image, headers + 32 * number)
        if kind == 1 and virtual <= address < virtual + size:
            return offset + address - virtual
    raise AssertionError(f"nothing is loaded at {address:#x}")


def test_damaged_and_missing_recordings(recorded, tmp_path):
    recording = recorded("lockstep")
    journal = recording / "journal"
    whole = journal.read_bytes()
    for bad in (whole[:100] + bytes([whole[100] ^ 1]) + whole[101:], b"", b"OTRJRNL\n" + bytes(100)):
        journal.write_bytes(bad)
        result = replay(recording, check=False)
        assert result.returncode == 1 and len(result.stderr.splitlines()) == 1 and result.stdout == ""
    assert replay(tmp_path / "none", check=False).returncode == 1


def test_shared_memory_is_not_mapped_for_writing_while_it_is_recorded(start, tmp_path):
    device = start("--record", tmp_path / "mapped.rec")
    (device.function / "enable").write_text("1")
    with Opened(device.function / "resource2") as file, Raises(errno.ENODEV):
        mmap.mmap(file, 4096)
    with Opened(device.function / "resource2") as file:
        os.pwrite(file, b"recorded", 0x800000)
        assert os.pread(file, 8, 0x800000) == b"recorded"
    assert device.close() == 0
    assert replay(tmp_path / "mapped.rec").stdout.splitlines()[-1] == "the same"
