"""The file layer under real system calls: each kind of node, waiting and polling, vanishing nodes, mappings, mounting."""

import contextlib
import ctypes
import errno
import mmap
import os
import pathlib
import select
import shutil
import signal
import stat
import struct
import subprocess
import tempfile
import threading

import pytest

from harness import PROGRAMS, Opened, Raises
from mounts import Server

SERVER = PROGRAMS / "filesystem-server"


def serve(mount_point: pathlib.Path, *options: str) -> Server:
    return Server([SERVER, mount_point, *options], mount_point, ready="mounted")


@pytest.fixture(scope="module", params=["polling", "no-polling"])
def mounted(request, tmp_path_factory):
    """A served tree's mount point, with and without polling for requests."""
    mount_point = tmp_path_factory.mktemp("mount")
    server = serve(mount_point, *(["--no-polling"] if request.param == "no-polling" else []))
    yield mount_point
    server.close()


def read(path: pathlib.Path) -> str:
    return path.read_text()


def test_attributes(mounted):
    assert read(mounted / "greeting") == "hello\n"
    status = (mounted / "greeting").stat()
    assert stat.S_IMODE(status.st_mode) == 0o444 and status.st_size == 4096
    assert stat.S_IMODE((mounted / "setting").stat().st_mode) == 0o644
    assert stat.S_IMODE((mounted / "trigger").stat().st_mode) == 0o200


def test_store_and_show(mounted):
    # As a shell does it: opened with O_TRUNC.
    (mounted / "setting").write_text("level 7\n")
    assert read(mounted / "setting") == "level 7\n"
    with Raises(errno.EINVAL), Opened(mounted / "setting") as file:
        os.write(file, b"bad value")
    assert read(mounted / "setting") == "level 7\n"
    with Raises(errno.EINVAL), Opened(mounted / "setting") as file:
        os.write(file, b"x" * 4097)
    with Raises(errno.EACCES):
        os.open(mounted / "greeting", os.O_WRONLY)


def test_one_reading_is_of_one_moment(mounted):
    with Opened(mounted / "counter", os.O_RDONLY) as file:
        first = os.pread(file, 100, 0)
        assert os.pread(file, 100, 1) == first[1:]
        assert int(os.pread(file, 100, 0)) == int(first) + 1
    assert len(read(mounted / "long")) == 16000


def test_tree(mounted):
    assert "directory" in os.listdir(mounted) and os.listdir(mounted / "directory") == ["inner"]
    assert os.readlink(mounted / "link") == "directory/inner" and read(mounted / "link") == "inside\n"
    with Raises(errno.ENOENT):
        os.stat(mounted / "absent")
    with Raises(errno.EPERM):
        os.mkdir(mounted / "new")
    with Raises(errno.EPERM):
        os.unlink(mounted / "greeting")
    with Raises(errno.EACCES):
        os.open(mounted / "new", os.O_CREAT | os.O_RDWR)
    with Raises(errno.EISDIR):
        os.open(mounted / "directory", os.O_RDWR)


def test_accesses_arrive_as_made(mounted):
    with Opened(mounted / "window") as file:
        for offset, size in [(0, 1), (5, 1), (6, 2), (3, 3), (4, 4), (8, 8), (64, 192), (256, 3840), (0, 4096)]:
            assert len(os.pread(file, size, offset)) == size
            assert read(mounted / "last") == f"read {offset} {size}\n"
            assert os.pwrite(file, bytes(size), offset) == size
            assert read(mounted / "last") == f"write {offset} {size}\n"
        assert len(os.pread(file, 100, 4090)) == 6
        assert os.pread(file, 4, 4096) == b""
        with Raises(errno.EINVAL):
            os.pwrite(file, b"abcd", 4096)
        os.lseek(file, 16, os.SEEK_SET)
        os.read(file, 2)
        assert read(mounted / "last") == "read 16 2\n"


def test_registers(mounted):
    with Opened(mounted / "register") as file:
        for number in range(200):
            assert os.pwrite(file, struct.pack("<I", number * 0x01010101), 8) == 4
            assert os.pread(file, 4, 8) == struct.pack("<I", number * 0x01010101)
        for size, offset in [(1, 0), (2, 0), (8, 0), (4, 2)]:
            with Raises(errno.EINVAL):
                os.pread(file, size, offset)


def test_mapping(mounted):
    """A BAR's mapping maps its memory, while reads and writes of the same file still come to the server (which inverts them)."""
    with Opened(mounted / "bar") as file:
        with mmap.mmap(file, 8192) as mapping:
            mapping[100:104] = b"\x01\x02\x03\x04"
            assert os.pread(file, 4, 100) == b"\xfe\xfd\xfc\xfb"
            os.pwrite(file, b"\x00\x00", 4096)
            assert mapping[4096:4098] == b"\xff\xff"
            with Opened(mounted / "bar") as other, mmap.mmap(other, 8192) as second:
                assert second[100:104] == b"\x01\x02\x03\x04"
    with Opened(mounted / "register") as file, Raises(errno.ENODEV):
        mmap.mmap(file, 64)


