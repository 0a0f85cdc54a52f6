"""tools/regblock-check: our registers against PeakRDL-regblock's SystemVerilog, under one random script per block.

The script and what it must show come from Tests/RegblockReference, which runs it on a RegisterBlock; regblock_harness.cpp plays it to the
Verilated module. A wrapper in SystemVerilog turns the module's many hardware inputs into one numbered event port.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from peakrdl_regblock import RegblockExporter
from peakrdl_regblock.cpuif.passthrough import PassthroughCpuif
from systemrdl import RDLCompileError
from systemrdl.node import AddrmapNode, FieldNode, RegfileNode, RegNode

from . import emulator
from .design import Block, read_block
from .regen import block_files, compile_rdl

HARNESS = Path(__file__).with_name("regblock_harness.cpp")
SEMANTICS = Path("tools/peakrdl-outrigger/tests/semantics.rdl")
BUILD = Path("build/regblock-check")
LONGEST_ARRAY = 5
INPUT = re.compile(r"hwif_in\.(?P<path>.*?)\.(?P<pin>\w+)(\[(?P<msb>\d+):0\])?$")
OUTPUT = re.compile(r"hwif_out\.(?P<path>.*?)\.(?P<pin>intr|halt)$")
ARRAY = re.compile(r"\[0:(\d+)\]")


@dataclass
class Port:
    """One hardware input or interrupt line of the module."""

    path: str  # as in hwif, with [0:n] where it is an array
    pin: str
    width: int
    field: FieldNode | None

    @property
    def counts(self) -> list[int]:
        return [int(last) + 1 for last in ARRAY.findall(self.path)]

    @property
    def register(self) -> str:
        names = ARRAY.sub("", self.path)
        return names.rpartition(".")[0] if self.field else names

    @property
    def count(self) -> int:
        count = 1
        for n in self.counts:
            count *= n
        return count

    def indexed(self) -> str:
        numbers = iter(range(len(self.counts)))
        return ARRAY.sub(lambda _: f"[i{next(numbers)}]", self.path) + "." + self.pin

    def loops(self) -> str:
        return "".join(f"for (genvar i{n} = 0; i{n} < {count}; i{n}++) " for n, count in enumerate(self.counts))

    def assign(self, target: str, value: str) -> str:
        """One assignment per element: this Verilator takes constant indices only."""
        return f"{self.loops()}assign {target} = {value};"

    def element(self) -> str:
        text = "0"
        for n, count in enumerate(self.counts):
            text = f"i{n}" if n == 0 else f"({text}) * {count} + i{n}"
        return text


def why_not_expressible(block: Block) -> str | None:
    """What regblock has no hardware for."""
    widths = {register.access_width for register in block.registers}
    if len(widths) > 1 or any(r.width < max(widths) for r in block.registers):
        return f"registers of different access widths ({', '.join(map(str, sorted(widths)))} bits) on one bus"
    for register in block.registers:
        for field in register.fields:
            if field.sw in ("w1", "rw1"):
                return f"{register.identifier}.{field.name} is write-once"
            if any(word.endswith("user") for word in field.properties):
                return f"{register.identifier}.{field.name} has an access of the model's own"
    return None


def add_write_enables(node: AddrmapNode) -> None:
    """A model writes a stored field when it wants to; in SystemRDL such a field has a write enable, else hardware writes every cycle."""
    for descendant in node.descendants(unroll=False):
        if not isinstance(descendant, FieldNode) or not descendant.is_hw_writable or not descendant.implements_storage:
            continue
        if any(descendant.get_property(name) for name in ("intr", "sticky", "stickybit", "we", "wel")):
            continue
        descendant.inst.properties["we"] = True


def cut_arrays(node: AddrmapNode) -> None:
    """Leaves the first few elements of long arrays: they are alike, and Verilator makes code for each. Their places stay."""
    for descendant in node.descendants(unroll=False):
        if isinstance(descendant, (RegNode, RegfileNode)) and descendant.is_array:
            descendant.inst.array_dimensions = [min(count, LONGEST_ARRAY) for count in descendant.inst.array_dimensions]


def read_ports(report: str, node: AddrmapNode) -> tuple[list[Port], list[Port]]:
    inputs, lines = [], []
    for text in report.splitlines():
        if match := INPUT.match(text.strip()):
            field = node.find_by_path(re.sub(r"\[0:\d+\]", "[0]", match["path"]))
            inputs.append(Port(match["path"], match["pin"], int(match["msb"] or 0) + 1, field if isinstance(field, FieldNode) else None))
        elif match := OUTPUT.match(text.strip()):
            lines.append(Port(match["path"], match["pin"], 1, None))
    return inputs, lines


def kind_of(port: Port) -> str | None:
    """What the reference calls it; None where the port only comes with another one or belongs to a memory."""
    if port.field is None:
        return None
    if port.pin == "next":
        if port.field.get_property("intr") or port.field.get_property("sticky") or port.field.get_property("stickybit"):
            return "level"
        return "store" if port.field.implements_storage else "wire"
    return {"hwset": "set", "hwclr": "clear", "incr": "increment", "decr": "decrement"}.get(port.pin)


def wrapper(name: str, inputs: list[Port], lines: list[Port], address_bits: int, data_bits: int) -> tuple[str, str]:
    """The SystemVerilog top, and the list of stimuli for the reference."""
    stimuli: list[str] = []
    declarations: list[str] = []
    held: list[str] = []
    drives: list[str] = []
    number = 0
    ids: dict[str, int] = {}
    for port in inputs:
        kind = kind_of(port)
        if kind is None:
            continue
        number += 1
        ids[port.path] = ids.get(port.path) or number
        stimuli.append(f"{number} {kind} {port.register} {port.field.inst_name}")
        here = f"hw_valid && hw_id == {number} && hw_element == {port.element()}"
        if kind in ("level", "wire"):
            reset = port.field.get_property("reset") or 0
            initial = f"{port.width}'h{reset if kind == 'wire' else 0:x}"
            declarations.append(f"logic [{port.count - 1}:0][{port.width - 1}:0] held_{number};")
            held.append(f"if (rst) held_{number} <= {{{port.count}{{{initial}}}}};")
            held.append(f"else if (hw_valid && hw_id == {number}) held_{number}[hw_element] <= hw_value[{port.width - 1}:0];")
            drives.append(port.assign("hwif_in." + port.indexed(), f"held_{number}[{port.element()}]"))
        elif kind == "store":
            drives.append(port.assign("hwif_in." + port.indexed(), f"hw_value[{port.width - 1}:0]"))
            ids[port.path + ".we"] = number
        else:
            drives.append(port.assign("hwif_in." + port.indexed(), here))
    for port in inputs:
        if port.pin in ("we", "wel") and port.field is not None:
            here = f"(hw_valid && hw_id == {ids[port.path + '.we']} && hw_element == {port.element()})"
            drives.append(port.assign("hwif_in." + port.indexed(), ("!" if port.pin == "wel" else "") + here))
        elif kind_of(port) is None:
            drives.append(port.assign("hwif_in." + port.indexed(), "'0"))
    bit = 0
    for port in lines:
        stimuli.append(f"line {port.pin} {port.register}")
        drives.append(port.assign(f"lines[{bit} + {port.element()}]", f"hwif_out.{port.indexed()}"))
        bit += port.count
    if bit > 64:
        raise SystemExit(f"regblock-check: {name} has {bit} interrupt lines, expected at most 64")
    if bit < 64:
        drives.append(f"assign lines[63:{bit}] = '0;")
    body = "\n    ".join
    ports = ["input wire clk", "input wire rst", "input wire req", "input wire is_write", "input wire [31:0] address"]
    ports += ["input wire [63:0] data", "input wire [63:0] lanes", "output wire [63:0] result", "output wire ready"]
    ports += ["input wire hw_valid", "input wire [31:0] hw_id", "input wire [31:0] hw_element", "input wire [63:0] hw_value"]
    ports += ["output wire [63:0] lines"]
    hwif = f", .hwif_in(hwif_in)" if inputs else ""
    text = f"""module check_top({", ".join(ports)});
    {f"{name}_pkg::{name}__in_t hwif_in;" if inputs else ""}
    {name}_pkg::{name}__out_t hwif_out;
    wire read_ready, write_ready;
    wire [{data_bits - 1}:0] read_data;
    assign ready = read_ready | write_ready;
    assign result = 64'(read_data);
    {body(declarations)}
    always_ff @(posedge clk) begin
    {body(held)}
    end
    {body(drives)}
    {name} dut(
        .clk, .rst, .s_cpuif_req(req), .s_cpuif_req_is_wr(is_write), .s_cpuif_addr(address[{address_bits - 1}:0]),
        .s_cpuif_wr_data(data[{data_bits - 1}:0]), .s_cpuif_wr_biten(lanes[{data_bits - 1}:0]),
        .s_cpuif_req_stall_wr(), .s_cpuif_req_stall_rd(), .s_cpuif_rd_ack(read_ready), .s_cpuif_rd_err(), .s_cpuif_rd_data(read_data),
        .s_cpuif_wr_ack(write_ready), .s_cpuif_wr_err(){hwif}, .hwif_out(hwif_out));
