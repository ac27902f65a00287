"""Proves what surefootd does with its files: it checks them before it starts, reloads without a stop, and follows a
change of the members."""

import json
import os
import signal
import subprocess
import threading

from case import main
from daemon_case import Between, DaemonTest, EVENTS_KEPT
from rig import PATIENCE_S, CommandFailed


class Checks(DaemonTest):
    def refused(self, daemon, *texts):
        with open(daemon.log_path, "wb") as log:
            process = self.rig.spawn([daemon.binary, "-c", daemon.settings_file], stderr=log)
        self.assertEqual(1, process.wait(PATIENCE_S))
        for text in texts:
            self.assertIn(text, daemon.log())
        self.assertFalse(daemon.runtime.exists(), "something was started")

    def left_out(self, daemon, served, *texts):
        """The others are served, the unit is up, and each client that asks is told of the files that are not."""
        daemon.start(ready=False)
        line = next(line for line in daemon.wait_notify("READY=1") + [daemon.told.get(timeout=PATIENCE_S)]
                    if line.startswith("STATUS="))
        self.assertIn(f"; {len(texts)} problem", line)
        self.assertIn(texts[0], line)
        self.assertEqual(sorted(served), sorted(daemon.statuses()))
        for name in served:
            daemon.wait_serving(name)
        problems = json.loads(daemon.ctl("status", "--json"))["problems"]
        self.assertEqual(len(texts), len(problems), problems)
        text = daemon.ctl("status")
        for wanted, problem in zip(texts, problems):
            self.assertIn(wanted, problem)
            self.assertIn(wanted, text)
            self.assertIn(wanted, daemon.log())
        with self.assertRaises(CommandFailed) as failure:
            daemon.ctl("status", "not-there")
        self.assertIn(texts[0], failure.exception.output)
        daemon.stop()
        process = self.rig.spawn([daemon.binary, "-c", daemon.settings_file, "--check"])
        self.assertEqual(1, process.wait(PATIENCE_S))

    def test_files_with_mistakes(self):
        """Proves that each wrong file is told, and keeps only its own volume from being served."""
        daemon = self.daemon()
        daemon.volume("good"), daemon.volume("zero", legs="a")
        (daemon.folder / "bad1.conf").write_text("[volume]\nname = x\nnonsense = 1\n")
        (daemon.folder / "bad2.conf").write_text("[volume]\nname = y\n")
        (daemon.folder / "bad3.conf").symlink_to("nowhere")
        (daemon.folder / "bad4.conf").mkdir()
        (daemon.folder / "not-a-volume.txt").write_text("nonsense")
        self.left_out(daemon, ["good", "zero"], "bad1.conf:3: [volume] nonsense: unknown key",
                      "bad2.conf: the volume has no leg", "bad3.conf: No such file", "bad4.conf: is not a file")

    def test_nothing_but_mistakes(self):
        """Proves that the service is up when no file is right, and serves when one is mended."""
        daemon = self.daemon()
        volume = daemon.volume("one", legs="a")
        text = volume.conf.read_text()
        volume.conf.write_text(text + "colour = red\n")
        self.left_out(daemon, [], "colour: unknown key")
        daemon.start()
        volume.conf.write_text(text)
        daemon.ctl("reload")
        daemon.wait_serving("one")
        self.assertEqual([], json.loads(daemon.ctl("status", "--json"))["problems"])
        self.assertNotIn("not used", daemon.ctl("status"))
        daemon.stop()

    def test_two_that_want_the_same(self):
        """Proves that a leg, a name or a device cannot be in two volumes: the first file has it."""
        daemon = self.daemon()
        one = daemon.volume("one")
        two = daemon.volume("two")
        two.legs[1] = one.legs[0]
        two.write_conf()
        (daemon.folder / "three.conf").write_text(one.conf.read_text())
        self.left_out(daemon, ["one"], "three.conf: name: one is that of",
                      f"{one.legs[0].path} is a leg of volume one already")

    def test_timeouts_of_a_device(self):
        """Proves that a device that would give up a healthy volume is refused."""
        daemon = self.daemon()
        volume = daemon.volume(device="/dev/nbd0")
        volume.settings["device_timeout"] = "5s"
        volume.write_conf()
        self.left_out(daemon, [], "device_timeout: 5s must be 2s longer than fail_timeout")

    def test_a_disk_that_does_not_answer(self):
        """Proves that a start does not wait for what surefootd keeps: it may be on a volume that waits for that start."""
        daemon = self.daemon()
        daemon.volume(legs="a")
        for key in "events", "latency":
            path = self.rig.folder / f"{key}.fifo"
            os.mkfifo(path)  # an open of it waits
            daemon.settings[key] = path
        daemon.write_settings()
        daemon.start()
        daemon.wait_serving("vol0")
        for what in "events", "latencies":
            self.assertIn(f"the {what} from before are not known: it does not answer", daemon.log())
        daemon.stop()

    def test_settings(self):
        """Proves that wrong settings name file, line and key."""
        daemon = self.daemon()
        for key, value, text in (("hook", "relative", ":4: hook: \"relative\" must be an absolute"),
                                 ("colour", "red", ":4: colour: unknown key; known are volumes"),
                                 ("metrics", "localhost:1", "is not an address"),
                                 ("stop_timeout", "0s", "is not between 1s and 3600s")):
            daemon.settings = {"volumes": daemon.folder, "runtime": daemon.runtime, key: value}
            daemon.write_settings()
            self.refused(daemon, text)

    def test_one_daemon(self):
        """Proves that a second daemon in the same place ends, and harms nothing."""
        daemon = self.daemon()
        daemon.volume()
        daemon.start()
        second = self.rig.spawn([daemon.binary, "-c", daemon.settings_file])
        self.assertEqual(1, second.wait(PATIENCE_S))
        self.assertEqual("healthy", daemon.status()["state"])
        daemon.stop()

    def test_a_device_without_the_kernel(self):
        """Proves that a kernel without nbd is said, with the cure, and that the socket serves."""
        if os.path.exists("/sys/module/nbd"):
            self.skipTest("this kernel has nbd")
        daemon = self.daemon()
        volume = daemon.volume(device="/dev/nbd0")
        daemon.start()
        device = daemon.status()["service"]["device"]
        self.assertEqual("not attached", device["state"])
        self.assertIn("modprobe nbd", device["reason"])
        self.assertEqual(1, daemon.log().count("modprobe nbd"))
        daemon.client(volume).connect().pread(512, 0)
        daemon.stop()