def test_memory_file(mounted):
    with Opened(mounted / "memory") as file, mmap.mmap(file, 1 << 20) as mapping:
        os.pwrite(file, b"written", 5000)
        assert mapping[5000:5007] == b"written"
        mapping[-4:] = b"tail"
        assert os.pread(file, 100, (1 << 20) - 4) == b"tail"


def test_upload_is_judged_on_close(mounted):
    (mounted / "upload").write_bytes(b"x" * 300_000)
    assert read(mounted / "upload") == "300000\n"
    subprocess.run(["sh", "-c", f"echo text > {mounted}/upload"], check=True, timeout=30)
    assert read(mounted / "upload") == "5\n"
    file = os.open(mounted / "upload", os.O_WRONLY)
    os.write(file, b"!")
    with Raises(errno.EINVAL):
        os.close(file)
    with Raises(errno.EFBIG):
        (mounted / "upload").write_bytes(b"x" * (1 << 21))


def test_events(mounted):
    with Opened(mounted / "events", os.O_RDONLY | os.O_NONBLOCK) as file:
        with Raises(errno.EAGAIN):
            os.read(file, 4)
        with Raises(errno.EINVAL):
            os.read(file, 8)
        with Raises(errno.ESPIPE):
            os.lseek(file, 0, os.SEEK_SET)
    with Opened(mounted / "events") as file, Raises(errno.ENOSYS):
        os.write(file, bytes(4))


def test_blocked_read_is_answered(mounted):
    with Opened(mounted / "events") as file:
        found = []
        reader = threading.Thread(target=lambda: found.append(os.read(file, 4)))
        reader.start()
        (mounted / "raise").write_text("1")
        reader.join()
        assert struct.unpack("<I", found[0])[0] > 0
        # The mount is alive while a read waits.
        reader = threading.Thread(target=lambda: found.append(os.read(file, 4)))
        reader.start()
        assert read(mounted / "greeting") == "hello\n"
        (mounted / "raise").write_text("1")
        reader.join()
        assert struct.unpack("<I", found[1])[0] == struct.unpack("<I", found[0])[0] + 1


def test_every_event_is_seen(mounted):
    """A reader never misses the last of a burst of events."""
    with Opened(mounted / "events") as file, Opened(mounted / "raise", os.O_WRONLY) as trigger:
        os.pwrite(trigger, b"1", 0)
        count = struct.unpack("<I", os.read(file, 4))[0]
        for _ in range(50):
            os.pwrite(trigger, b"10", 0)
            expected = count + 10
            while count != expected:
                count = struct.unpack("<I", os.read(file, 4))[0]
                assert count <= expected


def test_poll(mounted):
    with Opened(mounted / "events", os.O_RDWR | os.O_NONBLOCK) as file:
        poller = select.epoll()
        poller.register(file, select.EPOLLIN)
        assert poller.poll(0) == []
        for _ in range(20):
            (mounted / "raise").write_text("1")
            assert poller.poll(30) == [(file, select.EPOLLIN)]
            os.read(file, 4)
            assert poller.poll(0) == []
        poller.close()
        (mounted / "raise").write_text("1")
        assert select.select([file], [], [], 30)[0] == [file]


def open_files(process):
    """What a process has open; what it closes meanwhile is left out."""
    folder, files = f"/proc/{process}/fd", []
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            files.append(os.readlink(f"{folder}/{name}"))
    return files


