"""Proves that a busy disk is not a late one: bulk copies, random writes, a resync and a convergence on legs of an
ordinary disk's speed, and what a client waits for when one of them freezes under that load.
The legs answer one request at a time, each after a fixed delay."""

import json
import time

from case import OVER_S, VolumeTest, main
from rig import MIB, SLOWNESS

SIZE = 256 * MIB
SETTINGS = {"read_deadline": "auto", "write_deadline": "auto", "flush_deadline": "auto"}
SAMPLE_S = 0.2


class Busy(VolumeTest):
    def disk(self, name, delay):
        return self.fuse_leg(name, filters=["noparallel", "delay"],
                             parameters=["serialize=requests", f"rdelay={delay}", f"wdelay={delay}"])

    def disks(self, delays, size=SIZE, **settings):
        volume = self.rig.volume([self.disk(name, delay) for name, delay in delays.items()], size=size,
                                 **{**SETTINGS, **settings})
        for leg in volume.legs:
            leg.prepare(size)
        volume.write_conf()
        self.rig.ctl("create", "--assume-clean", volume.conf)
        server = volume.serve(threads=64)
        volume.wait_all_in_sync()
        return volume, server

    def fio(self, server, seconds, rw, bs):
        return self.rig.spawn(["fio", "--name=busy", "--ioengine=nbd", f"--uri={server.uri}", f"--rw={rw}",
                               f"--bs={bs}", "--iodepth=64", "--time_based", f"--runtime={seconds}",
                               f"--size={SIZE}", "--output-format=json",
                               f"--output={self.rig.folder}/fio.json"])

    def watch(self, volume, process, seconds, at_s=None, then=None):
        """In how many of its samples every leg is in sync, and how many there were, until the load has ended."""
        began, whole, samples = time.monotonic(), 0, 0
        while process.poll() is None:
            self.assertLess(time.monotonic() - began, seconds + 60 * SLOWNESS, "the load does not end")
            if then is not None and time.monotonic() - began >= at_s:
                then()
                then = None
            status = volume.status()
            self.assertIn(status["state"], ("healthy", "degraded"), json.dumps(status))
            whole += status["state"] == "healthy"
            samples += 1
            time.sleep(SAMPLE_S)
        self.assertEqual(0, process.returncode)
        return whole, samples

    def longest_s(self):
        """Of the load's requests; and what 64 of them wait for each other is in it."""
        with open(self.rig.folder / "fio.json") as file:
            (job,) = json.load(file)["jobs"]
        self.assertEqual(0, job["error"])
        self.assertGreater(job["write"]["total_ios"], 100)
        return job["write"]["lat_ns"]["max"] / 1e9

    def left(self, volume):
        events = self.rig.ctl("--control", volume.control, "events", volume.name)
        return [line for line in events.splitlines() if "in-sync -> " in line or "catching-up -> late" in line]

    def assert_stays_whole(self, volume, server, rw, bs, seconds=6):
        whole, samples = self.watch(volume, self.fio(server, seconds, rw, bs), seconds)
        self.assertEqual([], self.left(volume))
        self.assertGreaterEqual(whole, 0.98 * samples)
        server.stop()
        volume.assert_legs_equal()

    def test_a_bulk_copy(self):
        """Proves that a file that is copied to two equal disks costs none its place."""
        self.assert_stays_whole(*self.disks({"a": "1ms", "b": "1ms"}), rw="write", bs="1M")

    def test_random_writes(self):
        """Proves the same of small random writes on disks of 6 ms a request, 64 at a time."""
        self.assert_stays_whole(*self.disks({"a": "6ms", "b": "6ms"}), rw="randwrite", bs="4k")

    def test_unequal_legs(self):
        """Proves that the slower leg sets the pace, and stays."""
        self.assert_stays_whole(*self.disks({"a": "1ms", "b": "8ms"}), rw="randwrite", bs="64k")

    def test_a_short_fixed_deadline(self):
        """Proves that a deadline that is short for the disk costs throughput and not the mirror."""
        self.assert_stays_whole(*self.disks({"a": "6ms", "b": "6ms"}, write_deadline="150ms"),
                                rw="randwrite", bs="4k")

    def test_a_leg_freezes_under_load(self):
        """Proves that a frozen leg leaves in its time whatever waits for it, and returns."""
        volume, server = self.disks({"a": "6ms", "b": "6ms"}, write_deadline="300ms", read_deadline="300ms")
        frozen = volume.legs[1]
        self.watch(volume, self.fio(server, 10, "randwrite", "4k"), 10, at_s=3, then=frozen.freeze)
        # What it had, its timeout, the grace; the record; and 64 requests of 6 ms that waited their turn.
        bound = 0.3 * (0.5 + 1 + 0.25) + 2 * 64 * 0.006
        self.assertLessEqual(self.longest_s(), bound + 4 * OVER_S)
        self.assertEqual(1, len(self.left(volume)))
        frozen.thaw()
        volume.wait_all_in_sync(120 * SLOWNESS)
        server.stop()
        volume.assert_legs_equal()

    def test_a_resync_alone(self):
        """Proves that a steady leg is caught up at its speed, and its own copies never throw it out."""
        delay, size = 0.008, 64 * MIB
        volume, server = self.disks({"a": "0", "b": f"{int(delay * 1000)}ms"}, size=size)
        self.rig.ctl("--control", volume.control, "leg", "fail", volume.name, "b")
        handle = server.connect()
        for extent in range(size // MIB):
            handle.pwrite(b"n" * 4096, extent * MIB)
        handle.flush()
        self.rig.ctl("--control", volume.control, "leg", "return", volume.name, "b")
        volume.wait_leg("b", "catching-up", "in-sync")
        began = time.monotonic()
        volume.wait_leg("b", "in-sync", seconds=120 * SLOWNESS)
        pieces = size / (256 * 1024)
        self.assertLessEqual(time.monotonic() - began, pieces * delay / 0.7 + 3 + 10 * OVER_S)
        self.assertEqual(1, len(self.left(volume)))  # by the operator
        server.stop()
        volume.assert_legs_equal()

    def test_a_convergence(self):
        """Proves that what a crash left to be made equal throws no leg out."""
        volume, server = self.disks({"a": "12ms", "b": "12ms"}, size=64 * MIB)
        handle = server.connect()
        for extent in range(64):
            handle.pwrite(b"n" * 4096, extent * MIB)
        server.kill()
        server = volume.serve()
        self.assertGreater(volume.status()["unconverged_bytes"], 0)
        volume.wait_all_in_sync(120 * SLOWNESS)
        self.assertEqual([], self.left(volume))
        server.stop()
        volume.assert_legs_equal()


if __name__ == "__main__":
    main()
