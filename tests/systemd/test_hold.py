"""A real systemd, of a user, with our units: a stop while a device is in use is refused where it was asked for, and
nothing has changed; a restart, a crash and a shutdown pass.  The daemon is a program that sleeps, the device a file."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

BUILD = Path(os.environ["SUREFOOT_BUILD"])
PATIENCE_S = 60
SYSTEMD = "/lib/systemd/systemd"


def until(condition, what):
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > PATIENCE_S:
            raise AssertionError(f"{what}: not after {PATIENCE_S} s")
        time.sleep(0.02)


class Hold(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="sf-hold-", dir="/run"))
        for name in "units", "bin", "volumes", "nbd7", "xdg":
            (self.folder / name).mkdir()
        (self.folder / "xdg").chmod(0o700)
        self.held = self.folder / "held"
        for name in "pid", "backend":
            (self.folder / "nbd7" / name).write_text("1\n")
        (self.folder / "volumes/vol0.conf").write_text(
            "[volume]\nname = vol0\ndevice = /dev/nbd7\n[leg a]\npath = /a\n")
        self.program("systemctl", f'exec /bin/systemctl --user "$@"')
        self.program("wall", f'echo "$1" >>{self.folder}/wall')
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": str(self.folder / "xdg"),
                            "SYSTEMD_UNIT_PATH": f"{self.folder}/units:", "LC_ALL": "C.UTF-8"}
        self.make_units()
        with open(self.folder / "log", "w") as log:
            self.systemd = subprocess.Popen([SYSTEMD, "--user", "--unit=basic.target"], stdout=log, stderr=log,
                                            env={**self.environment, "SYSTEMD_LOG_TARGET": "console"})
        self.addCleanup(self.end)
        until(lambda: (self.folder / "xdg/systemd/private").exists() or self.systemd.poll() is not None, "systemd")
        if self.systemd.poll() is not None:
            self.skipTest("no systemd runs here: " + (self.folder / "log").read_text()[-300:])
        self.ctl("start", "surefootd", "surefoot.target", "fs")
        until(lambda: self.state("surefoot-hold") == "active", "the hold")
        self.pid = self.main_pid()

    def end(self):
        self.held.unlink(missing_ok=True)
        if self.systemd.poll() is None:
            self.systemd.send_signal(signal.SIGTERM)
            try:
                self.systemd.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.systemd.kill()
                self.systemd.wait()
        shutil.rmtree(self.folder)

    def program(self, name, line):
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def make_units(self):
        """Ours, but for what needs more than a user's systemd has."""
        units = self.folder / "units"
        root = self.folder / "root"
        subprocess.run(["cmake", "--install", BUILD], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "DESTDIR": str(root)})
        for name in "surefootd.service", "surefoot-hold.service", "surefoot.target":
            (source,) = root.rglob(name)
            text = source.read_text().split("# ---- sandbox")[0]
            text = re.sub(r"Type=notify|WatchdogSec=.*|MemorySwapMax=.*|OOMScoreAdjust=.*|Limit.*", "", text)
            text = re.sub(r"ExecStart=.*/surefootd", "ExecStart=/bin/sleep infinity", text)
            text = re.sub(r"ExecStop=.*/surefootd --hold",
                          f"Environment=PATH={self.folder}/bin:/usr/bin:/bin\n"
                          f"ExecStop={BUILD}/bin/hold-here {self.folder}", text)
            (units / name).write_text(text)
        shutil.rmtree(root)
        # What requires the target, as a mount of fstab does; its end may free the device.
        (units / "fs.service").write_text(
            "[Unit]\nRequires=surefoot.target\nAfter=surefoot.target\n[Service]\nType=oneshot\n"
            "RemainAfterExit=yes\nExecStart=/bin/true\n"
            f"ExecStop=/bin/sh -c '[ ! -e {self.folder}/can-be-unmounted ] || rm -f {self.held}'\n")

    def ctl(self, *words, check=True):
        result = subprocess.run(["/bin/systemctl", "--user", *words], env=self.environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=4 * PATIENCE_S)
        if check:
            self.assertEqual(0, result.returncode, f"{words}: {result.stdout}")
        return result

    def state(self, unit):
        return self.ctl("is-active", unit, check=False).stdout.strip()

    def main_pid(self):
        return int(self.ctl("show", "--property=MainPID", "--value", "surefootd").stdout)

    def hold(self):
        self.held.write_text("nbd7 is mounted on /srv/vol0")

    def assert_refused(self):
        result = self.ctl("stop", "surefootd", check=False)
        self.assertNotEqual(0, result.returncode)
        self.assertIn("Job for surefootd.service canceled", result.stdout)
        until(lambda: self.state("surefoot-hold") == "active", "the next question")
        until(lambda: self.state("fs") == "active", "what was up before")
        self.assertEqual("active", self.state("surefoot.target"))
        self.assertEqual(self.pid, self.main_pid())
        until(lambda: (self.folder / "wall").exists(), "the word on the terminal")
        self.assertIn("nbd7 is mounted on /srv/vol0", (self.folder / "wall").read_text())

    def test_refused(self):
        """Twice, and once more when it was masked first."""
        self.hold()
        self.assert_refused()
        (self.folder / "wall").unlink()
        self.assert_refused()
        (self.folder / "wall").unlink()
        self.ctl("mask", "--runtime", "surefootd")
        self.assert_refused()

    def test_ended_in_order(self):
        """What requires the target is stopped, which frees the device: then surefootd is."""
        self.hold()
        (self.folder / "can-be-unmounted").touch()
        self.ctl("stop", "surefootd")
        self.assertEqual(["inactive"] * 4, [self.state(unit) for unit in ("surefootd", "surefoot-hold",
                                                                          "surefoot.target", "fs")])
        self.assertFalse((self.folder / "wall").exists())
        self.ctl("start", "surefootd")
        until(lambda: self.state("surefoot-hold") == "active", "the hold")

    def test_restart_and_crash(self):
        """Both pass, under what is held."""
        self.hold()
        self.ctl("restart", "surefootd")
        second = self.main_pid()
        self.assertNotEqual(self.pid, second)
        os.kill(second, signal.SIGKILL)
        until(lambda: self.main_pid() not in (0, second), "the next one")
        self.assertEqual("active", self.state("surefootd"))
        self.assertEqual("active", self.state("fs"))
        until(lambda: self.state("surefoot-hold") == "active", "the hold")

    def test_shutdown(self):
        """Waits until the device is free, and is not called off."""
        self.hold()
        self.ctl("start", "--no-block", "exit.target")
        until(lambda: self.state("surefoot-hold") == "deactivating", "the question")
        self.assertEqual("active", self.state("surefootd"))
        self.held.unlink()
        self.systemd.wait(2 * PATIENCE_S)
        self.assertFalse((self.folder / "wall").exists())


def main():
    """In a namespace of its own: systemd wants to see that the machine was booted with it, and knows of mounts."""
    if os.geteuid() != 0 or not os.path.exists(SYSTEMD):
        print("only root can make a namespace for systemd, and systemd must be there")
        return 77
    if "SUREFOOT_HOLD_INSIDE" not in os.environ:
        os.environ["SUREFOOT_HOLD_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, __file__, *sys.argv[1:]])
    # Two such systemds have units of the same names in one cgroup, and would end each other's processes.
    alone = open(Path(tempfile.gettempdir()) / "surefoot-test-hold.lock", "a")
    fcntl.flock(alone, fcntl.LOCK_EX)
    if subprocess.run(["mount", "-t", "tmpfs", "run", "/run"], stderr=subprocess.DEVNULL).returncode != 0:
        print("no mount namespace is to be had here")
        return 77
    os.makedirs("/run/systemd/system")
    return not unittest.main(verbosity=2, exit=False).result.wasSuccessful()


if __name__ == "__main__":
    sys.exit(main())
