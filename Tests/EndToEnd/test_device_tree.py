"""The device as Linux lays out PCI hardware, seen by the system's own tools and by raw system calls."""

import errno
import mmap
import os
import pathlib
import re
import select
import struct
import threading

import pytest

from harness import BDF, LIMIT, WORKLOADS, Opened, Raises

VIRTUAL_FUNCTIONS = 4


@pytest.fixture(autouse=True)
def as_it_was(device):
    """Every test begins without virtual functions, and leaves as many as the device was started with."""
    device.set_virtual_functions(0)
    yield
    device.set_virtual_functions(VIRTUAL_FUNCTIONS)


def bus(device) -> pathlib.Path:
    return device.mount / "sys/bus/pci"


# Seen by pciutils


def test_a_moved_bar_does_not_answer(device):
    def register(name, *value):
        return device.setpci("-s", BDF, name + (f"={value[0]}" if value else ""))

    address = register("BASE_ADDRESS_0")
    register("BASE_ADDRESS_0", "ffffffff")
    assert register("BASE_ADDRESS_0") == "ffff0000"
    # The registers have moved: nothing answers where the host still believes them.
    with Opened(device.function / "resource0") as bar:
        assert os.pread(bar, 4, 0) == b"\xff\xff\xff\xff"
        register("BASE_ADDRESS_0", address)
        assert os.pread(bar, 4, 0) != b"\xff\xff\xff\xff"


# Attributes


def test_attributes_are_spelt_as_linux_spells_them(device):
    expected = {
        "vendor": r"0x1af4\n", "device": r"0x[0-9a-f]{4}\n", "subsystem_vendor": r"0x1af4\n", "subsystem_device": r"0x[0-9a-f]{4}\n",
        "class": r"0x120000\n", "revision": r"0x[0-9a-f]{2}\n", "irq": r"\d+\n", "numa_node": r"-1\n", "enable": r"1\n",
        "modalias": r"pci:v00001AF4d[0-9A-F]{8}sv00001AF4sd[0-9A-F]{8}bc12sc00i00\n", "local_cpulist": r"0(-\d+)?\n",
        "local_cpus": r"[0-9a-f,]+\n", "max_link_speed": r"32.0 GT/s PCIe\n", "current_link_speed": r"32.0 GT/s PCIe\n",
        "max_link_width": r"8\n", "current_link_width": r"8\n", "driver_override": r"\(null\)\n", "power_state": r"D0\n",
        "reset_method": r"flr\n", "ari_enabled": r"1\n", "sriov_totalvfs": r"64\n", "sriov_numvfs": r"0\n",
        "sriov_vf_device": r"[0-9a-f]+\n", "resource": r"(0x[0-9a-f]{16} 0x[0-9a-f]{16} 0x[0-9a-f]{16}\n){13}",
        "aer_dev_correctable": r"RxErr 0\n(\w+ \d+\n)+TOTAL_ERR_COR \d+\n",
        "uevent": r"DRIVER=uio_pci_generic\nPCI_CLASS=120000\nPCI_ID=1AF4:\w{4}\nPCI_SUBSYS_ID=1AF4:\w{4}\n"
                  r"PCI_SLOT_NAME=0000:01:00.0\nMODALIAS=pci:.*\n",
    }
    for name, pattern in expected.items():
        text = (device.function / name).read_text()
        assert re.fullmatch(pattern, text), f"{name}: {text!r}"
        assert (device.function / name).stat().st_size == 4096
    assert (bus(device) / "slots/0/address").read_text() == "0000:01:00\n"


def test_nothing_but_functions_in_the_device_folder(device):
    names = os.listdir(device.pci)
    assert names and all(re.fullmatch(r"0000:\w\w:\w\w\.\w", name) for name in names)
    for name in names:
        path = device.pci / name
        assert os.readlink(path).startswith(str(device.mount) + "/sys/devices/pci0000:00/")
        assert (path / "config").is_file()


def test_every_link_leads_somewhere(device):
    device.set_virtual_functions(4)
    for folder, folders, files in os.walk(device.mount):
        for name in folders + files:
            path = pathlib.Path(folder, name)
            assert not path.is_symlink() or path.exists(), f"{path} -> {os.readlink(path)}"


def test_every_readable_attribute_can_be_read(device):
    device.set_virtual_functions(1)
    for folder in (device.function, device.virtual(1), device.pci / "0000:00:01.0", device.pci / "0000:00:00.0"):
        for path in folder.iterdir():
            if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o444 and not path.name.startswith("resource"):
                assert path.read_bytes() != b"", path


# Configuration space