class Reload(DaemonTest):
    def set_up(self):
        daemon = self.daemon()
        self.one, self.two = daemon.volume("one"), daemon.volume("two", legs="ab")
        daemon.start()
        return daemon

    def changes(self, daemon, *words):
        reply = json.loads(daemon.ctl("reload", "--json", *words))
        return {(change["volume"], change["change"], change["key"]): change
                for change in reply["changes"]}

    def test_live_settings(self):
        """Proves that a changed deadline is in force at once, also where two depend on each other, and
        outlives the server."""
        daemon = self.set_up()
        pid = daemon.pid("one")
        self.one.settings.update(write_deadline="40s", fail_timeout="60s")
        self.one.write_conf()
        self.assertEqual({("one", "set", "write_deadline"), ("one", "set", "fail_timeout")},
                         set(self.changes(daemon, "--dry-run")))
        self.assertEqual(2, len(self.changes(daemon, "--dry-run")), "a dry run changed something")
        done = self.changes(daemon)
        self.assertEqual({True}, {change["done"] for change in done.values()}, done)
        self.assertEqual({}, self.changes(daemon))
        self.assertEqual(pid, daemon.pid("one"))
        # One that the volume would refuse if it were not so.
        daemon.ctl("set", "one", "write_deadline=50s")
        os.kill(pid, signal.SIGKILL)
        daemon.wait_status(lambda status: status["service"]["pid"] not in (0, pid), "restart", "one")
        daemon.wait_serving("one")
        daemon.ctl("set", "one", "read_deadline=55s")
        # The file wins.
        self.assertEqual({("one", "set", "write_deadline"), ("one", "set", "read_deadline")},
                         set(self.changes(daemon)))
        # Nor does it need a line for that.
        daemon.ctl("set", "one", "leg.one-a.write_timeout=45s")
        self.assertRegex(daemon.ctl("show", "one"), r"leg.one-a.write_timeout +45s +set")
        self.assertTrue(self.changes(daemon)["one", "set", "leg.one-a.write_timeout"]["done"])
        self.assertRegex(daemon.ctl("show", "one"), r"leg.one-a.write_timeout +40s +default")
        daemon.stop()

    def test_volumes_come_and_go(self):
        """Proves that a new volume is started, and one whose file is gone is stopped cleanly; the third
        keeps its client."""
        daemon = self.set_up()
        load = self.load(daemon.client(self.one)).start()
        three = daemon.volume("three", legs="a")
        self.two.conf.rename(self.rig.folder / "two.conf")
        done = self.changes(daemon)
        self.assertTrue(done["three", "add", None]["done"])
        self.assertTrue(done["two", "remove", None]["done"])
        daemon.wait_serving("three")
        self.rig.wait_until(lambda: "two" not in daemon.statuses(), "two gone")
        self.two.conf = self.rig.folder / "two.conf"
        self.check_clean(self.two)
        load.wait_count(20)
        load.stop()
        self.assertEqual([], load.errors)
        self.assertFalse(load.connection_lost)
        daemon.stop()
        self.check_clean(three)

    def test_a_broken_file(self):
        """Proves that a bad file changes nothing of its own volume, not even when its server starts again,
        that the others are reloaded, and that all is told."""
        daemon = self.set_up()
        self.one.settings["write_deadline"] = "7s"
        self.one.write_conf()
        text = self.two.conf.read_text()
        self.two.conf.write_text("[volume\n")
        daemon.volume("three", legs="a")
        with self.assertRaises(CommandFailed) as failure:
            daemon.ctl("reload", "--dry-run")
        self.assertIn("two.conf:1:", failure.exception.output)
        self.assertIn("(nothing was done)", failure.exception.output)
        with self.assertRaises(CommandFailed) as failure:
            daemon.ctl("reload")
        self.assertIn("two.conf:1:", failure.exception.output)
        self.assertIn("one: write_deadline: 5s -> 7s", failure.exception.output)
        self.assertIn("three: is new: started", failure.exception.output)
        self.assertIn("go on as they were", failure.exception.output)
        daemon.wait_serving("three")
        self.assertIn("two.conf:1:", daemon.ctl("status"))
        pid = daemon.pid("two")
        os.kill(pid, signal.SIGKILL)
        daemon.wait_status(lambda status: status["service"]["pid"] not in (0, pid), "restart", "two")
        daemon.wait_serving("two")
        self.two.conf.write_text(text)
        self.assertEqual({}, self.changes(daemon))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_notify("READY=1")
        daemon.stop()

    def test_a_running_volume_comes_first(self):
        """Proves that a new file that wants what a running volume has is left out, though its name comes
        first, and so is one that a volume gets which takes another's leg: both go on as they were."""
        daemon = self.set_up()
        (daemon.folder / "a.conf").write_text(self.one.conf.read_text())
        text = self.two.conf.read_text()
        self.two.conf.write_text(text.replace(str(self.two.legs[1].path), str(self.one.legs[0].path)))
        with self.assertRaises(CommandFailed) as failure:
            daemon.ctl("reload")
        self.assertIn("a.conf: name: one is that of", failure.exception.output)
        self.assertIn("two.conf: leg two-b", failure.exception.output)
        self.assertEqual({"one", "two"}, set(daemon.statuses()))
        daemon.wait_serving("one"), daemon.wait_serving("two")
        self.two.conf.write_text(text)
        (daemon.folder / "a.conf").unlink()
        self.assertEqual({}, self.changes(daemon))
        daemon.stop()

    def test_wrong_settings(self):
        """Proves that a mistake in the settings changes nothing at all."""
        daemon = self.set_up()
        self.one.settings["write_deadline"] = "7s"
        self.one.write_conf()
        daemon.settings["colour"] = "red"
        daemon.write_settings()
        with self.assertRaises(CommandFailed) as failure:
            daemon.ctl("reload")
        self.assertIn("nothing is changed", failure.exception.output)
        del daemon.settings["colour"]
        daemon.write_settings()
        self.assertEqual({("one", "set", "write_deadline")}, set(self.changes(daemon)))
        daemon.stop()

    def test_what_needs_a_restart(self):
        """Proves that what cannot change while it runs is said, remembered over further reloads, and
        done by a restart."""
        daemon = self.set_up()
        self.one.settings["min_legs"] = 3
        self.one.write_conf()
        change = self.changes(daemon)["one", "restart", "min_legs"]
        self.assertEqual(("2", "3", False), (change["from"], change["to"], change["done"]))
        self.assertIn("surefootctl restart one", change["message"])
        self.assertIn(("one", "restart", "min_legs"), self.changes(daemon))
        status = daemon.status("one")
        self.assertEqual("min_legs", status["service"]["restart_needed_for"])
        self.assertEqual(2, status["min_legs"])
        daemon.ctl("restart", "one")
        daemon.wait_status(lambda status: status["min_legs"] == 3 and status["state"] == "healthy",
                           "min_legs", "one")
        self.assertEqual({}, self.changes(daemon))
        daemon.stop()


    def test_a_volume_that_is_starting(self):
        """Proves that what a starting server has not read is not told as done, and is not forgotten."""
        daemon = self.daemon()
        self.two = daemon.volume("two", legs="ab", wait_for_legs="30s")
        daemon.start()
        hidden = self.two.legs[0].path.with_suffix(".away")
        os.kill(daemon.pid("two"), signal.SIGKILL)
        self.two.legs[0].path.rename(hidden)
        daemon.wait_status(lambda status: status["service"]["state"] == "starting"
                           and status["service"]["pid"] > 0, "a start that waits", "two")
        daemon.wait_status(lambda status: "for leg two-a" in (status["service"]["reason"] or ""),
                           "whom it waits for", "two")
        self.two.settings["write_deadline"] = "6s"
        self.two.write_conf()
        change = self.changes(daemon)["two", "set", "write_deadline"]
        self.assertFalse(change["done"])
        self.assertIn("reload again", change["message"])
        self.assertEqual("write_deadline", daemon.status("two")["service"]["restart_needed_for"])
        hidden.rename(self.two.legs[0].path)
        daemon.wait_serving("two")
        self.assertTrue(self.changes(daemon)["two", "set", "write_deadline"]["done"])
        daemon.stop()

    def test_one_is_silent(self):
        """Proves that a volume that does not answer holds a reload up no longer than surefootctl waits,
        though the settings of another one take two rounds."""
        daemon = self.set_up()
        pid = daemon.pid("two")
        os.kill(pid, signal.SIGSTOP)
        self.one.settings.update(write_deadline="40s", fail_timeout="60s")
        self.two.settings["write_deadline"] = "6s"
        self.one.write_conf(), self.two.write_conf()
        done = self.changes(daemon)
        self.assertEqual({("one", "set", "write_deadline"): True, ("one", "set", "fail_timeout"): True,
                          ("two", "set", "write_deadline"): False},
                         {key: change["done"] for key, change in done.items()})
        os.kill(pid, signal.SIGCONT)
        self.assertTrue(self.changes(daemon)["two", "set", "write_deadline"]["done"])
        daemon.stop()

    def test_restart_and_removal(self):
        """Proves that a volume whose file goes away while it restarts ends, and that one that ends is not
        restarted."""
        daemon = self.set_up()
        text = self.two.conf.read_text()
        os.kill(daemon.pid("two"), signal.SIGSTOP)  # its stop takes as long as is wanted
        pid = daemon.pid("two")
        daemon.ctl("restart", "two")
        self.assertEqual("stopping", daemon.status("two")["service"]["state"])
        self.two.conf.unlink()
        self.assertTrue(self.changes(daemon)["two", "remove", None]["done"])
        with self.assertRaises(CommandFailed) as failure:
            daemon.ctl("restart", "two")
        self.assertIn("its file is gone", failure.exception.output)
        os.kill(pid, signal.SIGCONT)
        self.rig.wait_until(lambda: "two" not in daemon.statuses(), "two gone")
        self.two.conf.write_text(text)
        self.assertTrue(self.changes(daemon)["two", "add", None]["done"])
        daemon.wait_serving("two")
        daemon.stop()


