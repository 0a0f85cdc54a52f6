#!/usr/bin/env python3
"""Speed of the management core: a CPU-bound guest program (guest/core.c) with PMP and a timer interrupt, on the emulator with
its cycle-accurate timing, and on QEMU with and without -icount; and the firmware's register accesses per second.

The runs alternate, and the best of each counts, in processor time, which other load on the machine changes less than the time
that passes. What QEMU needs to start is measured and taken off."""
import json
import pathlib
import resource
import shutil
import struct
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PROGRAM = HERE / "guest" / "core.elf"
ITERATIONS = 20_000
ROUNDS = 3
QEMU = [
    "qemu-system-riscv32", "-M", "virt", "-cpu", "rv32,zba=true,zbb=true,zbs=true", "-bios", "none",
    "-display", "none", "-monitor", "none", "-serial", "none",
]
TARGET_MIPS, TARGET_ACCESSES = 300, 20


def file_offset(image, name):
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
    raise SystemExit(f"core: {PROGRAM} has no symbol {name}")


def qemu(image, iterations, directory, *options):
    """Processor seconds that QEMU takes for so many iterations, its start included."""
    changed = bytearray(image)
    struct.pack_into("<I", changed, file_offset(image, "iterations"), iterations)
    path = pathlib.Path(directory) / "program.elf"
    path.write_bytes(changed)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*QEMU, *options, "-kernel", str(path)], check=True, stdin=subprocess.DEVNULL, timeout=300)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main():
    subprocess.run(
        ["swift", "build", "-c", "release", "--product", "outrigger-bench"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    bench = ROOT / ".build" / "release" / "outrigger-bench"
    image = PROGRAM.read_bytes()
    has_qemu = shutil.which(QEMU[0]) is not None
    mips, accesses, instructions = 0.0, 0.0, 0
    seconds = {"QEMU": [], "QEMU -icount shift=0": []}
    starts = {"QEMU": [], "QEMU -icount shift=0": []}
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(ROUNDS):
            command = [str(bench), "core", str(PROGRAM), "--iterations", str(ITERATIONS), "--repetitions", "1", "--json"]
            result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            mips = max(mips, result["mips"])
            accesses = max(accesses, result["registerAccessesPerSecond"] / 1e6)
            instructions = result["instructions"]
            for name in seconds if has_qemu else []:
                options = name.split()[1:]
                starts[name].append(qemu(image, 1, directory, *options))
                seconds[name].append(qemu(image, ITERATIONS, directory, *options))
            cycles, interrupts = result["cycles"], result["interrupts"]
    print(f"{instructions / 1e6:.0f} M instructions, {cycles / instructions:.3f} cycles an instruction, {interrupts} timer interrupts")
    print(f"  {'outrigger (timing, PMP, interrupts)':38} {mips:8.0f} MIPS")
    for name in seconds if has_qemu else []:
        speed = instructions / 1e6 / (min(seconds[name]) - min(starts[name]))
        print(f"  {name:38} {speed:8.0f} MIPS   outrigger: {mips / speed:.2f} of it")
    if not has_qemu:
        print(f"  {QEMU[0]} is not installed: not compared", file=sys.stderr)
    print(f"  {'register accesses':38} {accesses:8.1f} M/s")
    for what, value, target in (("MIPS", mips, TARGET_MIPS), ("M register accesses/s", accesses, TARGET_ACCESSES)):
        if value < target:
            print(f"core: {value:.0f} {what}, the target is {target}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
