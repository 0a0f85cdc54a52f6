"""What both kinds of generated Swift share: identifiers, documentation, literals."""

from __future__ import annotations

import textwrap

from .design import Enumeration

KEYWORDS = set(
    "as associatedtype break case catch class continue default defer deinit do else enum extension fallthrough false fileprivate "
    "for func guard if import in init inout internal is let nil operator precedencegroup private protocol public repeat rethrows "
    "return self static struct subscript super switch throw throws true try typealias var where while".split())


def identifier(name: str) -> str:
    return f"`{name}`" if name in KEYWORDS else name


def upper_camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def lower_camel(name: str) -> str:
    """`CTRL` and `INTR_STATE` become `ctrl` and `intrState`; `rx_available` becomes `rxAvailable`."""
    parts = [part for part in name.split("_") if part]
    head = parts[0].lower() if parts[0].isupper() else parts[0][:1].lower() + parts[0][1:]
    return identifier(head + "".join(part.capitalize() if part.isupper() else part[:1].upper() + part[1:] for part in parts[1:]))


def doc(text: str, indent: int) -> list[str]:
    prefix = " " * indent + "/// "
    lines: list[str] = []
    for paragraph in text.split("\n"):
        if paragraph:
            lines += textwrap.wrap(paragraph, 136 - indent, break_long_words=False, break_on_hyphens=False)
    return [prefix + line for line in lines]


def enumeration(enum: Enumeration, raw_type: str, access: str = "public ") -> list[str]:
    lines = [f"    {access}enum {upper_camel(enum.name)}: {raw_type}, Sendable, CaseIterable {{"]
    for member in enum.members:
        lines += doc(member.doc, 8)
        lines.append(f"        case {lower_camel(member.name)} = {member.value}")
    return [*lines, "    }"]
