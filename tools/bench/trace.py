#!/usr/bin/env python3
"""What recording all that happens costs: the same work with and without a trace, in turn, the least processor time of each, and the bytes
of the streams of harts and host programs for each access.

What counts is the processor time of the threads that run the machine: the trace's own thread has a processor of its own, and is shown
beside. The mix is the firmware with its sampling and policy, and four virtual functions under load, all in process, so that no system
call of a mount dilutes the cost. The worst case is a guest program that does nothing but access registers."""

import pathlib
import sys
import tempfile

import support

ROUNDS = 5
TARGET = 15
#: Bytes for an access, at most, before compression.
BYTES = 12


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
                ["virtio", "--firmware", support.FIRMWARE, "--functions", 4, "--requests", 200_000], False),
            "CPU-bound program": (["program", core], True),
            "nothing but register accesses": (["program", registers], True),
        }
        print(f"  {'work':34} {'accesses':>10} {'M/s':>6} {'without s':>10} {'with s':>8} {'cost':>7} {'thread s':>9} {'bytes':>6}")
        for name, (work, has_target) in works.items():
            without, traced, beside = [], [], []
            trace = folder / "trace"
            for _ in range(ROUNDS):
                without.append(support.bench(*work)["seconds"])
                figures = support.bench(*work, "--trace", trace)
                traced.append(figures["seconds"])
                beside.append(figures["tracing"])
            cost = 100 * (min(traced) / min(without) - 1)
            streams = [file for file in trace.iterdir() if file.name.startswith("h")]
            size = sum(file.stat().st_size for file in streams) / figures["accesses"]
            verdicts = [targets.below(round(cost, 1), TARGET)] if has_target else []
            # The others' bytes are those of traps and doorbells too.
            if name.startswith("nothing but"):
                verdicts.append(targets.below(round(size, 1), BYTES))
            print(f"  {name:34} {figures['accesses']:10} {figures['accesses'] / min(without) / 1e6:6.2f} {min(without):10.3f} "
                  f"{min(traced):8.3f} {cost:6.1f}% {min(beside):9.3f} {size:6.1f}  {'; '.join(verdicts)}")
    return targets.status


if __name__ == "__main__":
    sys.exit(main())
