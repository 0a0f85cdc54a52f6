"""Programs that map registers, and programs with port instructions, inside of `outrigger exec`."""

import os
import shutil
import subprocess
import tempfile
import types

import pytest

from harness import BDF, OUTRIGGER, PROGRAMS, ROOT, complaint, execute, run
from mounts import Server

CHECK = PROGRAMS / "trap-check"
LIBRARY = PROGRAMS / "liboutrigger-trap.so"


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    """The mount of a card whose registers are storage, and which tells what accesses it has seen."""
    mount_point = tmp_path_factory.mktemp("card")
    server = Server([PROGRAMS / "filesystem-server", mount_point], mount_point, ready="mounted", limit=600)
    yield types.SimpleNamespace(mount=mount_point)
    server.close()


@pytest.mark.parametrize("check", ["forms", "ports", "mappings", "signals", "threads", "fork"])
def test_mapped_registers(card, check):
    """The program compares everything itself: see its sources in Tests/TrapCheck."""
    result = execute(card, CHECK, check)
    assert f"{check}: as expected\n" in result.stdout and result.stderr == ""


def test_every_form_was_compared(card):
    """What this processor lacks is left out: more than the forms of its base must remain."""
    text = (ROOT / "Tests/TrapCheck/Forms.h").read_text()
    base, rest = text.count("X(0, "), text.count("X(AVX")
    count = int(execute(card, CHECK, "forms").stdout.split()[1].rstrip(","))
    assert base >= 120 and base <= count <= base + rest


def test_without_the_trap_library_registers_are_not_mapped(card):
    result = run(OUTRIGGER, "exec", "--mount", card.mount, "--no-trap", "--", CHECK, "mappings", check=False)
    assert result.returncode == 1 and "No such device" in result.stderr


def test_an_instruction_that_cannot_be_carried_out_is_named(card, tmp_path):
    """A jump through a register: the program ends as by a fault."""
    source = tmp_path / "jump.c"
    source.write_text("""
#include <fcntl.h>
#include <sys/mman.h>
int main(void) {
    char *bar = mmap(0, 4096, PROT_READ, MAP_SHARED, open("/sys/bus/pci/devices/0000:01:00.0/resource0", O_RDWR), 0);
    __asm__ volatile("jmp *(%0)" : : "r"(bar));
}
""")
    run("cc", "-O1", source, "-o", tmp_path / "jump")
    result = execute(card, tmp_path / "jump", check=False)
    assert result.returncode == -11
    assert "jmp at 0x" in result.stderr and "can't be carried out on a device register: it goes elsewhere" in result.stderr


CATCHES_FAULTS = """
import mmap, os, sys
def caught():
    mask = next(line for line in open("/proc/self/status") if line.startswith("SigCgt"))
    return int(mask.split()[1], 16) >> 10 & 1
folder = "/sys/bus/pci/devices/%s/" % sys.argv[1]
before = caught()
memory = mmap.mmap(os.open(folder + "resource2", os.O_RDWR), 1 << 20)
memory[0x8000:0x8004] = b"abcd"
print(before, caught(), memory[0x8000:0x8004].decode())
registers = mmap.mmap(os.open(folder + "resource0", os.O_RDWR), 4096)
print(caught(), hex(memoryview(registers).cast("I")[0]))
"""


def test_shared_memory_costs_nothing(device):
    """Where only memory is mapped no signal handler is installed: loads and stores are the processor's."""
    lines = execute(device, "/usr/bin/python3", "-c", CATCHES_FAULTS, BDF).stdout.splitlines()
    identity = int.from_bytes((device.function / "resource0").open("rb", buffering=0).read(4), "little")
    assert lines == ["0 0 abcd", f"1 {hex(identity)}"]
    assert int.from_bytes(os.pread(os.open(device.function / "resource2", os.O_RDONLY), 4, 0x8000), "little") == 0x64636261


# exec --probe


def probe(device, *options):
    """What the probe says for everything, by name, and of each BAR: size and unit, kind, mode."""
    general, bars = run(OUTRIGGER, "exec", "--mount", device.mount, "--probe", *options).stdout.split("\n\n")
    words = [line.split() for line in bars.splitlines()]
    return ({line[:16].strip(): line[16:] for line in general.splitlines()},
            {f"{word[0]} {word[1]}": (word[2], word[3], word[4], word[5]) for word in words})


def test_the_probe_tells_modes_and_reasons(device):
    general, bars = probe(device)
    assert general["mount namespace"] == "as root" and general["mapping"] == "FUSE passthrough"
    assert general["trap library"] == str(LIBRARY.resolve())
    assert "/dev/hugepages" in general["huge pages"]
    assert bars[f"{BDF} resource0"] == ("64", "KiB", "memory", "trapped")
    assert bars[f"{BDF} resource2"] == ("16", "MiB", "memory", "mapped")
    assert bars["0000:01:01.0 resource0"] == ("16", "KiB", "memory", "trapped")
    _, bars = probe(device, "--no-trap")
    assert bars[f"{BDF} resource0"][3] == "plain" and bars[f"{BDF} resource2"][3] == "mapped"


def test_the_probe_knows_ports(card):
    _, bars = probe(card)
    assert bars[f"{BDF} resource2"] == ("16", "B", "ports", "trapped")


def test_mistakes_of_the_probe(card):
    assert "--probe runs no program, 'true' found" in complaint(OUTRIGGER, "exec", "--mount", card.mount, "--probe", "--", "true")


def test_a_missing_library_is_told(card, tmp_path):
    lonely = shutil.copy(OUTRIGGER, tmp_path)
    result = run(lonely, "exec", "--mount", card.mount, "--", "true")
    assert result.stderr == "outrigger: registers can't be mapped: there is no liboutrigger-trap.so beside outrigger\n"


# Without root

AS_NOBODY = """
set -e
cd "$1"
mknod fuse c 10 229; chmod 666 fuse; mount --bind fuse /dev/fuse
mkdir mount; chown 65534:65534 mount
nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
mkfifo output; $nobody ./filesystem-server "$1/mount" > output 2> errors & server=$!
read -r line < output
$nobody ./outrigger exec --mount mount --probe
$nobody ./outrigger exec --mount mount -- ./trap-check forms mappings
$nobody ./outrigger exec --mount mount -- sh -c 'id -u; exit 7' || echo "status $?"
kill -TERM $server; wait $server
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_another_user_runs_programs():
    """In a user namespace of its own."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        for program in ("outrigger", "liboutrigger-trap.so", "filesystem-server", "trap-check"):
            shutil.copy(PROGRAMS / program, folder)
        result = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "timeout", "--kill-after=1", "100", "bash", "-c", AS_NOBODY, "-", folder],
            capture_output=True, text=True, timeout=110)
    output = result.stdout
    assert "mount namespace with a user namespace\n" in output and "huge pages      missing: only root" in output, output + result.stderr
    assert "forms: as expected\nmappings: as expected\n0\nstatus 7\n" in output, output + result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whose files these are")
def test_where_namespaces_are_locked_one_line_says_by_what(card):
    """Without CAP_SYS_ADMIN, in a user namespace that may have none below it."""
    script = 'echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-sys_admin "$@"'
    line = complaint(
        "unshare", "--user", "--map-root-user", "sh", "-c", script, "-", OUTRIGGER, "exec", "--mount", card.mount, "--", "true")
    assert "a mount namespace of its own is refused (No space left on device): it takes root, or sysctl user.max_user_namespaces=10000" \
        in line
