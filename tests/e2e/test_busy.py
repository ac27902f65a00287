"""Proves that a busy disk is not a late one: bulk copies, random writes, a resync and a convergence on legs of an
ordinary disk's speed, and what a client waits for when one of them freezes under that load.
The legs answer one request at a time, each after a fixed delay."""

import json
import random
import time

from case import OVER_S, VolumeTest, main
from rig import MIB, SLOWNESS

SIZE = 256 * MIB
SMALL = 64 * MIB
FIXED_S = 0.3
FIXED = {"read_deadline": "300ms", "write_deadline": "300ms"}
# What was on the leg when it froze (half of the timeout, which is four fifths of the deadline), and the deadline.
LEAVES_S = FIXED_S * (0.4 + 1)
SETTINGS = {"read_deadline": "auto", "write_deadline": "auto", "flush_deadline": "auto"}
SAMPLE_S = 0.2


class Busy(VolumeTest):
    def disk(self, name, delay):
        return self.fuse_leg(name, filters=["noparallel", "delay"],
                             parameters=["serialize=all-requests", f"rdelay={delay}", f"wdelay={delay}"])

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

    def write_beside(self, server, seconds, freezes, until):
        """The longest of single writes, one leg freezing in the middle of them; they end when `until` holds."""
        handle, longest, began = server.connect(), 0, time.monotonic()
        frozen = False
        while not (frozen and until()):
            asked = time.monotonic()
            self.assertLess(asked - began, seconds + 120 * SLOWNESS, "what the writes wait for does not come")
            if not frozen and asked - began >= seconds:
                freezes.freeze()
                frozen = True
            handle.pwrite(b"w" * 4096, random.randrange(SMALL // 4096) * 4096)
            longest = max(longest, time.monotonic() - asked)
            time.sleep(0.02)
        return longest

    def write_every_extent(self, server, byte=b"n"):
        handle = server.connect()
        for extent in range(SMALL // MIB):
            handle.pwrite(byte * 4096, extent * MIB)
        handle.flush()

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
        volume, server = self.disks({"a": "6ms", "b": "6ms"}, **FIXED)
        self.freeze_under(volume, server, "randwrite", "4k", turn_s=64 * 0.006)

    def test_a_leg_freezes_in_a_bulk_copy(self):
        """Proves the same of a file that is copied: 64 requests of 1 MiB are outstanding."""
        volume, server = self.disks({"a": "1ms", "b": "1ms"}, **FIXED)
        self.freeze_under(volume, server, "write", "1M", turn_s=64 * 4 * 0.002)

    def freeze_under(self, volume, server, rw, bs, turn_s):
        """turn_s: what the requests take that wait for each other, and then for the record, on disks that are
        no slower than their delay; else what they take before a leg freezes."""
        frozen = volume.legs[1]
        self.watch(volume, self.fio(server, 5, rw, bs), 5)
        turn_s = max(turn_s, self.longest_s())
        self.watch(volume, self.fio(server, 10, rw, bs), 10, at_s=3, then=frozen.freeze)
        self.assertLessEqual(self.longest_s(), LEAVES_S + 2 * turn_s + 4 * OVER_S)
        self.assertEqual(1, len(self.left(volume)))
        self.thaw_and_compare(volume, server, frozen)

    def thaw_and_compare(self, volume, server, frozen):
        frozen.thaw()
        volume.wait_all_in_sync(120 * SLOWNESS)
        server.stop()
        volume.assert_legs_equal()

    def test_a_resync_alone(self):
        """Proves that a steady leg is caught up at its speed, and its own copies never throw it out."""
        delay = 0.008
        volume, server = self.disks({"a": "0", "b": f"{int(delay * 1000)}ms"}, size=SMALL)
        self.begin_resync(volume, server, "b")
        began = time.monotonic()
        volume.wait_leg("b", "in-sync", seconds=120 * SLOWNESS)
        pieces = SMALL / (256 * 1024)
        self.assertLessEqual(time.monotonic() - began, pieces * delay / 0.7 + 3 + 10 * OVER_S)
        self.assertEqual(1, len(self.left(volume)))  # by the operator
        server.stop()
        volume.assert_legs_equal()

    def begin_resync(self, volume, server, leg):
        self.rig.ctl("--control", volume.control, "leg", "fail", volume.name, leg)
        self.write_every_extent(server)
        self.rig.ctl("--control", volume.control, "leg", "return", volume.name, leg)
        volume.wait_leg(leg, "catching-up", "in-sync")

    def test_a_leg_freezes_beside_a_resync(self):
        """Proves that a leg that freezes while another is caught up costs clients one deadline, and the other leg
        nothing: its copies go on from a leg that is well."""
        volume, server = self.disks({"a": "1ms", "b": "20ms", "c": "1ms"}, size=SMALL, min_legs=1, **FIXED)
        self.begin_resync(volume, server, "b")
        longest = self.write_beside(server, 1, volume.legs[2], lambda: volume.leg("b")["state"] == "in-sync")
        # Behind a piece of 256 KiB, which a request may wait for at each leg.
        self.assertLessEqual(longest, LEAVES_S + 4 * 0.02 + 4 * OVER_S)
        left = [line.split()[2] for line in self.left(volume)]
        self.assertEqual(2, len(left), left)  # by the operator, and the frozen one
        self.thaw_and_compare(volume, server, volume.legs[2])

    def begin_convergence(self, volume, server):
        self.write_every_extent(server)
        server.kill()
        server = volume.serve()
        self.assertGreater(volume.status()["unconverged_bytes"], 0)
        return server

    def test_a_leg_freezes_in_a_convergence(self):
        """Proves that a leg that freezes while the legs are made equal after a crash costs clients one deadline."""
        volume, server = self.disks({"a": "12ms", "b": "12ms"}, size=SMALL, **FIXED)
        server = self.begin_convergence(volume, server)
        longest = self.write_beside(server, 1, volume.legs[1],
                                    lambda: volume.status()["unconverged_bytes"] == 0)
        self.assertLessEqual(longest, LEAVES_S + 8 * 0.012 + 4 * OVER_S)
        self.assertEqual(1, len(self.left(volume)))
        self.thaw_and_compare(volume, server, volume.legs[1])

    def test_a_convergence(self):
        """Proves that what a crash left to be made equal throws no leg out."""
        volume, server = self.disks({"a": "12ms", "b": "12ms"}, size=SMALL)
        server = self.begin_convergence(volume, server)
        volume.wait_all_in_sync(120 * SLOWNESS)
        self.assertEqual([], self.left(volume))
        server.stop()
        volume.assert_legs_equal()


if __name__ == "__main__":
    main()