endmodule
"""
    return text, "\n".join(stimuli) + "\n"


def pack(file: Path) -> None:
    """Makes all structs packed: Verilator before 5.012 can't index an array inside an unpacked one. What is computed stays the same."""

    def packed(match: re.Match) -> str:
        ranges = "".join(f"[{int(n) - 1}:0]" for n in re.findall(r"\[(\d+)\]", match["dimensions"]))
        return f"{match['type']} {ranges}{match['range'] or ''} {match['name']};"

    member = re.compile(r"(?P<type>\}|\b\w+) (?P<range>\[\d+:0\] )?(?P<name>\w+)(?P<dimensions>(\[\d+\])+);")
    text = file.read_text().replace("struct {", "struct packed {")
    file.write_text(member.sub(packed, text))


def prepare(file: Path, reference: Path, steps: int, seed: int) -> tuple[str, Path | None, str]:
    """Generates everything for one block. Returns its name, its folder, and why not if it can't be."""
    name = file.stem
    node = compile_rdl([file], name)
    cut_arrays(node)
    block = read_block(node)
    if reason := why_not_expressible(block):
        return name, None, reason
    folder = BUILD / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    add_write_enables(node)
    RegblockExporter().export(node, str(folder), cpuif_cls=PassthroughCpuif, generate_hwif_report=True)
    inputs, lines = read_ports((folder / f"{name}_hwif.rpt").read_text(), node)
    for generated in (folder / f"{name}_pkg.sv", folder / f"{name}.sv"):
        pack(generated)
    module = (folder / f"{name}.sv").read_text()
    address_bits = int(re.search(r"input wire \[(\d+):0\] s_cpuif_addr", module)[1]) + 1
    data_bits = int(re.search(r"input wire \[(\d+):0\] s_cpuif_wr_data", module)[1]) + 1
    top, stimuli = wrapper(name, inputs, lines, address_bits, data_bits)
    (folder / "check_top.sv").write_text(top)
    (folder / "stimuli").write_text(stimuli)
    (folder / "map").write_text("\n".join(line.strip() for line in emulator.map_text(block)) + "\n")
    with open(folder / "script", "w") as script:
        subprocess.run([reference, folder / "map", folder / "stimuli", str(steps), str(seed)], stdout=script, check=True)
    return name, folder, ""


