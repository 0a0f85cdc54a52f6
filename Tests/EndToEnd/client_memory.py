"""Memory of a driver's own process, in all the ways in which drivers get it, and where a device finds it."""

import contextlib
import ctypes
import mmap
import os
import pathlib
import struct
import tempfile

PAGE, HUGE_PAGE = 4096, 2 << 20
MAP_HUGETLB, MFD_HUGETLB = 0x40000, 4
HUGE_PAGES = pathlib.Path("/proc/sys/vm/nr_hugepages")


@contextlib.contextmanager
def reserved_huge_pages(count: int):
    """Has the kernel keep huge pages ready, in addition to those that others have asked for."""
    before = int(HUGE_PAGES.read_text())
    HUGE_PAGES.write_text(f"{before + count}\n")
    assert int(HUGE_PAGES.read_text()) >= before + count, "the kernel has no huge pages left"
    try:
        yield
    finally:
        HUGE_PAGES.write_text(f"{int(HUGE_PAGES.read_text()) - count}\n")


def physical_address(virtual: int) -> int:
    """By /proc/self/pagemap, as drivers find it (Linux, Documentation/admin-guide/mm/pagemap.rst)."""
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        (entry,) = struct.unpack("<Q", os.pread(pagemap.fileno(), 8, virtual // PAGE * 8))
    assert entry >> 63, "the page isn't there"
    frame = entry & (1 << 55) - 1
    assert frame, "the kernel doesn't tell physical addresses"
    return frame * PAGE + virtual % PAGE


class ClientMemory:
    """What `virtio.Memory` is for host memory. `physical` says which of its addresses the device is told; `kind` how it is made: hugetlbfs,
    unlinked, huge memfd, memfd, shared, private, huge private."""

    size = HUGE_PAGE

    def __init__(self, kind: str, physical: bool):
        shared = mmap.MAP_SHARED
        with contextlib.ExitStack() as files:
            if kind in ("hugetlbfs", "unlinked"):
                folder = files.enter_context(hugetlbfs())
                descriptor = os.open(folder / "memory", os.O_RDWR | os.O_CREAT, 0o600)
                self.name = folder / "memory"
                if kind == "unlinked":
                    self.name.unlink()
            elif kind in ("huge memfd", "memfd"):
                descriptor = os.memfd_create("client", MFD_HUGETLB if kind == "huge memfd" else 0)
            else:
                descriptor = -1
                shared = (mmap.MAP_SHARED if kind == "shared" else mmap.MAP_PRIVATE) | mmap.MAP_ANONYMOUS
                shared |= MAP_HUGETLB if kind.startswith("huge") else 0
            if descriptor >= 0:
                os.ftruncate(descriptor, self.size)
            self.bytes = mmap.mmap(descriptor, self.size, shared)
            self.descriptor = descriptor
        self.virtual = ctypes.addressof(ctypes.c_char.from_buffer(self.bytes))
        self.bytes[:] = bytes(self.size)
        self.physical = physical
        # Pages of 4 KiB lie anywhere: only the first can be used for what must be contiguous.
        self.bus_address = physical_address(self.virtual) if physical else self.virtual

    def load(self, offset: int, count: int) -> bytes:
        return self.bytes[offset:offset + count]

    def store(self, offset: int, data: bytes) -> None:
        self.bytes[offset:offset + len(data)] = data

    def remap(self) -> None:
        """Puts other memory in its place."""
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        fixed = 0x10
        flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | fixed
        found = libc.mmap(ctypes.c_void_p(self.virtual), ctypes.c_size_t(self.size), 3, flags, -1, ctypes.c_long(0))
        assert found == self.virtual, os.strerror(ctypes.get_errno())

    def close(self) -> None:
        # The view that told the address goes first.
        self.bytes = None
        if self.descriptor >= 0:
            os.close(self.descriptor)


@contextlib.contextmanager
def hugetlbfs():
    """A mounted hugetlbfs; mappings of its files outlive it."""
    libc = ctypes.CDLL(None, use_errno=True)
    with tempfile.TemporaryDirectory(prefix="outrigger-huge-") as folder:
        if libc.mount(b"none", folder.encode(), b"hugetlbfs", 0, None) != 0:
            raise OSError(ctypes.get_errno(), "mount of hugetlbfs")
        try:
            yield pathlib.Path(folder)
        finally:
            libc.umount2(folder.encode(), 2)
