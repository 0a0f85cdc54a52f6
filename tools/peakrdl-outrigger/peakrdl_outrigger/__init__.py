"""Swift from SystemRDL: register maps for the emulator and typed accessors for the firmware."""

from .design import Block, BusMap, read_block, read_bus

__all__ = ["Block", "BusMap", "read_block", "read_bus"]
