"""Proves what an operator can find out while a volume is down, and that looking changes nothing.
Kills a server with a leg behind, looks with `surefootctl check` and `dump`, then starts the volume and
compares what it does with what was said."""

import hashlib
import json
import os
import pty
import re
import shutil
import subprocess

from case import VolumeTest, main
from rig import DATA_OFFSET, MIB, CommandFailed, FileLeg

WRITES = (("write", 0.8), ("read", 0.2))


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Offline(VolumeTest):
    def dead(self, **settings):
        """A volume whose server was killed under load while leg c was away."""
        volume, server = self.served(self.rig.file_legs(), **settings)
        server.stop()
        away = volume.legs[2].path.with_suffix(".away")
        volume.legs[2].path.rename(away)
        server = volume.serve()
        with self.load(server, mix=WRITES, blocks=2048) as load:
            load.wait_count(300)
            server.kill()
        away.rename(volume.legs[2].path)
        self.wait_let_go(volume)
        return volume, load.model

    def wait_let_go(self, volume):
        """The kernel keeps the locks of a killed server until its last request has ended."""
        self.rig.wait_until(lambda: not self.check(volume)["in_use"], "the legs are free")

    def check(self, volume, *options, code=0):
        result = subprocess.run([self.rig.surefootctl, "check", "--json", *options, volume.conf],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(code, result.returncode, result.stdout + result.stderr)
        return json.loads(result.stdout)

    def test_says_what_the_start_then_does(self):
        """Proves that the bytes which check names are those which the start has to make equal and to
        copy.  Compares its figures with the status right after the start."""
        volume, model = self.dead(resync_max_rate="1M", resync_min_rate="64K", intent_delay="60s")
        said = self.check(volume)
        legs = {leg["name"]: leg for leg in said["legs"]}
        self.assertTrue(said["may_start"])
        self.assertGreaterEqual(said["converge_bytes"], MIB)
        self.assertLessEqual(said["converge_bytes"], 8 * MIB)  # all that was ever written
        self.assertEqual(said["converge_bytes"], legs["a"]["intent_bytes"])
        self.assertEqual("behind", legs["c"]["verdict"])
        self.assertEqual((0, said["converge_bytes"]),
                         (legs["a"]["stale_bytes"], legs["c"]["stale_bytes"]))
        dump = json.loads(self.rig.ctl("dump", "--json", volume.legs[0].path))
        self.assertEqual(said["converge_bytes"], dump["maps"]["intent"]["bytes"])
        self.assertEqual([], dump["maps"]["damaged"])
        server = volume.serve()
        status = volume.wait_for(lambda status: status["state"] != "starting", "started")
        self.assertLessEqual(status["unconverged_bytes"], said["converge_bytes"])
        self.assertGreaterEqual(status["unconverged_bytes"], said["converge_bytes"] - 4 * MIB)
        self.assertLessEqual(volume.leg("c", status)["stale_bytes"], legs["c"]["stale_bytes"])
        volume.set("resync_max_rate", "0")
        self.assertEqual([], model.verify(server.connect()))
        self.stop_and_compare(volume, server)

    def test_changes_nothing(self):
        """Proves that check, with and without --compare, and dump write nothing: not a byte of any leg
        differs, and the kernel was never asked for more than reading."""
        if not shutil.which("strace"):
            self.skipTest("strace is not installed")
        volume, _ = self.dead()
        before = [digest(leg.path) for leg in volume.legs]
        times = [leg.path.stat().st_mtime_ns for leg in volume.legs]
        trace = self.rig.folder / "trace"
        for words in (["check", volume.conf], ["check", "--compare", volume.conf],
                      ["dump", volume.legs[0].path]):
            self.rig.run("strace", "-f", "-o", trace, "-e", "trace=file,write,pwrite64,fcntl,ioctl",
                         self.rig.surefootctl, *words)
            opened = [line for line in trace.read_text().splitlines()
                      if re.search(r"open(at)?\(", line) and ".img" in line]
            self.assertGreaterEqual(len(opened), 1)
            for line in opened:
                self.assertIn("O_RDONLY", line)
                self.assertNotRegex(line, "O_CREAT|O_TRUNC")
            self.assertNotRegex(trace.read_text(), "SETLK|pwrite64")
        self.assertEqual(before, [digest(leg.path) for leg in volume.legs])
        self.assertEqual(times, [leg.path.stat().st_mtime_ns for leg in volume.legs])

    def test_finds_a_wrong_byte(self):
        """Proves that --compare finds one flipped byte that no start would mend, says where and on which
        leg, and that after a kill it excuses only what the start makes equal."""
        volume, server = self.served(self.rig.file_legs())
        with self.load(server, mix=WRITES) as load:
            load.wait_count(300)
        server.stop()
        found = self.check(volume, "--compare")["compare"]
        self.assertEqual((True, ["a", "b", "c"]), (found["equal"], found["legs"]))
        place = 20 * MIB + 12345
        with open(volume.legs[1].path, "r+b") as leg:
            leg.seek(DATA_OFFSET + place)
            byte = leg.read(1)
            leg.seek(DATA_OFFSET + place)
            leg.write(bytes([byte[0] ^ 1]))
        (difference,) = self.check(volume, "--compare", code=1)["compare"]["differences"]
        self.assertEqual((place, ["b"], False),
                         (difference["first"], difference["legs"], difference["converged"]))
        self.assertEqual(place // MIB * MIB, difference["offset"])

    def stopped(self, names="abc"):
        volume, server = self.served(self.rig.file_legs(names))
        server.connect().pwrite(b"o" * MIB, 20 * MIB)
        server.stop()
        return volume

    def write_to(self, leg, place, data):
        with open(leg.path, "r+b") as file:
            file.seek(DATA_OFFSET + place)
            file.write(data)

    def heads(self, volume):
        return [leg.path.read_bytes()[:DATA_OFFSET] for leg in volume.legs]

    def refused(self, volume, *words):
        with self.assertRaises(CommandFailed) as failure:
            self.rig.ctl("check", volume.conf, "--compare", *words)
        return failure.exception.output

    def test_the_vote_repairs(self):
        """Of three copies the odd one is written anew, block by block, and their metadata are as they were."""
        volume = self.stopped()
        heads = self.heads(volume)
        self.write_to(volume.legs[1], 20 * MIB + 5, b"x" * 5000)  # two blocks
        self.write_to(volume.legs[2], 20 * MIB + 40960, b"y")  # of the same extent
        said = self.check(volume, "--compare", "--repair")["repair"]
        self.assertEqual({"repaired_bytes": {"b": 8192, "c": 4096}, "unknown_bytes": 0, "failed_bytes": 0}, said)
        self.assertEqual(heads, self.heads(volume))
        self.assertTrue(self.check(volume, "--compare")["compare"]["equal"])
        self.assertIn("nothing was to be repaired", self.rig.ctl("check", volume.conf, "--compare", "--repair"))
        volume.assert_legs_equal()
        server = volume.serve()
        self.assertEqual(b"o" * MIB, bytes(server.connect().pread(MIB, 20 * MIB)))
        server.stop()

    def test_of_two_the_operator_decides(self):
        """Without his word nothing is written."""
        volume = self.stopped("ab")
        self.write_to(volume.legs[0], 20 * MIB, b"x")
        before = volume.legs[0].path.read_bytes()
        self.assertIn("of 4 KiB no leg is known to be right", self.refused(volume, "--repair"))
        self.assertEqual(before, volume.legs[0].path.read_bytes())
        self.assertIn("no leg 'z'", self.refused(volume, "--repair", "--from", "z"))
        self.assertIn("repaired 4 KiB of a", self.rig.ctl("check", volume.conf, "--compare", "--repair", "--from", "b"))
        volume.assert_legs_equal()
        self.assertEqual(b"o", volume.legs[0].path.read_bytes()[DATA_OFFSET + 20 * MIB:][:1])

    def test_nothing_is_repaired_without_all(self):
        """A leg that is out would come back without it; and after a crash a start makes them equal."""
        volume = self.stopped()
        self.write_to(volume.legs[1], 20 * MIB, b"x")
        away = volume.legs[2].path.with_suffix(".away")
        volume.legs[2].path.rename(away)
        before = volume.legs[1].path.read_bytes()
        self.assertIn("nothing is repaired without c", self.refused(volume, "--repair", "--from", "a"))
        self.assertEqual(before, volume.legs[1].path.read_bytes())
        away.rename(volume.legs[2].path)
        server = volume.serve()
        server.connect().pwrite(b"p" * 4096, 0)
        self.assertIn("nothing is repaired", self.refused(volume, "--repair"))
        server.kill()
        self.wait_let_go(volume)
        self.assertIn("not stopped cleanly", self.refused(volume, "--repair"))

    def test_after_a_kill_only_intent_differs(self):
        """Proves R8 on the disks: whatever differs after a kill under load lies in extents with
        intent."""
        volume, model = self.dead(intent_delay="10ms", hot_extents="2")
        for _ in range(3):
            found = self.check(volume, "--compare")["compare"]
            self.assertTrue(found["equal"], found)
            server = volume.serve()
            with self.load(server, mix=WRITES, model=model) as load:
                load.wait_count(300)
                server.kill()
            self.wait_let_go(volume)

    def test_progress(self):
        """Proves that progress is shown on a terminal only."""
        volume, _ = self.dead()
        leader, follower = pty.openpty()
        subprocess.run([self.rig.surefootctl, "check", "--compare", volume.conf], check=True,
                       stdout=subprocess.DEVNULL, stderr=follower, timeout=60)
        os.close(follower)
        self.assertIn(b" of 32 MiB compared", os.read(leader, 65536))
        os.close(leader)
        result = subprocess.run([self.rig.surefootctl, "check", "--compare", volume.conf], check=True,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(b"", result.stderr)

    def test_of_a_running_volume(self):
        """Proves that looking at a running volume's legs disturbs it in nothing, and that their data are
        not compared then."""
        volume, server = self.served([FileLeg(self.rig, name) for name in "abc"])
        with self.load(server, mix=WRITES) as load:
            for _ in range(20):
                said = self.check(volume)
                self.assertTrue(said["in_use"])
                self.assertTrue(all(leg["in_use"] for leg in said["legs"]))
                self.rig.ctl("dump", volume.legs[1].path)
            with self.assertRaises(CommandFailed) as failure:
                self.rig.ctl("check", "--compare", volume.conf)
            self.assertIn("in use by a running volume", failure.exception.output)
        self.assertEqual(3, volume.status()["legs_in_sync"])
        self.assert_load_well(load, server)
        self.stop_and_compare(volume, server)


if __name__ == "__main__":
    main()
