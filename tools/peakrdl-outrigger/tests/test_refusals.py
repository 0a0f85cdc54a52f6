"""Bad SystemRDL is refused with file, line and reason; nothing is ignored in silence."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from systemrdl import RDLCompileError  # noqa: E402

from peakrdl_outrigger import emulator, firmware  # noqa: E402
from peakrdl_outrigger.design import read_block  # noqa: E402
from peakrdl_outrigger.regen import compile_rdl  # noqa: E402

HEAD = "addrmap bad {\ndefault regwidth = 32; default accesswidth = 32; default sw = rw; default hw = r;\n"

# What is on line 3, and what is said about it.
CASES = {
    "overlapping registers": ("reg { field {} f[31:0] = 0; } A @ 0; reg { field {} f[31:0] = 0; } B @ 2;", "overlaps"),
    "overlapping fields": ("reg { field {} f[7:0] = 0; field {} g[8:4] = 0; } A @ 0;", "overlaps"),
    "field outside its register": ("reg { field {} f[32:0] = 0; } A @ 0;", "exceeds MSb of parent register"),
    "reset value that doesn't fit": ("reg { field {} f[3:0] = 16; } A @ 0;", "cannot fit"),
    "register wider than 64 bits": ("reg { regwidth = 128; field {} f[3:0] = 0; } A @ 0;", "expected at most 64"),
    "parity": ("reg { field { paritycheck; } f[3:0] = 0; } A @ 0;", "'paritycheck' is not supported"),
    "next": ("reg { field {} g[7:4] = 0; field { hw = rw; } f[3:0] = 0; f->next = g; } A @ 0;", "'next' is not supported"),
    "hardware wiring": ("reg { field {} g[4:4] = 0; field { hw = rw; } f[3:0] = 0; f->hwset = g; } A @ 0;", "as a plain flag only"),
    "write enable without a field": ("reg { field { swwe; } f[3:0] = 0; } A @ 0;", "has to refer to a field"),
    "external register": ("external reg { field {} f[3:0] = 0; } A @ 0;", "'external' is supported for memories only"),
    "signal": ("signal {} s; reg { field {} f[3:0] = 0; } A @ 0;", "signals are not supported"),
    "map inside a block": ("addrmap { reg { field {} f[3:0] = 0; } A @ 0; } inner @ 0;", "inside a block is not supported"),
    "memory in an array": ("external mem { memwidth = 32; mementries = 4; } M[2] @ 0; reg { field {} f[3:0] = 0; } A @ 0x100;", "no array"),
    "unaligned register": ("reg { regwidth = 64; field {} f[3:0] = 0; } A @ 4;", "is not aligned to its 8 bytes"),
    "changing field over two accesses": ("reg { regwidth = 64; field { hw = w; sw = r; } f[63:0] = 0; } A @ 0;", "set buffer_reads"),
    "written field over two accesses": ("reg { regwidth = 64; field {} f[63:0] = 0; } A @ 0;", "set buffer_writes"),
    "unknown reset": ('reg { survives = "warm"; field {} f[3:0] = 0; } A @ 0;', "expected one of hard, soft, flr"),
    "unknown property": ("reg { field { latch = 1; } f[3:0] = 0; } A @ 0;", "Unrecognized property 'latch'"),
}


@pytest.mark.parametrize("line,said", CASES.values(), ids=CASES.keys())
def test_refused_with_file_line_and_reason(line, said, tmp_path, capsys):
    file = tmp_path / "bad.rdl"
    file.write_text(HEAD + line + "\n};\n")
    with pytest.raises(RDLCompileError):
        read_block(compile_rdl([file], "bad"))
    errors = [text for text in capsys.readouterr().err.splitlines() if said in text]
    assert errors, f"nothing says '{said}'"
    assert f"{file}:3:" in errors[0]


def test_every_property_comes_out():
    block = read_block(compile_rdl([Path(__file__).with_name("semantics.rdl")], "semantics"))
    text = emulator.block_source(block)
    for word in ("onwrite=wzt", "onread=rset", "singlepulse", "intr=bothedge", " sticky", "stickybit", "precedence=hw", "swwe=LOCK:open",
                 "swwel=LOCK:shut", "haltmask=INTR_ENABLE:level_bit", "counter=1,5,255,7,-,-", "rbuf wbuf", "FILE[3:0x40].MANY[4:0x4]"):
        assert word in text, word
    accessors = firmware.block_source(block)
    assert "public func write(_ value: INTR_STATE)" in accessors
    assert "nonmutating set" in accessors.split("public var lock: LOCK")[1].split("}")[1]


def test_check_finds_what_is_stale(tmp_path):
    """In a copy of what regen needs: a changed, a missing and an orphaned file."""
    root = Path(__file__).resolve().parents[3]
    for name in ("regmaps", "Sources/RegisterMaps", "firmware/Hardware/Generated", "tools/peakrdl-outrigger"):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-r", root / name, target], check=True)

    def check():
        return subprocess.run(
            [sys.executable, "-B", "-m", "peakrdl_outrigger.regen", "--check"], cwd=tmp_path, env={"PYTHONPATH": "tools/peakrdl-outrigger"},
            capture_output=True, text=True)

    assert check().returncode == 0
    generated = tmp_path / "Sources/RegisterMaps"
    (generated / "WDT.swift").write_text("// edited\n")
    (generated / "UART.swift").unlink()
    (generated / "OLD.swift").write_text("\n")
    found = check()
    assert found.returncode == 1
    for line in ("WDT.swift is stale", "UART.swift is stale", "OLD.swift comes from no register map"):
        assert line in found.stderr
