"""What debuggers are told: places in sources, addresses of registers."""

import json
import pathlib

from harness import OUTRIGGER, ROOT, run


def place(path, text):
    """FILE:LINE of the one line of a source that contains the text."""
    lines = [number for number, line in enumerate((ROOT / path).read_text().splitlines(), 1) if text in line]
    assert len(lines) == 1, f"{path}: {text!r} is in lines {lines}"
    return f"{pathlib.Path(path).name}:{lines[0]}"


def address(register):
    return json.loads(run(OUTRIGGER, "regs", register, "--json").stdout)["address"]
