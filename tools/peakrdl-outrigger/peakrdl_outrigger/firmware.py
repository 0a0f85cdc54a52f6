"""Swift for the firmware: a handle per block and a value type per register, over firmware/Hardware/Register.swift.

`hw.wa.owner[3].thresholdBytes`, `uart.lsr.dataReady`, `wa.control = WA.CONTROL(enable: true)`. A register that a read-modify-write
would change by itself (write-one-to-clear, single pulse, write-only) has no setter but `write(_:)`, so that such a thing can't be written.
"""

from __future__ import annotations

from dataclasses import dataclass, field as data_field

from .design import Block, BusMap, Field, Register
from .emulator import BANNER
from .swift import doc, identifier, lower_camel, upper_camel


@dataclass
class Group:
    """A register file, or the block itself."""

    name: str
    dimensions: list[tuple[int, int]]
    offset: int
    registers: list[tuple[Register, int]] = data_field(default_factory=list)  # with the offset in the group
    groups: dict[str, "Group"] = data_field(default_factory=dict)


def _tree(block: Block) -> Group:
    root = Group(block.swift_name, [], 0)
    for register in block.registers:
        group, base = root, 0
        for segment in register.path[:-1]:
            if segment.name not in group.groups:
                first = _first_offset(block, register, segment)
                group.groups[segment.name] = Group(segment.name, segment.dimensions, first - base)
            group = group.groups[segment.name]
            base += group.offset
        group.registers.append((register, register.offset - base))
    return root


def _first_offset(block: Block, register: Register, segment) -> int:
    """A register file starts at its first register: where that is not at 0 every offset inside shifts alike."""
    depth = register.path.index(segment)
    path = [s.name for s in register.path[: depth + 1]]
    return min(r.offset for r in block.registers if [s.name for s in r.path[: depth + 1]] == path)


def block_source(block: Block, source: str = "regmaps/") -> str:
    lines = [BANNER.format(source=source)]
    lines += _group(_tree(block), block.doc, 0, block)
    return "\n".join([*lines, ""])


def _group(group: Group, text: str, indent: int, block: Block | None) -> list[str]:
    pad = " " * indent
    lines = ["", *doc(text, indent), f"{pad}public struct {identifier(group.name)}: RegisterGroup {{"]
    lines += [f"{pad}    public let baseAddress: UInt"]
    lines += [f"{pad}    @inline(__always) public init(at address: UInt) {{ baseAddress = address }}"]
    for register, offset in group.registers:
        lines += _accessor(register, offset, indent + 4)
    for child in group.groups.values():
        lines += _group_accessor(child, indent + 4)
    for window in block.windows if block else []:
        lines += ["", *doc(window.doc, indent + 4)]
        lines.append(
            f"{pad}    @inline(__always) public var {lower_camel(window.name)}: MemoryRange "
            f"{{ .init(address: baseAddress &+ 0x{window.offset:x}, size: 0x{window.size:x}) }}")
    for register, _ in group.registers:
        lines += _value(register, indent + 4)
    for child in group.groups.values():
        lines += _group(child, "", indent + 4, None)
    for enum in block.enumerations if block else []:
        lines += ["", f"{pad}    public struct {upper_camel(enum.name)}: RawRepresentable, Equatable {{",
                  f"{pad}        public var rawValue: UInt32",
                  f"{pad}        @inline(__always) public init(rawValue: UInt32) {{ self.rawValue = rawValue }}"]
        for member in enum.members:
            lines += doc(member.doc, indent + 8)
            lines.append(
                f"{pad}        @inline(__always) public static var {lower_camel(member.name)}: Self {{ .init(rawValue: {member.value}) }}")
        lines.append(f"{pad}    }}")
    return [*lines, f"{pad}}}"]


def _allows_modify(register: Register) -> bool:
    return all(f.plain_write and f.readable for f in register.fields if f.writable) and not any(
        p.startswith("onread=") for f in register.fields for p in f.properties)


def _accessor(register: Register, offset: int, indent: int) -> list[str]:
    pad = " " * indent
    name, kind = lower_camel(register.path[-1].name), identifier(register.path[-1].name)
    dimensions = register.path[-1].dimensions
    modifies = register.writable and _allows_modify(register)
    lines = ["", *doc(register.doc, indent)]
    if dimensions:
        # Arrays of arrays of registers read as one array, the inner index fastest.
        count = 1
        for n, _ in dimensions:
            count *= n
        array = "RegisterArray" if modifies else "ReadOnlyRegisterArray"
        stride = dimensions[-1][1]
        if register.readable:
            lines.append(
                f"{pad}@inline(__always) public var {name}: {array}<{kind}> "
                f"{{ .init(address: baseAddress &+ 0x{offset:x}, stride: {stride}, count: {count}) }}")
        if register.writable and not modifies:
            lines += [] if not register.readable else doc(register.doc, indent)
            lines += [
                f"{pad}@inline(__always) public func write(_ value: {kind}, at index: Int) {{",
                f"{pad}    precondition(index >= 0 && index < {count})",
                f"{pad}    value.rawValue.store(baseAddress &+ 0x{offset:x} &+ UInt(bitPattern: index) &* {stride})",
                f"{pad}}}"]
        return lines
    if register.readable:
        if modifies:
            lines += [
                f"{pad}@inline(__always) public var {name}: {kind} {{",
                f"{pad}    get {{ .init(rawValue: .load(baseAddress &+ 0x{offset:x})) }}",
                f"{pad}    nonmutating set {{ newValue.rawValue.store(baseAddress &+ 0x{offset:x}) }}",
                f"{pad}}}"]
        else:
            lines.append(f"{pad}@inline(__always) public var {name}: {kind} {{ .init(rawValue: .load(baseAddress &+ 0x{offset:x})) }}")
    if register.writable and not modifies:
        lines += doc(register.doc, indent) if register.readable else []
        lines.append(f"{pad}@inline(__always) public func write(_ value: {kind}) {{ value.rawValue.store(baseAddress &+ 0x{offset:x}) }}")
    return lines


