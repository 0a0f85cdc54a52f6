#!/usr/bin/env python3
"""What a snapshot in memory costs, and going back to one: the standard device with its firmware, four virtual functions under load and a
few changed pages each time, beside a plain copy of the memories that host programs can map."""

import sys

import support

ROUNDS = 3
CAPTURE_TARGET, RESTORE_TARGET = 5_000, 10_000


def main():
    support.build("outrigger-bench")
    support.build_firmware()
    targets = support.Targets()
    runs = [support.bench("snapshot", "--firmware", support.FIRMWARE) for _ in range(ROUNDS)]
    best = {name: min(run[name] for run in runs) for name in runs[0]}
    capture, restore, copy = best["capture_us"], best["restore_us"], best["copy_us"]
    print(f"  {'snapshot, after 64 requests':34} {capture:8.0f} us   {targets.below(round(capture), CAPTURE_TARGET)}")
    print(f"  {'going back to the one before':34} {restore:8.0f} us   {targets.below(round(restore), RESTORE_TARGET)}")
    print(f"  {'the first snapshot':34} {best['first_us']:8.0f} us")
    print(f"  {'copy of shared and host memory':34} {copy:8.0f} us   {copy / capture:.0f} times a snapshot")
    print(f"  {'file':34} {best['file_bytes'] / 1e6:8.2f} MB")
    return targets.status


if __name__ == "__main__":
    sys.exit(main())
