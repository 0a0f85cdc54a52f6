"""What people and collectors see of a running device: the live views, and Prometheus text as its own parser reads it."""

import json
import re
import struct

import pytest
from prometheus_client.parser import text_string_to_metric_families

import admin
from admin import AdminQueue, command
from harness import AGENT, BDF, OUTRIGGER, WORKLOADS, complaint, run


REPORT_BASELINE = 0x0010


@pytest.fixture
def loaded(start):
    """A device on which two virtual machines have done something, and several intervals of the analysis are over."""
    device = start("--vfs", "2", pace="lockstep")
    device.agent("set analysis", "--windows", 100)
    for vf, workload in ((1, "backup"), (2, "database")):
        device.replay(WORKLOADS / f"{workload}.iolog", "--vf", vf, "--limit", 1500)
    # Owners are analysed one in a window, each when its interval is over.
    for _ in range(3):
        device.advance(100_000_000)
    return device


def page(device, *arguments):
    return json.loads(device.agent("watch", "--once", "--json", *arguments).stdout)


def test_watch_shows_what_the_device_counted(loaded):
    shown = page(loaded)
    assert shown["device"] == BDF and shown["policy"] == "fair" and shown["intervals"] >= 3
    assert shown["busy_permille"].keys() == {"cores", "link_to_device", "link_to_host", "fabric"}
    owners = {owner["owner"]: owner for owner in shown["owners"]}
    counted = {f"vm{owner['owner']}": owner for owner in loaded.stats()["owners"] if owner["reads"]}
    assert owners.keys() == counted.keys() == {"vm1", "vm2"}
    for name, owner in owners.items():
        requests = sum(counted[name][kind] for kind in ("reads", "writes", "others"))
        assert owner["requests_per_second"] == pytest.approx(requests / (shown["cycle"] / 1e9), rel=1e-4)
        assert 0 < owner["p50_cycles"] <= owner["p99_cycles"]
        analysis = owner["analysis"]
        assert analysis["bottleneck"] in ("nothing", "cores", "link to device", "medium", "link to host", "memory")
        for metric in analysis["metrics"].values():
            assert metric["low"] <= metric["expected"] <= metric["high"]
        assert owner["component"]["at"] == "device" and owner["has"]["weight"] >= 1


def test_watch_for_people(loaded):
    lines = loaded.agent("watch", "--once", "--vm", 1).stdout.splitlines()
    assert lines[0].startswith(BDF) and "policy fair" in lines[0] and lines[1].startswith("busy: cores ")
    assert "fair selected: " in lines[2]
    assert lines[3].split()[:3] == ["owner", "share", "cores"] and lines[4].startswith("vm1") and lines[5].startswith("vm2")
    assert "-- vm1" in lines and any(re.match(r"waits  for \w", line) for line in lines)
    assert not any("\x1b" in line for line in lines)
    # Page after page: what was decided in between stands below.
    loaded.agent("set allocation", "--vm", 1, "--guarantee", 300, "--pinned")
    assert any(line.startswith("vm1    30.0%") for line in loaded.agent("watch", "--once").stdout.splitlines())
    pages = loaded.agent("watch", "--count", 3, "--interval", 0.01, "--sort", "rate").stdout.split("\n\n")
    assert len(pages) == 3 and all(text.startswith(BDF) for text in pages)
    assert len(loaded.agent("watch", "--json", "--count", 2, "--interval", 0.01).stdout.splitlines()) == 2


@pytest.mark.parametrize("words", [["--interval", "0"], ["--count", "0"], ["--once", "--count", "2"], ["--vm", "65"], ["--sort", "colour"]])
def test_wrong_options(device, words):
    result = run(AGENT, "watch", "--device", device.function, *words, check=False)
    assert result.returncode == 64 and result.stdout == ""


def test_watch_on_a_terminal(loaded, terminal):
    terminal.start(AGENT, "watch", "--device", loaded.function, "--interval", "0.2", width=80, height=24)
    screen = terminal.until("q quit").splitlines()
    assert screen[0].startswith(BDF) and screen[3].startswith("owner") and len(screen) <= 24 and screen[23].startswith("q quit")
    assert "before" not in "\n".join(screen), "the page has the whole screen"
    terminal.until("-- vm1")
    terminal.type("Down")
    terminal.until("-- vm2")
    terminal.type("s")
    terminal.until("s sort: share")
    # What is decided while one looks on.
    loaded.agent("set allocation", "--vm", 2, "--guarantee", 123, "--pinned")
    terminal.until("-> 12.3%")
    for width, height in ((40, 12), (120, 40), (80, 24)):
        terminal.resize(width, height)

        def fits(screen):
            lines = screen.rstrip("\n").split("\n")
            return (len(lines) == height and lines[0].startswith(BDF) and lines[-1].startswith("q quit")
                    and all(len(line) <= width for line in lines))

        terminal.wait(fits, f"no page of {width}x{height}")
    terminal.type("q")
    assert "q quit" not in terminal.until("before"), "the screen is as it was"


