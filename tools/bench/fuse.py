#!/usr/bin/env python3
"""Register round trips over FUSE: a 4-byte pread and pwrite, against a minimal server in libfuse's stock loop.

"file layer" is a sample tree with a register in memory, "device" the whole device: a register of BAR0 behind PCI, crossbar and the
machine's lock, while the firmware runs. All servers run at the same time and are measured in turn, several rounds, so that other load
meets all of them alike; the figure of a server is its best round, the one that other load disturbed least.

Between two processors the time to wake each other up is measured. Where others use both, much of that is waiting for them; how busy they
were is printed, and a target that is missed then is still missed.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

import support
from mounts import Server

#: HOSTIF.SCRATCH in BAR0.
SCRATCH = 0x30
BAR0 = f"{support.FUNCTION}/resource0"
STOCK = "stock libfuse"
#: What is promised, as a multiple of the stock loop's speed. Without polling both servers sleep alike; across processors the time of
#: waking each other up, which varies, hides what the servers do themselves.
PROMISES = {("polling", "two processors"): 3.0, ("no polling", "one processor"): 1.0}


def start(scratch):
    """Builds and starts all servers; each with its register's file and offset."""
    support.build("outrigger", "filesystem-server")
    support.build_firmware()
    peer = scratch / "fuse_peer"
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], check=True, capture_output=True, text=True).stdout.split()
    subprocess.run(["cc", "-O2", str(support.ROOT / "tools/bench/fuse_peer.c"), *flags, "-o", str(peer)], check=True)
    layer = support.PROGRAMS / "filesystem-server"
    servers = {}
    for name, command in {
        STOCK: [peer, "serve"], "file layer, no polling": [layer, "--no-polling"], "file layer, polling": [layer],
    }.items():
        mount_point = scratch / f"mount{len(servers)}"
        mount_point.mkdir()
        servers[name] = (Server([*command, mount_point], mount_point, ready="mounted", limit=1800), "register", 0)
    for name, options in {"device, no polling": ["--polling", "0"], "device, polling": []}.items():
        servers[name] = (support.device(scratch / f"mount{len(servers)}", *options), BAR0, SCRATCH)
    return peer, servers


def measure(peer, servers, options):
    """By (server, placement): the rounds' microseconds for a read and a write."""
    processors = sorted(os.sched_getaffinity(0))
    placements = {"one processor": ({processors[0]}, processors[0]), "anywhere": (None, -1)}
    if len(processors) > 1:
        placements = {"two processors": ({processors[1]}, processors[0]), **placements}
    figures = {}
    for placement, (server_processors, client_processor) in placements.items():
        for _ in range(options.rounds):
            for name, (server, file, offset) in servers.items():
                os.sched_setaffinity(server.process.pid, server_processors or set(processors))
                result = subprocess.run(
                    [peer, "measure", server.mount_point / file, str(options.count), str(client_processor), str(offset)],
                    check=True, capture_output=True, text=True, timeout=120).stdout.split()
                figures.setdefault((name, placement), []).append([float(figure) / 1000 for figure in result])
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--count", type=int, default=2000, help="reads, and writes, in one round")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        servers = {}
        try:
            load = support.other_load()
            peer, servers = start(pathlib.Path(folder))
            figures = measure(peer, servers, options)
        finally:
            for server, _, _ in servers.values():
                server.close()

    targets = support.Targets()
    print(f"  other programs used {load:.0%} of the processors before the start")
    print(f"  {'server':24} {'client and server on':21} {'read us':>8} {'write us':>9} {'read x':>7} {'write x':>8}")
    for (name, placement), rounds in figures.items():
        read, write = (min(column) for column in zip(*rounds))
        stock_read, stock_write = (min(column) for column in zip(*figures[STOCK, placement]))
        ratios = stock_read / read, stock_write / write
        target = PROMISES.get((name.split(", ")[-1], placement))
        verdict = "  " + targets.at_least(round(min(ratios), 2), target) if target else ""
        print(f"  {name:24} {placement:21} {read:8.2f} {write:9.2f} {ratios[0]:7.2f} {ratios[1]:8.2f}{verdict}")
    return targets.status


if __name__ == "__main__":
    sys.exit(main())
