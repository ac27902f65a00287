"""Proves when a volume starts, and when it must not (R12): never from legs that may lack an
acknowledged write.
Hides, damages and mixes up the files of legs between a stop and a start."""

import contextlib
import os
import time
from pathlib import Path

from case import OVER_S, VolumeTest, main
from rig import CommandFailed, Server


class Stopped(VolumeTest):
    def stopped(self, names="abc", **settings):
        """A volume with one known block, stopped cleanly."""
        volume, server = self.served(self.rig.file_legs(names), **settings)
        handle = server.connect()
        handle.pwrite(b"\x55" * 4096, 8192)
        server.stop()
        return volume

    def hide(self, volume, *names):
        for leg in volume.legs:
            if leg.name in names:
                leg.path.rename(leg.path.with_suffix(".away"))

    def show(self, volume, *names):
        for leg in volume.legs:
            if leg.name in names:
                leg.path.with_suffix(".away").rename(leg.path)

    def refused(self, volume, *expected, parameters=()):
        with self.assertRaises(CommandFailed) as failure:
            volume.serve(*parameters)
        for text in expected:
            self.assertIn(text, failure.exception.output)
        return failure.exception.output


class Start(Stopped):
    def test_clean_restart(self):
        """Proves that a clean stop leaves nothing to do.  Starts again: all in sync at once, no byte
        to converge, and the data is there."""
        volume = self.stopped()
        server = volume.serve()
        status = volume.wait_for(lambda status: status["state"] != "starting", "started")
        self.assertEqual((3, 0), (status["legs_in_sync"], status["unconverged_bytes"]))
        self.assertEqual(b"\x55" * 4096, bytes(server.connect().pread(4096, 8192)))
        self.stop_and_compare(volume, server)

    def test_no_right_to_lock_memory(self):
        """Proves that a server which cannot leave a hung leg to a process of its own takes what it may
        of the limit, says so for each leg, with what to do, and serves.  Starts one without the
        capabilities of root, under Debian's limit."""
        volume = self.stopped()
        server = Server(self.rig, volume)
        server.command[:0] = ["prlimit", "--memlock=1048576:8388608",
                              "setpriv", "--bounding-set=-ipc_lock,-sys_resource"]
        server.start()
        limits = Path(f"/proc/{server.process.pid}/limits").read_text()
        self.assertRegex(limits, "Max locked memory +8388608 +8388608 ")
        self.assertEqual(b"\x55" * 4096, bytes(server.connect().pread(4096, 8192)))
        volume.wait_all_in_sync()
        self.stop_and_compare(volume, server)
        for leg in "abc":
            line = f"leg {leg}: no process of its own: it may not lock the memory; run as root"
            self.assertEqual(1, server.log().count(line), server.log())
        self.assertEqual(3, server.log().count("LimitMEMLOCK=infinity"), server.log())
        self.assertIn("memory: not marked as what writes are made with (CAP_SYS_RESOURCE); not locked",
                      server.log())

    def test_memory_is_locked(self):
        """Proves that nothing of what serves a volume can be swapped out, neither nbdkit nor any of its
        processes, where the right to lock it is there."""
        volume = self.stopped()
        server = volume.serve()
        server.connect().pwrite(b"\x55" * 4096, 0)
        if "not locked" in server.log():
            self.skipTest("no right to lock memory here")
        if "SUREFOOT_PRELOAD" in os.environ:
            self.skipTest("a sanitizer locks nothing")
        tasks = Path(f"/proc/{server.process.pid}/task").glob("*/children")
        children = [pid for task in tasks for pid in task.read_text().split()]
        self.assertGreater(len(children), 1)
        for pid in (server.process.pid, *children):
            status = Path(f"/proc/{pid}/status").read_text()
            self.assertRegex(status, r"(?m)^VmLck:\s+[1-9]", status)
        self.stop_and_compare(volume, server)

    def test_check_agrees(self):
        """Proves that `surefootctl check` says before what the start does after.  A whole volume,
        one without a leg, one without two."""
        volume = self.stopped()
        self.rig.ctl("check", volume.conf)
        self.hide(volume, "a")
        self.rig.ctl("check", volume.conf)
        self.hide(volume, "b")
        with self.assertRaises(CommandFailed) as failure:
            self.rig.ctl("check", volume.conf)
        self.assertEqual(1, failure.exception.code)

    def test_without_one_of_three(self):
        """Proves that a majority may start and the third leg catches up when it comes back later.
        Starts without it, writes, stops, starts with all."""
        volume = self.stopped()
        self.hide(volume, "b")
        server = volume.serve()
        server.connect().pwrite(b"\x66" * 4096, 8192)
        server.stop()
        self.show(volume, "b")
        server = volume.serve()
        self.assertEqual(b"\x66" * 4096, bytes(server.connect().pread(4096, 8192)))
        self.stop_and_compare(volume, server)

    def test_without_two_of_three(self):
        """Proves that a minority is refused with the names of the legs that are waited for.  Then
        one comes back, and it starts."""
        volume = self.stopped()
        self.hide(volume, "a", "c")
        said = self.refused(volume)
        self.assertTrue(" a" in said and "c" in said, said)
        self.show(volume, "c")
        server = volume.serve()
        self.assertEqual(b"\x55" * 4096, bytes(server.connect().pread(4096, 8192)))

    def test_one_of_two_needs_force(self):
        """Proves that the survivor of two is not believed, since the other may have gone on alone;
        that force=true starts it; and that the leg which stayed behind catches up later."""
        volume = self.stopped("ab")
        self.hide(volume, "b")
        self.refused(volume, "force")
        server = volume.serve("force=true")
        server.connect().pwrite(b"\x77" * 4096, 8192)
        server.stop()
        self.show(volume, "b")
        server = volume.serve()
        self.assertEqual(b"\x77" * 4096, bytes(server.connect().pread(4096, 8192)))

    def test_forced_with_too_few(self):
        """Proves that a volume forced to start with fewer legs than an answer needs is whole again once
        the others are back.  One leg of three, and two are needed: a write waits meanwhile."""
        volume = self.stopped(on_too_few="suspend")
        self.hide(volume, "b", "c")
        server = volume.serve("force=true")
        handle = server.connect()
        done = []
        handle.aio_pwrite(b"\x66" * 4096, 4096, completion=lambda e: done.append(e.value) or 1)
        handle.poll(300)
        self.assertEqual([], done, "answered by one leg where two are needed")
        self.show(volume, "b", "c")
        volume.wait_for(lambda status: status["legs_in_sync"] == 3, "three legs in sync")
        self.rig.wait_until(lambda: handle.poll(50) >= 0 and done, "the answer")
        self.assertEqual([0], done)
        self.assertEqual(b"\x55" * 4096, bytes(handle.pread(4096, 8192)))
        self.assertEqual(b"\x66" * 4096, bytes(handle.pread(4096, 4096)))
        self.stop_and_compare(volume, server)

    def test_split_brain_is_refused(self):
        """Proves that two histories are never mixed: both legs of two went on alone by force; after
        that a start serves one of them or none, and says which leg is of another history."""
        volume = self.stopped("ab")
        for alone, hidden, pattern in (("a", "b", b"\x0a"), ("b", "a", b"\x0b")):
            self.hide(volume, hidden)
            server = volume.serve("force=true")
            server.connect().pwrite(pattern * 4096, 8192)
            server.stop()
            self.show(volume, hidden)
        said = self.refused(volume)
        self.assertRegex(said, "split|histor|lineage")
        # The way out that it names: what only b holds is given up, and b is copied whole.
        self.assertIn("surefootctl leg discard --config", said)
        self.rig.ctl("leg", "discard", "--config", volume.conf, "b")
        server = volume.serve()
        self.assertEqual(b"\x0a" * 4096, bytes(server.connect().pread(4096, 8192)))
        self.stop_and_compare(volume, server)

    def test_split_brain_of_one_leg(self):
        """Proves that a leg which went on in an old line of history stays out of the volume that went on
        without it, until it is discarded by name; then it is copied whole."""
        volume = self.stopped()
        for alone, hidden, pattern in (("a", ("b", "c"), b"\x0a"), ("bc", ("a",), b"\x0b")):
            self.hide(volume, *hidden)
            # Alone it can answer only if one leg is enough.
            server = volume.serve(*["force=true", "min_legs=1"] if alone == "a" else [])
            server.connect().pwrite(pattern * 4096, 8192)
            server.stop()
            self.show(volume, *hidden)
        server = volume.serve()
        said = volume.leg("b")["state"], volume.leg("c")["state"]
        self.assertEqual(("faulty", "faulty"), said, server.log())
        self.assertEqual(b"\x0a" * 4096, bytes(server.connect().pread(4096, 8192)))
        for name in "bc":
            self.rig.ctl("--control", volume.control, "leg", "discard", "vol0", name)
        self.stop_and_compare(volume, server)

    def test_a_stale_leg_alone_is_refused(self):
        """Proves that a leg taken out of the set cannot start the volume, even with its name first.
        Writes without leg a, then hides the others."""
        volume = self.stopped()
        self.hide(volume, "a")
        server = volume.serve()
        server.connect().pwrite(b"\x88" * 4096, 8192)
        server.stop()
        self.show(volume, "a")
        self.hide(volume, "b", "c")
        self.refused(volume)

    def test_foreign_leg(self):
        """Proves that a leg of another volume is told, not used.  Puts one in the place of a leg that
        is needed."""
        volume = self.stopped()
        other = self.rig.volume(self.rig.file_legs("xyz"), name="other").create()
        other.legs[0].path.rename(volume.legs[2].path)
        other.legs[1].path.rename(volume.legs[1].path)
        self.refused(volume, "another name")

    def test_a_damaged_superblock(self):
        """Proves that one damaged copy does no harm and two take the leg out.  Overwrites the first
        copy, then the second."""
        volume = self.stopped()
        for copy in range(2):
            with open(volume.legs[0].path, "r+b") as leg:
                leg.seek(copy * 4096)
                leg.write(b"\xde\xad" * 512)
            server = volume.serve()
            self.assertEqual(b"\x55" * 4096, bytes(server.connect().pread(4096, 8192)))
            server.stop()

    def test_waits_for_a_leg(self):
        """Proves that a start waits for the legs it needs, says once for whom, and serves when they
        are there.  Two of three files are away; one comes back while it waits."""
        volume = self.stopped(wait_for_legs="30s")
        self.hide(volume, "a", "c")
        server = volume.launch()
        self.rig.wait_until(lambda: "waiting" in server.log(), "the wait", process=server.process)
        time.sleep(1)  # it looks again meanwhile
        self.assertIsNone(server.process.poll())
        path = volume.legs[2].path
        said = [line for line in server.log().splitlines() if "waiting up to 30 s for" in line]
        self.assertEqual(1, len(said), server.log())
        self.assertIn(f"leg c ({path}: no such file)", said[0])
        self.assertIn("leg a (", said[0])
        self.show(volume, "c")
        self.rig.wait_until(server.answers, "the start", process=server.process)
        self.assertEqual(b"\x55" * 4096, bytes(server.connect().pread(4096, 8192)))
        self.show(volume, "a")
        self.stop_and_compare(volume, server)

    def bare(self, volume, name, size=0):
        """What stands at the leg's path when the file system that it is on is not mounted."""
        self.hide(volume, name)
        leg = next(leg for leg in volume.legs if leg.name == name)
        with open(leg.path, "wb") as f:
            f.truncate(size)

    def test_empty_in_its_place(self):
        """Proves that an empty file, and one of zeros, where a leg should be is a leg that is missing: the others
        serve, and it is caught up when it is there again."""
        volume = self.stopped()
        for size in (0, volume.legs[2].path.stat().st_size):
            with self.subTest(size=size):
                self.bare(volume, "c", size)
                server = volume.serve()
                self.assertEqual("missing", volume.leg("c")["state"])
                self.assertIn("no superblock", volume.leg("c")["reason"])
                server.connect().pwrite(b"\x66" * 4096, 0)
                volume.legs[2].path.unlink()
                self.show(volume, "c")
                volume.wait_all_in_sync()
                self.stop_and_compare(volume, server)

    def test_waits_for_what_is_below_an_empty_one(self):
        """Proves that a start waits for a leg in whose place an empty file is, as for one that is not there."""
        volume = self.stopped("ab", wait_for_legs="60s")
        self.bare(volume, "b")
        server = volume.launch()
        self.rig.wait_until(lambda: "waiting" in server.log(), "the wait", process=server.process)
        self.assertIn("carries no superblock", server.log())
        volume.legs[1].path.unlink()
        self.show(volume, "b")
        self.rig.wait_until(server.answers, "the start", process=server.process)
        self.stop_and_compare(volume, server)

    def test_waits_for_what_is_below_nothing_but_empty_ones(self):
        """Proves the same where no other leg is there, and that nothing which is empty is called a volume to make."""
        volume = self.stopped(wait_for_legs="60s")
        for leg in volume.legs:
            self.bare(volume, leg.name)
        server = volume.launch()
        self.rig.wait_until(lambda: "waiting" in server.log(), "the wait", process=server.process)
        for leg in volume.legs:
            leg.path.unlink()
            self.show(volume, leg.name)
        self.rig.wait_until(server.answers, "the start", process=server.process)
        self.stop_and_compare(volume, server)
        for leg in volume.legs:
            self.bare(volume, leg.name)
        volume.settings["wait_for_legs"] = "0s"
        volume.write_conf()
        log = self.refused(volume, "it is there and empty")
        self.assertNotIn("surefootctl create", log)

    def test_waits_in_vain(self):
        """Proves that the wait ends, with a refusal that names the leg and the way out."""
        volume = self.stopped(wait_for_legs="1s")
        self.hide(volume, "a", "c")
        begun = time.monotonic()
        self.refused(volume, "waiting up to 1 s for leg a (", "waits for leg a (", "force=true")
        self.assertGreaterEqual(time.monotonic() - begun, 1)

    def test_told_to_end_while_it_waits(self):
        """Proves that SIGTERM ends a start that waits, at once, and that nothing was written."""
        volume = self.stopped("ab", wait_for_legs="60s")
        self.hide(volume, "b")
        before = volume.legs[0].path.read_bytes()
        server = volume.launch()
        self.rig.wait_until(lambda: "waiting" in server.log(), "the wait", process=server.process)
        begun = time.monotonic()
        server.process.terminate()
        server.process.wait(10)
        self.assertLess(time.monotonic() - begun, OVER_S + 0.5)
        self.assertEqual(before, volume.legs[0].path.read_bytes())

    def test_does_not_wait_in_vain(self):
        """Proves that a start which no leg's coming would allow is refused at once: all are there, and
        they are of two histories."""
        volume = self.stopped("ab", wait_for_legs="60s")
        for alone, hidden in (("a", "b"), ("b", "a")):
            self.hide(volume, hidden)
            server = volume.serve("force=true")
            server.connect().pwrite(b"\x01" * 4096, 8192)
            server.stop()
            self.show(volume, hidden)
        begun = time.monotonic()
        said = self.refused(volume, "split brain")
        self.assertNotIn("waiting", said)
        self.assertLess(time.monotonic() - begun, 10)

    def test_two_servers(self):
        """Proves that legs in use are refused to a second server, which leaves the first one alone."""
        volume, server = self.served()
        second = self.rig.volume(volume.legs, name="vol0", control=self.rig.folder / "second.ctl")
        second.conf = self.rig.folder / "second.conf"
        second.write_conf()
        second.name = "second"
        self.refused(second)
        self.assertEqual(bytes(4096), bytes(server.connect().pread(4096, 0)))
        self.assertEqual("healthy", volume.status()["state"])
        self.stop_and_compare(volume, server)

    def test_a_leg_that_hangs_at_the_start(self):
        """Proves that a start is not held up by a leg that does not answer.  One of three is frozen
        before the start; it joins when it thaws."""
        legs = self.two_and_one()
        volume, server = self.served(legs, write_deadline="1s")
        server.stop()
        legs[2].freeze()
        server = volume.serve()
        server.connect().pwrite(b"\x99" * 4096, 8192)
        legs[2].thaw()
        self.stop_and_compare(volume, server)