def test_configuration_space(device):
    with Opened(device.function / "config") as config:
        whole = os.pread(config, 4096, 0)
        assert len(whole) == 4096 and len(os.pread(config, 8192, 0)) == 4096 and os.pread(config, 4, 4096) == b""
        for offset, size in [(0, 64), (64, 192), (256, 3840), (5, 1), (3, 2), (0x2d, 7)]:
            assert os.pread(config, size, offset) == whole[offset:offset + size]
        # Bus mastering by the byte, as DPDK writes bytes.
        os.pwrite(config, bytes([whole[4] | 4]), 4)
        assert os.pread(config, 1, 4)[0] == whole[4] | 4
        os.pwrite(config, whole[4:6], 4)
        # Read-only registers keep their values.
        os.pwrite(config, b"\0\0\0\0", 0)
        assert os.pread(config, 4, 0) == whole[:4]
        with Raises(errno.EINVAL):
            os.pwrite(config, b"\0", 4096)
    assert (device.pci / "0000:00:00.0" / "config").stat().st_size == 256


def test_reset_brings_registers_back(device):
    with Opened(device.function / "config") as config:
        command = os.pread(config, 2, 4)
        (device.function / "reset").write_text("1\n")
        assert os.pread(config, 2, 4) == command
        with Raises(errno.EINVAL):
            (device.function / "reset").write_text("2\n")


def test_enable(device):
    enable = device.function / "enable"
    assert enable.read_text() == "1\n"
    enable.write_text("0\n")
    enable.write_text("1")
    assert enable.read_text() == "1\n"
    with Raises(errno.EINVAL):
        enable.write_text("maybe")


# BARs


def test_register_accesses(device):
    with Opened(device.function / "resource0") as bar:
        assert os.pread(bar, 4, 0) not in (b"\0" * 4, b"\xff" * 4)
        for size, offset in [(3, 0), (16, 0), (5, 4), (4, 2), (2, 1), (8, 4)]:
            with Raises(errno.EINVAL):
                os.pread(bar, size, offset)
            with Raises(errno.EINVAL):
                os.pwrite(bar, bytes(size), offset)
        size = os.fstat(bar).st_size
        assert size == 65536 and os.pread(bar, 4, size) == b""
        with Raises(errno.EINVAL):
            os.pwrite(bar, b"\0\0\0\0", size)


def test_memory_space_off_reads_all_ones(device):
    with Opened(device.function / "config") as config, Opened(device.function / "resource0") as bar:
        command = struct.unpack("<H", os.pread(config, 2, 4))[0]
        os.pwrite(config, struct.pack("<H", command & ~2), 4)
        assert os.pread(bar, 4, 0) == b"\xff" * 4
        os.pwrite(config, struct.pack("<H", command), 4)
        assert os.pread(bar, 4, 0) != b"\xff" * 4


# Virtual functions


def test_virtual_functions_appear_and_vanish(device):
    device.set_virtual_functions(4)
    offset = int((device.function / "sriov_offset").read_text())
    names = [f"0000:01:{(offset + n) >> 3:02x}.{(offset + n) & 7}" for n in range(4)]
    assert [device.virtual(n + 1).name for n in range(4)] == names
    for name in names:
        folder = device.pci / name
        assert (folder / "physfn").resolve() == device.function.resolve()
        assert (folder / "vendor").read_text() == "0x1af4\n" and (folder / "device").read_text() == "0x1042\n"
        with Opened(folder / "config", os.O_RDONLY) as config:
            # A virtual function's own id registers read all ones, its BARs zero (SR-IOV 1.1, 3.4.1).
            assert os.pread(config, 4, 0) == b"\xff" * 4 and os.pread(config, 24, 0x10) == bytes(24)
        assert (folder / "driver").resolve().name == "uio_pci_generic" and not (folder / "sriov_numvfs").exists()
        assert os.fstat(os.open(folder / "resource0", os.O_RDWR)).st_size == 16384

    held = os.open(device.pci / names[3] / "config", os.O_RDONLY)
    device.set_virtual_functions(0)
    assert not any((device.pci / name).exists() for name in names) and not (device.function / "virtfn0").exists()
    with Raises(errno.ENODEV):
        os.pread(held, 4, 0)
    os.close(held)


def test_wrong_numbers_of_virtual_functions(device):
    numvfs = device.function / "sriov_numvfs"
    for text, number in [("65", errno.ERANGE), ("-1", errno.EINVAL), ("two", errno.EINVAL)]:
        with Raises(number):
            numvfs.write_text(text)
    numvfs.write_text("2")
    with Raises(errno.EBUSY):
        numvfs.write_text("3")
    assert numvfs.read_text() == "2\n"
    numvfs.write_text("2")


def test_virtual_functions_by_configuration_space(device):
    """VF Enable in the SR-IOV capability, as setpci sets it, is as good as sriov_numvfs."""
    device.setpci("-s", BDF, "ECAP_SRIOV+10.w=1")
    device.setpci("-s", BDF, "ECAP_SRIOV+8.w=0009:0009")
    assert (device.function / "sriov_numvfs").read_text() == "1\n" and (device.function / "virtfn0").exists()
    device.setpci("-s", BDF, "ECAP_SRIOV+8.w=0000:0009")
    assert not (device.function / "virtfn0").exists()


