"""Decisions as the firmware logs them, and made again by the host agent from what was logged."""

import json

from harness import AGENT, WORKLOADS, complaint, run
from test_policy_program import compile  # noqa: F401, a fixture

COUNTING = """
#include "outrigger_policy.h"
POLICY long counting(struct policy_context *context, struct policy_memory *own)
{
    own->word[0]++;
    context->claim[BANDWIDTH] = own->word[0] & 255;
    return 0;
}
"""
# Words of the file before the first record, and of a record's first section that are before its number.
HEAD, NUMBER = 2, 4


def test_decisions_are_made_again_from_the_log(start, compile, tmp_path):
    device = start("--vfs", "2", pace="lockstep")
    device.agent("policy upload", compile(COUNTING), "--name", "counting")
    path = tmp_path / "decisions"
    for policy in ("counting", "adaptive"):
        device.agent("policy select", policy)
        for vf, workload in ((1, "backup"), (2, "database")):
            device.agent("replay", WORKLOADS / f"{workload}.iolog", "--vf", vf, "--limit", 300)
        device.advance(100_000_000)

        shown = [json.loads(line) for line in device.agent("policy log", "--json").stdout.splitlines()]
        assert [decision["selected"] for decision in shown[-8:]] == [policy] * 8
        assert all(len(owner[of]) == 5 for owner in shown[-1]["owners"] for of in ("need", "claim", "had", "decided"))
        lines = device.agent("policy log").stdout.splitlines()
        assert f'{shown[-1]["record"]} ' in "\n".join(lines) and len(lines) >= len(shown)
        live = json.loads(device.agent("policy verify", "--json").stdout)
        assert live["verified"] >= len(shown) and live["differences"] == []
        assert f"{path}: " in device.agent("policy log", "--output", path, "--records", 20).stdout
        assert ", 0 records differ, 0 records missing" in run(AGENT, "policy", "verify", path).stdout
    assert any(decision["changes"] for decision in shown)
    assert {score["policy"] for score in shown[-1]["scores"]} == {"fair", "latency-first", "throughput-first", "counting"}

    # A flipped bit is named; so is what isn't there, or isn't a log.
    words = path.read_bytes()
    assert len(words) % 4 == 0
    damaged = bytearray(words)
    damaged[4 * (HEAD + NUMBER)] ^= 1
    path.write_bytes(damaged)
    said = run(AGENT, "policy", "verify", path, check=False)
    assert said.returncode == 1 and "record 0: start: number was changed after it was written" in said.stdout
    # Cut off in the end that a file has, in a record, and behind the head.
    for count in (len(words) - 3, len(words) - 8, len(words) - 100, 4 * HEAD):
        path.write_bytes(words[:count])
        said = run(AGENT, "policy", "verify", path, check=False)
        assert said.returncode != 0 and "its end expected, it is cut off" in said.stderr
    assert "at most 1073741824 bytes of decisions expected, more found" in complaint(AGENT, "policy", "verify", "/dev/zero")
    path.write_bytes(b"something else")
    assert "a file that 'policy log --output' has made expected" in complaint(AGENT, "policy", "verify", path)
