"""Traces as babeltrace2, an independent reader of the format, has them."""

import re

from harness import run


def by_babeltrace(folder):
    """Every event as an independent reader of the format has it: what it is, and its fields."""
    for line in run("babeltrace2", "--clock-cycles", "--no-delta", "--fields=all", folder).stdout.splitlines():
        cycle, kind, context, fields = re.match(r"\[(\d+)\] \w+ (\w+): \{ (.*?) \}, \{ (.*) \}$", line).groups()

        def number(name, text=fields):
            found = re.search(rf"\b{name} = (0x[0-9A-F]+|\d+)", text)
            return found and int(found[1], 0)

        def label(name):
            found = re.search(rf'\b{name} = \( "([^"]*)"', fields)
            return found and found[1]

        text = re.search(r'\b(?:name|line) = "((?:[^"\\]|\\.)*)"', fields)
        what = {
            "access": lambda: (
                label("operation"), label("status") or "ok", label("register"), label("bus"), number("address"),
                number("value") if number("old") is None else number("old"), number("value") if number("new") is None else number("new"),
                # The rest of a short access's origin is its packet's.
                number("origin") + (0 if label("status") else number("origin_base", context)), number("wait"), number("element") or 0),
            "line": lambda: (label("wire"), number("level")),
            "message": lambda: (number("function"), number("vector")),
            "intx": lambda: (number("function"), number("level")),
            "trap": lambda: (number("cause"), number("pc"), number("handler")),
            "dma": lambda: (number("function"), label("direction"), label("status"), number("address"), number("bytes")),
            "queue": lambda: (number("function"), number("queue"), label("step"), number("head"), number("bytes"), number("depth")),
            "fault": lambda: (label("kind"), text[1], number("address")),
            "log": lambda: (text[1],),
            "record": lambda: (label("kind"),),
        }
        if kind != "end":
            yield (int(cycle), re.search(r'initiator = "(\w+)"', context)[1], kind) + what[kind]()


def as_babeltrace_has_it(event):
    """The same of an event that `outrigger trace` shows."""
    number = lambda name: int(event[name], 16) if name in event else None
    element = lambda name: [int(index) for index in re.findall(r"\[(\d+)\]", name)]
    kind = event["event"]
    if kind == "access":
        register = event.get("register")
        value = number("value") if register is None else None
        what = (
            f"{event['access']}{8 * event['size']}", event["status"], register and re.sub(r"\[\d+\]", "", register), event.get("bus"),
            number("address"), value if register is None else number("old"), value if register is None else number("new"),
            int(event["pc"], 16) if "pc" in event else event["pid"], event["wait"],
            element(register)[0] if register and element(register) else 0)
    elif kind == "interrupt" and "vector" in event:
        kind, what = "message", (event["function"], event["vector"])
    elif kind == "interrupt" and "cause" in event:
        kind, what = "trap", (number("cause"), number("pc"), number("handler"))
    elif kind == "interrupt" and event["line"] == "INTx":
        kind, what = "intx", (event["function"], event["level"])
    elif kind == "interrupt":
        kind, what = "line", (event["line"], event["level"])
    elif kind == "dma":
        what = (event["function"], event["direction"], event["status"], number("address"), event["bytes"])
    elif kind == "queue":
        what = (event["function"], event["queue"], event["step"], event.get("head", 0), event.get("bytes", 0), event["depth"])
    elif kind == "fault":
        what = (event["kind"], event["name"], number("address"))
    else:
        kind, what = ("log", (event["text"],)) if "text" in event else ("record", (event["record"],))
    return (event["cycle"], event["initiator"], kind) + what