class HangingOpen(Stopped):
    """Proves that a leg which hangs while it is opened keeps nothing else: neither a process that is to end
    nor the locks on the other legs.  The leg is frozen before it is opened."""

    def frozen(self, **settings):
        legs = self.two_and_one()
        volume, server = self.served(legs, **settings)
        server.stop()
        legs[2].freeze()
        return volume

    def assert_ends(self, process, seconds=0.5 + OVER_S):
        begun = time.monotonic()
        process.wait(10)
        self.assertLess(time.monotonic() - begun, seconds)

    def test_refused(self):
        """Proves that a start which is refused ends, though the leg still hangs."""
        volume = self.frozen()
        self.hide(volume, "b")
        server = volume.launch()
        self.rig.wait_until(lambda: "nbdkit: error" in server.log(), "the refusal")
        self.assert_ends(server.process)
        self.assertIn("leg c", server.log())
        volume.legs[2].thaw()

    def test_told_to_end(self):
        """Proves that SIGTERM ends a start that waits for it."""
        volume = self.frozen(wait_for_legs="60s")
        self.hide(volume, "b")
        server = volume.launch()
        self.rig.wait_until(lambda: "waiting" in server.log(), "the wait")
        self.assertRegex(server.log(), r"leg c \(.*: does not answer\)")
        server.process.terminate()
        self.assert_ends(server.process)
        volume.legs[2].thaw()

    def test_killed(self):
        """Proves that a killed server is gone at once and its good legs are free, though it was looking
        for the leg that hangs; and that this leg comes back once it answers (R7)."""
        volume = self.frozen()
        server = volume.serve()
        server.connect().pwrite(b"\x42" * 4096, 8192)
        self.assertEqual("missing", volume.leg("c")["state"])
        self.rig.wait_until(self.somebody_opens, "an attempt to open it")
        server.process.kill()
        self.assert_ends(server.process)
        server = volume.serve()
        self.assertEqual("missing", volume.leg("c")["state"])
        self.assertEqual(b"\x42" * 4096, bytes(server.connect().pread(4096, 8192)))
        volume.legs[2].thaw()
        self.stop_and_compare(volume, server)

    @staticmethod
    def somebody_opens():
        for comm in Path("/proc").glob("[0-9]*/comm"):
            with contextlib.suppress(OSError):
                if comm.read_text() == "sf-opener\n":
                    return True
        return False


if __name__ == "__main__":
    main()
