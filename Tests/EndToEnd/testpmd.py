"""DPDK's testpmd, from Debian, with one port: started, given commands, ended."""

import os
import pathlib
import re
import select
import shutil
import subprocess

PROMPT = "testpmd> "
# Seconds that an answer may take.
LIMIT = 120


class Testpmd:
    """testpmd that waits for commands. `port` are the options that name its port, `world` the command in front of it, `huge_pages` where
    hugetlbfs is mounted for it."""

    __test__ = False
    #: By their number, so that two don't share what DPDK keeps in RUN for other processes of the same program.
    started_so_far = 0

    def __init__(self, *port, world=(), queues: int = 1, huge_pages="/dev/hugepages"):
        Testpmd.started_so_far += 1
        prefix = f"outrigger-{os.getpid()}-{Testpmd.started_so_far}"
        self.folder = pathlib.Path("/var/run/dpdk") / prefix
        processors = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        command = [
            # It ends with who has started it; its lines come as they are made.
            "setpriv", "--pdeathsig", "KILL", "stdbuf", "-oL", *world,
            "dpdk-testpmd", "--lcores", f"0@({processors}),1@({processors})", "-m", "32", "--single-file-segments",
            "--huge-dir", huge_pages, "--file-prefix", prefix, "--no-telemetry",
            "--log-level", "pmd.net.virtio.init:debug", *port,
            "--", "--interactive", "--total-num-mbufs=2048", f"--rxq={queues}", f"--txq={queues}"]
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
        self.output = ""
        self.poller = select.poll()
        self.poller.register(self.process.stdout, select.POLLIN)
        try:
            self.started = self.wait_for(PROMPT)
        except BaseException:
            self.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.process.stdin.write(b"quit\n")
                self.wait_for("Bye...")
                assert self.process.wait(LIMIT) == 0, self.output
        finally:
            self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(LIMIT)
        self.process.stdin.close()
        self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def wait_for(self, text: str) -> str:
        """Everything up to a text, from where the last wait has ended."""
        while text not in self.output:
            assert self.poller.poll(LIMIT * 1000), f"no '{text}' within {LIMIT} seconds: {self.output}"
            piece = os.read(self.process.stdout.fileno(), 1 << 16)
            assert piece, f"testpmd has ended before '{text}': {self.output}"
            self.output += piece.decode(errors="replace")
        before, self.output = self.output.split(text, 1)
        return before

    def command(self, text: str) -> str:
        """What testpmd says to a command."""
        self.process.stdin.write(f"{text}\n".encode())
        return self.wait_for(PROMPT)

    @property
    def counts(self) -> dict[str, int]:
        """What DPDK's driver has counted."""
        text = self.command("show port stats 0")
        return {name: int(value) for name, value in re.findall(r"([RT]X-(?:packets|bytes|errors|missed)):\s+(\d+)", text)}