def test_interrupted_read(mounted):
    """A signal ends a waiting read with EINTR; a killed reader is gone at once."""
    # The C library's read, as Python's own starts again after EINTR; a timer that repeats, as one signal could come too early.
    libc = ctypes.CDLL(None, use_errno=True)
    previous = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.siginterrupt(signal.SIGALRM, True)
    try:
        with Opened(mounted / "events") as file:
            signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
            assert libc.read(file, ctypes.create_string_buffer(4), 4) == -1
            assert ctypes.get_errno() == errno.EINTR
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)

    # Reads of other than 4 bytes don't wait.
    reader = subprocess.Popen(["dd", f"if={mounted / 'events'}", "bs=4"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while str(mounted / "events") not in open_files(reader.pid):
        assert reader.poll() is None
    reader.kill()
    assert reader.wait(30) == -signal.SIGKILL
    assert read(mounted / "greeting") == "hello\n"


def test_functions_appear_and_vanish(mounted):
    before = int(read(mounted / "nodes"))
    (mounted / "number").write_text("3")
    assert sorted(os.listdir(mounted / "functions")) == ["function0", "function1", "function2"]
    assert read(mounted / "functions/function2/id") == "2\n"

    opened = os.open(mounted / "functions/function2/register", os.O_RDWR)
    text = os.open(mounted / "functions/function2/id", os.O_RDONLY)
    events = os.open(mounted / "functions/function2/events", os.O_RDONLY)
    assert len(os.pread(opened, 4, 0)) == 4
    failures = []

    def wait_for_event():
        try:
            os.read(events, 4)
        except OSError as error:
            failures.append(error.errno)

    poller = select.epoll()
    poller.register(events, select.EPOLLIN)
    reader = threading.Thread(target=wait_for_event)
    reader.start()
    (mounted / "number").write_text("1")
    reader.join()
    assert failures == [errno.ENODEV]
    assert poller.poll(30)[0][1] & select.EPOLLHUP
    poller.close()

    # Gone for everybody the moment the write has returned; files still open answer ENODEV.
    assert os.listdir(mounted / "functions") == ["function0"]
    with Raises(errno.ENOENT):
        os.stat(mounted / "functions/function2")
    for descriptor in (opened, text):
        with Raises(errno.ENODEV):
            os.pread(descriptor, 4, 0)
    with Raises(errno.ENODEV):
        os.pwrite(opened, bytes(4), 0)
    for descriptor in (opened, text, events):
        os.close(descriptor)

    # The same names again are new nodes.
    (mounted / "number").write_text("3")
    assert read(mounted / "functions/function2/id") == "2\n"
    (mounted / "number").write_text("0")
    for _ in range(50):
        (mounted / "number").write_text("64")
        os.listdir(mounted / "functions")
        read(mounted / "functions/function63/id")
        (mounted / "number").write_text("0")
    # Nothing is kept of them but what the kernel hasn't forgotten yet.
    assert int(read(mounted / "nodes")) < before + 64 * 4


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("options", [[], ["--no-polling"]])
def test_signals_unmount(tmp_path, how, options):
    server = serve(tmp_path, *options)
    try:
        held = os.open(tmp_path / "greeting", os.O_RDONLY)
        assert server.stop(how) == 0
        assert not os.path.ismount(tmp_path) and os.listdir(tmp_path) == []
        with Raises(errno.ENOTCONN):
            os.pread(held, 10, 0)
        os.close(held)
    finally:
        server.close()


def test_unmount_from_outside_ends_the_server(tmp_path):
    server = serve(tmp_path)
    try:
        assert read(tmp_path / "greeting") == "hello\n"
        subprocess.run(["fusermount3", "-u", tmp_path], check=True, timeout=30)
        assert server.process.wait(30) == 0
    finally:
        server.close()


def test_waiting_reads_end_with_the_mount(tmp_path):
    server = serve(tmp_path)
    try:
        reader = subprocess.Popen(["cat", tmp_path / "events"], stderr=subprocess.PIPE, text=True)
        # A second client's answered request shows that the server is serving; cat's read is on its way or waits.
        assert read(tmp_path / "greeting") == "hello\n"
        assert server.stop(signal.SIGTERM) == 0
        assert reader.wait(30) != 0
        reader.stderr.close()
    finally:
        server.close()


def failure(*arguments) -> str:
    """What the server says when it refuses to start."""
    result = subprocess.run([SERVER, *arguments], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    return result.stderr


def test_bad_mount_points(tmp_path):
    assert f"mount point {tmp_path}/absent: no such directory" in failure(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    assert "expected a directory, found a file" in failure(tmp_path / "file")
    place = tmp_path / "place"
    place.mkdir()
    server = serve(place)
    try:
        assert "something is mounted there already" in failure(place)
        # Force never takes a mount from a living server.
        assert "something is mounted there already" in failure(place, "--force-unmount")
        assert read(place / "greeting") == "hello\n"
    finally:
        server.close()


def test_stale_mount_is_named_and_recovered(tmp_path):
    server = serve(tmp_path)
    try:
        server.stop(signal.SIGKILL)
        message = failure(tmp_path)
        assert "a server that died" in message and "--force-unmount" in message
        recovered = serve(tmp_path, "--force-unmount")
        try:
            assert read(tmp_path / "greeting") == "hello\n"
            assert recovered.stop(signal.SIGTERM) == 0
        finally:
            recovered.close()
    finally:
        server.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_another_user_serves_without_mappings():
    """Without CAP_SYS_ADMIN the mount goes through fusermount3, and all but the mapping of BARs works.

    All of it happens in a mount namespace of its own, with a /dev/fuse that everybody may open (as udev makes it), which takes the
    mount with it when it ends.
    """
    client = """
import errno, mmap, os, sys
file = os.open(sys.argv[1] + "/bar", os.O_RDWR)
os.pwrite(file, bytes([1, 2]), 0)
assert os.pread(file, 2, 0) == bytes([1, 2])
try: mmap.mmap(file, 8192)
except OSError as error: print("mmap:", errno.errorcode[error.errno])
"""
    script = """
set -e
cd "$1"
mknod fuse c 10 229; chmod 666 fuse; mount --bind fuse /dev/fuse
mkdir mount; chown 65534:65534 mount
nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
mkfifo output; $nobody ./filesystem-server "$1/mount" > output 2> errors & server=$!
read -r line < output
$nobody /usr/bin/python3 client.py mount
kill -TERM $server; wait $server; echo "status $?"
cat errors
"""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        shutil.copy(SERVER, folder)
        (pathlib.Path(folder) / "client.py").write_text(client)
        result = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "timeout", "--kill-after=1", "50", "bash", "-c", script, "-", folder],
            capture_output=True, text=True, timeout=60)
    assert "mmap: ENODEV\n" in result.stdout and "status 0\n" in result.stdout, result.stdout + result.stderr
    assert "needs CAP_SYS_ADMIN" in result.stdout
