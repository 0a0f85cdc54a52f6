#!/usr/bin/env python3
"""Processor time of a device that nobody uses: mounted, its firmware at its windowed sampling, in real time."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import support

SECONDS = 5
#: Percent of one processor.
TARGET = 5


def processor_seconds(pid):
    """User and system time of a process so far (proc(5), stat, fields 14 and 15)."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    support.build("outrigger", "outrigger-agent")
    support.build_firmware()
    targets = support.Targets()
    with tempfile.TemporaryDirectory() as folder:
        server = support.device(pathlib.Path(folder) / "mount")
        try:
            # Answers when the firmware has booted.
            subprocess.run(
                [support.PROGRAMS / "outrigger-agent", "identify", "--device", server.mount_point / support.FUNCTION],
                check=True, stdout=subprocess.DEVNULL, timeout=60)
            start, before = time.monotonic(), processor_seconds(server.process.pid)
            time.sleep(SECONDS)
            used = processor_seconds(server.process.pid) - before
            percent = 100 * used / (time.monotonic() - start)
        finally:
            server.close()
    print(f"  idle device: {percent:.1f}% of one processor   {targets.below(round(percent, 1), TARGET)}")
    return targets.status


if __name__ == "__main__":
    sys.exit(main())
