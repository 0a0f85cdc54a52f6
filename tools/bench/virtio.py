#!/usr/bin/env python3
"""Block requests per second of virtual functions, from doorbell to interrupt: in process, by processor time; and through a mount, where the
host agent replays a recorded workload and checks every byte, by the time that passes."""

import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

import support

ROUNDS = 3
REQUESTS = 300_000


def in_process():
    for what, options in {
        "1 function, no firmware": ["--functions", 1],
        "1 function, firmware": ["--functions", 1, "--firmware", support.FIRMWARE],
        "4 functions, firmware": ["--functions", 4, "--firmware", support.FIRMWARE],
    }.items():
        for size in (512, 4096):
            runs = [support.bench("virtio", "--requests", REQUESTS, "--bytes", size, *options) for _ in range(ROUNDS)]
            best = min(runs, key=lambda run: run["seconds"])
            print(f"  {'in process, ' + what:38} {size:5} bytes, 32 in flight     {best['requests'] / best['seconds']:10.0f} requests/s")


def through_mount(folder):
    workload = folder / "database.iolog"
    workload.write_bytes(gzip.decompress((support.ROOT / "Tests/Workloads/database.iolog.gz").read_bytes()))
    for pace in ("realtime", "max"):
        server = support.device(folder / pace, "--pace", pace)
        try:
            rates = []
            # Each round on a disk of its own that nobody has written to.
            for vf in range(1, ROUNDS + 1):
                result = json.loads(subprocess.run(
                    [support.PROGRAMS / "outrigger-agent", "replay", "--device", server.mount_point / support.FUNCTION, "--vf", str(vf),
                     "--json", "--fresh", workload],
                    check=True, capture_output=True, text=True, timeout=300).stdout)
                rates.append(result["iops"])
            print(f"  {'through the mount, pace ' + pace:38} {result['requests']:9} requests, verified {max(rates):10} requests/s")
        finally:
            server.close()


def main():
    support.build("outrigger-bench", "outrigger", "outrigger-agent")
    support.build_firmware()
    in_process()
    with tempfile.TemporaryDirectory() as folder:
        through_mount(pathlib.Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
