"""The members change while the volume is used: a disk takes another one's place."""

import json
import os
import signal
import subprocess
import time

from case import VolumeTest, main
from rig import MIB, CommandFailed, FileLeg


class Members(VolumeTest):
    def ctl_leg(self, volume, action, *words):
        return self.rig.ctl("--control", volume.control, "leg", action, volume.name, *words,
                            seconds=60)

    def wait_said(self, text, server):
        self.rig.wait_until(lambda: text in server.log(), text, process=server.process)

    def assert_refused(self, why, volume, *words):
        with self.assertRaises(CommandFailed) as failed:
            self.ctl_leg(volume, *words)
        self.assertIn(why, failed.exception.output)

    def replaced(self, volume, name, new):
        """The configuration file follows."""
        volume.legs = [new if leg.name == name else leg for leg in volume.legs]
        volume.write_conf()

    def without_c(self, **settings):
        """Served, and c's disk is somewhere else."""
        volume = self.rig.volume(None, size=16 * MIB, **settings).create()
        self.away = volume.legs[2].path.with_suffix(".away")
        volume.legs[2].path.rename(self.away)
        server = volume.serve()
        self.assertEqual("missing", volume.leg("c")["state"])
        return volume, server

    def leg_at(self, name, file):
        leg = FileLeg(self.rig, name)
        leg.path = leg.image = self.rig.folder / file
        return leg