def test_autoprobe_off_leaves_functions_alone(device):
    autoprobe = device.function / "sriov_drivers_autoprobe"
    autoprobe.write_text("0")
    device.set_virtual_functions(1)
    assert not (device.virtual(1) / "driver").exists()
    (bus(device) / "drivers_probe").write_text(device.virtual(1).name)
    assert (device.virtual(1) / "driver").exists()
    autoprobe.write_text("1")


# Drivers and UIO


def test_unbind_and_bind(device):
    driver = bus(device) / "drivers/uio_pci_generic"
    name = BDF
    (driver / "unbind").write_text(name)
    assert not (device.function / "driver").exists() and not (device.function / "uio").exists() and not (driver / name).exists()
    assert "DRIVER" not in (device.function / "uevent").read_text()
    with Raises(errno.ENODEV):
        (driver / "unbind").write_text(name)
    (driver / "bind").write_text(name + "\n")
    assert (driver / name).resolve() == device.function.resolve() and len(os.listdir(device.function / "uio")) == 1
    with Raises(errno.EBUSY):
        (driver / "bind").write_text(name)
    with Raises(errno.ENODEV):
        (driver / "bind").write_text("0000:05:00.0")


def test_driver_override_and_new_id(device):
    driver, other = bus(device) / "drivers/uio_pci_generic", bus(device) / "drivers/pcieport"
    (device.function / "driver/unbind").write_text(BDF)
    (device.function / "driver_override").write_text("nothing\n")
    with Raises(errno.ENODEV):
        (driver / "bind").write_text(BDF)
    (device.function / "driver_override").write_text("\n")
    with Raises(errno.ENODEV):
        (other / "bind").write_text(BDF)
    (driver / "bind").write_text(BDF)
    (driver / "new_id").write_text("1af4 1042")
    with Raises(errno.EEXIST):
        (driver / "new_id").write_text("1af4 1042")
    (driver / "remove_id").write_text("1af4 1042")
    with Raises(errno.ENODEV):
        (driver / "remove_id").write_text("1af4 1042")
    with Raises(errno.EINVAL):
        (driver / "new_id").write_text("1af4")


def test_remove_and_rescan(device):
    (device.function / "remove").write_text("1")
    assert not device.function.exists() and device.lspci("-s", BDF) == ""
    (bus(device) / "rescan").write_text("1")
    assert (device.function / "driver").exists()


def test_uio(device):
    (uio,) = os.listdir(device.function / "uio")
    folder = device.mount / "sys/class/uio" / uio
    assert (folder / "name").read_text() == "uio_pci_generic\n"
    assert (folder / "device").resolve() == device.function.resolve()
    assert re.fullmatch(r"MAJOR=\d+\nMINOR=\d+\nDEVNAME=uio\d+\n", (folder / "uevent").read_text())
    with Opened(device.mount / "dev" / uio, os.O_RDWR | os.O_NONBLOCK) as node:
        with Raises(errno.EAGAIN):
            os.read(node, 4)
        with Raises(errno.EINVAL):
            os.read(node, 8)
        with Raises(errno.ENOSYS):
            os.write(node, bytes(4))


def enable_interrupts(device) -> None:
    """What a driver does before it waits: MSI-X on, vector 0 unmasked, bus mastering on."""
    with Opened(device.function / "config") as config, Opened(device.function / "resource4") as table:
        space = os.pread(config, 256, 0)
        capability = space[0x34]
        while space[capability] != 0x11:
            capability = space[capability + 1]
        os.pwrite(config, struct.pack("<H", 0x8000 | space[capability + 2]), capability + 2)
        os.pwrite(config, struct.pack("<H", 6), 4)
        os.pwrite(table, bytes(4), 12)


def test_interrupts_reach_the_uio_node(device):
    enable_interrupts(device)
    (uio,) = os.listdir(device.function / "uio")
    with Opened(device.mount / "dev" / uio) as node:
        poller = select.poll()
        poller.register(node, select.POLLIN)
        assert poller.poll(0) == []
        before = int((device.mount / "sys/class/uio" / uio / "event").read_text())
        for number in range(1, 20):
            (device.debug / "inject").write_text(f"interrupt {BDF} 0\n")
            assert poller.poll(30_000) == [(node, select.POLLIN)]
            assert struct.unpack("<I", os.read(node, 4))[0] == before + number
        assert poller.poll(0) == []
    (device.function / "reset").write_text("1")