def test_analysis(loaded):
    blocks = loaded.agent("analysis").stdout.split("\n\n")
    assert re.fullmatch(r"interval 0\.100 s, \d+ so far; long: 10 intervals", blocks[0])
    assert [block.splitlines()[0] for block in blocks[1:]] == ["-- vm1", "-- vm2"]
    shown = {owner["owner"]: owner["analysis"] for owner in page(loaded)["owners"]}
    for block in blocks[1:]:
        lines = block.splitlines()
        analysis = shown[lines[0][3:]]
        assert lines[1].startswith("has    share ") and f"for {analysis['bottleneck']}" in lines[2] and analysis["pattern"] in lines[2]
        assert lines[4].split() == ["a", "second", "now", "next", "from", "to", "then", "normal"]
        assert [line.split()[0] for line in lines[5:8]] == ["requests", "read", "written"]
        trusted, intervals = re.match(r"normal trusted to ([\d.]+)%, \d+ of (\d+) intervals were not", lines[8]).groups()
        assert 0 < float(trusted) <= 100 and int(intervals) >= 1


def test_the_host_has_a_baseline_too(start):
    """The host agent's own measurements, one after the other, and then one that is not normal."""
    device = start("--vfs", "1", pace="lockstep")
    assert "host" not in [owner["owner"] for owner in page(device)["owners"]]
    device.agent("baseline", "--interval", 0.02, "--count", 3)
    (host,) = page(device)["owners"]
    reported = host["reported"]
    # Three reports of at most 1/50 of the confidence that one of a second has.
    assert 0 < reported["confidence_permille"] <= 4
    assert reported["memory"]["latest"] == pytest.approx(reported["memory"]["normal"], rel=0.1) and reported["memory"]["latest"] > 1 << 20
    with AdminQueue(device) as queue:
        def report(processors, memory=4 << 20):
            data = struct.pack("<IIIIIIIBBBB", 1000 * processors, memory, 100, 100, 8, 16 << 20, 1000, 1, 0, 0, 0)
            assert queue.send(command(REPORT_BASELINE, data=data), room=8)[0] == admin.OK

        for _ in range(20):
            report(processors=1)
        report(processors=8, memory=6 << 20)
    (host,) = page(device)["owners"]
    figures = host["reported"]
    assert figures["confidence_permille"] > 500 and figures["processors"]["latest"] == pytest.approx(8, rel=0.01)
    assert [name for name, figure in figures.items() if name != "confidence_permille" and figure["anomalous"]] == ["processors"]
    text = device.agent("analysis").stdout
    assert re.search(r"^reports  processors 8\.0 \(1\.\d\)!, memory 6\.\dGB \(4\.\dGB\), ", text, re.M), text
    anomalies = labelled(families(device.agent("metrics").stdout)["outrigger_reported_anomaly"])
    assert [dict(key)["figure"] for key, value in anomalies.items() if value] == ["processors"]


# Prometheus


