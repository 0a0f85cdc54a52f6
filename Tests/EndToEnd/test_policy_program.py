"""Policies in C: compiled by clang, uploaded while virtual machines compete, in force at the next decision, or refused."""

import json

import pytest

from harness import AGENT, OUTRIGGER, ROOT, complaint, run
from test_policy import GREEDY, MACHINE, NEEDY, PERIOD, WINDOW, competition

EXAMPLES = ROOT / "examples/policies"
# Claims for one virtual machine, and for the others.
SHARES = """
#include "outrigger_policy.h"
POLICY long shares(struct policy_context *context)
{{
    context->claim[BANDWIDTH] = context->owner == {vm} ? {claim} : 1000 - {claim};
    return context->value[0];
}}
"""


@pytest.fixture
def compile(tmp_path):
    def compile(text, name="policy", ending="c"):
        source, target = tmp_path / f"{name}.{ending}", tmp_path / f"{name}.o"
        source.write_text(text)
        run("clang", "-O2", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3", "-I", EXAMPLES, "-c", source, "-o", target)
        return target

    return compile


def policies(device):
    return {policy["name"]: policy for policy in json.loads(device.agent("policy list", "--json").stdout)}


def guarantee(device, vm):
    return device.stats()["owners"][vm]["guarantee_permille"]


def test_a_program_takes_over_while_traffic_runs(start, compile, tmp_path):
    device = start("--vfs", "2", "--trace", tmp_path / "trace", machine=MACHINE)
    device.agent("set window", WINDOW)
    device.agent("policy set", "--period", PERIOD)
    device.agent("policy select", "fixed")
    with competition(device):
        # Selected: it decides a period later, and never before.
        begin = device.now
        device.agent("policy upload", compile(SHARES.format(vm=NEEDY, claim=700)), "--name", "shares", "--select")
        selected = device.now
        device.until(lambda: guarantee(device, NEEDY) == 700, "the first program decides")
        # Replaced while it decides: the next decision is the new one's.
        device.agent("policy upload", compile(SHARES.format(vm=NEEDY, claim=600)), "--name", "shares")
        replaced = device.now
        device.until(lambda: guarantee(device, NEEDY) == 600, "the second program decides")
        # It gives up: the one that it had replaced is back within the same decision, and gives up too; then the firmware's own.
        device.agent("policy set", "value0=1")
        device.until(lambda: policies(device)["fair"]["selected"], "the firmware's own policy is back")
        device.until(lambda: 400 <= guarantee(device, NEEDY) <= 600, "and decides")
        found = policies(device)
        assert found["shares"]["faults"] == 2 and not found["shares"]["selected"]
        shown = device.agent("policy show", "shares").stdout
        assert "the last: it gave up at instruction" in shown and "value0     1" in shown
        device.agent("policy remove", "shares")
    assert "shares" not in policies(device)
    assert device.close() == 0, device.output()

    def commits(since):
        lines = run(OUTRIGGER, "trace", tmp_path / "trace", "--json", "--since", since, "--writes", "--register", "RM.COMMAND").stdout
        return [json.loads(line)["cycle"] for line in lines.splitlines()]

    assert begin < commits(begin)[0] <= selected + (PERIOD + 1) * WINDOW
    assert commits(replaced - PERIOD * WINDOW)[0] <= replaced + (PERIOD + 1) * WINDOW


def test_the_examples_are_taken(device, compile):
    for source in sorted(EXAMPLES.glob("*.c")):
        program = compile(source.read_text(), source.stem)
        said = device.agent("policy upload", program).stdout
        assert f" {source.stem}: " in said and "instructions" in said
    own = {"fixed", "fair", "latency-first", "throughput-first", "adaptive"}
    assert set(policies(device)) == own | {path.stem for path in EXAMPLES.glob("*.c")}
    for source in EXAMPLES.glob("*.c"):
        device.agent("policy remove", source.stem)


LOOP = """
#include "outrigger_policy.h"
POLICY long loop(struct policy_context *context)
{
    volatile unsigned *depth = &context->depth;
    while (*depth)
        ;
    return 0;
}
"""
BEYOND = """
#include "outrigger_policy.h"
POLICY long beyond(struct policy_context *context)
{
    context->weight = ((unsigned *)context)[70];
    return 0;
}
"""
INDEX = """
#include "outrigger_policy.h"
POLICY long element(struct policy_context *context, struct policy_memory *own)
{
    u32 index = context->owner;
    return index > 16 ? 0 : own->word[index];
}
"""
TRUNCATED = """
    .section policy, "ax"
    r0 = 0
    .quad 0x18
"""


@pytest.mark.parametrize("text, ending, words", [
    (LOOP, "c", "a jump forwards expected"),
    (BEYOND, "c", "instruction 0 (r2 = *(u32 *)(r1 + 280)): an access at an offset of 0...252 expected, 280 found"),
    (INDEX, "c", "an access at an offset of 0...60 expected, 0...64 found"),
    (TRUNCATED, "s", "instruction 1 (r0 = 0 ll): both halves of a wide instruction expected, the program ends after the first"),
    ('    .section policy, "ax"\n    r0 = 0\n', "s", "instruction 0 (r0 = 0): 'exit' as the last instruction expected, opcode 0xb7 found"),
    ('    .section policy, "ax"\n    r0 = r5\n    exit\n', "s", "instruction 0 (r0 = r5): a value on every way here expected, r5 has none"),
], ids=["loop", "beyond", "index", "truncated", "no end", "unset"])
def test_what_could_do_harm_is_refused(device, compile, text, ending, words):
    before = set(policies(device))
    said = complaint(AGENT, "policy", "upload", compile(text, ending=ending), "--device", device.function)
    assert words in said and "instruction " in said, said
    assert set(policies(device)) == before


def test_what_is_no_program_is_refused(device, compile, tmp_path):
    program = compile(BEYOND)
    program.write_bytes(program.read_bytes()[:-100])
    assert "cut off" in complaint(AGENT, "policy", "upload", program, "--device", device.function)
    program.write_bytes(b"nothing of the kind" * 10)
    assert "clang -target bpf" in complaint(AGENT, "policy", "upload", program, "--device", device.function)
    other = compile("int decide(void) { return 0; }")
    assert "a section 'policy' expected" in complaint(AGENT, "policy", "upload", other, "--device", device.function)
    variable = compile('int global; __attribute__((section("policy"))) int decide(void) { return global++; }')
    assert "without global variables" in complaint(AGENT, "policy", "upload", variable, "--device", device.function)
    assert "'fair' is the firmware's" in complaint(
        AGENT, "policy", "upload", compile(SHARES.format(vm=GREEDY, claim=1)), "--name", "fair", "--device", device.function)


def test_values_are_checked(device):
    shown = device.agent("policy set", "--policy", "latency-first", "boost=4", "share=300").stdout
    assert "latency-first: request 65536, share 300, boost 4, burst 24000" in shown
    for wrong in ("boost=four", "boot=4", "boost"):
        assert "expected" in complaint(AGENT, "policy", "set", "--policy", "latency-first", wrong, "--device", device.function)
    assert "'slowest' found" in complaint(AGENT, "policy", "select", "slowest", "--device", device.function)
    assert "'fair' is the firmware's" in complaint(AGENT, "policy", "remove", "fair", "--device", device.function)
    device.agent("policy set", "--policy", "latency-first", "boost=16", "share=250")
