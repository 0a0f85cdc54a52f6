"""What the benchmarks share: building, running, patching guest programs, and tables."""

import json
import os
import pathlib
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / ".build" / "release"
FIRMWARE = ROOT / "build" / "firmware" / "offload-manager.elf"
GUEST = ROOT / "tools" / "bench" / "guest"

sys.path.insert(0, str(ROOT / "Tests" / "EndToEnd"))

QEMU = [
    "qemu-system-riscv32", "-M", "virt", "-cpu", "rv32,zba=true,zbb=true,zbs=true", "-bios", "none",
    "-display", "none", "-monitor", "none", "-serial", "none",
]
#: QEMU's variants by name: as fast as it goes, and with a clock that counts instructions, as repeatable runs need it.
QEMU_OPTIONS = {"QEMU": [], "QEMU -icount shift=0": ["-icount", "shift=0"]} if shutil.which(QEMU[0]) else {}


def build(*products):
    for product in products:
        subprocess.run(["swift", "build", "-c", "release", "--product", product], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def build_firmware():
    subprocess.run([str(ROOT / "tools" / "firmware")], check=True, stdout=subprocess.DEVNULL)


def bench(*arguments):
    """The figures of one run of outrigger-bench."""
    command = [str(PROGRAMS / "outrigger-bench"), *map(str, arguments), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout)


def device(mount_point, *options):
    """The whole device as a process that serves a mount, ready for use; to be closed."""
    from mounts import Server

    mount_point.mkdir()
    command = [PROGRAMS / "outrigger", "run", "--mount", mount_point, "--firmware", FIRMWARE, "--ready", "/dev/stdout", *options]
    return Server(command, mount_point, ready="\n", limit=1800)


#: The physical function's folder under the mount point.
FUNCTION = "sys/bus/pci/devices/0000:01:00.0"


def patched(program, folder, **words):
    """A copy of a guest program with other values for some of its words, by symbol."""
    image = bytearray((GUEST / program).read_bytes())
    for name, value in words.items():
        struct.pack_into("<I", image, _file_offset(image, name), value)
    handle, path = tempfile.mkstemp(suffix=".elf", dir=folder)
    with os.fdopen(handle, "wb") as file:
        file.write(image)
    return path


def _file_offset(image, name):
    """Where in an ELF32 file the word of a symbol is."""
    sections, = struct.unpack_from("<I", image, 32)
    count, = struct.unpack_from("<H", image, 48)
    headers = [struct.unpack_from("<10I", image, sections + 40 * n) for n in range(count)]
    table = next(h for h in headers if h[1] == 2)
    strings = headers[table[6]][4]
    for at in range(table[4], table[4] + table[5], 16):
        title, value = struct.unpack_from("<II", image, at)
        end = image.index(b"\0", strings + title)
        if image[strings + title:end] == name.encode():
            home = next(h for h in headers if h[1] == 1 and h[3] <= value < h[3] + h[5])
            return home[4] + value - home[3]
    raise SystemExit(f"the guest program has no symbol {name}")


def qemu(program, options):
    """Processor seconds that QEMU takes for a program, its own start included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*QEMU, *options, "-kernel", program], check=True, stdin=subprocess.DEVNULL, timeout=600)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def other_load():
    """The share of all processors' time that others use, over a second."""

    def used():
        times = [int(word) for word in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(times), times[3] + times[4]

    total, idle = used()
    time.sleep(1)
    total_after, idle_after = used()
    return 1 - (idle_after - idle) / max(total_after - total, 1)


class Targets:
    """Figures held against what is promised of them."""

    def __init__(self):
        self.missed = 0

    def at_least(self, value, target):
        return self._verdict(value >= target, f"target >= {target}")

    def below(self, value, target):
        return self._verdict(value < target, f"target < {target}")

    def _verdict(self, holds, text):
        self.missed += not holds
        return f"{text}: {'met' if holds else 'MISSED'}"

    @property
    def status(self):
        return 1 if self.missed else 0
