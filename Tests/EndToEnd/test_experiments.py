"""Experiments that need no recording: they end with 1 if a target is missed."""

import re

from harness import PROGRAMS, run


def test_policies_on_a_shared_channel():
    """Each policy is the best at what it is for, nobody starves, and choosing between them is better than any that stays."""
    text = run(PROGRAMS / "channel-sharing").stdout
    assert "missed" not in text
    better, worse = re.search(r"adaptive: +([\d.]+) % above the best fixed policy, +([\d.]+) % below the best one", text).groups()
    assert float(better) > 0 and float(worse) < 10
