"""Proves that a leg in trouble costs the clients nothing: one that is slow, fails, is full, or is gone.
Each kind of trouble is made on one of three legs under load; what was written is read back and the
healed legs are compared byte for byte."""

import contextlib
import os
import signal
import time
from pathlib import Path

import nbd

from case import VolumeTest, main
from rig import DATA_OFFSET, MIB, CommandFailed, FileLeg, FuseLeg

MIX = (("write", 0.6), ("read", 0.35), ("flush", 0.05))


class Slow(VolumeTest):
    def test_a_leg_that_becomes_slow(self):
        """Proves that a leg which answers, but too late, is taken out as a hanging one is, does not
        flap, and returns when it is fast again.
        Throttles the leg to some four writes a second, later lifts that."""
        legs = self.two_and_one()
        volume, server = self.served(legs, write_deadline="150ms", read_deadline="150ms",
                                     flush_deadline="150ms")
        with self.load(server, mix=MIX) as load:
            load.run_for(0.5)
            slow = time.monotonic()
            legs[2].limit_rate(100_000)
            volume.wait_for(lambda status: volume.leg("c", status)["state"] != "in-sync",
                            "leg c out")
            change = volume.status()["record"]["change"]
            load.run_for(3)
            load.wait_until(lambda: len(load.since(slow)) > 64)
            moves = volume.status()["record"]["change"] - change
            legs[2].limit_rate(100_000_000_000)
            volume.wait_all_in_sync()
        self.assertLessEqual(moves, 2, "the slow leg flapped")
        self.assert_longest(load, 0.15)
        self.assert_load_well(load, server)
        self.stop_and_compare(volume, server)

    def test_a_leg_that_is_always_a_little_slow(self):
        """Proves that slow is not late: a leg within its timeout stays in the in-sync set.
        Every write to it takes 20 ms; nothing times out in two seconds of load."""
        legs = self.two_and_one(filters=["delay"], parameters=["wdelay=20ms"])
        volume, server = self.served(legs, write_deadline="1s", read_deadline="1s",
                                     flush_deadline="1s")
        with self.load(server, mix=MIX) as load:
            load.run_for(2)
        status = volume.status()
        self.assertEqual([0, 0, 0], [leg["timeouts"] for leg in status["legs"]])
        self.assertEqual(3, status["legs_in_sync"])
        self.assertGreaterEqual(load.longest("write"), 0.02, "the delay did not reach the volume")
        self.assert_load_well(load, server)
        self.stop_and_compare(volume, server)


class BadBlocksLeg(FuseLeg):
    """Reads of given ranges of its data fail."""

    def start_server(self):
        self.ranges = self.rig.folder / f"{self.name}.bad"
        self.make_bad([])
        self.socket.unlink(missing_ok=True)
        self.nbdkit = self.rig.spawn(
            ["nbdkit", "-f", "-U", self.socket, "eval", f"get_size=stat -c %s {self.image}",
             "thread_model=echo parallel", "can_write=exit 0", "can_flush=exit 0",
             f"flush=sync -d {self.image}",
             f"""pread=while read s e; do
                     [ $4 -lt $e ] && [ $(($4+$3)) -gt $s ] && {{ echo EIO bad >&2; exit 1; }}
                   done <{self.ranges}
                   dd if={self.image} iflag=skip_bytes,count_bytes skip=$4 count=$3 bs=1M status=none""",
             f"pwrite=dd of={self.image} oflag=seek_bytes seek=$4 conv=notrunc bs=1M status=none"])
        self.rig.wait_until(self.socket.exists, f"{self.socket}", process=self.nbdkit)

    def make_bad(self, ranges):
        new = self.ranges.with_suffix(".new")
        new.write_text("".join(f"{DATA_OFFSET + offset} {DATA_OFFSET + offset + length}\n"
                               for offset, length in ranges))
        new.rename(self.ranges)


