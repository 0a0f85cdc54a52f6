"""A device that is saved under load, killed, and goes on from what was saved."""

import os

from firmware import READY
from harness import FIRMWARE, OUTRIGGER, complaint
from virtio import WRITE_OUT, BlockFunction


def save(device, path):
    path.write_bytes((device.debug / "snapshot").read_bytes())
    return path


def test_a_killed_device_goes_on_from_a_snapshot(start, tmp_path):
    device = start("--vfs", "2")
    device.until(lambda: device.hostif["FIRMWARE"] & 0xff == READY, "firmware")
    payload = os.urandom(32768)
    disk = BlockFunction(device, 1).start()
    disk.write(8, payload)
    disk.submit(WRITE_OUT, 100, payload)
    snapshot = save(device, tmp_path / "busy.snap")
    saved, heartbeat = device.now, device.hostif["HEARTBEAT"]
    assert (device.debug / "snapshot").stat().st_mode & 0o777 == 0o400
    disk.close()
    device.process.kill()
    device.process.wait(30)
    device.close()

    again = start("--restore", snapshot, firmware=None)
    assert again.now < saved + 10_000_000_000 and again.hostif["FIRMWARE"] & 0xff == READY
    again.until(lambda: again.hostif["HEARTBEAT"] > heartbeat, "the firmware's heartbeat", cycles=20_000_000_000)
    assert (again.function / "sriov_numvfs").read_text() == "2\n"
    # The request that was in flight is answered to nobody; what it wrote is on the disk.
    with BlockFunction(again, 1).start() as disk:
        assert disk.read(8, len(payload)) == payload
        assert disk.read(100, len(payload)) == payload


def test_refused_snapshots_say_what_is_wrong(start, tmp_path):
    device = start("--vfs", "1", pace="lockstep")
    snapshot = save(device, tmp_path / "good.snap")
    damaged = bytearray(snapshot.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged.snap").write_bytes(damaged)
    (tmp_path / "mnt").mkdir()

    def refused(path, *options):
        return complaint(OUTRIGGER, "run", "--mount", tmp_path / "mnt", "--restore", path, *options)

    assert "expected a chunk with checksum 0x" in refused(tmp_path / "damaged.snap")
    assert "expected a snapshot, found a file that doesn't begin with 'OUTRSNAP'" in refused(FIRMWARE)
    assert "No such file" in refused(tmp_path / "none.snap")
