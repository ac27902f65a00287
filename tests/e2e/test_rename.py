"""Proves that a volume that is stopped gets another name on its legs and in its file, with its data and its uuid; that what broke
off is done by saying it again; and that nothing is written where a leg is missing or the volume runs."""

import os
import signal
from pathlib import Path

from case import VolumeTest, main
from daemon import Daemon
from rig import CommandFailed

MIB = 1 << 20


class Rename(VolumeTest):
    def setUp(self):
        super().setUp()
        self.daemon = Daemon(self.rig)
        self.volume = self.daemon.volume()
        os.environ["SUREFOOT_VOLUMES_DIR"] = str(self.daemon.folder)
        self.addCleanup(os.environ.pop, "SUREFOOT_VOLUMES_DIR")

    def rename(self, *words):
        return self.daemon.ctl("rename", *words)

    def refused(self, *words):
        with self.assertRaises(CommandFailed) as failure:
            self.rename(*words)
        return str(failure.exception)

    def heads(self):
        return [leg.path.read_bytes()[:MIB] for leg in self.volume.legs]

    def test_with_surefootd(self):
        self.daemon.start()
        uuid = self.daemon.wait_serving()["uuid"]
        self.daemon.client(self.volume).connect().pwrite(b"r" * MIB, 0)
        self.assertIn("is to be stopped first", self.refused("vol0", "vol1"))
        self.daemon.ctl("stop", "vol0", "--wait")
        self.assertIn("is not a name", self.refused("vol0", "a/b"))
        said = self.rename("vol0", "vol1")
        self.assertIn("vol0 is vol1 now", said)
        self.assertFalse(self.volume.conf.exists())
        self.assertIn("name = vol1\n", (self.daemon.folder / "vol1.conf").read_text())
        self.daemon.ctl("reload")
        self.assertEqual(uuid, self.daemon.wait_serving("vol1")["uuid"])
        self.rig.wait_until(lambda: set(self.daemon.statuses()) == {"vol1"}, "the old one is gone")
        self.volume.name = "vol1"
        self.assertEqual(b"r" * MIB, bytes(self.daemon.client(self.volume).connect().pread(MIB, 0)))
        self.daemon.stop()
        self.volume.assert_legs_equal()

    def test_what_broke_off_is_done_again(self):
        """The legs have the new name, and the file the old one."""
        before = self.volume.conf.read_text()
        self.rename("vol0", "vol1")
        (self.daemon.folder / "vol1.conf").unlink()
        (self.daemon.folder / "vol0.conf.old").unlink()
        self.volume.conf.write_text(before)
        with self.assertRaises(CommandFailed):
            self.rig.ctl("check", self.volume.conf)
        self.rename("vol0", "vol1")
        self.assertIn("would start", self.rig.ctl("check", self.daemon.folder / "vol1.conf"))

    def test_a_leg_is_missing(self):
        """Without the new name it would be a stranger's."""
        away = self.volume.legs[2].path.with_suffix(".away")
        heads = self.heads()
        self.volume.legs[2].path.rename(away)
        self.assertIn("leg vol0-c", self.refused("vol0", "vol1"))
        away.rename(self.volume.legs[2].path)
        self.assertEqual(heads, self.heads())
        self.assertTrue(self.volume.conf.exists())

    def test_not_stopped_cleanly(self):
        self.daemon.start()
        self.daemon.wait_serving()
        self.daemon.process.send_signal(signal.SIGSTOP)
        os.kill(self.daemon_child(), signal.SIGKILL)
        self.daemon.process.kill()
        self.daemon.process.wait()
        self.assertIn("not stopped cleanly", self.refused(str(self.volume.conf), "vol1"))

    def daemon_child(self):
        own = Path("/proc") / str(self.daemon.process.pid)
        for pid in (own / "task" / own.name / "children").read_text().split():
            if b"nbdkit" in (Path("/proc") / pid / "cmdline").read_bytes():
                return int(pid)
        self.fail("no server")


if __name__ == "__main__":
    main()
