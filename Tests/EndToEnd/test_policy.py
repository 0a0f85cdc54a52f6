"""Two virtual machines compete for the link: the policy moves bandwidth to the one in need. All of it in device time."""

import contextlib
import itertools
import json
import struct
import subprocess

import admin
from admin import AdminQueue
from harness import AGENT, LIMIT, OUTRIGGER, WORKLOADS, run

GREEDY, NEEDY = 1, 2
# A link so slow that the host's programs keep it busy, however slow the host is.
MACHINE = "link: {bandwidth: 100 MB/s}"
WINDOW, PERIOD = 2_000_000, 10
PHASE = 150 * WINDOW


@contextlib.contextmanager
def competition(device):
    """Both virtual machines read all they can."""
    players = [
        subprocess.Popen(
            [AGENT, "replay", "--device", device.function, WORKLOADS / "backup.iolog", "--vf", str(vm), "--repeat", "1000"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for vm in (GREEDY, NEEDY)]
    try:
        device.until(lambda: all(moved(device.stats()["owners"][vm]) for vm in (GREEDY, NEEDY)), "both have begun", cycles=10**10)
        yield
        for player in players:
            assert player.poll() is None, player.stderr.read()
    finally:
        for player in players:
            player.terminate()
            player.communicate(timeout=LIMIT)


def moved(owner) -> int:
    return owner["read_bytes"] + owner["written_bytes"]


def latencies(device, vm) -> tuple[int, ...]:
    """Requests since power-on by the logarithm to base 2 of their latency."""
    with AdminQueue(device) as queue:
        status, _, histogram = queue.send(admin.command(admin.GET_LATENCY, group=1, member=vm))
    assert status == admin.OK
    return struct.unpack("<32Q", histogram)


def percentile(before, after, permille) -> int:
    """The bucket that so many of the requests between two histograms don't exceed."""
    counts = [later - earlier for earlier, later in zip(before, after)]
    sums = itertools.accumulate(counts)
    return next(bucket for bucket, so_far in enumerate(sums) if so_far * 1000 >= sum(counts) * permille)


def measure(device):
    """Share of what was moved in a while of device time, guarantee at its end, and 99th percentile of latency, for each."""
    vms = (GREEDY, NEEDY)
    first, histograms = device.stats()["owners"], {vm: latencies(device, vm) for vm in vms}
    end = device.now + PHASE
    device.until(lambda: device.now >= end, "a while", cycles=2 * PHASE)
    last = device.stats()["owners"]
    traffic = {vm: moved(last[vm]) - moved(first[vm]) for vm in vms}
    return {
        vm: {"share": traffic[vm] / sum(traffic.values()), "guarantee": last[vm]["guarantee_permille"],
             "p99": percentile(histograms[vm], latencies(device, vm), 990)}
        for vm in vms}


def test_the_policy_moves_bandwidth_to_the_one_in_need(start, tmp_path):
    device = start("--vfs", "2", "--trace", tmp_path / "trace", machine=MACHINE)
    device.agent("set window", WINDOW)
    device.agent("policy set", "--period", PERIOD)
    device.agent("policy select", "fixed")
    device.agent("set allocation", "--vm", GREEDY, "--guarantee", 800)
    device.agent("set allocation", "--vm", NEEDY, "--guarantee", 20)
    with competition(device):
        before = measure(device)
        generation, switched = device.stats()["generation"], device.now
        device.agent("policy select", "fair")
        device.until(lambda: device.stats()["generation"] > generation, "a new partition")
        measure(device)  # Until the average of the demand has settled.
        after = measure(device)
    assert device.close() == 0, device.output()

    assert (before[GREEDY]["guarantee"], before[NEEDY]["guarantee"]) == (800, 20)
    assert before[NEEDY]["share"] < 0.25 and before[GREEDY]["share"] > 0.75
    # Both want all there is: the link is divided evenly, and the one that was starved waits for less time.
    for vm in (GREEDY, NEEDY):
        assert 400 <= after[vm]["guarantee"] <= 600 and 0.4 <= after[vm]["share"] <= 0.6, (before, after)
    assert after[NEEDY]["p99"] < before[NEEDY]["p99"], (before, after)

    # To the cycle, from the trace: the first decision comes a period after the policy was switched on.
    def cycles(*options):
        result = run(OUTRIGGER, "trace", tmp_path / "trace", "--json", "--since", switched, "--writes", *options)
        return [json.loads(line)["cycle"] for line in result.stdout.splitlines()]

    commits = cycles("--register", "RM.COMMAND", "--initiator", "hart0")
    # The agent asks for each of the nine policies that there can be, gets the parameters, and sets them: the eleventh command.
    switched_on = cycles("--register", "HOSTIF.DOORBELL")[10]
    assert (PERIOD - 1) * WINDOW <= commits[0] - switched_on <= (PERIOD + 1) * WINDOW
    # Nor does it decide more often.
    assert all(later - earlier >= (PERIOD - 1) * WINDOW for earlier, later in zip(commits, commits[1:]))


def test_a_pinned_share_stays(start):
    device = start("--vfs", "2", machine=MACHINE)
    device.agent("set window", WINDOW)
    device.agent("set allocation", "--vm", GREEDY, "--guarantee", 700, "--pinned")
    with competition(device):
        device.until(lambda: device.stats()["owners"][NEEDY]["guarantee_permille"] > 200, "a decision")
        result = measure(device)
    assert result[GREEDY]["guarantee"] == 700 and result[NEEDY]["guarantee"] <= 300
    assert 0.6 <= result[GREEDY]["share"] <= 0.8


def test_a_limit_holds(start):
    device = start("--vfs", "2", machine=MACHINE)
    device.agent("policy select", "fixed")
    device.agent("set allocation", "--vm", GREEDY, "--limit", 10)
    with competition(device):
        first = device.stats()
        device.until(lambda: device.now > first["cycle"] + PHASE, "a while", cycles=2 * PHASE)
        last = device.stats()
    rates = {
        vm: (moved(last["owners"][vm]) - moved(first["owners"][vm])) * 1000 / (last["cycle"] - first["cycle"]) for vm in (GREEDY, NEEDY)}
    # Bytes per microsecond, each way: reads are held to it, and the few writes come on top.
    assert 8 <= rates[GREEDY] <= 13 and rates[NEEDY] >= 70, rates
