"""Servers of a FUSE mount as separate processes, each with a hard time limit and an unmount that always happens.

A process must never touch files of a mount that it serves itself, so every test of a mount drives a spawned server. When the
time limit strikes, the server is killed: the kernel then fails every operation that hangs in the mount.
"""

import ctypes
import pathlib
import subprocess
import threading

MNT_DETACH = 2
libc = ctypes.CDLL(None, use_errno=True)


def unmount(path: pathlib.Path) -> None:
    """Unmounts lazily whatever is mounted there, alive or dead."""
    libc.umount2(str(path).encode(), MNT_DETACH)


class Server:
    """A program that mounts and serves `mount_point`, killed after `limit` seconds at the latest."""

    def __init__(self, arguments: list, mount_point: pathlib.Path, ready: str, limit: float = 60):
        self.mount_point = mount_point
        self.process = subprocess.Popen(
            [str(argument) for argument in arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.limit = threading.Timer(limit, self.process.kill)
        self.limit.start()
        self.output = []
        for line in self.process.stdout:
            self.output.append(line)
            if ready in line:
                return
        status = self.process.wait()
        errors = self.process.stderr.read()
        self.close()
        raise RuntimeError(f"{arguments[0]} ended with status {status} before it had mounted: {errors}")

    def stop(self, signal: int) -> int:
        """Sends a signal and returns the exit status."""
        self.process.send_signal(signal)
        return self.process.wait()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.limit.cancel()
        unmount(self.mount_point)
        self.process.stdout.close()
        self.process.stderr.close()