class Failing(VolumeTest):
    def write_errors(self, **leg_options):
        legs = self.two_and_one(**leg_options)
        volume, server = self.served(legs)
        with self.load(server, mix=MIX) as load:
            load.run_for(0.5)
            legs[2].fail("pwrite")
            status = volume.wait_leg("c", "faulty")
            load.run_for(0.5)
            self.assertEqual("degraded", volume.status()["state"])
            legs[2].heal()
            load.run_for(0.5)
            # Errors, unlike lateness, wait for the operator (R14).
            self.assertEqual("faulty", volume.leg("c")["state"])
            self.rig.ctl("--control", volume.control, "leg", "return", "vol0", "c")
            volume.wait_all_in_sync()
        self.assertGreater(volume.leg("c", status)["errors"], 0)
        self.assert_load_well(load, server)
        self.stop_and_compare(volume, server)

    def test_a_leg_that_fails_writes(self):
        """Proves that EIO on one leg is no error for a client, and that the leg comes back by the
        operator's word only.  The leg's server answers EIO to writes for a second."""
        self.write_errors()

    def test_a_leg_that_is_full(self):
        """Proves that a leg without space is no error for a client, and that it comes back by itself when
        there is some.  The leg's server answers ENOSPC to writes for a while."""
        legs = self.two_and_one(parameters=["error-pwrite=ENOSPC"])
        volume, server = self.served(legs)
        with self.load(server, mix=MIX) as load:
            load.run_for(0.5)
            legs[2].fail("pwrite")
            status = volume.wait_leg("c", "late", "probing")
            load.run_for(0.5)
            self.assertIn("No space left on device; it is tried again in", volume.leg("c")["reason"])
            legs[2].heal()
            volume.wait_all_in_sync()
        self.assertGreater(volume.leg("c", status)["errors"], 0)
        self.assert_load_well(load, server)
        self.stop_and_compare(volume, server)

    def test_a_sparse_file_on_a_full_disk(self):
        """Proves the same for real: a leg's file with holes on a tmpfs that has no room to fill them.
        The tmpfs is made larger, and the leg catches up."""
        there = self.rig.folder / "there"
        there.mkdir()
        try:
            self.rig.run("mount", "-t", "tmpfs", "-o", "size=2M", "none", there)
        except CommandFailed as failure:
            self.skipTest(f"cannot mount here: {failure.output.strip()}")
        self.rig.on_close(lambda: self.rig.run("umount", "-l", there))
        volume = self.rig.volume().create()
        leg = volume.legs[2]
        self.rig.run("cp", "--sparse=always", leg.path, there / "c.img")
        try:
            os.close(os.open(there / "c.img", os.O_RDWR | os.O_DIRECT))
        except OSError:
            self.skipTest("this kernel's tmpfs does not know O_DIRECT")
        leg.path = leg.image = there / "c.img"
        volume.write_conf()
        server = volume.serve()
        volume.wait_all_in_sync()
        with self.load(server) as load:
            volume.wait_leg("c", "late", "probing")
            load.run_for(0.5)
            self.assertRegex(server.log(), "leg c: .*late.*No space left")
            self.rig.run("mount", "-o", "remount,size=64M", there)
            volume.wait_all_in_sync()
        self.assert_load_well(load, server)
        self.stop_and_compare(volume, server)

    def test_a_leg_that_fails_zeroes(self):
        """Proves that a failed zero is not forgotten, and that a trim that cannot be done on every leg
        is done on none: FUSE is not trusted to punch.  Zeroes and trims among writes, and a leg that
        answers EIO to each of them."""
        legs = self.two_and_one()
        volume, server = self.served(legs)
        handle = server.connect()
        handle.pwrite(b"\xaa" * 524288, 0)
        legs[2].fail("zero", "trim", "pwrite")
        handle.trim(65536, 262144)
        handle.zero(65536, 65536)
        self.assertEqual(bytes(65536), bytes(handle.pread(65536, 65536)))
        self.assertEqual(b"\xaa" * 65536, bytes(handle.pread(65536, 262144)))
        volume.wait_leg("c", "faulty")
        legs[2].heal()
        self.rig.ctl("--control", volume.control, "leg", "return", "vol0", "c")
        self.stop_and_compare(volume, server)

    def test_bad_blocks_on_the_source_of_a_resync(self):
        """Proves that blocks that the only good leg cannot read cost themselves: all else is copied, the
        leg joins, they are told once, shown, and answered with an error whichever leg is asked
        until they are written anew."""
        self.fuse_leg("unused")  # or skips
        legs = [BadBlocksLeg(self.rig, "a"), FileLeg(self.rig, "b")]
        volume, server = self.served(legs, size=16 * MIB, read_deadline="2s", write_deadline="2s",
                                     flush_deadline="2s")
        handle = server.connect()
        handle.pwrite(b"1" * (16 * MIB), 0)
        self.rig.ctl("--control", volume.control, "leg", "fail", "vol0", "b")
        for extent in range(16):
            handle.pwrite(b"2" * 8192, extent * MIB)
        bad = [(extent * MIB + 4096, 4096) for extent in (1, 2, 3, 7)]
        legs[0].make_bad(bad)
        self.rig.ctl("--control", volume.control, "leg", "return", "vol0", "b")
        status = volume.wait_for(lambda status: len(status["lost_ranges"]) == 4
                                 and volume.leg("b", status)["state"] == "in-sync",
                                 "four lost ranges, and the leg in sync", seconds=120)
        self.assertEqual([{"offset": offset, "length": length, "legs": ["a"], "recorded": True}
                          for offset, length in bad], status["lost_ranges"])
        for _ in range(4):
            with self.assertRaises(nbd.Error):
                handle.pread(4096, MIB + 4096)
        self.assertEqual(b"2" * 4096 + b"1" * 4096,
                         bytes(handle.pread(4096, MIB)) + bytes(handle.pread(4096, MIB + 8192)))
        self.assertEqual(4, server.log().count("cannot be read, and no other leg has them"))
        legs[0].make_bad([])
        self.rig.ctl("--control", volume.control, "leg", "fail", "vol0", "a")
        with self.assertRaises(nbd.Error):  # what b holds there is older
            handle.pread(4096, MIB + 4096)
        self.rig.ctl("--control", volume.control, "leg", "return", "vol0", "a")
        for offset, length in bad:
            handle.pwrite(b"3" * length, offset)
        self.assertEqual(b"3" * 4096, bytes(handle.pread(4096, MIB + 4096)))
        volume.wait_all_in_sync()
        self.assertEqual([], volume.status()["lost_ranges"])
        self.assertEqual(b"3" * 4096, bytes(handle.pread(4096, MIB + 4096)))
        self.stop_and_compare(volume, server)

    def test_a_leg_that_fails_reads(self):
        """Proves that a read that one leg cannot answer is answered by another, that the bad block is
        written anew, and that a leg that goes on so is taken out.  The leg that fails is by far the fastest
        reader."""
        legs = [self.fuse_leg("a")]
        legs += [self.fuse_leg(name, filters=["delay"], parameters=["rdelay=10ms"])
                 for name in "bc"]
        volume, server = self.served(legs, read_deadline="1s")
        with self.load(server, mix=(("write", 1.0),), blocks=1024) as writer:
            writer.run_for(0.5)
        with volume.follow() as events:
            with self.load(server, mix=(("read", 1.0),), model=writer.model) as reader:
                reader.run_for(0.5)
                legs[0].fail("pread")
                volume.wait_leg("a", "faulty")
                legs[0].heal()
            repaired = []
            while (event := events.next(0.2)) is not None:
                if event["event"] == "read-repaired":
                    repaired.append(event)
        self.assertEqual([], reader.errors)
        self.assertEqual([], reader.wrong)
        self.assertGreater(volume.leg("a")["errors"], 0, "no read ever met the failing leg")
        self.assertEqual(("a", 1, 5), tuple(repaired[0][key] for key in ("leg", "count", "errno")))
        self.assertIn("read errors within an hour", volume.leg("a")["reason"])
        self.assertGreater(volume.leg("a")["repairs"], 0)
        self.assertEqual([], writer.model.verify(server.connect()))
        self.rig.ctl("--control", volume.control, "leg", "return", "vol0", "a")
        self.stop_and_compare(volume, server)


