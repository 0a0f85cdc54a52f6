"""Programs of Debian, unmodified, on the mounted device: lspci and setpci from outside, whatever one likes inside of `outrigger exec`."""

import os
import pathlib

import pytest

from harness import BDF, OUTRIGGER, compare, complaint, execute

FUNCTIONS = 7  # host bridge, root port, physical function, four virtual functions


def without_modules(text):
    """What the host's own kernel would load is none of the device's business."""
    return "".join(line for line in text.splitlines(keepends=True) if "Kernel modules:" not in line)


def test_lspci_golden(start):
    device = start("--vfs", "2", pace="lockstep")
    # Numbers alone: names are what the host's pci.ids says.
    text = device.lspci("-vvv", "-n", "-k", "-xxxx")
    for warning in ("!!!", "<chain", "downgraded", "<unassigned>", "<ignored>", "<access denied>", "unknown"):
        assert warning not in text, warning
    compare("lspci.txt", without_modules(text))


def test_lspci_tree_golden(start):
    compare("lspci-tree.txt", start("--vfs", "2", pace="lockstep").lspci("-t", "-n"))


def test_lspci_shows_every_function(device):
    lines = device.lspci("-n").splitlines()
    assert len(lines) == FUNCTIONS and sum("1af4:" in line for line in lines) == 5
    verbose = device.lspci("-vvv", "-s", BDF)
    for capability in ("Power Management", "Express", "MSI-X", "Vendor Specific Information", "Advanced Error Reporting", "SR-IOV",
                       "Alternative Routing-ID", "Address Translation Service", "Device Serial Number"):
        assert capability in verbose


@pytest.mark.parametrize("bar, sized", [(0, "ffff0000"), (2, "ff00000c"), (4, "ffffc000")])
def test_setpci_sizes_a_bar(device, bar, sized):
    register = f"BASE_ADDRESS_{bar}"
    before = device.setpci("-s", BDF, register)
    device.setpci("-s", BDF, f"{register}=ffffffff")
    after = device.setpci("-s", BDF, register)
    device.setpci("-s", BDF, f"{register}={before}")
    assert after == sized and device.setpci("-s", BDF, register) == before
    assert int(sized, 16) & ~15 == -(device.function / f"resource{bar}").stat().st_size & 0xffff_ffff


def test_setpci_sets_up_virtual_functions(device):
    """NumVFs and VF Enable in the SR-IOV capability, as a driver would."""
    device.set_virtual_functions(0)
    device.setpci("-s", BDF, "ECAP_SRIOV+10.w=2")
    device.setpci("-s", BDF, "ECAP_SRIOV+8.w=0009:0009")
    assert len(device.lspci("-n").splitlines()) == FUNCTIONS - 2
    device.set_virtual_functions(4)
    assert len(device.lspci("-n").splitlines()) == FUNCTIONS


# outrigger exec


def test_lspci_in_the_devices_world_sees_the_same(device):
    inside = execute(device, "lspci", "-vvv", "-nn", "-k", "-xxxx").stdout
    assert inside == device.lspci("-vvv", "-nn", "-k", "-xxxx") and inside.count("\n") > 100


def test_the_devices_world_is_private(device):
    def devices():
        folder = pathlib.Path("/sys/bus/pci/devices")
        return sorted(os.listdir(folder)) if folder.exists() else []

    before = devices(), sorted(os.listdir("/dev"))
    inside = execute(device, "ls", "/sys/bus/pci/devices").stdout.split()
    assert len(inside) == FUNCTIONS and BDF in inside
    assert (devices(), sorted(os.listdir("/dev"))) == before


def test_device_nodes_in_the_devices_world(device):
    names = {f"uio{number}" for number in range(FUNCTIONS - 2)}
    assert names <= set(execute(device, "ls", "/dev").stdout.split())
    assert set(execute(device, "ls", "/sys/class/uio").stdout.split()) == names
    assert execute(device, "cat", "/sys/class/uio/uio0/name").stdout == "uio_pci_generic\n"
    assert execute(device, "sh", "-c", "echo ok >/dev/null && head -c 4 /dev/zero | wc -c").stdout == "4\n", "the rest of /dev is there"


def test_setpci_in_the_devices_world_reaches_the_device(device):
    execute(device, "setpci", "-s", BDF, "CACHE_LINE_SIZE=10")
    assert device.setpci("-s", BDF, "CACHE_LINE_SIZE") == "10"
    execute(device, "setpci", "-s", BDF, "CACHE_LINE_SIZE=00")


def test_the_programs_exit_code_is_that_of_exec(device):
    for code in (0, 7, 255):
        assert execute(device, "sh", "-c", f"exit {code}", check=False).returncode == code
    assert execute(device, "sh", "-c", "kill -9 $$", check=False).returncode == -9


def test_mistakes_of_exec(device, tmp_path):
    assert "nothing-like-this: No such file" in complaint(OUTRIGGER, "exec", "--mount", device.mount, "--", "nothing-like-this")
    assert "no mounted device" in complaint(OUTRIGGER, "exec", "--mount", tmp_path, "--", "true")
    assert "none: No such file" in complaint(OUTRIGGER, "exec", "--mount", tmp_path / "none", "--", "true")
    assert "a program expected" in complaint(OUTRIGGER, "exec", "--mount", device.mount)