def simulate(name: str, folder: Path) -> tuple[bool, str]:
    """Verilates, compiles and plays the script. Returns whether all was as expected, and the last line said."""
    sources = [f"{name}_pkg.sv", f"{name}.sv", "check_top.sv"]
    command = [
        "verilator", "--cc", "--exe", "--build", "-j", "1", "-O3", "--top-module", "check_top", "--prefix", "Vcheck", "-Wno-fatal",
        "-Wno-lint", "--x-assign", "0", "--x-initial", "0", "--Mdir", "obj", "-MAKEFLAGS", "OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O1",
        *sources, str(HARNESS.resolve())]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if built.returncode:
        return False, "can't be built: " + (built.stderr or built.stdout)[-2000:]
    played = subprocess.run(["obj/Vcheck", "script"], cwd=folder, capture_output=True, text=True)
    return played.returncode == 0, (played.stdout + played.stderr).strip()


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/regblock-check", description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, default=160_000, help="accesses and events per block (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help=f"leave {BUILD} as it is afterwards")
    parser.add_argument("blocks", nargs="*", metavar="BLOCK", help="only these")
    options = parser.parse_args()
    files = [SEMANTICS, *block_files()]
    if unknown := set(options.blocks) - {file.stem for file in files}:
        parser.error(f"no such block: {', '.join(sorted(unknown))}")
    files = [file for file in files if not options.blocks or file.stem in options.blocks]

    def check(file: Path) -> bool:
        begun = time.monotonic()
        try:
            name, folder, reason = prepare(file, options.reference, options.steps, options.seed)
        except RDLCompileError:
            return False
        if folder is None:
            print(f"regblock-check: {name:12} not expressible: {reason}", flush=True)
            return True
        good, said = simulate(name, folder)
        print(f"regblock-check: {name:12} {said} ({time.monotonic() - begun:.0f} s)", flush=True)
        return good

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(check, files))
    if not all(results):
        print(f"regblock-check: failed, seed {options.seed}; the scripts are in {BUILD}", file=sys.stderr)
        return 1
    if not options.keep:
        shutil.rmtree(BUILD, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