class Gone(VolumeTest):
    def test_a_leg_that_disappears(self):
        """Proves that a leg may vanish for good in the middle of everything and be brought back
        later.  SIGKILLs the leg's server, mounts it again after two seconds, returns the leg."""
        legs = self.two_and_one()
        volume, server = self.served(legs, write_deadline="200ms", read_deadline="200ms",
                                     flush_deadline="200ms")
        with self.load(server, mix=MIX) as load:
            load.run_for(0.5)
            legs[2].vanish()
            volume.wait_leg("c", "missing", "faulty")
            load.run_for(2)
            legs[2].reappear()
            if volume.leg("c")["state"] == "faulty":
                self.rig.ctl("--control", volume.control, "leg", "return", "vol0", "c")
            volume.wait_all_in_sync()
        self.assert_longest(load, 0.2)
        self.assert_load_well(load, server)
        self.stop_and_compare(volume, server)

    def test_a_leg_that_is_not_there_at_first(self):
        """Proves that a volume which may start without a leg takes it in by itself when it appears.
        Starts with one file of three moved away, writes, moves it back."""
        volume = self.rig.volume(self.rig.file_legs()).create()
        away = volume.legs[2].path.with_suffix(".away")
        volume.legs[2].path.rename(away)
        server = volume.serve()
        self.assertEqual("missing", volume.leg("c")["state"])
        with self.load(server, mix=MIX) as load:
            load.run_for(1)
            self.assertEqual("degraded", volume.status()["state"])
            away.rename(volume.legs[2].path)
            volume.wait_all_in_sync()
        self.assert_load_well(load, server)
        self.stop_and_compare(volume, server)

    def test_a_leg_too_small_by_now(self):
        """Proves that a leg that lost its tail is refused and the others serve.  Truncates a file
        while the volume is down."""
        volume = self.rig.volume(self.rig.file_legs()).create()
        with open(volume.legs[1].path, "r+b") as leg:
            leg.truncate(16 * 1024 * 1024)
        server = volume.serve()
        self.assertNotEqual("in-sync", volume.leg("b")["state"])
        with self.load(server) as load:
            load.run_for(0.5)
        self.assert_load_well(load, server)


