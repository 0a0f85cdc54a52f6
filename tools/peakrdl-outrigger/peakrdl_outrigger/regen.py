"""Generates all that comes from regmaps/: what is committed, and under build/ what is not.

A block is `regmaps/*/NAME.rdl` with one address map called NAME; a top map is `regmaps/NAME.rdl`.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from peakrdl_cheader.exporter import CHeaderExporter
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
INSTANCE = re.compile(r"\s*(\w+)\s+\w+\s*@")
# What the firmware sees: the blocks on it get accessors.
FIRMWARE_MAP = "firmware_bus"
# What host drivers see: these get a C header.
HOST_MAPS = ("pf_bar0", "vf_bar0")
HTML = Path("build/registers")
PYTHON = Path("build/python")


def compile_rdl(files: list[Path], top: str) -> AddrmapNode:
    """Elaborates the address map `top`; errors go to stderr with file and line."""
    compiler = RDLCompiler()
    for udp in ALL_UDPS:  # regblock's own: buffer_reads, buffer_writes
        compiler.register_udp(udp)
    for file in [UDP, *files]:
        compiler.compile_file(str(file))
    return compiler.elaborate(top).top


def compile_top(file: Path, blocks: set[str]) -> AddrmapNode | None:
    """A top map without the blocks that nobody has described yet, which are named on stderr; None if none is left."""
    lines = file.read_text().splitlines(keepends=True)
    instances = {number: match for number, line in enumerate(lines) if (match := INSTANCE.match(line))}
    known = {number for number, match in instances.items() if match[1] in blocks}
    for number in sorted(set(instances) - known):
        print(f"regen: {file}:{number + 1}: there is no block '{instances[number][1]}' yet", file=sys.stderr)
        lines[number] = "\n"
    if not known:
        return None
    with TemporaryDirectory() as directory:
        copy = Path(directory) / file.name
        copy.write_text("".join(lines))
        return compile_rdl([*block_files(), copy], file.stem)


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
        node = compile_top(file, set(blocks))
        if node is None:
            continue
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


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/regen", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a generated file is stale, missing or orphaned")
    options = parser.parse_args()
    outputs: dict[Path, str] = {}
    try:
        generate(outputs)
    except RDLCompileError:
        return 1  # the compiler has said where and why
    owned = {path for folder in (SWIFT, FIRMWARE, C_HEADERS) for path in folder.glob("*") if path.is_file()}
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