def test_hostile_injections(device):
    for line, number in [("interrupt", errno.EINVAL), (f"interrupt {BDF} 9999", errno.EINVAL), ("interrupt 0:0 1", errno.ENODEV),
                         (f"aer {BDF} nothing", errno.EINVAL), ("memory 1 correctable", errno.EINVAL)]:
        with Raises(number):
            (device.debug / "inject").write_text(line)


def test_an_injected_error_shows_in_aer(device):
    def count(kind, name):
        return int(re.search(rf"^{name} (\d+)$", (device.function / f"aer_dev_{kind}").read_text(), re.M)[1])

    before = count("correctable", "BadTLP")
    (device.debug / "inject").write_text(f"aer {BDF} badTLP\n")
    assert count("correctable", "BadTLP") == before + 1


# The device's own files


def test_debug_files(device):
    assert "ready" in (device.debug / "console").read_text()
    assert "state=ready" in (device.debug / "firmware").read_text()
    registers = dict(line.split(" ", 2)[:2] for line in (device.debug / "regs").read_text().splitlines())
    assert registers["HOSTIF.MAGIC"] == "0x5254554f" and len(registers) > 1000
    assert re.match(r"cycle: \d+\nclock: \d+\npace: realtime", (device.debug / "time").read_text())


def test_live_trace(device):
    with Opened(device.debug / "trace", os.O_RDONLY) as trace, Opened(device.function / "resource0") as bar:
        os.pread(bar, 4, 0)
        seen = b""
        while b"HOSTIF.MAGIC" not in seen:
            seen += os.read(trace, 65536)
    line = next(line for line in seen.decode().splitlines() if "HOSTIF.MAGIC" in line)
    assert "host0" in line and "read32" in line and "0x5254554f" in line


def test_live_trace_has_every_class_of_event(device):
    """A block request and a command to the firmware, seen from outside while they happen."""
    wanted = {"read32", "write32", "line", "message", "dma-read", "dma-write", "doorbell", "taken", "completed", "notified", "log"}
    with Opened(device.debug / "trace", os.O_RDONLY) as trace:
        device.agent("identify")
        device.replay(WORKLOADS / "database.iolog", "--limit", 20)
        seen = b""
        while missing := wanted - {word for line in seen.decode(errors="replace").splitlines() for word in line.split()[2:4]}:
            poller = select.poll()
            poller.register(trace, select.POLLIN)
            assert poller.poll(LIMIT * 1000), f"never came: {missing}"
            seen += os.read(trace, 65536)


def test_accesses_are_traced_by_process(device):
    """Whichever thread of a program makes an access, the trace names the program's process."""
    with Opened(device.debug / "trace", os.O_RDONLY) as trace, Opened(device.function / "resource0") as bar:
        thread = threading.Thread(target=lambda: os.pread(bar, 4, 4))
        thread.start()
        thread.join()
        seen = b""
        while b"HOSTIF.VERSION" not in seen:
            seen += os.read(trace, 65536)
    line = next(line for line in seen.decode().splitlines() if "HOSTIF.VERSION" in line)
    assert f"pid={os.getpid()}" in line, line


def test_bad_firmware_is_refused_on_close(device):
    device.until(lambda: "state=ready" in (device.debug / "firmware").read_text(), "firmware that is ready")
    file = os.open(device.debug / "firmware", os.O_WRONLY)
    os.write(file, b"no ELF file")
    with Raises(errno.EINVAL):
        os.close(file)
    assert "state=ready" in (device.debug / "firmware").read_text()


def test_firmware_is_restarted(device):
    boots = (device.debug / "console").read_text().count("ready")
    (device.debug / "firmware").write_text("restart\n")
    with Opened(device.debug / "console", os.O_RDONLY) as console:
        poller = select.poll()
        poller.register(console, select.POLLIN)
        seen = ""
        while seen.count("ready") <= boots:
            assert poller.poll(30_000), "the firmware did not come back"
            seen += os.read(console, 65536).decode()
    assert "state=ready" in (device.debug / "firmware").read_text()


def test_queues_and_log(device):
    device.set_virtual_functions(2)
    queue = device.files / "queues/fn1/q0"
    assert "enabled: no\n" in (queue / "state").read_text() and (queue / "desc").read_bytes() == b""
    assert (device.files / "log/vm1/fast").read_bytes() == b""
    assert not (device.files / "queues/fn3").exists()


def test_host_memory_is_one_memory(device):
    assert re.fullmatch(r"0x[0-9a-f]+\n", (device.files / "hostmem.iova").read_text())
    with Opened(device.files / "hostmem") as file, mmap.mmap(file, 1 << 20) as mapping:
        mapping[4096:4100] = b"host"
        assert os.pread(file, 4, 4096) == b"host"
    with Opened(device.function / "resource2") as bar, mmap.mmap(bar, 4096) as mapping:
        os.pwrite(bar, b"\x01\x02\x03\x04", 64)
        assert mapping[64:68] == b"\x01\x02\x03\x04"