def _group_accessor(group: Group, indent: int) -> list[str]:
    pad = " " * indent
    name, kind = lower_camel(group.name), identifier(group.name)
    if not group.dimensions:
        return ["", f"{pad}@inline(__always) public var {name}: {kind} {{ .init(at: baseAddress &+ 0x{group.offset:x}) }}"]
    count = 1
    for n, _ in group.dimensions:
        count *= n
    return ["", f"{pad}@inline(__always) public var {name}: RegisterGroupArray<{kind}> "
            f"{{ .init(address: baseAddress &+ 0x{group.offset:x}, stride: 0x{group.dimensions[-1][1]:x}, count: {count}) }}"]


def _field_type(field: Field) -> str:
    if field.encoding:
        return upper_camel(field.encoding.name)
    if field.width == 1:
        return "Bool"
    return "UInt32" if field.width <= 32 else "UInt64"


def _value(register: Register, indent: int) -> list[str]:
    pad = " " * indent
    bits = f"UInt{register.width}"
    kind = identifier(register.path[-1].name)
    lines = ["", f"{pad}public struct {kind}: RegisterValue {{", f"{pad}    public var rawValue: {bits}",
             f"{pad}    @inline(__always) public init(rawValue: {bits}) {{ self.rawValue = rawValue }}"]
    for field in register.fields:
        if field.sw == "na":
            continue
        lines += doc(field.doc, indent + 4)
        lines += _field_accessor(field, bits, indent + 4)
    writable = [f for f in register.fields if f.writable]
    if writable:
        reset = sum((f.reset or 0) << f.lsb for f in writable)
        arguments = ", ".join(f"{_label(f)} = {_default(f)}" for f in writable)
        lines += [f"{pad}    /// A value to write: what isn't given has its reset value."]
        lines += _wrapped(f"{pad}    @inline(__always) public init(", arguments, ") {", indent + 4)
        lines.append(f"{pad}        self.init(rawValue: 0x{reset:x})")
        lines += [f"{pad}        self.{lower_camel(f.name)} = {lower_camel(f.name)}" for f in writable]
        lines.append(f"{pad}    }}")
    return [*lines, f"{pad}}}"]


def _label(field: Field) -> str:
    return f"{lower_camel(field.name)}: {_field_type(field)}"


def _default(field: Field) -> str:
    reset = field.reset or 0
    if field.encoding:
        return f".init(rawValue: {reset})"
    if field.width == 1:
        return "true" if reset else "false"
    return str(reset) if reset < 10 else f"0x{reset:x}"


def _wrapped(start: str, arguments: str, end: str, indent: int) -> list[str]:
    line = start + arguments + end
    if len(line) <= 140:
        return [line]
    lines, current = [start], ""
    pad = " " * (indent + 4)
    for argument in arguments.split(", "):
        separator = ", " if current else ""
        if current and len(pad + current + separator + argument) > 138:
            lines.append(pad + current + ",")
            current = argument
        else:
            current += separator + argument
    return [*lines, pad + current, " " * indent + end]


def _field_accessor(field: Field, bits: str, indent: int) -> list[str]:
    pad = " " * indent
    name, kind = lower_camel(field.name), _field_type(field)
    load = f"rawValue.field({field.lsb}, {field.width})"
    if field.encoding:
        get, put = f"{kind}(rawValue: UInt32(truncatingIfNeeded: {load}))", "newValue.rawValue"
    elif kind == "Bool":
        get, put = f"{load} != 0", "newValue ? 1 : 0"
    else:
        get = load if kind == bits else f"{kind}(truncatingIfNeeded: {load})"
        put = "newValue"
    if not field.writable:
        return [f"{pad}@inline(__always) public var {name}: {kind} {{ {get} }}"]
    if kind != "Bool" and (kind if not field.encoding else "UInt32") != bits:
        put = f"{bits}(truncatingIfNeeded: {put})"
    return [
        f"{pad}@inline(__always) public var {name}: {kind} {{",
        f"{pad}    get {{ {get} }}",
        f"{pad}    set {{ rawValue.setField({field.lsb}, {field.width}, {put}) }}",
        f"{pad}}}"]


def bus_source(bus: BusMap, swift_names: dict[str, str], source: str) -> str:
    lines = [BANNER.format(source=source), ""]
    lines += ["/// Every block at its address: `let hw = FirmwareBus()`, then `hw.wdt.ctrl`."]
    lines += ["public struct FirmwareBus {", "    @inline(__always) public init() {}", ""]
    for instance in bus.instances:
        name = swift_names[instance.type_name]
        lines.append(f"    @inline(__always) public var {lower_camel(instance.name)}: {name} {{ .init(at: 0x{instance.base:x}) }}")
    lines.append("")
    for memory in bus.memories:
        if memory.sw == "na":
            continue
        lines += doc(memory.doc, 4)
        lines.append(
            f"    @inline(__always) public var {lower_camel(memory.name)}: MemoryRange "
            f"{{ .init(address: 0x{memory.offset:x}, size: 0x{memory.size:x}) }}")
    return "\n".join([*lines, "}", ""])
