#!/usr/bin/env python3
"""Block requests per second by vhost-user: the emulator's back-end next to qemu-storage-daemon's, with the same client and disks in
files of the same folder in memory; by the time that passes."""

import pathlib
import subprocess
import sys
import tempfile
import time

import support

ROUNDS = 5
REQUESTS = 200_000
DISK = 64 << 20


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, f"the back-end ended before it made {path}"
        time.sleep(0.01)


def storage_daemon(disk, socket):
    process = subprocess.Popen([
        "qemu-storage-daemon", "--blockdev", f"driver=file,node-name=disk,filename={disk}",
        "--export", f"type=vhost-user-blk,id=export,node-name=disk,addr.type=unix,addr.path={socket},writable=on,num-queues=1"])
    wait_for(socket, process)
    return process


def main():
    support.build("outrigger-bench", "outrigger")
    support.build_firmware()
    targets = support.Targets()
    # /dev/shm: what is compared is the way to the medium.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = pathlib.Path(name)
        disks = {who: folder / f"{who}.img" for who in ("outrigger", "daemon")}
        for disk in disks.values():
            disk.write_bytes(bytes(DISK))
        machine = folder / "machine.yaml"
        machine.write_text(f"virtual_functions:\n  disks:\n    - {{vf: 1, file: {disks['outrigger']}}}\n")
        sockets = {who: folder / f"{who}.sock" for who in disks}
        server = support.device(
            folder / "mount", "--pace", "max", "--machine", machine, "--vfs", 1, "--vhost-user", f"vf1={sockets['outrigger']}")
        daemon = storage_daemon(disks["daemon"], sockets["daemon"])
        try:
            for size, depth in ((512, 32), (4096, 32), (4096, 1)):
                rates = {who: [] for who in sockets}
                # In turns, so that what else the machine does meets both.
                for _ in range(ROUNDS):
                    for who, socket in sockets.items():
                        run = support.bench(
                            "vhost-user", socket, "--requests", REQUESTS // (1 if depth > 1 else 4), "--bytes", size, "--depth", depth,
                            "--disk", DISK)
                        rates[who].append(run["requests"] / run["elapsed"])
                ours, theirs = max(rates["outrigger"]), max(rates["daemon"])
                print(f"  {size:5} bytes, {depth:2} in flight  {ours:10.0f} requests/s, qemu-storage-daemon {theirs:10.0f}, "
                      f"ratio {ours / theirs:.2f}, {targets.at_least(ours / theirs, 1)}")
        finally:
            daemon.terminate()
            daemon.wait()
            server.close()
    return targets.status


if __name__ == "__main__":
    sys.exit(main())
