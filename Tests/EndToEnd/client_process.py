"""A driver in a process of its own, so that it can be killed: client_process.py MOUNT NUMBER KIND physical|virtual.

It says `running` when its first frame has come back, and sends on until it is killed.
"""

import contextlib
import pathlib
import sys

from client_memory import ClientMemory
from harness import Device
from network import NetworkFunction


class Mounted(Device):
    """A device that somebody else has started."""

    def __init__(self, mount: pathlib.Path):
        self.mount, self.pace, self.resources = mount, "realtime", contextlib.ExitStack()


def main(mount: str, number: str, kind: str, addresses: str) -> None:
    function = NetworkFunction(Mounted(pathlib.Path(mount)), int(number), memory=ClientMemory(kind, addresses == "physical"))
    function.start()
    count = 0
    while True:
        frame = bytes([count & 0xff]) * 60
        function.listen()
        function.send(frame)
        assert function.receive() == frame
        if count == 0:
            print(f"running {function.memory.bus_address:#x}", flush=True)
        count += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
