"""Proves that a command which waits ends when the server that it waits for has ended, and says what became of it.
Servers of surefootd's are killed while commands wait for them."""

import os
import signal
import subprocess

from case import VolumeTest, main
from daemon import Daemon
from rig import PATIENCE_S

MIB = 1 << 20


class Waiting(VolumeTest):
    def served_by_daemon(self, **settings):
        self.daemon = daemon = Daemon(self.rig)
        volume = daemon.volume(legs="ab", **settings)
        daemon.start()
        daemon.wait_serving()
        return volume

    def begin(self, *words):
        return self.rig.spawn([self.rig.surefootctl, "--control", self.daemon.control, *words],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def kill_server(self):
        """The one that is there, if there is one just now."""
        pid = self.daemon.status()["service"]["pid"]
        if pid > 0:
            os.kill(pid, signal.SIGKILL)

    def test_grow(self):
        """At different moments of a growth: it is done then, or the command says that it is not."""
        volume = self.served_by_daemon()
        for delay in (0, 0.003, 0.01, 0.02, 0.05, 0.1):
            with self.subTest(delay=delay):
                before = self.daemon.wait_serving()["size_bytes"]
                grow = self.begin("grow", "vol0", "+16M")
                try:
                    said, _ = grow.communicate(timeout=delay)
                except subprocess.TimeoutExpired:
                    self.kill_server()
                    said, _ = grow.communicate(timeout=PATIENCE_S)
                # A server that has just been killed is "serving" until its end is seen, and says no size.
                now = self.daemon.wait_status(
                    lambda status: status["service"]["state"] == "serving" and status["size_bytes"] > 0,
                    "serving")["size_bytes"]
                if grow.returncode == 0:
                    self.assertEqual(before + 16 * MIB, now, said)
                else:
                    self.assertRegex(said, "ended|no answer|does not run|does not say")
        self.daemon.wait_serving()
        self.daemon.stop()
        volume.assert_legs_equal()

    def catching_up(self):
        """Leg b has a long way to go, and a command waits for it."""
        self.served_by_daemon(resync_min_rate="256K", resync_max_rate="256K")
        self.daemon.ctl("leg", "fail", "vol0", "vol0-b")
        self.daemon.wait_status(lambda status: status["legs"][1]["in_flight"] == 0, "the leg is quiet")
        self.daemon.ctl("leg", "discard", "vol0", "vol0-b")
        wait = self.begin("leg", "return", "vol0", "vol0-b", "--wait")
        self.daemon.wait_status(lambda status: status["legs"] and
                                status["legs"][1]["state"] == "catching-up", "the copy")
        return wait

    def test_return(self):
        """The next server copies on, and the command waits on, as its user meant it to."""
        wait = self.catching_up()
        for _ in range(3):
            killed = self.daemon.pid()
            os.kill(killed, signal.SIGKILL)
            self.daemon.wait_status(lambda status: status["service"]["pid"] not in (0, killed)
                                    and status["service"]["state"] == "serving", "the next server")
            self.assertIsNone(wait.poll(), "it has not waited on")
        self.daemon.ctl("set", "vol0", "resync_max_rate=1G")
        self.daemon.ctl("set", "vol0", "resync_min_rate=1G")
        said, _ = wait.communicate(timeout=PATIENCE_S)
        self.assertEqual(0, wait.returncode, said)
        self.assertIn("is in sync", said)
        self.daemon.stop()

    def test_stopped_by_the_operator(self):
        """No server copies on."""
        wait = self.catching_up()
        self.daemon.ctl("stop", "vol0")
        said, _ = wait.communicate(timeout=PATIENCE_S)
        self.assertEqual(1, wait.returncode, said)
        self.assertIn("was stopped", said)
        self.daemon.stop()

    def test_does_not_start_again(self):
        """The legs have gone with the server."""
        wait = self.catching_up()
        volume = self.daemon.folder / "vol0.conf"
        for leg in "ab":
            (path,) = self.rig.folder.glob(f"vol0-{leg}*")
            path.rename(path.with_suffix(".away"))
        self.assertTrue(volume.exists())
        self.kill_server()
        said, _ = wait.communicate(timeout=PATIENCE_S)
        self.assertEqual(1, wait.returncode, said)
        self.assertIn("does not start again", said)
        self.daemon.stop()

    def test_scrub(self):
        """A scrub ends with its server, and so does a command that waits for it."""
        self.served_by_daemon()
        wait = self.begin("scrub", "vol0", "--rate", "256K", "--wait")
        self.daemon.wait_status(lambda status: status.get("scrub")
                                and status["scrub"]["state"] == "running", "the scrub")
        self.kill_server()
        said, _ = wait.communicate(timeout=PATIENCE_S)
        self.assertEqual(1, wait.returncode, said)
        self.assertIn("its server ended", said)
        self.daemon.stop()


if __name__ == "__main__":
    main()
