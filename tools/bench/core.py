#!/usr/bin/env python3
"""Speed of the management core: a CPU-bound guest program with PMP and timer interrupts, on the whole device with its cycle-accurate
timing, and on QEMU with and without -icount.

The runs alternate, and the best of each counts, in processor time, which other load on the machine changes less than the time that
passes. What QEMU needs to start is measured and taken off."""

import sys
import tempfile

import support

ITERATIONS = 20_000
ROUNDS = 3
TARGET = 300
#: Ticks of mtime in 100 microseconds of device time: of the device's 1 GHz, of QEMU's 10 MHz.
INTERVAL, QEMU_INTERVAL = 100_000, 1_000


def main():
    support.build("outrigger-bench")
    targets = support.Targets()
    runs = []
    seconds, starts = ({name: [] for name in support.QEMU_OPTIONS} for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        program = support.patched("core.elf", folder, iterations=ITERATIONS, interval=INTERVAL)
        long = support.patched("core.elf", folder, iterations=ITERATIONS, interval=QEMU_INTERVAL)
        short = support.patched("core.elf", folder, iterations=1, interval=QEMU_INTERVAL)
        for _ in range(ROUNDS):
            runs.append(support.bench("program", program))
            for name, options in support.QEMU_OPTIONS.items():
                starts[name].append(support.qemu(short, options))
                seconds[name].append(support.qemu(long, options))
    instructions, best = runs[0]["instructions"], min(run["seconds"] for run in runs)
    mips = instructions / 1e6 / best
    print(f"{instructions / 1e6:.0f} M instructions, {runs[0]['cycles'] / instructions:.3f} cycles an instruction, "
          f"{runs[0]['interrupts']} timer interrupts")
    print(f"  {'outrigger (timing, PMP, interrupts)':38} {mips:8.0f} MIPS   {targets.at_least(round(mips), TARGET)}")
    for name in seconds:
        speed = instructions / 1e6 / (min(seconds[name]) - min(starts[name]))
        print(f"  {name:38} {speed:8.0f} MIPS   outrigger: {mips / speed:.2f} of it")
    return targets.status


if __name__ == "__main__":
    sys.exit(main())
