#!/usr/bin/env python3
"""Register round trips over FUSE: the emulator's file layer against a minimal server in libfuse's stock loop.

All servers run at the same time and are measured in turn, several rounds, so that other load meets all of
them alike; the figure of a server is its best round, the one that other load disturbed least. Prints a table;
exits with 1 if a promise isn't kept.

Between two processors the time to wake each other up is measured. Where both have other work, waiting for
them is all that shows: then promises about two processors are not judged.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests/EndToEnd"))
from mounts import Server  # noqa: E402

#: What is promised of (server, placement), as a multiple of the stock loop's speed there. Without polling both servers sleep
#: alike; across processors the time of waking each other up, which varies, hides what the servers do themselves.
PROMISES = {("polling", "two processors"): 3.0, ("no polling", "one processor"): 1.0}


FIRMWARE = ROOT / "build/firmware/offload-manager.elf"
PHYSICAL_FUNCTION = "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0"


def other_load() -> float:
    """The share of processor time that others use, over a second."""

    def used() -> tuple[int, int]:
        with open("/proc/stat") as file:
            times = [int(word) for word in file.readline().split()[1:9]]
        return sum(times), times[3] + times[4]

    (total, idle) = used()
    time.sleep(1)
    (total_after, idle_after) = used()
    return 1 - (idle_after - idle) / max(total_after - total, 1)


def build(scratch: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """Builds the peer, and in release the sample server and the emulator; the peer, and the folder of the others."""
    peer = scratch / "fuse_peer"
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], check=True, capture_output=True, text=True).stdout.split()
    subprocess.run(["cc", "-O2", str(ROOT / "tools/bench/fuse_peer.c"), *flags, "-o", str(peer)], check=True)
    swift = ["swift", "build", "-c", "release", "--package-path", str(ROOT)]
    for product in ("filesystem-server", "outrigger"):
        subprocess.run([*swift, "--product", product], check=True, stdout=sys.stderr)
    folder = subprocess.run([*swift, "--show-bin-path"], check=True, capture_output=True, text=True).stdout.strip()
    return peer, pathlib.Path(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--count", type=int, default=2000, help="reads, and writes, in one round")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        peer, programs = build(scratch)
        server = programs / "filesystem-server"
        # A register file in each, its folder below the mount point, and what the server prints when it is mounted.
        commands = {
            "stock libfuse": ([peer, "serve"], "register", "mounted"), "no polling": ([server, "--no-polling"], "register", "mounted"),
            "polling": ([server], "register", "mounted"),
        }
        if FIRMWARE.exists():
            device = [programs / "outrigger", "run", "--firmware", FIRMWARE, "--ready", "/dev/stdout", "--mount"]
            commands["the device"] = (device, f"{PHYSICAL_FUNCTION}/resource0", "")
        processors = sorted(os.sched_getaffinity(0))
        load = other_load()
        placements = {"one processor": ({processors[0]}, processors[0]), "anywhere": (None, -1)}
        if len(processors) > 1:
            placements = {"two processors": ({processors[1]}, processors[0]), **placements}
        servers, figures = {}, {}
        try:
            for name, (command, file, ready) in commands.items():
                mount_point = scratch / name.replace(" ", "-")
                mount_point.mkdir()
                servers[name] = Server([*command, mount_point], mount_point, ready=ready, limit=600), mount_point / file
            for placement, (server_processors, client_processor) in placements.items():
                for _ in range(options.rounds):
                    for name, (one, file) in servers.items():
                        os.sched_setaffinity(one.process.pid, server_processors or set(processors))
                        result = subprocess.run(
                            [peer, "measure", file, str(options.count), str(client_processor)],
                            check=True, capture_output=True, text=True, timeout=120).stdout.split()
                        figures.setdefault((name, placement), []).append([float(figure) / 1000 for figure in result])
        finally:
            for one, _ in servers.values():
                one.close()

    kept = True
    print(f"{'server':14} {'client and server on':21} {'read us':>8} {'write us':>9} {'read x':>7} {'write x':>8}")
    for (name, placement), rounds in figures.items():
        read, write = (min(column) for column in zip(*rounds))
        stock_read, stock_write = (min(column) for column in zip(*figures["stock libfuse", placement]))
        ratios = stock_read / read, stock_write / write
        promise = PROMISES.get((name, placement))
        verdict = ""
        if promise:
            held = min(ratios) >= promise
            if placement == "two processors" and load > 0.2 and not held:
                verdict = f"  promised {promise}: not judged, processors {load:.0%} busy otherwise"
            else:
                verdict = f"  promised {promise}: {'kept' if held else 'BROKEN'}"
                kept = kept and held
        print(f"{name:14} {placement:21} {read:8.2f} {write:9.2f} {ratios[0]:7.2f} {ratios[1]:8.2f}{verdict}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
