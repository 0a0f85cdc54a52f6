"""A stock Linux guest in QEMU: Debian's kernel and its own virtio drivers, under TCG, with an initramfs that runs one script.

`tools/setup` puts the kernel into build/guest. The script's output is the guest's serial line: tests wait for its lines, for nothing else.
"""

import os
import pathlib
import select
import shutil
import stat
import subprocess
import time

from harness import LIMIT, ROOT, run

KERNEL = ROOT / "build/guest"
# In the order in which they are loaded.
MODULES = [
    "virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk", "failover", "net_failover",
    "virtio_net"]
PROGRAMS = ["mkfs.ext4", "e2fsck"]

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /mnt
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in {modules}; do insmod /modules/$module.ko || echo "no module $module"; done
export PATH=/bin:/sbin
sh /script
echo "script ended: $?"
poweroff -f
"""


def _archive(entries) -> bytes:
    """An initramfs: entries of (path, mode, bytes) in the "new ASCII" format of cpio(5)."""
    out = bytearray()

    def add(number, path, mode, data):
        name = path.encode() + b"\0"
        fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0]
        out.extend(b"070701" + b"".join(b"%08x" % field for field in fields) + name)
        out.extend(bytes(-len(out) % 4) + data)
        out.extend(bytes(-len(out) % 4))

    for number, (path, mode, data) in enumerate(entries, 1):
        add(number, path, mode, data)
    add(0, "TRAILER!!!", 0, b"")
    return bytes(out)


def _libraries(program: str) -> list[str]:
    """The shared objects that a program needs, its loader among them."""
    words = run("ldd", program).stdout.split()
    return sorted({word for word in words if word.startswith("/")})


def initramfs(script: str) -> bytes:
    files = {"init": INIT.format(modules=" ".join(MODULES)).encode(), "script": script.encode()}
    busybox = shutil.which("busybox")
    assert busybox, "no busybox: tools/setup installs it"
    files["bin/busybox"] = pathlib.Path(busybox).read_bytes()
    for name in PROGRAMS:
        program = shutil.which(name) or f"/sbin/{name}"
        files[f"sbin/{name}"] = pathlib.Path(program).read_bytes()
        for library in _libraries(program):
            files[library.lstrip("/")] = pathlib.Path(library).read_bytes()
    for name in MODULES:
        (path,) = [path for path in (KERNEL / "modules").rglob("*.ko") if path.stem.replace("-", "_") == name]
        files[f"modules/{name}.ko"] = path.read_bytes()
    folders = sorted({str(parent) for path in files for parent in pathlib.PurePath(path).parents if str(parent) != "."})
    entries = [(folder, stat.S_IFDIR | 0o755, b"") for folder in folders]
    entries += [(path, stat.S_IFREG | 0o755, data) for path, data in files.items()]
    return _archive(entries)


class Guest:
    """A running guest. `devices` are QEMU options; its memory is shared with whoever serves them."""

    def __init__(self, folder: pathlib.Path, script: str, *devices, memory=192, processors=1):
        image = folder / "initramfs"
        image.write_bytes(initramfs(script))
        self.lines = []
        self.partial = b""
        # no_timer_check: on a loaded host the kernel's test of its timer may fail, and nothing depends on it.
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-machine", "q35,accel=tcg,memory-backend=memory", "-cpu", "max",
             "-object", f"memory-backend-memfd,id=memory,size={memory}M,share=on", "-m", f"{memory}M", "-smp", str(processors),
             "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
             "-kernel", KERNEL / "vmlinuz", "-initrd", image, "-append", "console=ttyS0 quiet panic=-1 no_timer_check tsc=unstable",
             *map(str, devices)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def wait_for(self, text: str, limit=LIMIT) -> str:
        """The first line from here on that has this in it."""
        end = time.monotonic() + limit
        while True:
            while self.lines:
                line = self.lines.pop(0)
                if text in line:
                    return line
            self._read(text, end)

    def say(self, line: str) -> None:
        """Types a line at the guest, which the script reads."""
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def wait_until_off(self, limit=LIMIT) -> None:
        """The script has succeeded, and the guest is off."""
        line = self.wait_for("script ended:", limit)
        assert line.split()[-1] == "0", self.said
        self.process.wait(timeout=limit)

    #: All that the guest has said.
    said = ""

    def _read(self, text, end):
        ready, _, _ = select.select([self.process.stdout], [], [], max(end - time.monotonic(), 0))
        data = os.read(self.process.stdout.fileno(), 65536) if ready else b""
        assert data, f"expected '{text}', found {'the end' if ready else 'nothing more'} after:\n{self.said}"
        self.said += data.decode(errors="replace")
        *lines, self.partial = (self.partial + data).split(b"\n")
        self.lines += [line.decode(errors="replace").strip() for line in lines]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
