"""The units as they are installed: systemd finds nothing wrong with them, and the sandbox is as tight
as was decided."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

BUILD = Path(os.environ["SUREFOOT_BUILD"])
UNITS = ("surefootd.service", "surefoot-hold.service", "surefoot.target", "surefoot-scrub.service", "surefoot-scrub.timer")
EXPOSURE_MAX = 40  # tenths: 4.0 on systemd's scale from 0 to 10


def analyze(*words):
    result = subprocess.run(["systemd-analyze", "--no-pager", *map(str, words)],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    return result.returncode, result.stdout


class Units(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="surefoot-units-"))
        self.addCleanup(shutil.rmtree, self.folder)
        root = self.folder / "root"
        subprocess.run(["cmake", "--install", BUILD], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "DESTDIR": str(root)})
        self.root = root
        self.paths = []
        for unit in UNITS:
            (source,) = root.rglob(unit)
            text = source.read_text()
            # Only the path of our program is not there yet.
            program = next(iter(root.rglob("sbin/surefootd")), None) or shutil.which("true")
            text = text.replace(f"={self.installed('sbin')}/surefootd", f"={program}")
            ctl = next(iter(root.rglob("bin/surefootctl")), None) or shutil.which("true")
            text = text.replace(f"ExecStart={self.installed('bin')}/surefootctl", f"ExecStart={ctl}")
            (self.folder / unit).write_text(text)
            self.paths.append(self.folder / unit)

    @staticmethod
    def installed(folder):
        for line in (BUILD / "CMakeCache.txt").read_text().splitlines():
            if line.startswith("CMAKE_INSTALL_PREFIX:"):
                return f"{line.split('=', 1)[1]}/{folder}"
        raise AssertionError("no prefix")

    def test_verify(self):
        code, said = analyze("verify", "--man=no", *self.paths)
        self.assertEqual((0, ""), (code, said))

    def test_verify_can_fail(self):
        text = self.paths[0].read_text().replace("WatchdogSec=30", "WatchdogSec=soon")
        self.paths[0].write_text(text)
        code, said = analyze("verify", "--man=no", *self.paths)
        self.assertIn("soon", said)

    def mount_of(self, options):
        """The unit that fstab's line becomes, and what systemd says of it beside ours."""
        folder = self.folder / "mount"
        shutil.rmtree(folder, ignore_errors=True)
        for name in "normal", "early", "late":
            (folder / name).mkdir(parents=True)
        (folder / "fstab").write_text(f"/dev/disk/by-id/x /srv/legs ext4 {options} 0 2\n")
        subprocess.run(["/lib/systemd/system-generators/systemd-fstab-generator",
                        *(folder / name for name in ("normal", "early", "late"))], check=True,
                       env={**os.environ, "SYSTEMD_FSTAB": str(folder / "fstab")},
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        mount = folder / "normal/srv-legs.mount"
        wants = self.folder / "surefoot.target.wants"
        wants.mkdir(exist_ok=True)
        shutil.copy(mount, self.folder)
        (wants / mount.name).unlink(missing_ok=True)
        (wants / mount.name).symlink_to(self.folder / mount.name)
        return mount.read_text(), analyze("verify", "--man=no", *self.paths, self.folder / mount.name)[1]

    def test_legs_on_a_network(self):
        """The line of surefootd(8) gives an order; with _netdev there is none."""
        page = (Path(__file__).resolve().parents[2] / "docs/man/surefootd.pod").read_text()
        options = re.search(r"^ /dev/disk/by-id/ISCSI +/srv/legs +ext4 +(\S+)", page, re.M)[1]
        unit, said = self.mount_of(options)
        self.assertIn("Before=surefootd.service", unit)
        self.assertNotIn("cycle", said)
        unit, said = self.mount_of(options + ",_netdev")
        self.assertIn("ordering cycle", said)

    def test_exposure(self):
        code, said = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}",
                             self.paths[0])
        self.assertEqual(0, code, said)

    def test_sysusers_and_tmpfiles(self):
        (sysusers,) = self.root.rglob("sysusers.d/surefoot.conf")
        (tmpfiles,) = self.root.rglob("tmpfiles.d/surefoot.conf")
        made = self.folder / "made"
        (made / "etc").mkdir(parents=True)
        for program, conf in (("systemd-sysusers", sysusers), ("systemd-tmpfiles", tmpfiles)):
            words = [program, f"--root={made}"] + (["--create"] if "tmp" in program else [])
            result = subprocess.run([*words, conf], stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT, text=True)
            self.assertEqual(0, result.returncode, result.stdout)
        self.assertIn("surefoot:", (made / "etc/group").read_text())
        self.assertEqual(0o40750, (made / "run/surefoot").stat().st_mode)


if __name__ == "__main__":
    if not shutil.which("systemd-analyze"):
        print("systemd-analyze is not installed")
        sys.exit(77)
    unittest.main(verbosity=2)