class Killed(VolumeTest):
    def _processes(self, parent, name):
        """Its children of that name."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                stat = (entry / "stat").read_text()
                comm = stat[stat.index("(") + 1:stat.rindex(")")]
                if int(stat[stat.rindex(")") + 2:].split()[1]) == parent and comm == name:
                    found.append(int(entry.name))
        return found

    def _submitters(self, makers):
        return [pid for maker in makers for pid in self._processes(maker, "surefoot")]

    def test_the_process_of_a_leg(self):
        """Proves that a leg's own process which is killed costs no request and no leg, is told with the
        leg's name, and has another in its place."""
        volume, server = self.served()
        makers = self._processes(server.process.pid, "sf-submitters")
        before = self._submitters(makers)
        self.assertEqual(3, len(before))
        with self.load(server) as load:
            for process in before:
                os.kill(process, signal.SIGKILL)
            for leg in "abc":
                self.rig.wait_until(
                    lambda: f"leg {leg}: its own process was killed; a new one" in server.log(),
                    f"the replacement for leg {leg}")
            load.run_for(0.5)
        after = self._submitters(makers)
        self.assertEqual(3, len(after))
        self.assertFalse(set(before) & set(after))
        self.assertEqual(0, volume.status()["requests"]["errors"])
        self.assert_load_well(load, server)
        self.stop_and_compare(volume, server)


    def test_those_that_make_the_others(self):
        """Proves that of the two processes of each kind that make the others any one may be killed, and
        then the one that is left: each is told once and replaced, and a leg that was out comes back
        through an opener that the new ones made, with a process of its own."""
        volume = self.rig.volume().create()
        there, away = volume.legs[2].path, self.rig.folder / "away"
        there.rename(away)
        server = volume.serve()
        told = {"sf-openers": "a process that makes the processes that open legs was killed; a new one",
                "sf-submitters": "a process that makes the legs' own processes was killed; a new one"}
        with self.load(server) as load:
            for name, text in told.items():
                first, second = self._processes(server.process.pid, name)
                for n, pid in enumerate((first, second), 1):
                    os.kill(pid, signal.SIGKILL)
                    self.rig.wait_until(lambda: server.log().count(text) == n,
                                        f"{n} times: {text}")
            self.assertEqual("missing", volume.leg("c")["state"])
            away.rename(there)
            volume.wait_all_in_sync()
        for text in told.values():
            self.assertEqual(2, server.log().count(text))
        self.assertNotIn("no process of its own", server.log())
        self.assert_load_well(load, server)
        self.stop_and_compare(volume, server)


class SameFile(VolumeTest):
    def test_by_another_name(self):
        """Proves that one file cannot be two legs, by whatever alias: the volume would be one copy.
        A symbolic link, a hard link and a longer path to the same file are refused."""
        volume = self.rig.volume(self.rig.file_legs()).create()
        first = volume.legs[0].path
        for alias in ("symbolic", "hard", "path"):
            with self.subTest(alias):
                other = FileLeg(self.rig, f"d{alias}")
                if alias == "symbolic":
                    other.path.symlink_to(first)
                elif alias == "hard":
                    other.path.hardlink_to(first)
                else:
                    other.path = first.parent / ".." / first.parent.name / first.name
                volume.legs[1] = other
                volume.write_conf()
                with self.assertRaises(CommandFailed) as failure:
                    volume.serve()
                self.assertRegex(failure.exception.output, "same|twice|already|alias")


if __name__ == "__main__":
    main()
