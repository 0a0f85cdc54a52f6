"""A stock Linux guest uses virtual functions by vhost-user, with its kernel's own virtio drivers."""

import os
import pathlib
import re
import socket
import struct
import tempfile

import pytest

from guest import Guest
from harness import OUTRIGGER, ROOT, Opened, register_map, run

MIB = 1 << 20


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="outrigger-guest-") as name:
        yield pathlib.Path(name)


def disk(path: pathlib.Path, size: int = 64 * MIB) -> pathlib.Path:
    path.touch()
    os.truncate(path, size)
    return path


def machine(path: pathlib.Path, queues: int = 1) -> str:
    return f"virtual_functions:\n  disks:\n    - {{vf: 1, file: {path}, queues: {queues}, serial: guest-disk}}"


def block(socket: pathlib.Path, queues: int = 1, packed: bool = False):
    """QEMU's options for a disk that comes back when its back-end does."""
    return ["-chardev", f"socket,id=disk,path={socket},reconnect=1",
            "-device", f"vhost-user-blk-pci,chardev=disk,num-queues={queues},packed={'on' if packed else 'off'}"]


def killed(device) -> None:
    device.process.kill()
    device.process.wait()
    device.close()


def test_a_guest_makes_a_file_system_and_finds_its_files_again(start, folder):
    image, socket = disk(folder / "disk"), folder / "socket"
    device = start("--vfs", "2", "--vhost-user", f"vf1={socket}", machine=machine(image, queues=2))
    script = """set -e
        cat /sys/block/vda/serial; echo
        echo "queues: $(ls /sys/block/vda/mq | wc -l)"
        mkfs.ext4 -q /dev/vda
        mount /dev/vda /mnt
        head -c 3000000 /dev/urandom > /mnt/file
        sum=$(md5sum < /mnt/file)
        umount /mnt
        echo 3 > /proc/sys/vm/drop_caches
        mount -o discard /dev/vda /mnt
        test "$(md5sum < /mnt/file)" = "$sum"
        rm /mnt/file
        echo content > /mnt/small
        umount /mnt
        e2fsck -fn /dev/vda
        """
    with Guest(folder, script, *block(socket, queues=2), processors=2) as guest:
        guest.wait_for("guest-disk")
        assert guest.wait_for("queues:").endswith("2")
        assert "format: split" in (device.files / "queues/fn1/q0/state").read_text()
        # The function is the guest's: a reset by somebody else's driver doesn't reach it, and is reported.
        refused = device.virtual(1) / "aer_dev_nonfatal"
        before = refused.read_text()
        with Opened(device.virtual(1) / "resource0") as registers:
            os.pwrite(registers, b"\0", register_map("VIRTIO")["DEVICE_STATUS"][0])
        assert "DRIVER_OK" in (device.files / "queues/fn1/q0/state").read_text()
        assert refused.read_text() != before
        guest.wait_until_off()
    # What the guest wrote is in the file, and what it did was counted as the virtual machine's.
    assert b"content\n" in image.read_bytes()
    run("/sbin/e2fsck", "-fn", image)
    owner = device.stats()["owners"][1]
    assert owner["writes"] > 0 and owner["written_bytes"] >= 3_000_000, owner
    assert "DRIVER_OK" not in (device.files / "queues/fn1/q0/state").read_text()


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_nothing_acknowledged_is_lost_when_the_emulator_is_killed_during_writes(start, folder, packed):
    image, socket = disk(folder / "disk"), folder / "socket"
    options = ("--vfs", "1", "--vhost-user", f"vf1={socket}")
    device = start(*options, machine=machine(image))
    script = """set -e
        mkfs.ext4 -q /dev/vda
        mount /dev/vda /mnt
        ( until test -e /stop; do dd if=/dev/urandom of=/mnt/load bs=64k count=64 conv=fsync; done ) 2>/dev/null &
        for i in $(seq 1 60); do
            yes "line of file $i" | head -c 20000 | dd of=/mnt/file$i conv=fsync 2>/dev/null
            echo "acknowledged $i"
        done
        touch /stop
        wait
        umount /mnt
        echo 3 > /proc/sys/vm/drop_caches
        e2fsck -fn /dev/vda
        mount -o ro /dev/vda /mnt
        for i in $(seq 1 60); do
            yes "line of file $i" | head -c 20000 | cmp - /mnt/file$i
        done
        umount /mnt
        """
    snapshot = folder / "snapshot"
    with Guest(folder, script, *block(socket, packed=packed)) as guest:
        for count in (8, 25, 45):
            guest.wait_for(f"acknowledged {count}")
            assert f"format: {'packed' if packed else 'split'}" in (device.files / "queues/fn1/q0/state").read_text()
            snapshot.write_bytes((device.debug / "snapshot").read_bytes())
            killed(device)
            # One that begins anew, or one that goes on from a snapshot, in which the guest's memory isn't: either waits for the guest.
            if count == 25:
                device = start("--restore", snapshot, *options[2:], firmware=None)
            else:
                device = start(*options, machine=machine(image))
        guest.wait_until_off()
    run("/sbin/e2fsck", "-fn", image)
    assert "ended:" not in device.output(), device.output()


