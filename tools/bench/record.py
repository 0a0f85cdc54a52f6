#!/usr/bin/env python3
"""What recording a run costs: the same work with and without a recording, in turn; the least processor time of each counts.

The programs come from nothing but the firmware's file, so their journals hold digests alone. The virtio workload is the worst case: all
of its data is new to the device, and it drives the device with an access for every few requests."""

import pathlib
import subprocess
import sys
import tempfile
import time

import support

ROUNDS = 5
TARGET = 15


def main():
    support.build("outrigger-bench", "outrigger")
    support.build_firmware()
    targets = support.Targets()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        registers = support.patched("registers.elf", folder, iterations=500_000)
        core = support.patched("core.elf", folder, iterations=4_000)
        works = {
            "CPU-bound program": (["program", core], TARGET),
            "register-bound program": (["program", registers], TARGET),
            "virtio, 4 functions, firmware": (
                ["virtio", "--firmware", support.FIRMWARE, "--functions", 4, "--requests", 200_000], None),
        }
        print(f"  {'work':32} {'without s':>10} {'with s':>8} {'cost':>7} {'journal MB':>10}")
        for name, (work, target) in works.items():
            without, recorded = [], []
            recording = folder / "recording"
            for _ in range(ROUNDS):
                without.append(support.bench(*work)["seconds"])
                recorded.append(support.bench(*work, "--record", recording)["seconds"])
            cost = 100 * (min(recorded) / min(without) - 1)
            size = (recording / "journal").stat().st_size / 1e6
            verdict = targets.below(round(cost, 1), target) if target else "no target: the worst there can be"
            print(f"  {name:32} {min(without):10.3f} {min(recorded):8.3f} {cost:6.1f}% {size:10.2f}  {verdict}")
        # The last recording, again: without the driver.
        start = time.monotonic()
        text = subprocess.run(
            [support.PROGRAMS / "outrigger", "replay", recording], check=True, capture_output=True, text=True, timeout=600).stdout
        print(f"  its replay, checked before: {time.monotonic() - start:.3f} s: {text.splitlines()[0]}")
    return targets.status


if __name__ == "__main__":
    sys.exit(main())
