"""What a device and its emulator have of a client: its process and its memory; and clients that are other processes."""

import contextlib
import os
import pathlib
import re
import subprocess
import sys

from harness import LIMIT

#: Two functions whose wires lead back.
MACHINE = """
physical_functions:
  - {function: 1, kind: net, backend: loop}
  - {function: 2, kind: net, backend: loop}"""
FRAME = bytes(range(60))


def client(device, number=1):
    """What the device says of a function's client."""
    lines = (device.debug / f"functions/fn{64 + number}/client").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines)


def is_lent(device, number=1):
    return not {"mapped", "copied"}.isdisjoint(client(device, number))


def emulator(device):
    """What the emulator has of others: mapped files of clients, descriptors, threads."""
    process = pathlib.Path(f"/proc/{device.process.pid}")
    maps = [line for line in (process / "maps").read_text().splitlines() if re.search(r"memfd:client|anon_hugepage|/memory", line)]
    return maps, len(os.listdir(process / "fd")), len(os.listdir(process / "task"))


def leaves_nothing(device, before):
    """Waits until the emulator has no more than it had then; files that were closed just before that are let go a little later."""
    device.until(lambda: all(now <= then for now, then in zip(emulator(device), before)), f"no more than {before}", 60_000_000_000)


def settle(device, number=2):
    """Waits until a killed client's files are closed and what it had lent is given back."""

    def is_settled():
        said = client(device, number)
        return said["process"] == "none" and said["open files"] == "0" and emulator(device)[0] == []

    device.until(is_settled, "the end of the client", 60_000_000_000)


def loops(function, frame=FRAME):
    function.listen()
    function.send(frame)
    return function.receive() == frame


@contextlib.contextmanager
def other_driver(device, number, kind, addresses="virtual"):
    """A driver in another process that is sending; its process and the address of its memory."""
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", sys.executable, pathlib.Path(__file__).with_name("client_process.py"), device.mount,
         str(number), kind, addresses], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    try:
        word, address = process.stdout.readline().split()
        assert word == "running"
        yield process, int(address, 16)
    finally:
        process.kill()
        process.wait(LIMIT)
        process.stdout.close()
