#!/usr/bin/env python3
"""Register accesses per second of the firmware's loads and stores, through the whole device: hart, crossbar with arbitration and
timing, register block. QEMU runs the same program on the registers that both machines have, the priorities of the interrupt
controller.

The runs alternate, and the best of each counts, in processor time."""

import sys
import tempfile

import support

ITERATIONS = 2_000_000
ACCESSES = 8 * ITERATIONS
ROUNDS = 3
TARGET = 20
BLOCKS = {"SYSCTL.SCRATCH": 0x1002_0180, "PLIC.PRIORITY": 0x0c00_0004}


def main():
    support.build("outrigger-bench")
    targets = support.Targets()
    speeds = {}

    def note(name, seconds):
        speeds[name] = max(speeds.get(name, 0), ACCESSES / 1e6 / seconds)

    with tempfile.TemporaryDirectory() as folder:
        programs = {name: support.patched("registers.elf", folder, iterations=ITERATIONS, block=block) for name, block in BLOCKS.items()}
        long, short = (
            support.patched("registers.elf", folder, iterations=count, block=BLOCKS["PLIC.PRIORITY"], interval=1_000)
            for count in (ITERATIONS, 1))
        for _ in range(ROUNDS):
            for name, program in programs.items():
                note(name, support.bench("program", program)["seconds"])
            for name, options in support.QEMU_OPTIONS.items():
                start = support.qemu(short, options)
                note(name, support.qemu(long, options) - start)
    for name in BLOCKS:
        print(f"  {'outrigger, ' + name:38} {speeds[name]:8.1f} M accesses/s   {targets.at_least(round(speeds[name], 1), TARGET)}")
    for name in support.QEMU_OPTIONS:
        ratio = speeds["PLIC.PRIORITY"] / speeds[name]
        print(f"  {name + ', PLIC.PRIORITY':38} {speeds[name]:8.1f} M accesses/s   outrigger: {ratio:.1f} times that")
    return targets.status


if __name__ == "__main__":
    sys.exit(main())
