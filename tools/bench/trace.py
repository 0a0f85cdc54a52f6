#!/usr/bin/env python3
"""What recording every register access costs: the same work with and without a trace, in turn; the least processor time of each counts.

The mix is the firmware with its sampling and policy, and four virtual functions under load, all in process, so that no system call of
a mount dilutes the cost. The worst case is a guest program that does nothing but access registers."""

import pathlib
import sys
import tempfile

import support

ROUNDS = 5
TARGET = 20


def main():
    support.build("outrigger-bench")
    support.build_firmware()
    targets = support.Targets()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        registers = support.patched("registers.elf", folder, iterations=500_000)
        core = support.patched("core.elf", folder, iterations=4_000)
        works = {
            "firmware and 4 virtual functions": (
                ["virtio", "--firmware", support.FIRMWARE, "--functions", 4, "--requests", 200_000], TARGET),
            "CPU-bound program": (["program", core], TARGET),
            "nothing but register accesses": (["program", registers], None),
        }
        print(f"  {'work':34} {'accesses':>10} {'M/s':>6} {'without s':>10} {'with s':>8} {'cost':>7} {'MB':>6}")
        for name, (work, target) in works.items():
            without, traced = [], []
            trace = folder / "trace"
            for _ in range(ROUNDS):
                without.append(support.bench(*work)["seconds"])
                figures = support.bench(*work, "--trace", trace)
                traced.append(figures["seconds"])
            cost = 100 * (min(traced) / min(without) - 1)
            size = sum(file.stat().st_size for file in trace.iterdir()) / 1e6
            verdict = targets.below(round(cost, 1), target) if target else "no target: the worst there can be"
            print(f"  {name:34} {figures['accesses']:10} {figures['accesses'] / min(without) / 1e6:6.2f} {min(without):10.3f} "
                  f"{min(traced):8.3f} {cost:6.1f}% {size:6.1f}  {verdict}")
    return targets.status


if __name__ == "__main__":
    sys.exit(main())