class Members(DaemonTest):
    """Legs that change while the volume runs, and a file that says so before, after or never."""

    def set_up(self):
        self.daemon_ = daemon = self.daemon()
        self.volume = daemon.volume()
        daemon.start()
        far = self.rig.folder / ("x" * 250) / ("y" * 250)
        far.mkdir(parents=True)
        self.new = far / "new.img"
        self.new.touch()
        os.truncate(self.new, os.path.getsize(self.volume.legs[1].path))
        return daemon

    def kill_server(self):
        killed = self.daemon_.pid()
        os.kill(killed, signal.SIGKILL)
        self.daemon_.wait_status(lambda status: status["service"]["pid"] not in (0, killed), "a new server")

    def wait_path(self, leg, path):
        return self.daemon_.wait_status(
            lambda status: status["service"]["state"] == "serving" and status["state"] == "healthy"
            and [one["path"] for one in status["legs"] if one["name"] == leg] == [str(path)],
            f"{leg} at {path}")

    def replace(self):
        self.daemon_.ctl("leg", "fail", "vol0", "vol0-b")
        return self.daemon_.ctl("leg", "replace", "vol0", "vol0-b", str(self.new))

    def changes(self):
        reply = json.loads(self.daemon_.ctl("reload", "--json"))
        return {(change["change"], change["key"]): change for change in reply["changes"]}

    def point_file_at_new(self):
        leg = self.volume.legs[1]
        text = self.volume.conf.read_text()
        self.assertIn(str(leg.path), text)
        self.volume.conf.write_text(text.replace(str(leg.path), str(self.new)))

    def test_replaced(self):
        """Proves that a server that dies after a replacement finds the new disk, though the file says so
        later, is read with the old path in it, and only then says it."""
        daemon = self.set_up()
        self.assertIn("before surefootd itself starts again", self.replace())
        self.wait_path("vol0-b", self.new)
        self.kill_server()
        self.wait_path("vol0-b", self.new)
        (behind,) = daemon.status()["service"]["file_behind"]
        self.assertEqual(("vol0-b", str(self.new)), (behind["leg"], behind["now"]))
        self.assertIn("the file does not say so: leg vol0-b is ", daemon.ctl("status"))
        change = self.changes()["keep", "leg.vol0-b.path"]
        self.assertEqual((str(self.volume.legs[1].path), str(self.new), False),
                         (change["from"], change["to"], change["done"]))
        self.kill_server()
        self.wait_path("vol0-b", self.new)
        self.point_file_at_new()
        self.kill_server()
        self.wait_path("vol0-b", self.new)
        self.assertEqual({}, self.changes())
        self.assertEqual([], daemon.status()["service"]["file_behind"])
        self.kill_server()
        self.wait_path("vol0-b", self.new)
        daemon.stop()
        daemon.start()
        self.wait_path("vol0-b", self.new)
        daemon.stop()

    def test_replaced_after_the_file(self):
        """Proves that the file may say it first."""
        daemon = self.set_up()
        self.point_file_at_new()
        self.assertIn(("restart", "leg.vol0-b.path"), self.changes())
        self.replace()
        self.wait_path("vol0-b", self.new)
        self.assertEqual({}, self.changes())
        self.kill_server()
        self.wait_path("vol0-b", self.new)
        daemon.stop()

    def test_the_file_never_says_it(self):
        """Proves that the stop of surefootd tells what it alone knew, and that this is what the next
        start needs."""
        daemon = self.set_up()
        self.replace()
        self.wait_path("vol0-b", self.new)
        daemon.stop()
        told = f"vol0: before the next start its file must say: [leg vol0-b] path = {self.new}"
        self.assertEqual(1, daemon.log().count(told))
        self.point_file_at_new()
        daemon.start()
        self.wait_path("vol0-b", self.new)
        daemon.stop()

    def test_a_feed_that_begins_again(self):
        """Proves that what a feed that is opened again tells once more of a leg does not count, though the
        daemon itself keeps it no more: the leg would get back the disk before its last one."""
        daemon = self.daemon()
        daemon.volume()
        server = Between(daemon)
        self.addCleanup(server.close)
        daemon.start()
        self.daemon_ = daemon

        def event(number, kind, reason):
            return {"event": kind, "volume": "vol0", "leg": "vol0-b", "from": None, "to": None,
                    "reason": reason, "monotonic_ns": number, "time": "2024-01-01T00:00:00.000Z"}

        def wait_told(reason):
            self.rig.wait_until(lambda: f"({reason})" in daemon.log(), reason, process=daemon.process)

        older = event(1, "leg-replaced", "/older")
        newer = event(2 + EVENTS_KEPT, "leg-replaced", "/newer")
        feed = server.feeds.get(timeout=PATIENCE_S)
        server.say(feed, {"ok": True, "version": 1, "events": [older]})
        for number in range(EVENTS_KEPT):
            server.say(feed, event(2 + number, "read-repaired", f"extent {number}"))
        server.say(feed, newer)
        wait_told("/newer")
        feed.close()
        feed = server.feeds.get(timeout=PATIENCE_S)
        last = event(3 + EVENTS_KEPT, "read-repaired", "the last")
        server.say(feed, {"ok": True, "version": 1, "events": [older, newer, last]})
        wait_told("the last")
        self.assertEqual("/newer", self.changes()["keep", "leg.vol0-b.path"]["to"])
        self.assertEqual(1, daemon.log().count("(/older)"))
        self.assertEqual(1, daemon.log().count("(/newer)"))
        feed.close()
        daemon.stop()

    def test_a_server_that_dies_in_a_change(self):
        """Proves that commands that wait for a change end with the server, and say what became of it."""
        daemon = self.daemon()
        volume = daemon.volume()
        server = Between(daemon)
        self.addCleanup(server.close)
        daemon.start()
        new = self.rig.folder / "new.img"
        for words, said in ((("grow", "vol0", "128M"), "that is not done: ask again"),
                            (("leg", "add", "vol0", "d", str(new)), "that is not done: ask again"),
                            (("leg", "remove", "vol0", "vol0-c"), "that is not done: ask again"),
                            (("leg", "replace", "vol0", "vol0-c"), "whether that is done is not known")):
            begun = server.begun[words[0]] = threading.Event()
            process = subprocess.Popen([self.rig.surefootctl, "--control", daemon.control, *words],
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self.assertTrue(begun.wait(PATIENCE_S))
            os.kill(daemon.pid(), signal.SIGKILL)
            output, _ = process.communicate(timeout=PATIENCE_S)
            self.assertEqual(1, process.returncode, output)
            self.assertIn("its server ended meanwhile (signal 9)", output)
            self.assertIn(said, output)
            daemon.wait_serving()
        # One that was done all the same: the next server has the leg under its new path.
        path = volume.legs[2].path
        server.begun["leg"].clear()
        process = subprocess.Popen([self.rig.surefootctl, "--control", daemon.control, "leg", "add", "vol0",
                                    "vol0-c", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertTrue(server.begun["leg"].wait(PATIENCE_S))
        os.kill(daemon.pid(), signal.SIGKILL)
        output, _ = process.communicate(timeout=PATIENCE_S)
        self.assertEqual(0, process.returncode, output)
        self.assertIn("has one leg more", output)
        daemon.stop()

    def test_added_and_removed(self):
        """Proves the same for a leg more and a leg less, and that the file's other settings are applied."""
        daemon = self.set_up()
        self.assertIn("before surefootd itself starts again",
                      daemon.ctl("leg", "add", "vol0", "d", str(self.new)))
        self.wait_path("d", self.new)
        self.kill_server()
        self.wait_path("d", self.new)
        self.volume.settings["write_deadline"] = "6s"
        self.volume.write_conf()
        self.assertEqual({("keep", "leg.d.path"), ("set", "write_deadline")}, set(self.changes()))
        self.volume.settings.update(write_deadline="7s", min_legs=2)
        self.volume.write_conf()
        text = self.volume.conf.read_text()
        self.volume.conf.write_text(text + f"[leg d]\npath = {self.new}\n")
        self.assertEqual({("set", "write_deadline"): True},
                         {key: change["done"] for key, change in self.changes().items()})
        daemon.ctl("leg", "fail", "vol0", "vol0-a")
        self.assertIn("systemctl reload surefootd", daemon.ctl("leg", "remove", "vol0", "vol0-a"))
        self.kill_server()
        status = daemon.wait_serving()
        self.assertEqual({"vol0-b", "vol0-c", "d"}, {leg["name"] for leg in status["legs"]} - {""})
        self.assertEqual({("keep", "leg.vol0-a.path")}, set(self.changes()))
        daemon.stop()


if __name__ == "__main__":
    main()
