#!/usr/bin/env python3
"""Frames of 64 bytes per second of network functions: in process, by processor time; through the mount with memory in huge pages, by the
time that passes, with a driver of our own that polls, and with DPDK's testpmd. The same testpmd drives DPDK's own vhost in turn. What goes
through the mount needs root, as huge pages and their physical addresses do."""

import contextlib
import pathlib
import subprocess
import sys
import tempfile
import time

import support
from client_memory import hugetlbfs, reserved_huge_pages
from testpmd import Testpmd

ROUNDS = 3
IN_PROCESS = 1_000_000
FRAMES = 4_000_000
SECONDS = 3
#: Frames that testpmd has received before it is measured.
WARM_UP = 100_000
DEPTH = 128
#: Bursts of 32 frames that testpmd keeps on their way.
BURSTS = 4
TARGET = 2_000_000
FUNCTION = "0000:01:00."
MACHINE = """
service: {polling: 100000}
virtual_functions: {total: 1}
physical_functions:
  - {function: 1, kind: net, packed: false}
  - {function: 2, kind: net}
  - {function: 3, kind: net, packed: false, backend: switch}
  - {function: 4, kind: net, packed: false, backend: switch}
"""


def row(what, rate, rest=""):
    print(f"  {what:58} {rate / 1e6:6.2f} M frames/s  {rest}", flush=True)


def in_process(targets):
    for what, options in {
        "split ring": [], "packed ring": ["--packed"], "split ring, firmware": ["--firmware", support.FIRMWARE],
        "split ring, 1514 bytes": ["--bytes", 1514],
    }.items():
        runs = [support.bench("network", "--frames", IN_PROCESS, "--depth", DEPTH, *options) for _ in range(ROUNDS)]
        best = max(run["frames"] / run["seconds"] for run in runs)
        verdict = targets.at_least(best / 1e6, TARGET / 1e6) if what == "split ring" else ""
        row(f"in process, looped back, {what}", best, verdict)


def client(folder):
    program = folder / "net_client"
    examples = support.ROOT / "examples/virtio"
    sources = [support.ROOT / "tools/bench/net_client.c"]
    sources += [examples / f"{name}.c" for name in ("pci", "memory", "queue", "modern", "legacy")]
    subprocess.run(["cc", "-O2", "-std=c11", "-o", program, *sources], check=True)
    return program


def own_driver(server, program, targets):
    functions = server.mount_point / "sys/bus/pci/devices"
    for what, ends in {"looped back": (1, 1), "from function to function": (3, 4)}.items():
        rates, notifications = [], 0
        for _ in range(ROUNDS):
            said = subprocess.run(
                [program, *(functions / f"{FUNCTION}{end}" for end in ends), str(FRAMES), str(DEPTH)],
                check=True, capture_output=True, text=True, timeout=300).stdout.split()
            rates.append(int(said[0]) / float(said[1]))
            notifications = int(said[2])
        verdict = targets.at_least(max(rates) / 1e6, TARGET / 1e6) if ends == (1, 1) else ""
        row(f"through the mount, own driver, {what}", max(rates), f"{notifications} notifications  {verdict}")


def circulating(testpmd):
    """Frames per second that testpmd receives and sends again."""
    testpmd.command("set fwd io")
    testpmd.command(f"start tx_first {BURSTS}")
    # From when they go round: with the first ones, much is done for the only time.
    limit = time.monotonic() + 60
    while (received := testpmd.counts["RX-packets"]) < WARM_UP:
        assert time.monotonic() < limit, f"{received} of {WARM_UP} frames came back in 60 seconds"
    before, start = testpmd.counts["RX-packets"], time.monotonic()
    time.sleep(SECONDS)
    after, end = testpmd.counts["RX-packets"], time.monotonic()
    testpmd.command("stop")
    return (after - before) / (end - start)


def on_device(server, function):
    world = [support.PROGRAMS / "outrigger", "exec", "--mount", server.mount_point, "--"]
    with Testpmd("-a", f"{FUNCTION}{function}", world=world) as testpmd:
        return circulating(testpmd)


def on_vhost(folder, ring):
    """testpmd behind vhost-user sends back whatever comes; testpmd with the driver is the one that is looked at."""
    socket = folder / f"vhost-{ring}.sock"
    with hugetlbfs() as huge_pages, contextlib.ExitStack() as programs:
        backend = programs.enter_context(Testpmd("--no-pci", "--vdev", f"net_vhost0,iface={socket}", huge_pages=huge_pages))
        backend.command("set fwd io")
        backend.command("start")
        driver = programs.enter_context(Testpmd(
            "--no-pci", "--vdev", f"net_virtio_user0,path={socket},packed_vq={int(ring == 'packed')},queue_size=256",
            huge_pages=huge_pages))
        rate = circulating(driver)
        backend.command("stop")
        return rate


def beside_dpdk(server, folder):
    for ring, function in {"split": 1, "packed": 2}.items():
        ours, theirs = [], []
        # In turns, so that what else the machine does meets both.
        for _ in range(ROUNDS):
            ours.append(on_device(server, function))
            theirs.append(on_vhost(folder, ring))
        peer = max(theirs)
        row(f"through the mount, testpmd, looped back, {ring} ring", max(ours),
            f"DPDK's vhost {peer / 1e6:.2f}, ratio {max(ours) / peer:.2f}")


def main():
    support.build("outrigger-bench", "outrigger", "outrigger-trap")
    support.build_firmware()
    targets = support.Targets()
    in_process(targets)
    with tempfile.TemporaryDirectory() as name, reserved_huge_pages(48):
        folder = pathlib.Path(name)
        machine = folder / "machine.yaml"
        machine.write_text(MACHINE)
        server = support.device(folder / "mount", "--machine", machine, "--vfs", 0)
        try:
            own_driver(server, client(folder), targets)
            beside_dpdk(server, folder)
        finally:
            server.close()
    return targets.status


if __name__ == "__main__":
    sys.exit(main())
