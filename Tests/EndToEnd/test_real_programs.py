"""lspci and setpci of Debian, unmodified, on the mounted device."""

import os
import pathlib

from conftest import BDF, ROOT, run

GOLDEN = pathlib.Path(__file__).parent / "golden"


def golden(name, text):
    """Compares with a golden file; OUTRIGGER_REFRESH=1 writes it anew."""
    path = GOLDEN / name
    if os.environ.get("OUTRIGGER_REFRESH"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), f"{path.relative_to(ROOT)} differs; OUTRIGGER_REFRESH=1 tools/test --filter golden renews it"


def test_lspci_golden(start):
    device = start("--vfs", "2", "--pace", "lockstep")
    result = device.lspci("-vvv", "-nn", "-k", "-xxxx")
    assert result.stderr == ""
    assert "!!!" not in result.stdout and "<chain" not in result.stdout and "downgraded" not in result.stdout
    golden("lspci.txt", result.stdout)


def test_lspci_tree_golden(start):
    device = start("--vfs", "2", "--pace", "lockstep")
    result = device.lspci("-t", "-nn")
    assert result.stderr == ""
    golden("lspci-tree.txt", result.stdout)


def test_lspci_shows_every_function(device):
    lines = device.lspci("-n").stdout.splitlines()
    assert sum("1af4:" in line for line in lines) == 5, "the physical function and four virtual functions"
    verbose = device.lspci("-vvv").stdout
    for capability in ("Power Management", "Express", "MSI-X", "Vendor Specific Information"):
        assert capability in verbose
    for capability in ("Advanced Error Reporting", "SR-IOV", "Alternative Routing-ID", "Address Translation Service", "Device Serial Number"):
        assert capability in verbose


def test_setpci_sizes_a_bar(device):
    before = device.setpci("-s", BDF, "BASE_ADDRESS_0").stdout.strip()
    device.setpci("-s", BDF, "BASE_ADDRESS_0=ffffffff")
    assert device.setpci("-s", BDF, "BASE_ADDRESS_0").stdout.strip() == "ffff0000", "64 KiB"
    device.setpci("-s", BDF, f"BASE_ADDRESS_0={before}")
    assert device.setpci("-s", BDF, "BASE_ADDRESS_0").stdout.strip() == before


def test_setpci_bus_master_reaches_the_device(start):
    device = start("--vfs", "1")
    workload = ROOT / "build/workloads/backup.iolog"
    device.agent("replay", workload, "--vf", 1, "--limit", 20)
    # A device that may not master the bus moves no byte: its queue stays unserved, and the IOMMU counts a fault.
    virtual = os.readlink(device.function / "virtfn0").rsplit("/", 1)[-1]
    before = metric(device, "outrigger_iommu_faults_total")
    process = run("sh", "-c", f"""
        setpci -A linux-sysfs -O sysfs.path={device.mount}/sys/bus/pci -s {virtual} COMMAND=0:4
        setpci -A linux-sysfs -O sysfs.path={device.mount}/sys/bus/pci -s {virtual} COMMAND""")
    assert int(process.stdout.split()[-1], 16) & 4 == 0
    notify(device, virtual)
    assert metric(device, "outrigger_iommu_faults_total") > before


def metric(device, name):
    """The sum of a metric over its labels."""
    lines = (device.debug / "metrics").read_text().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def notify(device, virtual):
    """Rings queue 0's doorbell."""
    with device.bar(0, virtual) as bar:
        os.pwrite(bar, b"\0\0", 0x3000)
