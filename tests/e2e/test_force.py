"""Proves that an operator can go on without a leg that a suspended volume waits for, that what is risked is said
and asked first, and that the leg counts again only after all of it was copied.
Freezes legs of volumes of a real surefootd, fails them by force, and compares the legs at the end."""

import json
import os
import pty
import subprocess
import time

from case import main
from daemon_case import DaemonTest
from rig import DATA_OFFSET, MIB, PATIENCE_S, SLOWNESS, CommandFailed, FileLeg

SIZE = 8 * MIB  # zeroed by way of FUSE
BLOCKS = 256  # in the first extent alone: maps would have no more of it copied

SOON_S = 15 * SLOWNESS  # a server is killed and the next one looks for its legs: seconds


class Force(DaemonTest):
    def suspended(self, names="ab", hung="b"):
        """A volume of surefootd's under load, of which these legs are frozen."""
        daemon = self.daemon()
        made = {name: self.fuse_leg(name) if name in hung else FileLeg(self.rig, name)
                for name in names}
        volume = daemon.add(self.rig.volume(list(made.values()), SIZE, min_legs=2, on_too_few="suspend",
                                            wait_for_legs="10s",
                                            read_deadline="200ms", write_deadline="200ms",
                                            flush_deadline="400ms").create())
        daemon.start()
        daemon.wait_serving()
        load = self.load(daemon.client(volume), depth=8, mix=(("write", 0.9), ("flush", 0.1)),
                         blocks=BLOCKS).start()
        load.wait_count(200)
        for name in hung:
            made[name].freeze()
        daemon.wait_status(lambda status: status["state"] == "suspended", "suspended")
        return daemon, volume, made, load

    def fail(self, daemon, leg, *words):
        return daemon.ctl("leg", "fail", "vol0", leg, "--force", *words, stdin=subprocess.DEVNULL)

    def refused(self, code, *command):
        with self.assertRaises(CommandFailed) as failure:
            self.fail(*command)
        self.assertEqual(code, failure.exception.code, failure.exception.output)
        return failure.exception.output

    def leg(self, daemon, name):
        return next(leg for leg in daemon.status()["legs"] if leg["name"] == name)

    def wait_leg(self, daemon, name, *states):
        def holds(status):
            return any(leg["name"] == name and leg["state"] in states for leg in status["legs"])
        return daemon.wait_status(holds, f"leg {name} {' or '.join(states)}", seconds=2 * PATIENCE_S)

    def come_back(self, daemon, volume, leg):
        """By the operator's word, and then all of it is copied."""
        leg.thaw()
        self.rig.wait_until(lambda: self.returned(daemon, leg.name), f"leg {leg.name} returned")
        self.wait_leg(daemon, leg.name, "in-sync")

    def finish(self, daemon, volume, load):
        self.assertEqual([], load.wrong)
        self.assertEqual([], load.model.verify(daemon.client(volume).connect()))
        daemon.wait_status(lambda status: status["unconverged_bytes"] == 0, "converged")
        daemon.stop()
        self.check_clean(volume)
        volume.assert_legs_equal()

    def test_goes_on_without_the_leg(self):
        """Proves that nothing is done without --yes or an answer on a terminal; that with it writes go on within
        seconds, nothing acknowledged is lost, the leg stays out when it answers again, over a restart too, and that
        all of it is copied when it is returned, also what it had."""
        daemon, volume, legs, load = self.suspended()
        pid = daemon.pid()
        said = self.refused(2, daemon, "b")
        self.assertRegex(said, r"vol0 is suspended: waits for leg b")
        self.assertRegex(said, r"Leg b \(.*\) is in-sync, and its oldest request has had no answer for [\d.]+ m?s")
        self.assertIn("No acknowledged write is known to be on leg b alone: a is in sync", said)
        self.assertIn("min_legs becomes 1, and is 2", said)
        self.assertIn("--yes", said)
        self.assertEqual(pid, daemon.pid())
        began = time.monotonic()
        said = self.fail(daemon, "b", "--yes")
        self.assertIn("goes on with a; leg b is taken out", said)
        load.stop()
        with self.load(daemon.client(volume), depth=8, model=load.model) as second:
            second.wait_count(100)
            self.assertLess(time.monotonic() - began, SOON_S)
            self.assertEqual([], second.errors)
        status = daemon.status()
        self.assertEqual(("degraded", 1, 1), (status["state"], status["min_legs"], status["legs_in_sync"]))
        self.assertEqual("faulty", self.leg(daemon, "b")["state"])
        legs["b"].thaw()
        daemon.ctl("restart", "vol0", "--wait")
        time.sleep(3)  # a leg that is missing would be found in two
        self.assertEqual("faulty", self.leg(daemon, "b")["state"])
        with open(legs["b"].image, "r+b") as image:
            image.seek(DATA_OFFSET + SIZE // 2)
            image.write(b"what it holds must not count" * 100)
        with daemon.follow() as events:
            self.come_back(daemon, volume, legs["b"])
            event = self.next_event(events, lambda event: event.get("event") == "leg-state"
                                    and event["leg"] == "b" and event["to"] == "in-sync")
        self.assertIsNotNone(event)
        self.finish(daemon, volume, second)

    def test_asks_on_a_terminal(self):
        """Proves that the question is answered by the volume's name, and by nothing else."""
        daemon, volume, legs, load = self.suspended()
        command = [str(self.rig.surefootctl), "--control", str(daemon.control), "leg", "fail", "vol0", "b", "--force"]
        for answer, code in (("y", 1), ("vol0", 0)):
            ours, theirs = pty.openpty()
            with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True) as asked:
                os.write(ours, f"{answer}\n".encode())
                out, err = asked.communicate(timeout=2 * PATIENCE_S)
            os.close(theirs)
            os.close(ours)
            self.assertEqual(code, asked.returncode, out + err)
            self.assertIn("Type the name of the volume", err)
        load.stop()
        self.assertEqual("faulty", self.leg(daemon, "b")["state"])
        self.come_back(daemon, volume, legs["b"])
        self.finish(daemon, volume, load)

    def test_legs_that_change_while_it_asks(self):
        """Proves that nothing is done when the set of legs has changed between the question and the answer: the legs
        to go on with may have left since, without knowing it."""
        daemon = self.daemon()
        daemon.volume(min_legs=2)
        daemon.start()
        daemon.wait_serving()
        daemon.ctl("leg", "fail", "vol0", "vol0-c")
        pid = daemon.pid()
        ours, theirs = pty.openpty()
        with subprocess.Popen([str(self.rig.surefootctl), "--control", str(daemon.control), "leg", "fail", "vol0",
                               "vol0-b", "--force"], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as asked:
            for line in asked.stderr:
                if line.startswith("- Clients lose"):
                    break
            daemon.ctl("leg", "return", "vol0", "vol0-c", "--wait")
            os.write(ours, b"vol0\n")
            _, err = asked.communicate(timeout=2 * PATIENCE_S)
        os.close(theirs)
        os.close(ours)
        self.assertEqual(1, asked.returncode)
        self.assertIn("nothing was done: its legs have changed", err)
        self.assertEqual((pid, "healthy"), (daemon.pid(), daemon.status()["state"]))
        daemon.stop()

    def test_two_of_three_hang(self):
        """Proves that a leg that can be spared is taken out as without --force, with no question, and that it is said
        that the volume still waits for the other; that one is then failed by force."""
        daemon, volume, legs, load = self.suspended("abc", "bc")
        said = self.refused(1, daemon, "b")
        self.assertIn("leg b is taken out", said)
        self.assertIn("is suspended all the same: waits for leg c", said)
        self.assertIn("goes on with a", self.fail(daemon, "c", "--yes"))
        load.stop()
        with self.load(daemon.client(volume), depth=8, model=load.model) as second:
            second.wait_count(100)
        self.assertEqual(["in-sync", "faulty", "faulty"], [leg["state"] for leg in daemon.status()["legs"]])
        for name in "bc":
            self.come_back(daemon, volume, legs[name])
        self.finish(daemon, volume, second)

    def test_a_leg_that_can_be_spared(self):
        """Proves that on a healthy volume it is the plain `leg fail`: no question, no other server."""
        daemon = self.daemon()
        daemon.volume(min_legs=2)
        daemon.start()
        daemon.wait_serving()
        pid = daemon.pid()
        self.assertIn("is taken out", self.fail(daemon, "vol0-c"))
        self.assertEqual((pid, "degraded"), (daemon.pid(), daemon.status()["state"]))
        said = self.refused(2, daemon, "vol0-b")
        self.assertIn("No acknowledged write is known to be on leg vol0-b alone: vol0-a is in sync", said)
        self.assertEqual(pid, daemon.pid())
        daemon.stop()

    def test_the_only_leg_in_sync(self):
        """Proves that what no leg could go on from is refused in these words, and that the volume is left as it is;
        and that where another leg could be started from, it is said that acknowledged writes are lost for certain."""
        daemon, _, legs, load = self.only_one()
        said = self.refused(2, daemon, "b")
        self.assertIn("ACKNOWLEDGED WRITES ARE LOST FOR CERTAIN: no other leg is in sync", said)
        self.assertRegex(said, r"What a lacks and only leg b has is [\d.]+ [KM]iB")
        self.assertIn("goes on with a", self.fail(daemon, "b", "--yes"))
        status = daemon.status()
        self.assertEqual(["in-sync", "faulty"], [leg["state"] for leg in status["legs"]])
        load.stop()
        legs["b"].thaw()
        daemon.stop()

    def only_one(self):
        """Leg a was taken out by the operator, and b went on alone until it hung."""
        daemon = self.daemon()
        made = {"a": FileLeg(self.rig, "a"), "b": self.fuse_leg("b")}
        volume = daemon.add(self.rig.volume(list(made.values()), min_legs=1, on_too_few="suspend",
                                            wait_for_legs="10s").create())
        daemon.start()
        daemon.wait_serving()
        daemon.ctl("leg", "fail", "vol0", "a")
        load = self.load(daemon.client(volume), depth=8).start()
        load.wait_count(200)
        made["b"].freeze()
        daemon.wait_status(lambda status: status["state"] == "suspended", "suspended")
        return daemon, volume, made, load

    def test_killed_in_the_middle(self):
        """Proves that a surefootd that is killed at any moment of it leaves a volume that starts and is not split:
        kills it after various times, thaws the leg, and starts again."""
        for after in (0.0, 0.05, 0.2, 0.6, 1.5, 3.0):
            with self.subTest(after=after):
                self.killed_after(after)

    def killed_after(self, after):
        self.tearDown()
        self.setUp()
        daemon, volume, legs, load = self.suspended()
        asked = subprocess.Popen(
            [str(self.rig.surefootctl), "--control", str(daemon.control), "leg", "fail", "vol0", "b", "--force",
             "--yes"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.rig.wait_until(lambda: asked.poll() is not None or "failed by force" in daemon.log(), "it begins")
        time.sleep(after)
        daemon.process.kill()
        daemon.process.wait()
        asked.communicate(timeout=2 * PATIENCE_S)
        load.stop()
        legs["b"].thaw()
        daemon.start()
        daemon.wait_status(lambda status: status["service"]["state"] == "serving", "it serves", seconds=2 * PATIENCE_S)
        if self.leg(daemon, "b")["state"] == "faulty":
            self.assertNotIn("split", self.leg(daemon, "b")["reason"])
            self.come_back(daemon, volume, legs["b"])
        daemon.wait_status(lambda status: status["state"] == "healthy", "healthy", seconds=2 * PATIENCE_S)
        self.finish(daemon, volume, load)

    def test_without_surefootd(self):
        """Proves that a volume that is served by hand is left as it is, that it is said what to do instead, and that
        this works: force_with starts with the legs that are named and no other."""
        legs = [FileLeg(self.rig, "a"), self.fuse_leg("b"), self.fuse_leg("c")]
        volume, server = self.served(legs, size=SIZE, min_legs=2, on_too_few="suspend", wait_for_legs="5s")
        with self.load(server, depth=4) as load:
            load.wait_count(100)
            legs[1].freeze()
            volume.wait_leg("b", "late")
            legs[2].freeze()
            volume.wait_for(lambda status: status["state"] == "suspended", "suspended")
            with self.assertRaises(CommandFailed) as failure:
                self.rig.ctl("--control", volume.control, "leg", "fail", "vol0", "c", "--force", "--yes")
            self.assertEqual(1, failure.exception.code)
            self.assertIn("force_with=LEG", failure.exception.output)
            self.assertEqual("suspended", volume.status()["state"])
            server.kill()
        legs[2].thaw()  # it answers, and is not asked
        server = volume.serve("force_with=a", "min_legs=1")
        volume.wait_leg("c", "missing", "probing", "catching-up", "in-sync")
        legs[1].thaw()
        volume.wait_all_in_sync()
        self.assertEqual([], load.model.verify(server.connect()))
        self.stop_and_compare(volume, server)

    def test_force_with_waits(self):
        """Proves that a start with named legs waits for each of them, and refuses what is no leg."""
        volume = self.rig.volume(wait_for_legs="0s").create()
        away = volume.legs[1].path.with_suffix(".away")
        volume.legs[1].path.rename(away)
        for with_, said in (("a,b", "waits for each leg of force_with=a,b"), ("a,x", "force_with=a,x: each must be"),
                            ("", "names no leg")):
            server = volume.launch(f"force_with={with_}")
            server.process.wait(PATIENCE_S)
            self.assertNotEqual(0, server.process.returncode)
            self.assertIn(said, server.log())
        away.rename(volume.legs[1].path)
        document = json.loads(self.rig.ctl("check", volume.conf, "--json"))
        self.assertTrue(document["may_start"], document)


if __name__ == "__main__":
    main()
