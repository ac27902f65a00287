"""Proves that a spare takes the place of a leg that is out for spare_after, once and for one volume, that the volume's file
says so, and that `leg return` gives it back.  surefootd serves volumes whose legs are files that are taken away."""

import os

from case import VolumeTest, main
from daemon import Daemon
from rig import PATIENCE_S

MIB = 1 << 20


class Spare(VolumeTest):
    def begin(self, *names, legs="ab", spare_after="1s", shared=False, before=None):
        self.daemon = Daemon(self.rig)
        self.spare = self.rig.folder / "spare.img"
        self.spare.write_bytes(before if before is not None else b"")
        volumes = []
        for name in names:
            volume = self.daemon.volume(name=name, legs=legs, spare_after=spare_after, min_legs=1)
            with volume.conf.open("a") as conf:
                conf.write(f"\n[spare s]\npath = {self.spare}\n" + ("shared = yes\n" if shared else ""))
            volumes.append(volume)
        self.daemon.start()
        for name in names:
            self.daemon.wait_serving(name)
        return volumes

    def out(self, name, leg):
        self.daemon.ctl("leg", "fail", name, f"{name}-{leg}")

    def spare_of(self, name):
        (spare,) = self.daemon.status(name)["service"]["spares"]
        return spare

    def told_of_spare(self, events):
        while event := events.next(PATIENCE_S):
            if event["event"] == "spare":
                return event
        self.fail(f"nothing is told: {self.daemon.log()}")

    def wait_used(self, name, leg, path=None):
        self.daemon.wait_status(lambda status: any(
            one["name"] == f"{name}-{leg}" and one["path"] == str(path or self.spare) and one["state"] == "in-sync"
            for one in status["legs"]), "the leg on it", name)

    def test_it_takes_the_place(self):
        """The file says it, also at the next start of surefootd; then it is given back."""
        (volume,) = self.begin("vol0")
        self.assertEqual("free", self.spare_of("vol0")["state"])
        client = self.daemon.client(volume).connect()
        client.pwrite(b"s" * MIB, 0)
        own = volume.legs[1].path
        with self.daemon.follow() as events:
            self.out("vol0", "b")
            event = self.told_of_spare(events)
        self.assertEqual(("used", "vol0-b"), (event["to"], event["leg"]))
        self.assertEqual(f"spare s ({self.spare}) instead of {own}", event["reason"])
        self.wait_used("vol0", "b")
        self.rig.wait_until(lambda: not self.daemon.status()["service"]["file_behind"], "the file")
        text = volume.conf.read_text()
        self.assertIn(f"[leg vol0-b]\npath = {self.spare}\n", text)
        self.assertIn(f"instead_of = {own}\n", text)
        self.assertIn(f"spare s, {self.spare}: is leg vol0-b instead of {own}", self.daemon.ctl("status"))
        self.daemon.stop()

        self.daemon.start()
        self.daemon.wait_serving()
        spare = self.spare_of("vol0")
        self.assertEqual(("used", "vol0", "vol0-b", str(own)),
                         tuple(spare[key] for key in ("state", "volume", "leg", "instead_of")))
        said = self.daemon.ctl("leg", "return", "vol0", "vol0-b", "--wait")
        self.assertIn("on its own disk again", said)
        self.daemon.wait_serving()
        self.assertEqual("free", self.spare_of("vol0")["state"])
        self.rig.wait_until(lambda: "instead_of" not in volume.conf.read_text(), "the file")
        self.assertIn(f"[leg vol0-b]\npath = {own}\n", volume.conf.read_text())
        self.assertEqual([], self.daemon.status()["service"]["file_behind"])
        self.daemon.stop()
        volume.assert_legs_equal()

    def test_what_holds_data_is_not_taken(self):
        """It is told why, and nothing is written to it."""
        content = os.urandom(32 * MIB)
        (volume,) = self.begin("vol0", before=content)
        with self.daemon.follow() as events:
            self.out("vol0", "b")
            event = self.told_of_spare(events)
        self.assertEqual("refused", event["to"])
        self.assertIn("carries data", event["reason"])
        self.assertEqual(content, self.spare.read_bytes())
        self.assertEqual("refused", self.spare_of("vol0")["state"])
        self.assertNotIn("instead_of", volume.conf.read_text())
        self.daemon.stop()

    def test_one_for_two(self):
        """Of two volumes that both need it one has it, and the other goes on without."""
        self.begin("vol0", "vol1", shared=True)
        self.out("vol0", "b")
        self.out("vol1", "b")
        self.rig.wait_until(lambda: self.spare_of("vol0")["state"] == "used", "one has it")
        user = self.spare_of("vol1")["volume"]
        other = "vol1" if user == "vol0" else "vol0"
        self.wait_used(user, "b")
        self.assertEqual(user, self.spare_of(other)["volume"])
        self.assertEqual("faulty", self.daemon.status(other)["legs"][1]["state"])
        self.assertIn(f"is used by {user}", self.daemon.ctl("status", other))
        self.daemon.stop()

    def test_a_leg_that_comes_back_in_time(self):
        """spare_after counts from when it left."""
        self.begin("vol0", spare_after="1h")
        self.out("vol0", "b")
        self.daemon.ctl("leg", "return", "vol0", "vol0-b", "--wait")
        self.assertEqual("free", self.spare_of("vol0")["state"])
        self.daemon.stop()

    def test_not_for_two_unless_they_say_so(self):
        """The later of two files that name one spare is not used."""
        self.daemon = Daemon(self.rig)
        for name in ("vol0", "vol1"):
            with self.daemon.volume(name=name, legs="a").conf.open("a") as conf:
                conf.write("\n[spare s]\npath = /nowhere/s\nshared = " + ("yes" if name == "vol0" else "no") + "\n")
        self.daemon.start()
        self.assertIn("not both say shared = yes", self.daemon.ctl("status"))
        self.assertEqual({"vol0"}, set(self.daemon.statuses()))
        self.daemon.stop()


if __name__ == "__main__":
    main()
