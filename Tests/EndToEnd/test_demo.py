"""The demonstration of partitioning, in a short form."""

import re
import xml.etree.ElementTree

from harness import ROOT, run

SVG = "{http://www.w3.org/2000/svg}"


def test_the_time_line_of_a_mixed_load(programs, tmp_path):
    """Everybody moves something, the shares follow, and a second run draws the same picture: all of it is device time."""
    texts, pictures = zip(*(play(tmp_path / name) for name in ("a.svg", "b.svg")))
    assert pictures[0] == pictures[1]
    assert texts[0].replace("a.svg", "") == texts[1].replace("b.svg", "")
    rows = re.findall(r"^vm(\d) .* ([\d.]+) MB +([\d.]+) % +([\d.]+) % +([\d.]+) ms +([\d.]+) ms$", texts[0], re.M)
    assert [row[0] for row in rows] == ["1", "2", "3", "4"]
    for _, moved, least, most, median, worst in rows:
        assert float(moved) > 1 and float(least) < float(most) <= 100 and 0 < float(median) <= float(worst)
    taken = re.search(r"^20 samples, (\d+) decisions taken", texts[0], re.M)
    assert int(taken[1]) > 5
    root = xml.etree.ElementTree.fromstring(pictures[0])
    words = {element.text for element in root.iter(f"{SVG}text")}
    assert {"vm1 latency-critical", "vm2 batch", "vm3 phases", "vm4 bursts of writes"} <= words
    assert {"guaranteed shares of the link", "policy in force", "99th percentile of latency", "device time"} <= words
    # A forecast's band for each virtual machine, and four shares.
    assert len(list(root.iter(f"{SVG}polygon"))) == 8
    width, height = float(root.get("width")), float(root.get("height"))
    for element in root.iter(f"{SVG}path"):
        places = [float(number) for number in re.findall(r"[\d.]+", element.get("d"))]
        assert all(0 <= x <= width for x in places[::2]) and all(0 <= y <= height for y in places[1::2])


def play(path):
    result = run(ROOT / "tools/demo/partitioning", "--seconds", "0.4", "--output", path, cwd=ROOT)
    return result.stdout, path.read_text()