class Replace(Members):
    def test_under_load(self):
        volume, server = self.served(size=32 * MIB)
        load = self.load(server)
        load.start()
        self.ctl_leg(volume, "fail", "c")
        volume.wait_leg("c", "faulty")
        new = self.leg_at("c", "new.img")
        said = self.ctl_leg(volume, "replace", "c", str(new.path))
        self.assertIn(f"[leg c]\n  path = {new.path}", said)
        volume.wait_all_in_sync()
        load.stop()
        self.assert_load_well(load, server)
        self.replaced(volume, "c", new)
        self.stop_and_compare(volume, server)
        server = volume.serve()
        volume.wait_all_in_sync()
        self.stop_and_compare(volume, server)

    def test_the_old_disk_is_refused(self):
        volume, server = self.served(size=16 * MIB)
        old = volume.legs[2]
        self.ctl_leg(volume, "fail", "c")
        self.ctl_leg(volume, "replace", "c", str(self.rig.folder / "new.img"))
        volume.wait_all_in_sync()
        server.connect().pwrite(b"n" * 4096, 0)
        server.stop()
        # The file still names the old one.
        legs = json.loads(self.rig.ctl("check", volume.conf, "--json"))["legs"]
        self.assertEqual(["current", "current", "foreign"], [leg["verdict"] for leg in legs])
        server = volume.serve()
        self.wait_said("another disk has taken this leg's place", server)
        self.assertEqual("faulty", volume.leg("c")["state"])
        self.assertEqual(b"n" * 4096, bytes(server.connect().pread(4096, 0)))
        self.assertTrue(old.path.exists())

    def test_the_file_follows(self):
        """--write changes one section of the volume's file and keeps the old one; every other byte stays, and the
        volume would start from it."""
        volume, server = self.served(size=16 * MIB)
        folder = self.rig.folder / "volumes.d"
        folder.mkdir()
        conf = folder / f"{volume.name}.conf"
        before = "# by hand\n" + volume.conf.read_text() + "# the end"
        conf.write_text(before)
        os.environ["SUREFOOT_VOLUMES_DIR"] = str(folder)
        self.addCleanup(os.environ.pop, "SUREFOOT_VOLUMES_DIR")
        self.ctl_leg(volume, "fail", "c")
        new = self.rig.folder / "new.img"
        said = self.ctl_leg(volume, "replace", "c", str(new), "--write", "--wait")
        self.assertIn(f"{conf} says so now", said)
        self.assertEqual(before, (folder / f"{conf.name}.old").read_text())
        replaced = conf.read_text()
        self.assertEqual(before.replace(str(volume.legs[2].path), str(new)), replaced)
        more = self.rig.folder / "more.img"
        self.ctl_leg(volume, "add", "d", str(more), "--write", "--wait")
        self.assertEqual(replaced + f"\n\n[leg d]\npath = {more}\n", conf.read_text())
        self.ctl_leg(volume, "fail", "d")
        self.ctl_leg(volume, "remove", "d", "--write")
        self.assertEqual(replaced + "\n\n", conf.read_text())
        server.stop()
        self.assertIn("would start", self.rig.ctl("check", conf))

    def test_the_same_disk_emptied(self):
        volume, server = self.served(size=16 * MIB)
        self.ctl_leg(volume, "fail", "b")
        self.ctl_leg(volume, "replace", "b")
        volume.wait_all_in_sync()
        self.stop_and_compare(volume, server)

    def test_refusals(self):
        volume, server = self.served(size=16 * MIB)
        a = volume.legs[0]
        used = self.rig.folder / "used.img"
        used.write_bytes(os.urandom(MIB))
        self.assert_refused("in use", volume, "replace", "c", str(self.rig.folder / "x.img"))
        self.ctl_leg(volume, "fail", "c")
        self.assert_refused("locked", volume, "replace", "c", str(a.path))
        self.assert_refused("carries data", volume, "replace", "c", str(used))
        self.assert_refused("no such device", volume, "replace", "c", "/dev/not-there")
        self.assert_refused("absolute", volume, "replace", "c", "x.img")
        self.assert_refused("has no leg", volume, "replace", "d", str(used))
        self.assertEqual(MIB, used.stat().st_size)
        self.ctl_leg(volume, "return", "c")
        self.stop_and_compare(volume, server)

    def test_its_copy_goes_on_after_a_kill(self):
        volume, server = self.served(size=64 * MIB, intent_delay="200ms", resync_max_rate="8M",
                                     resync_min_rate="8M")
        client = server.connect()
        for i in range(64):
            client.pwrite(bytes([i + 1]) * MIB, i * MIB)
        self.ctl_leg(volume, "fail", "c")
        new = self.leg_at("c", "new.img")
        self.ctl_leg(volume, "replace", "c", str(new.path))
        self.replaced(volume, "c", new)
        volume.wait_for(lambda status: 0 < volume.leg("c", status)["stale_bytes"] <= 40 * MIB,
                        "the copy to be well under way")
        server.kill()
        server = volume.serve()
        left = volume.leg("c")["stale_bytes"]
        self.assertLessEqual(left, 56 * MIB)
        self.assertGreater(left, 0)
        volume.set("resync_max_rate", "0")
        volume.wait_all_in_sync()
        self.stop_and_compare(volume, server)

    def test_killed_in_the_middle(self):
        """The file names the one disk or the other; it starts, and one of them is the leg."""
        volume, server = self.served(size=8 * MIB)
        for turn in range(8):
            new = self.leg_at("c", f"new{turn}.img")
            self.ctl_leg(volume, "fail", "c")
            volume.wait_leg("c", "faulty")
            server.connect().pwrite(bytes([turn + 1]) * 4096, 4096 * turn)
            command = subprocess.Popen(
                [str(self.rig.surefootctl), "--control", str(volume.control), "leg", "replace",
                 volume.name, "c", str(new.path)],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(turn * 0.004)
            server.kill()
            command.wait(30)
            self.replaced(volume, "c", new)
            server = volume.serve()
            if volume.leg("c")["state"] in ("faulty", "missing"):
                # Not replaced, or not emptied yet: say it again.
                self.ctl_leg(volume, "replace", "c")
            volume.wait_all_in_sync()
            for i in range(turn + 1):
                self.assertEqual(bytes([i + 1]) * 4096,
                                 bytes(server.connect().pread(4096, 4096 * i)))
        self.stop_and_compare(volume, server)


class Trouble(Members):
    """A leg that does not come back says why, in the log once, and in its status."""

    def damaged(self, path):
        """A copy of its disk that shows nothing."""
        content = bytearray(self.away.read_bytes())
        for copy in range(2):
            content[copy * 4096 + 64:copy * 4096 + 128] = b"\xff" * 64
        spare = path.with_suffix(".spare")
        spare.write_bytes(content)
        spare.rename(path)

    def wait_reason(self, volume, text, state):
        volume.wait_for(lambda status: volume.leg("c", status)["state"] == state
                        and text in volume.leg("c", status)["reason"], f"c {state}: {text}")

    def test_why_it_is_missing(self):
        volume, server = self.without_c()
        path = volume.legs[2].path
        self.wait_reason(volume, "no such file", "missing")
        self.damaged(path)
        self.wait_reason(volume, "its superblocks are damaged; by its mark it is leg c", "missing")
        self.away.rename(path)
        volume.wait_all_in_sync()
        self.assertEqual(2, server.log().count("still missing: "), server.log())
        self.stop_and_compare(volume, server)

    def test_a_disk_that_is_not_the_legs_is_not_discarded(self):
        volume, server = self.without_c()
        path = volume.legs[2].path
        self.wait_reason(volume, "no such file", "missing")
        self.damaged(path)
        before = path.read_bytes()
        self.discard(volume, "does not show that it is the disk")
        self.wait_reason(volume, "does not show that it is the disk", "faulty")
        self.assertIn("leg c: missing -> faulty (cannot be made an empty member: ", server.log())
        self.assertEqual(before, path.read_bytes())
        self.ctl_leg(volume, "replace", "c")
        self.stop_and_compare(volume, server)

    def discard(self, volume, refused=None):
        """It cannot be asked for while the leg is looked for."""
        def accepted():
            try:
                self.ctl_leg(volume, "discard", "c")
            except CommandFailed as failed:
                if refused and refused in failed.output:
                    return True
                self.assertIn("in use", failed.output)
                return False
            self.assertIsNone(refused, "it is said to be discarded")
            return True
        self.rig.wait_until(accepted, "the discard")


class Hung(Members):
    """The path of a missing leg leads to a disk that hangs while it is opened, and then to another one."""

    def hung(self):
        volume, server = self.without_c()
        self.disk = self.fuse_leg("h")
        self.disk.prepare(16 * MIB)
        self.disk.freeze()
        volume.legs[2].path.symlink_to(self.disk.path)
        self.rig.wait_until(lambda: self.openers(server), "an opener", process=server.process)
        time.sleep(2.5)
        self.assertEqual(1, len(self.openers(server)), "it does not hang")
        server.connect().pwrite(b"\x42" * 4096, 8192)
        return volume, server

    @staticmethod
    def openers(server):
        """Those of this server."""
        def children(parent, name):
            return subprocess.run(["pgrep", "-P", parent, "-x", name], stdout=subprocess.PIPE,
                                  text=True, check=False).stdout.split()
        return [opener for maker in children(str(server.process.pid), "sf-openers")
                for opener in children(maker, "sf-opener")]

    def in_sync_while_it_hangs(self, volume, server):
        """Sooner than an opening has its time, and what comes late changes nothing."""
        volume.wait_leg("c", "in-sync", seconds=20)
        self.assertEqual(1, len(self.openers(server)), "it does not hang any more")
        self.disk.thaw()
        self.rig.wait_until(lambda: not self.openers(server), "the end of the opener")
        volume.wait_all_in_sync()
        self.stop_and_compare(volume, server)

    def test_it_returns(self):
        """Proves that the operator's word is enough for the leg's own disk."""
        volume, server = self.hung()
        volume.legs[2].path.unlink()
        self.away.rename(volume.legs[2].path)
        self.ctl_leg(volume, "return", "c")
        self.in_sync_while_it_hangs(volume, server)

    def test_it_is_discarded(self):
        volume, server = self.hung()
        volume.legs[2].path.unlink()
        self.away.rename(volume.legs[2].path)
        self.ctl_leg(volume, "discard", "c")
        self.in_sync_while_it_hangs(volume, server)

    def test_it_is_replaced(self):
        volume, server = self.hung()
        new = self.leg_at("c", "new.img")
        self.ctl_leg(volume, "replace", "c", str(new.path))
        self.replaced(volume, "c", new)
        self.in_sync_while_it_hangs(volume, server)


class Beside(Members):
    def begin(self, volume, *words):
        """The command, while it runs."""
        return self.rig.spawn([self.rig.surefootctl, "--control", volume.control, "leg", "replace", volume.name, *words],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def test_under_load(self):
        """Proves that there is never a copy less, that the data are those of the clients, and that the file follows."""
        folder = self.rig.folder / "volumes.d"
        folder.mkdir()
        volume, server = self.served(size=32 * MIB)
        conf = folder / f"{volume.name}.conf"
        conf.write_text(volume.conf.read_text())
        os.environ["SUREFOOT_VOLUMES_DIR"] = str(folder)
        self.addCleanup(os.environ.pop, "SUREFOOT_VOLUMES_DIR")
        load = self.load(server)
        load.start()
        new = self.leg_at("d", "new.img")
        said = self.ctl_leg(volume, "replace", "b", str(new.path), "--beside", "d", "--write")
        self.assertIn("leg d is in sync", said)
        self.assertIn("leg b is removed", said)
        told = self.rig.ctl("--control", volume.control, "events", "--json").splitlines()
        order = [(event["leg"], event.get("to")) for event in map(json.loads, told)]
        self.assertLess(order.index(("d", "in-sync")), order.index(("b", "faulty")), order)
        status = volume.wait_all_in_sync()
        self.assertEqual({"a", "c", "d"}, {leg["name"] for leg in status["legs"]})
        load.stop()
        self.assert_load_well(load, server)
        text = conf.read_text()
        self.assertNotIn("[leg b]", text)
        self.assertIn(f"[leg d]\npath = {new.path}\n", text)
        said = self.ctl_leg(volume, "replace", "b", str(new.path), "--beside", "d")
        self.assertIn("leg b is removed already", said)
        volume.legs = [volume.legs[0], volume.legs[2], new]
        volume.write_conf()
        self.stop_and_compare(volume, server)
        self.assertIn("would start", self.rig.ctl("check", conf))

    def test_interrupted(self):
        """Proves that Ctrl-C leaves the old leg, says what is left, and that the same command goes on."""
        volume, server = self.served(size=32 * MIB, resync_max_rate="1M", resync_min_rate="1M")
        server.connect().pwrite(os.urandom(16 * MIB), 0)
        new = self.leg_at("d", "new.img")
        words = ["c", str(new.path), "--beside", "d"]
        command = self.begin(volume, *words)
        self.assertIn("one leg more", command.stdout.readline())
        volume.wait_leg("d", "catching-up")
        command.send_signal(signal.SIGINT)
        said = command.communicate(timeout=20)[0]
        self.assertEqual(128 + signal.SIGINT, command.returncode, said)
        self.assertIn("the new leg goes on being copied, and the old one is kept", said)
        self.assertIn(f"leg replace {volume.name} c {new.path} --beside d\n", said)
        self.assertEqual("in-sync", volume.leg("c")["state"])
        self.assert_refused("has a leg d already", volume, "replace", "c", "/elsewhere", "--beside", "d")
        volume.set("resync_max_rate", "0")
        self.assertIn("leg c is removed", self.ctl_leg(volume, "replace", *words))
        volume.legs[2] = new
        volume.write_conf()
        self.stop_and_compare(volume, server)

    def test_a_leg_that_is_slow_or_out(self):
        """Proves that a leg that is out goes too, and that of two legs at min_legs 1 one is replaced."""
        volume, server = self.served(self.rig.file_legs("ab"), size=16 * MIB)
        self.ctl_leg(volume, "fail", "b")
        new = self.leg_at("n", "new.img")
        self.ctl_leg(volume, "replace", str(volume.legs[1].path), str(new.path), "--beside", "n")
        status = volume.wait_all_in_sync()
        self.assertEqual((["a", "n"], 1), ([leg["name"] for leg in status["legs"]], status["min_legs"]))
        volume.legs[1] = new
        volume.write_conf()
        self.stop_and_compare(volume, server)

    def test_refusals(self):
        """Proves that nothing is begun where there is no place, no such leg, or a disk with data."""
        legs = self.rig.file_legs("abcdefghijklmnop")
        volume, server = self.served(legs, size=16 * MIB)
        self.assert_refused("has 16 legs, and no place", volume, "replace", "b", str(self.rig.folder / "x"), "--beside", "q")
        self.ctl_leg(volume, "fail", "p")
        self.ctl_leg(volume, "remove", "p")
        used = self.rig.folder / "used.img"
        used.write_bytes(os.urandom(MIB))

        def carries_data():
            """The removal is told a little before it is over."""
            with self.assertRaises(CommandFailed) as failed:
                self.ctl_leg(volume, "replace", "b", str(used), "--beside", "q")
            if "under way" in failed.exception.output:
                return False
            self.assertIn("carries data", failed.exception.output)
            return True

        self.rig.wait_until(carries_data, "the refusal")
        self.assert_refused("has no leg z", volume, "replace", "z", str(self.rig.folder / "x"), "--beside", "q")
        self.assert_refused("--beside NAME", volume, "replace", "b", "--beside", "q")
        self.assertEqual("in-sync", volume.leg("b")["state"])
        self.assertEqual(15, len(volume.status()["legs"]))
        server.stop()


class AddAndRemove(Members):
    def test_a_third_leg_under_load(self):
        volume, server = self.served(self.rig.file_legs("ab"), size=32 * MIB)
        load = self.load(server)
        load.start()
        new = self.leg_at("c", "c.img")
        said = self.ctl_leg(volume, "add", "c", str(new.path))
        self.assertIn(f"[leg c]\n  path = {new.path}", said)
        status = volume.wait_all_in_sync()
        self.assertEqual(["a", "b", "c"], [leg["name"] for leg in status["legs"]])
        load.stop()
        self.assert_load_well(load, server)
        volume.legs.append(new)
        volume.write_conf()
        self.stop_and_compare(volume, server)
        server = volume.serve()
        self.assertEqual(3, volume.wait_all_in_sync()["legs_in_sync"])
        self.stop_and_compare(volume, server)

    def test_the_file_lags_behind(self):
        volume, server = self.served(self.rig.file_legs("ab"), size=16 * MIB, min_legs=1)
        new = self.leg_at("c", "c.img")
        self.ctl_leg(volume, "add", "c", str(new.path))
        volume.wait_all_in_sync()
        server.stop()
        # One of three in sync may be absent only if min_legs says that fewer cannot have gone on.
        with self.assertRaises(CommandFailed) as failed:
            volume.serve()
        self.assertIn("does not list it", failed.exception.output)
        volume.legs.append(new)
        volume.write_conf()
        server = volume.serve()
        volume.wait_all_in_sync()
        self.stop_and_compare(volume, server)

    def test_remove_one_in_the_middle(self):
        volume, server = self.served(size=16 * MIB)
        removed = volume.legs[1]
        server.connect().pwrite(b"1" * 4096, 0)
        self.ctl_leg(volume, "fail", "b")
        self.ctl_leg(volume, "remove", "b")
        status = volume.wait_for(lambda status: status["state"] == "healthy", "healthy")
        self.assertEqual(["a", "c"], [leg["name"] for leg in status["legs"]])
        self.rig.ctl("--control", volume.control, "set", volume.name, "leg.c.write_timeout=90ms")
        server.stop()
        # The section is still there: it is told of, and the volume starts.
        server = volume.serve()
        self.wait_said("the volume has no leg b, which the file lists", server)
        server.connect().pwrite(b"2" * 4096, 4096)
        server.stop()
        volume.legs.remove(removed)
        volume.write_conf()
        server = volume.serve()
        volume.wait_all_in_sync()
        client = server.connect()
        self.assertEqual(b"1" * 4096 + b"2" * 4096, bytes(client.pread(8192, 0)))
        # Its place is taken again, by another name and the same disk.
        new = self.leg_at("d", "b.img")
        self.ctl_leg(volume, "add", "d", str(new.path))
        volume.wait_all_in_sync()
        volume.legs.append(new)
        volume.write_conf()
        self.stop_and_compare(volume, server)
        server = volume.serve()
        volume.wait_all_in_sync()
        self.stop_and_compare(volume, server)

    def test_refusals(self):
        volume, server = self.served(size=16 * MIB)
        self.assert_refused("already", volume, "add", "a", str(self.rig.folder / "x.img"))
        self.assert_refused("not a name", volume, "add", "a b", str(self.rig.folder / "x.img"))
        self.assert_refused("locked", volume, "add", "d", str(volume.legs[0].path))
        self.assert_refused("in use", volume, "remove", "a")
        self.ctl_leg(volume, "fail", "c")
        self.ctl_leg(volume, "remove", "c")
        self.assert_refused("has no leg", volume, "remove", "c")
        volume.legs = volume.legs[:2]
        self.stop_and_compare(volume, server)

    def test_killed_in_the_middle(self):
        volume, server = self.served(self.rig.file_legs("ab"), size=8 * MIB, min_legs=1)
        new = self.leg_at("c", "c.img")
        for turn in range(8):
            server.connect().pwrite(bytes([turn + 1]) * 4096, 4096 * turn)
            has = "c" in [leg["name"] for leg in volume.status()["legs"]]
            if has:
                self.ctl_leg(volume, "fail", "c")
                volume.wait_leg("c", "faulty")
            words = ["remove", volume.name, "c"] if has else ["add", volume.name, "c",
                                                              str(new.path)]
            command = subprocess.Popen(
                [str(self.rig.surefootctl), "--control", str(volume.control), "leg", *words],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(turn * 0.004)
            server.kill()
            done = command.wait(30) == 0
            volume.legs = volume.legs[:2] + [new]
            volume.write_conf()
            server = volume.serve()
            now = "c" in [leg["name"] for leg in volume.status()["legs"]]
            self.assertFalse(done and now == has, "it was told that it is done")
            if now and volume.leg("c")["state"] in ("faulty", "missing"):
                self.ctl_leg(volume, "replace", "c")
            volume.wait_all_in_sync()
            for i in range(turn + 1):
                self.assertEqual(bytes([i + 1]) * 4096,
                                 bytes(server.connect().pread(4096, 4096 * i)))
            if not now:
                volume.legs = volume.legs[:2]
        self.stop_and_compare(volume, server)


if __name__ == "__main__":
    main()
