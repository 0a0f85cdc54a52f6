"""Reads an elaborated SystemRDL block into plain values, and refuses what the emulator doesn't implement.

Whatever isn't listed as supported here is an error with file and line: a property that was silently ignored would make the
emulator differ from the hardware that the same file describes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field as data_field

from systemrdl.node import AddrmapNode, FieldNode, MemNode, Node, RegfileNode, RegNode, SignalNode
from systemrdl.rdltypes import AccessType, InterruptType, OnReadType, OnWriteType, PrecedenceType

RESETS = ("hard", "soft", "flr")

COMPONENT_PROPERTIES = {
    "name", "desc", "donttest", "dontcompare", "hidden", "latency", "survives", "addressing", "alignment", "accesswidth", "regwidth",
    "bigendian", "littleendian", "lsb0", "msb0", "shared", "sharedextbus", "buffer_reads", "buffer_writes", "wbuffer_trigger",
    "rbuffer_trigger", "mementries", "memwidth", "sw",
}
FIELD_PROPERTIES = {
    "name", "desc", "donttest", "dontcompare", "hidden", "survives", "sw", "hw", "reset", "fieldwidth", "encode", "precedence",
    "onread", "onwrite", "rclr", "rset", "woset", "woclr", "singlepulse", "swacc", "swmod", "anded", "ored", "xored",
    "intr", "intr type", "sticky", "stickybit", "nonsticky", "enable", "mask", "haltenable", "haltmask",
    "we", "wel", "hwset", "hwclr", "swwe", "swwel",
    "counter", "incrvalue", "decrvalue", "incrwidth", "decrwidth", "saturate", "incrsaturate", "decrsaturate",
    "threshold", "incrthreshold", "decrthreshold", "overflow", "underflow",
}
# Of these only a plain flag is supported: the model drives them. A reference to another component would be wiring.
FLAGS_ONLY = {"we", "wel", "hwset", "hwclr", "overflow", "underflow", "intr"}


@dataclass
class Encoding:
    name: str
    value: int
    doc: str


@dataclass
class Enumeration:
    name: str
    members: list[Encoding]


@dataclass
class Field:
    name: str
    lsb: int
    width: int
    sw: str
    hw: str
    doc: str
    reset: int | None
    encoding: Enumeration | None
    # In the words of Sources/Registers/RegisterMapText.swift.
    properties: list[str] = data_field(default_factory=list)

    @property
    def readable(self) -> bool:
        return self.sw in ("rw", "r", "rw1")

    @property
    def writable(self) -> bool:
        return self.sw in ("rw", "w", "rw1", "w1")

    @property
    def plain_write(self) -> bool:
        """A read-modify-write of the register leaves the field alone: no action on write, no pulse."""
        return not any(p.startswith("onwrite=") or p == "singlepulse" for p in self.properties)


@dataclass
class Segment:
    name: str
    dimensions: list[tuple[int, int]]  # count, stride


@dataclass
class Register:
    path: list[Segment]
    offset: int
    width: int
    access_width: int
    latency: int
    buffers_reads: bool
    buffers_writes: bool
    untested: bool
    doc: str
    fields: list[Field]

    @property
    def identifier(self) -> str:
        return "_".join(segment.name for segment in self.path)

    @property
    def dimensions(self) -> list[tuple[int, int]]:
        return [dimension for segment in self.path for dimension in segment.dimensions]

    @property
    def count(self) -> int:
        count = 1
        for n, _ in self.dimensions:
            count *= n
        return count

    @property
    def readable(self) -> bool:
        return any(f.readable for f in self.fields)

    @property
    def writable(self) -> bool:
        return any(f.writable for f in self.fields)


@dataclass
class Window:
    name: str
    offset: int
    size: int
    sw: str
    doc: str


@dataclass
class Block:
    """One address map with registers; `name` is as in SystemRDL, `swift_name` how people and Swift know it."""

    name: str
    size: int
    doc: str
    registers: list[Register]
    windows: list[Window]
    enumerations: list[Enumeration]

    @property
    def swift_name(self) -> str:
        return self.name.upper()


@dataclass
class Instance:
    name: str
    type_name: str
    base: int


@dataclass
class BusMap:
    name: str
    size: int
    doc: str
    instances: list[Instance]
    memories: list[Window]


def read_bus(top: AddrmapNode) -> BusMap:
    """A top map: instances of blocks, and memories."""
    bus = BusMap(top.inst_name, top.size, _doc(top), [], [])
    for child in top.children(unroll=True):
        if isinstance(child, AddrmapNode):
            bus.instances.append(Instance(child.get_path_segment(), child.type_name or child.inst_name, child.absolute_address))
        elif isinstance(child, MemNode):
            access = child.get_property("sw").name
            bus.memories.append(Window(child.inst_name, child.absolute_address, child.total_size, access, _doc(child)))
        else:
            _refuse(child, f"a top map holds blocks and memories only, found {type(child).__name__}")
    bus.instances.sort(key=lambda i: i.base)
    bus.memories.sort(key=lambda m: m.offset)
    return bus


def read_block(top: AddrmapNode) -> Block:
    """A block. Everything that is wrong with it is reported first; then it fails."""
    block = Block(top.type_name or top.inst_name, top.size, _doc(top), [], [], [])
    _check_properties(top, COMPONENT_PROPERTIES)
    _read_children(top, block, [], 0)
    block.registers.sort(key=lambda r: r.offset)
    block.windows.sort(key=lambda w: w.offset)
    for register in block.registers:
        for field in register.fields:
            if field.encoding and field.encoding.name not in {e.name for e in block.enumerations}:
                block.enumerations.append(field.encoding)
    if top.env.msg.had_error:
        top.env.msg.fatal("the register map can't be generated because of the errors above", top.inst.def_src_ref)
    return block


def _read_children(parent: Node, block: Block, path: list[Segment], offset: int) -> None:
    for child in parent.children(unroll=False):
        if isinstance(child, SignalNode):
            _refuse(child, "signals are not supported: the model of a block drives its registers")
        elif isinstance(child, MemNode):
            _check_properties(child, COMPONENT_PROPERTIES)
            if path or child.is_array:
                _refuse(child, "a memory has to be directly in the address map, and no array")
            access = child.get_property("sw").name
            block.windows.append(Window(child.inst_name, child.raw_address_offset, child.total_size, access, _doc(child)))
        elif isinstance(child, (RegNode, RegfileNode)):
            _check_properties(child, COMPONENT_PROPERTIES)
            if child.external:
                _refuse(child, "'external' is supported for memories only")
            segment = Segment(child.inst_name, _dimensions(child))
            below = offset + child.raw_address_offset
            if isinstance(child, RegfileNode):
                _read_children(child, block, [*path, segment], below)
            else:
                block.registers.append(_read_register(child, [*path, segment], below))
        else:
            _refuse(child, f"a {type(child).__name__.removesuffix('Node').lower()} inside a block is not supported")


def _dimensions(node) -> list[tuple[int, int]]:
    if not node.is_array:
        return []
    dimensions = []
    stride = node.array_stride
    for count in reversed(node.array_dimensions):
        dimensions.insert(0, (count, stride))
        stride *= count
    return dimensions


def _read_register(node: RegNode, path: list[Segment], offset: int) -> Register:
    width = node.get_property("regwidth")
    if width > 64:
        _refuse(node, f"register of {width} bits, expected at most 64", "regwidth")
    strides = [stride for segment in path for _, stride in segment.dimensions]
    if any(place % (width // 8) for place in [offset, *strides]):
        _refuse(node, f"register at 0x{offset:x} is not aligned to its {width // 8} bytes")
    fields = [_read_field(f) for f in node.fields()]
    latency = _nearest(node, "latency") or 0
    register = Register(
        path=path, offset=offset, width=width, access_width=node.get_property("accesswidth"), latency=latency,
        buffers_reads=bool(_optional(node, "buffer_reads")), buffers_writes=bool(_optional(node, "buffer_writes")),
        untested=bool(node.get_property("donttest")), doc=_doc(node), fields=fields)
    _check_wide_fields(node, register)
    return register


def _check_wide_fields(node: RegNode, register: Register) -> None:
    """A field over several access words is read and written as one value only through a buffer."""
    if register.access_width >= register.width:
        return
    for field in register.fields:
        if field.lsb // register.access_width == (field.lsb + field.width - 1) // register.access_width:
            continue
        source = node.get_child_by_name(field.name)
        if field.writable and not register.buffers_writes:
            _refuse(source, f"field '{field.name}' is written in several accesses: set buffer_writes, or split it")
        if field.readable and field.hw in ("rw", "w") and not register.buffers_reads:
            _refuse(source, f"field '{field.name}' changes and is read in several accesses: set buffer_reads, or split it")


def _read_field(node: FieldNode) -> Field:
    _check_properties(node, FIELD_PROPERTIES)
    reset = node.get_property("reset")
    if isinstance(reset, Node):
        _refuse(node, "a reset value that is a reference is not supported", "reset")
        reset = 0
    encode = node.get_property("encode")
    field = Field(
        name=node.inst_name, lsb=node.low, width=node.width, sw=node.get_property("sw").name, hw=node.get_property("hw").name,
        doc=_doc(node), reset=reset, encoding=_enumeration(encode) if encode else None)
    field.properties = _field_properties(node)
    return field


def _field_properties(node: FieldNode) -> list[str]:
    words: list[str] = []
    onread, onwrite = node.get_property("onread"), node.get_property("onwrite")
    if onread is not None:
        words.append(f"onread={onread.name}")
    if onwrite is not None:
        words.append(f"onwrite={onwrite.name}")
    if node.get_property("singlepulse"):
        words.append("singlepulse")
    if node.get_property("intr"):
        kind = node.get_property("intr type")
        words.append(f"intr={(kind or InterruptType.level).name}")
    if node.get_property("sticky"):
        words.append("sticky")
    elif node.get_property("stickybit"):
        words.append("stickybit")
    if node.get_property("precedence") == PrecedenceType.hw:
        words.append("precedence=hw")
    for name in ("enable", "mask", "haltenable", "haltmask"):
        if (gate := node.get_property(name)) is not None:
            words.append(f"{name}={_reference(node, name, gate)}")
    for name in ("swwe", "swwel"):
        gate = node.get_property(name)
        if isinstance(gate, FieldNode):
            words.append(f"{name}={_reference(node, name, gate)}")
        elif gate:
            _refuse(node, f"'{name}' has to refer to a field", name)
    if node.get_property("counter"):
        words.append("counter=" + _counter(node))
    survives = _survives(node)
    if survives:
        words.append("survives=" + ",".join(survives))
    return words


def _counter(node: FieldNode) -> str:
    top = (1 << node.width) - 1
    numbers: list[str] = []

    def number(name: str, flag_value: int | None, default: int | None = None) -> None:
        value = node.get_property(name)
        if isinstance(value, bool):
            value = flag_value if value else None
        if value is None:
            value = default
        if value is not None and not isinstance(value, int):
            _refuse(node, f"'{name}' has to be a number", name)
            value = None
        numbers.append("-" if value is None else str(value))

    number("incrvalue", 1, 1)
    number("decrvalue", 1, 1)
    number("incrsaturate", top)
    number("decrsaturate", 0)
    number("incrthreshold", top)
    number("decrthreshold", 0)
    return ",".join(numbers)


def _reference(node: FieldNode, name: str, target) -> str:
    """`REGISTER:FIELD` of another field of the same block."""
    if not isinstance(target, FieldNode):
        _refuse(node, f"'{name}' has to refer to a field", name)
        return "-:-"
    segments: list[str] = []
    parent = target.parent
    while not isinstance(parent, AddrmapNode):
        segments.insert(0, parent.inst_name)
        parent = parent.parent
    own = node.parent
    while not isinstance(own, AddrmapNode):
        own = own.parent
    if own.get_path() != parent.get_path():
        _refuse(node, f"'{name}' has to refer to a field of the same block", name)
    return ".".join(segments) + ":" + target.inst_name


def _survives(node: FieldNode) -> list[str]:
    text = _nearest(node, "survives") or ""
    names = [name for name in re.split(r"[,\s]+", text) if name]
    for name in names:
        if name not in RESETS:
            _refuse(node, f"survives '{name}', expected one of {', '.join(RESETS)}", "survives")
    return [name for name in RESETS if name in names]


def _enumeration(encode) -> Enumeration:
    members = [Encoding(m.name, m.value, m.rdl_desc or m.rdl_name or "") for m in encode]
    return Enumeration(encode.type_name, members)


def _optional(node: Node, name: str):
    """A property that exists only where its definition has been registered."""
    try:
        return node.get_property(name)
    except LookupError:
        return None


def _nearest(node: Node, name: str):
    while node is not None and not node.__class__.__name__ == "RootNode":
        value = _optional(node, name)
        if value is not None:
            return value
        node = node.parent
    return None


def _doc(node: Node) -> str:
    """The name and the description as one text, with the line breaks of a paragraph taken out."""
    name = node.get_property("name", default=None) or ""
    desc = node.get_property("desc", default=None) or ""
    paragraphs = [re.sub(r"\s+", " ", p).strip() for p in re.split(r"\n\s*\n", desc)]
    text = "\n".join(p for p in paragraphs if p)
    if name and text:
        return f"{name}. {text}"
    return name or text


def _check_properties(node: Node, supported: set[str]) -> None:
    for name in node.list_properties():
        value = node.get_property(name)
        if name not in supported:
            if value not in (None, False):
                _refuse(node, f"property '{name}' is not supported", name)
        elif name in FLAGS_ONLY and not isinstance(value, bool):
            _refuse(node, f"property '{name}' is supported as a plain flag only: the block's model drives it", name)


def _refuse(node: Node, message: str, property_name: str | None = None) -> None:
    source = node.inst.property_src_ref.get(property_name) if property_name else None
    node.env.msg.error(message, source or node.inst.inst_src_ref or node.inst.def_src_ref)
