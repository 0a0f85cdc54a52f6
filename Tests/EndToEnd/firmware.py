"""The firmware's life as a host sees it: it comes up, and crashes when a test wants that."""

from elftools.elf.elffile import ELFFile

from harness import FIRMWARE

READY = 2


def symbol(name: str) -> int:
    with FIRMWARE.open("rb") as file:
        (found,) = ELFFile(file).get_section_by_name(".symtab").get_symbol_by_name(name)
        return found["st_value"]


def boots(device) -> int:
    """How many times the firmware has come up, by what it says on the console."""
    return (device.debug / "console").read_text().count("ready, virtual functions")


def wait_until_ready(device, boot: int) -> None:
    device.until(lambda: device.hostif["FIRMWARE"] & 0xff == READY and boots(device) >= boot, f"boot {boot}")


def crash(device) -> None:
    """Plants a memory error in a word that every pass of the event loop reads."""
    (device.debug / "inject").write_text(f"memory 0x{symbol('offload_counters'):x} uncorrectable\n")
    device.until(lambda: device.hostif["FAULT"] & 1, "a fault record")
