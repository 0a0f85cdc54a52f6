"""Generates all that comes from regmaps/: what is committed, and under build/ what is not.

A block is `regmaps/*/NAME.rdl` with one address map called NAME; a top map is `regmaps/NAME.rdl`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from peakrdl_cheader.exporter import CHeaderExporter
from peakrdl_html import HTMLExporter
from peakrdl_python import PythonExporter
from peakrdl_regblock.udps import ALL_UDPS
from systemrdl import RDLCompileError, RDLCompiler
from systemrdl.node import AddrmapNode

from . import emulator, firmware
from .design import Block, read_block, read_bus

REGMAPS = Path("regmaps")
UDP = REGMAPS / "include" / "udp.rdl"
SWIFT = Path("Sources/RegisterMaps")
FIRMWARE = Path("firmware/Hardware/Generated")
C_HEADERS = REGMAPS / "c"
# What the firmware sees: the blocks on it get accessors.
FIRMWARE_MAP = "firmware_bus"
# What host drivers see: these get a C header.
HOST_MAPS = ("pf_bar0", "vf_bar0", "tf_bar0")
HTML = Path("build/registers/html")
PYTHON = Path("build/registers/python")


def compile_rdl(files: list[Path], top: str) -> AddrmapNode:
    """Elaborates the address map `top`; errors go to stderr with file and line."""
    compiler = RDLCompiler()
    for udp in ALL_UDPS:  # regblock's own: buffer_reads, buffer_writes
        compiler.register_udp(udp)
    for file in [UDP, *files]:
        compiler.compile_file(str(file))
    return compiler.elaborate(top).top


def block_files() -> list[Path]:
    return sorted(file for file in REGMAPS.glob("*/*.rdl") if file.parent.name != "include")


def top_files() -> list[Path]:
    return sorted(REGMAPS.glob("*.rdl"))


def generate(outputs: dict[Path, str]) -> None:
    """Fills in the text of every committed file."""
    blocks: dict[str, Block] = {}
    for file in block_files():
        node = compile_rdl([file], file.stem)
        block = blocks[file.stem] = read_block(node)
        outputs[SWIFT / f"{block.swift_name}.swift"] = emulator.block_source(block, file.as_posix())
    swift_names = {name: block.swift_name for name, block in blocks.items()}
    outputs[SWIFT / "RegisterMaps.swift"] = emulator.index_source(list(blocks.values()))
    for file in top_files():
        node = compile_rdl([*block_files(), file], file.stem)
        bus = read_bus(node)
        outputs[SWIFT / f"{file.stem}.swift"] = emulator.bus_source(bus, swift_names, file.as_posix())
        if file.stem == FIRMWARE_MAP:
            for name in {instance.type_name for instance in bus.instances}:
                text = firmware.block_source(blocks[name], f"regmaps/{name}/{name}.rdl")
                outputs[FIRMWARE / f"{blocks[name].swift_name}.swift"] = text
            outputs[FIRMWARE / "FirmwareBus.swift"] = firmware.bus_source(bus, swift_names, file.as_posix())
        if file.stem in HOST_MAPS:
            outputs[C_HEADERS / f"{file.stem}.h"] = c_header(node)


def c_header(node: AddrmapNode) -> str:
    """The stock C header, for drivers of the host."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / f"{node.inst_name}.h"
        CHeaderExporter().export(node, str(path))
        return path.read_text()


def make_browser() -> None:
    """The stock HTML browser over all maps."""
    maps = [compile_rdl([*block_files(), file], file.stem) for file in top_files()]
    HTMLExporter().export(maps, str(HTML), title="Outrigger registers")
    print(f"regen: {HTML}/index.html")


def make_python() -> None:
    """The stock Python access layer of what the host sees."""
    for file in top_files():
        if file.stem in HOST_MAPS:
            PythonExporter().export(compile_rdl([*block_files(), file], file.stem), str(PYTHON), skip_test_case_generation=True)
    print(f"regen: {PYTHON}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/regen", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a generated file is stale, missing or orphaned")
    parser.add_argument("--browser", action="store_true", help=f"also make the HTML register browser, in {HTML}")
    parser.add_argument("--python", action="store_true", help=f"also make the Python packages of what the host sees, in {PYTHON}")
    options = parser.parse_args()
    outputs: dict[Path, str] = {}
    try:
        generate(outputs)
    except RDLCompileError:
        return 1  # the compiler has said where and why
    owned = {*SWIFT.glob("*.swift"), *FIRMWARE.glob("*.swift"), *C_HEADERS.glob("*.h")}
    stale = [path for path, text in sorted(outputs.items()) if not path.exists() or path.read_text() != text]
    orphaned = sorted(owned - set(outputs))
    if options.check:
        for path in stale:
            print(f"regen: {path} is stale", file=sys.stderr)
        for path in orphaned:
            print(f"regen: {path} comes from no register map", file=sys.stderr)
        if stale or orphaned:
            print("regen: run tools/regen and commit what it changes", file=sys.stderr)
            return 1
        print(f"regen: {len(outputs)} files are current")
        return 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(outputs[path])
    for path in orphaned:
        path.unlink()
    print(f"regen: {len(outputs)} files, {len(stale)} changed, {len(orphaned)} removed")
    if options.browser:
        make_browser()
    if options.python:
        make_python()
    return 0


if __name__ == "__main__":
    sys.exit(main())
