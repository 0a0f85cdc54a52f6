#!/usr/bin/env python3
"""How long it takes to go one instruction, or one register access, back: at random places of a recording of a thousand million
instructions."""

import sys

import support

TARGET = 100


def main():
    support.build("outrigger-bench")
    targets = support.Targets()
    run = support.bench("step")
    print(f"  {'instructions':34} {run['instructions'] / 1e6:8.0f} million, replayed in {run['replay_seconds']:.1f} s")
    for name, what in [("instruction_ms", "one instruction back, median"), ("access_ms", "one access back, median")]:
        print(f"  {what:34} {run[name]:8.1f} ms   {targets.below(round(run[name], 1), TARGET)}")
    print(f"  {'the slowest of these':34} {run['slowest_ms']:8.1f} ms")
    print(f"  {'to a random cycle, median':34} {run['jump_ms']:8.1f} ms")
    print(f"  {'checkpoints':34} {run['checkpoints']:8.0f}")
    return targets.status


if __name__ == "__main__":
    sys.exit(main())