def families(text):
    """The families by name, checked against the conventions of the format and of names (prometheus.io/docs/practices/naming)."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.name not in found, f"{family.name} is there twice"
        assert re.fullmatch(r"outrigger_[a-z]+(_[a-z]+)*", family.name) and family.documentation.endswith(".")
        assert family.type in ("counter", "gauge", "histogram"), family
        assert family.samples, f"{family.name} has no samples"
        seen = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
        assert len(set(seen)) == len(seen), f"{family.name}: a sample is there twice"
        for sample in family.samples:
            suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}[family.type]
            assert sample.name in [family.name + suffix for suffix in suffixes], sample
            assert sample.value >= 0 and "total" not in family.name.split("_"), sample
        # Base units only.
        assert not re.search(r"_(ms|us|ns|milliseconds|microseconds|kib|mib|kilobytes|megabytes|percent|permille)(_|$)", family.name)
        if family.name.endswith("_ratio"):
            assert all(0 <= sample.value <= 1 for sample in family.samples), family
        found[family.name] = family
    return found


def labelled(family):
    return {tuple(sorted(sample.labels.items())): sample.value for sample in family.samples}


def test_metrics_of_the_mounted_tree(loaded):
    found = families((loaded.debug / "metrics").read_text())
    stats = loaded.stats()["owners"]
    requests = labelled(found["outrigger_requests"])
    for vm in (1, 2):
        for operation, kind in (("read", "reads"), ("write", "writes"), ("other", "others")):
            assert requests[("operation", operation), ("owner", f"vm{vm}")] == stats[vm][kind]
        rows = [sample for sample in found["outrigger_request_latency_seconds"].samples if sample.labels["owner"] == f"vm{vm}"]
        buckets = [sample for sample in rows if sample.name.endswith("_bucket")]
        total = sum(stats[vm][kind] for kind in ("reads", "writes", "others"))
        assert [bucket.value for bucket in buckets] == sorted(bucket.value for bucket in buckets)
        assert buckets[-1].labels["le"] == "+Inf" and buckets[-1].value == total
        mean = next(row.value for row in rows if row.name.endswith("_sum")) / total
        assert 1e-6 < mean < 1, "seconds"
    cycles = labelled(found["outrigger_device_cycles"])[()]
    for resource, busy in labelled(found["outrigger_resource_busy_cycles"]).items():
        assert 0 <= busy <= cycles * labelled(found["outrigger_resource_units"])[resource]


def test_accesses_of_host_programs_are_counted(device):
    def counts():
        family = families((device.debug / "metrics").read_text())["outrigger_host_accesses"]
        return {key: value for key, value in labelled(family).items() if ("bar", "0") in key and ("function", BDF) in key}

    before = counts() if device.hostif["MAGIC"] else {}
    for _ in range(5):
        assert device.hostif["MAGIC"] == 0x5254_554F
    device.hostif["SCRATCH[0]"] = 1
    gained = {dict(key)["operation"]: value - before.get(key, 0) for key, value in counts().items()}
    assert gained == {"read": 5, "write": 1}


def test_metrics_of_the_agent(loaded):
    """What an owner has and has done is called alike, and is alike, in both."""
    agent, tree = families(loaded.agent("metrics").stdout), families((loaded.debug / "metrics").read_text())
    common = agent.keys() & tree.keys()
    assert common == {f"outrigger_{name}" for name in (
        "requests", "request_bytes", "link_guarantee_ratio", "link_weight", "link_limit_bytes_per_second", "service_cores",
        "accelerator_slots", "memory_granted_bytes")}
    for name in common:
        shown = {key: value for key, value in labelled(tree[name]).items() if ("owner", "host") not in key}
        assert labelled(agent[name]) == shown, name
        assert agent[name].documentation == tree[name].documentation
    policies = labelled(agent["outrigger_policy_in_force"])
    assert [dict(key)["policy"] for key, value in policies.items() if value == 1] == ["fair"]
    bottlenecks = [key for key, value in labelled(agent["outrigger_bottleneck"]).items() if value == 1]
    assert sorted(dict(key)["owner"] for key in bottlenecks) == ["vm1", "vm2"]
    forecasts = labelled(agent["outrigger_interval_forecast_bytes"])
    for (bound, operation, owner), value in forecasts.items():
        if bound[1] == "expected":
            assert forecasts[("bound", "low"), operation, owner] <= value <= forecasts[("bound", "high"), operation, owner]


# The emulator


def test_top(start):
    device = start("--vfs", "1")
    device.replay(WORKLOADS / "backup.iolog", "--limit", 500)
    shown = json.loads(run(OUTRIGGER, "top", device.mount, "--once", "--json", "--interval", 1).stdout)
    assert shown["pace"].startswith("realtime") and shown["wall_seconds"] >= 1
    assert shown["cycles"] > 0 and shown["device_seconds"] == pytest.approx(shown["cycles"] / 1e9, abs=1e-3)
    assert shown["harts"][0]["instructions"] > 0
    assert {"cores", "link to device", "link to host", "fabric"} == shown["busy"].keys()
    assert {(bar["function"], bar["bar"]) for bar in shown["bars"]} >= {(BDF, "0")}
    # All cycles of both harts are somebody's: nearly all that isn't waiting is a task's.
    tasks = shown["tasks"]
    assert {"sampleWindow", "analyseWorkload"} <= tasks.keys()
    assert tasks.get("other", 0) <= 0.1 * sum(tasks.values())
    assert tasks.get("other", 0) <= 0.02 * shown["cycles"]
    # The profile was this program's, and is gone with it.
    assert (device.debug / "profile").read_text() == ""
    text = run(OUTRIGGER, "top", device.mount, "--once", "--interval", 0.1).stdout
    assert text.splitlines()[1].startswith("hart 0 ") and "sampleWindow" in text and "\x1b" not in text
    assert "no mounted device" in complaint(OUTRIGGER, "top", device.folder.name, "--once")


def test_top_leaves_somebody_elses_profile_alone(start):
    device = start("--vfs", "0", pace="lockstep")
    (device.debug / "profile").write_text("start 997\n")
    device.advance(1_000_000)
    shown = json.loads(run(OUTRIGGER, "top", device.mount, "--once", "--json", "--interval", 0.01).stdout)
    # Nobody lets time pass here, and the look doesn't either.
    assert shown["cycles"] == 0 and shown["tasks"] == {} and shown["waiting_cycles"] == 0
    assert (device.debug / "profile").read_text() != ""
