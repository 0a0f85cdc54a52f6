#!/usr/bin/env python3
"""Loads and stores of a mapped register, through the trap library, beside `pread` and `pwrite` of the same register by the same program;
and loads of a BAR that is memory, which the library leaves alone. The rounds alternate; of each access the best round counts.
"""

import pathlib
import subprocess
import sys
import tempfile

import support

ROUNDS = 15
COUNT = 2000
TARGET = 1.5
#: A load of mapped memory, in nanoseconds: far less than a trap takes.
MEMORY_TARGET = 50
BAR = "/sys/bus/pci/devices/0000:01:00.0/resource"
#: HOSTIF.SCRATCH in BAR0.
SCRATCH = 0x30


def main():
    support.build("outrigger", "outrigger-trap")
    support.build_firmware()
    targets = support.Targets()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        client = folder / "trap_client"
        subprocess.run(["cc", "-O2", str(support.ROOT / "tools/bench/trap_client.c"), "-o", str(client)], check=True)
        server = support.device(folder / "mount")
        try:
            command = [support.PROGRAMS / "outrigger", "exec", "--mount", server.mount_point, "--",
                       client, f"{BAR}0", str(SCRATCH), f"{BAR}2", str(COUNT)]
            rounds = [list(map(float, subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.split()))
                      for _ in range(ROUNDS)]
        finally:
            server.close()
    pread, load, pwrite, store, memory = (min(column) for column in zip(*rounds))
    print(f"  {'access of 4 bytes':34} {'by system call us':>18} {'trapped us':>11} {'ratio':>6}")
    for name, plain, trapped in (("register, read", pread, load), ("register, write", pwrite, store)):
        ratio = round(trapped / plain, 2)
        print(f"  {name:34} {plain / 1000:18.2f} {trapped / 1000:11.2f} {ratio:6.2f}   {targets.below(ratio, TARGET)}")
    print(f"  {'memory BAR, read through mapping':34} {'':18} {'':11} {memory:5.1f}ns {targets.below(memory, MEMORY_TARGET)}")
    return targets.status


if __name__ == "__main__":
    sys.exit(main())
