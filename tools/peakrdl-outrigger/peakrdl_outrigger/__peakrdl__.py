"""`peakrdl outrigger FILE... -o FILE`: the plug-in for PeakRDL's own command line."""

from pathlib import Path
from typing import TYPE_CHECKING

from peakrdl.plugins.exporter import ExporterSubcommandPlugin

from . import emulator, firmware
from .design import read_block

if TYPE_CHECKING:
    import argparse

    from systemrdl.node import AddrmapNode


class Exporter(ExporterSubcommandPlugin):
    short_desc = "Swift register map for the emulator, or accessors for the firmware"

    def add_exporter_arguments(self, arg_group: "argparse._ActionsContainer") -> None:
        arg_group.add_argument("--for", dest="target", choices=["emulator", "firmware"], default="emulator")

    def do_export(self, top_node: "AddrmapNode", options: "argparse.Namespace") -> None:
        block = read_block(top_node)
        text = emulator.block_source(block) if options.target == "emulator" else firmware.block_source(block)
        Path(options.output).write_text(text)