PROTOCOL_FEATURES = {
    "MQ": 0, "LOG_SHMFD": 1, "RARP": 2, "REPLY_ACK": 3, "MTU": 4, "SLAVE_REQ": 5, "CROSS_ENDIAN": 6, "CRYPTO_SESSION": 7, "PAGEFAULT": 8,
    "CONFIG": 9, "SLAVE_SEND_FD": 10, "HOST_NOTIFIER": 11, "INFLIGHT_SHMFD": 12, "RESET_DEVICE": 13, "INBAND_NOTIFICATIONS": 14,
    "CONFIGURE_MEM_SLOTS": 15, "STATUS": 16}


def test_the_documentation_has_the_protocols_features(start, folder):
    paths = {"vf1": folder / "disk", "pf1": folder / "network"}
    start("--vfs", "1", *(word for name, path in paths.items() for word in ("--vhost-user", f"{name}={path}")),
          machine="physical_functions:\n  - {function: 1, kind: net, backend: loop}")
    (row,) = re.findall(r"^\| protocol features \| (.*) \|$", (ROOT / "docs/vhost-user.md").read_text(), re.M)
    of_all, of_disks = (set(re.findall(r"`(\w+)`", part)) for part in row.split("for disks"))
    for name, expected in (("vf1", of_all | of_disks), ("pf1", of_all)):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(paths[name]))
            # VHOST_USER_GET_PROTOCOL_FEATURES: request, flags, bytes of the payload.
            connection.sendall(struct.pack("<III", 15, 1, 0))
            answer = connection.recv(20, socket.MSG_WAITALL)
        assert struct.unpack("<IIIQ", answer) == (15, 5, 8, sum(1 << PROTOCOL_FEATURES[feature] for feature in expected))


@pytest.mark.parametrize("second", ["vf1=/elsewhere", "vf2=/here"])
def test_a_function_has_one_socket_and_a_socket_one_function(folder, second):
    result = run(OUTRIGGER, "run", "--mount", folder, "--vhost-user", "vf1=/here", "--vhost-user", second, check=False)
    assert result.returncode == 64 and result.stdout == ""
    assert f"--vhost-user: a socket of its own for each function expected, 'vf1=/here' and '{second}' found" in result.stderr


def frames(device, function: int) -> tuple[int, int]:
    """Frames that a network function's driver has sent, and received."""
    rows = dict(line.split(": ") for line in (device.debug / f"functions/fn{function}/network").read_text().splitlines())
    assert rows["dropped"] == rows["filtered"] == rows["transmit errors"] == "0", rows
    return int(rows["transmitted"]), int(rows["received"])


def test_two_network_functions_of_a_guest_talk_through_the_devices_switch(start, folder):
    description = "\n".join(["physical_functions:"] + [f"  - {{function: {n}, kind: net, backend: switch}}" for n in (1, 2)])
    sockets = {n: folder / f"socket{n}" for n in (1, 2)}
    options = [word for n, path in sockets.items() for word in ("--vhost-user", f"pf{n}={path}")]
    device = start("--vfs", "0", *options, machine=description)
    # The second card is in a network namespace of its own. IPv6 and ARP would send when they like.
    script = """set -e
        quiet='for file in all default; do echo 1 > /proc/sys/net/ipv6/conf/$file/disable_ipv6; done'
        eval "$quiet"
        unshare -n sh -c "$quiet; echo ready > /ready; sleep 100000" &
        there="nsenter -t $! -n"
        until test -e /ready; do usleep 10000; done
        ip link set eth1 netns $!
        $there ip addr add 10.0.0.2/24 dev eth1
        ip addr add 10.0.0.1/24 dev eth0
        mkdir /served
        head -c 2000000 /dev/urandom > /served/file
        $there httpd -h /served

        echo '/eth/ { print $11, $3 }' > /here.awk
        echo '/eth/ { print $3, $11 }' > /there.awk
        here() { awk -f /here.awk /proc/net/dev; }
        work() {
            $there ip link set eth1 up
            ip link set eth0 up
            $there arp -s 10.0.0.1 52:54:00:00:00:01
            arp -s 10.0.0.2 52:54:00:00:00:02
            until ping -q -c 1 -W 1 10.0.0.2; do :; done
            ping -q -c 10 -i 0.05 10.0.0.2
            wget -q -O /received http://10.0.0.2/file
            cmp /served/file /received
            until test "$(here)" = "$($there awk -f /there.awk /proc/net/dev)"; do usleep 10000; done
            echo "counted $(here)"
            ip link set eth0 down
            $there ip link set eth1 down
        }
        work
        read line
        work
        """
    cards = [word for n, path in sockets.items() for word in (
        "-chardev", f"socket,id=net{n},path={path},reconnect=1", "-netdev", f"vhost-user,id=net{n},chardev=net{n}",
        # Without MSI-X: QEMU 7.2 ends with it here when there is no KVM.
        "-device", f"virtio-net-pci,netdev=net{n},mac=52:54:00:00:00:0{n},vectors=0")]
    with Guest(folder, script, *cards) as guest:
        sent, received = map(int, guest.wait_for("counted ").split()[1:])
        assert sent > 10 and received > 1000
        assert frames(device, 65) == (sent, received) and frames(device, 66) == (received, sent)
        killed(device)
        device = start("--vfs", "0", *options, machine=description)
        guest.say("go on")
        after = [int(count) for count in guest.wait_for("counted ").split()[1:]]
        guest.wait_until_off()
    # A new device counts from zero.
    assert frames(device, 65) == (after[0] - sent, after[1] - received)
    assert frames(device, 66) == (after[1] - received, after[0] - sent)
