"""Proves that the status shows the pace as it is: what was read and written, what is not answered and how
old it is, and since when.  Writes a known amount, then freezes a leg."""

import datetime
import fcntl
import os
import pty
import re
import select
import struct
import termios
import time

from case import VolumeTest, main
from rig import CommandFailed


def age_s(since):
    then = datetime.datetime.strptime(since, "%Y-%m-%dT%H:%M:%S.%fZ")
    return (datetime.datetime.utcnow() - then).total_seconds()


class Screen:
    """surefootctl on a terminal of our own."""

    def __init__(self, lines, columns, *command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
            os.environ.update(TERM="xterm", LC_ALL="C.UTF-8")
            os.execv(command[0], [str(word) for word in command])
        self.text = ""

    def resize(self, lines, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, key):
        self.text = ""
        os.write(self.fd, key.encode())

    def read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            self.text += os.read(self.fd, 65536).decode(errors="replace")
        except OSError:
            return False
        return True

    def wait_for(self, pattern, seconds=20):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            assert time.monotonic() < end, f"{pattern} is not in {self.text!r}"
            self.read(0.2)

    def frame(self):
        """The lines of the last whole picture, without colours."""
        whole = [part for part in self.text.split("\033[H") if part.endswith("\033[J")]
        return re.sub(r"\033\[[0-9;?]*[A-Za-z]", "", whole[-1]).replace("\r", "").split("\n")


class Status(VolumeTest):
    def test_bytes_and_requests(self):
        """Proves that bytes and requests are counted, for the volume and on each leg."""
        began = time.monotonic()
        volume, server = self.served()
        handle = server.connect()
        for i in range(10):
            handle.pwrite(b"\x11" * 8192, i * 8192)
        for i in range(5):
            handle.pread(4096, i * 4096)
        status = volume.status()
        self.assertEqual((81920, 20480), (status["bytes_written"], status["bytes_read"]))
        self.assertEqual(0, status["in_flight"])
        self.assertEqual(0, status["oldest_ms"])
        self.assertEqual(10, status["latency"]["write"]["count"])
        self.assertEqual(10, sum(n for _, n in status["latency"]["write"]["buckets"]))
        self.assertLessEqual(age_s(status["since"]), time.monotonic() - began + 1)
        for leg in status["legs"]:
            self.assertEqual(81920, leg["bytes_written"])
            self.assertEqual(10, leg["requests"]["writes"])
            self.assertEqual(100000, leg["deadline"]["write_us"])
            self.assertLessEqual(age_s(leg["since"]), time.monotonic() - began + 1)
        self.assertEqual(20480, sum(leg["bytes_read"] for leg in status["legs"]))
        self.stop_and_compare(volume, server)

    def test_settings(self):
        """Proves that every setting is told with its value in force and where it comes from."""
        volume, server = self.served(server=("read_deadline=70ms",), write_deadline="90ms")
        volume.set("flush_deadline", "3s")
        settings = volume.status()["settings"]
        for key, value, source in (("write_deadline", "90ms", "file"), ("read_deadline", "70ms", "parameter"),
                                   ("flush_deadline", "3s", "set"), ("fail_timeout", "30s", "default"),
                                   ("min_legs", "2", "auto"), ("leg.a.write_timeout", "90ms", "default")):
            self.assertEqual({"value": value, "source": source}, settings[key], key)
        shown = self.rig.ctl("--control", volume.control, "show", "vol0")
        self.assertRegex(shown, r"flush_deadline +3s +set\n")
        server.stop()

    def test_waiting_for_a_leg(self):
        """Proves that `leg return --wait` ends when the leg is in sync and not sooner, and that events --since leaves
        out what is older."""
        volume, server = self.served()
        ctl = lambda *words, **options: self.rig.ctl("--control", volume.control, *words, **options)
        handle = server.connect()
        ctl("leg", "fail", "vol0", "b")
        for i in range(16):
            handle.pwrite(b"\x33" * 65536, i * 1024 * 1024)
        self.assertIn("leg b is in sync", ctl("leg", "return", "vol0", "b", "--wait"))
        self.assertEqual("in-sync", volume.leg("b")["state"])
        with self.assertRaises(CommandFailed):
            ctl("leg", "fail", "vol0", "b", "--wait")
        self.assertIn("leg b: in-sync -> faulty", ctl("events", "--since", "10m"))
        self.assertEqual("", ctl("events", "--since", "2099-01-01"))
        ctl("grow", "vol0", "+32M")
        self.assertEqual(volume.size + 32 * 1024 * 1024, volume.status()["size_bytes"])
        server.stop()

    def on_a_terminal(self, columns, *words):
        """The lines of a command on a terminal of so many columns."""
        shown = Screen(40, columns, self.rig.surefootctl, *words)
        self.addCleanup(os.close, shown.fd)
        while shown.read(2):
            pass
        os.waitpid(shown.pid, 0)
        return re.sub(r"\033\[[0-9;?]*[A-Za-z]", "", shown.text).replace("\r", "").split("\n")

    def test_eighty_columns(self):
        """Proves that on a terminal of eighty columns no table and no event's sentence leaves its lines: a note stands below
        its leg, and a sentence is broken between words."""
        volume, server = self.served()
        self.rig.ctl("--control", volume.control, "leg", "fail", "vol0", "b")
        lines = self.on_a_terminal(80, "--control", volume.control, "status")
        table = lines[next(i for i, line in enumerate(lines) if line.startswith("  LEG")):]
        self.assertLessEqual(max(map(len, table)), 80, table)
        row = next(i for i, line in enumerate(table) if line.startswith("  b "))
        self.assertRegex(table[row + 1], r"^     taken out by the operator")
        lines = self.on_a_terminal(60, "--control", volume.control, "why", "vol0")
        row = next(i for i, line in enumerate(lines) if "Leg b was taken out" in line)
        self.assertLessEqual(len(lines[row]), 60)
        self.assertRegex(lines[row + 1], r"^ {25}\w")
        self.assertEqual("Leg b was taken out: taken out by the operator.",
                         (lines[row][25:] + " " + lines[row + 1].strip()).strip())
        whole = self.rig.ctl("--control", volume.control, "why", "vol0")
        self.assertIn("Leg b was taken out: taken out by the operator.\n", whole)
        server.stop()

    def test_paths_give_way(self):
        """Proves that on a narrow terminal a long path is cut in its middle, and the columns stay in the line; in a file
        it is whole."""
        folder = self.rig.folder / ("a" * 60)
        folder.mkdir()
        legs = self.rig.file_legs("abc")
        for leg in legs:
            leg.path = folder / leg.path.name
        volume, server = self.served(legs)
        self.assertIn(str(legs[0].path), self.rig.ctl("--control", volume.control, "status"))
        shown = Screen(24, 100, self.rig.surefootctl, "--control", volume.control, "status")
        self.addCleanup(os.close, shown.fd)
        shown.wait_for(r"c .*\.\.\..*c\.\w+ .*in-sync")
        while shown.read(2):
            pass
        os.waitpid(shown.pid, 0)
        lines = re.sub(r"\033\[[0-9;?]*[A-Za-z]", "", shown.text).replace("\r", "").split("\n")
        rows = [line for line in lines if re.match(r"  [abc] ", line)]
        self.assertEqual(3, len(rows), shown.text)
        for row in rows:
            self.assertLessEqual(len(row), 100)
            self.assertRegex(row, r"^  [abc]    /\S+\.\.\.\S+/[abc]\.\w+  in-sync")
        server.stop()

    def test_top_on_a_terminal(self):
        """Proves that `top` fits the terminal, also after it was resized, takes its keys, and leaves the terminal as
        it was."""
        volume, server = self.served()
        handle = server.connect()
        top = Screen(24, 80, self.rig.surefootctl, "--control", volume.control, "top")
        self.addCleanup(os.close, top.fd)
        before = termios.tcgetattr(top.fd)
        for i in range(40):
            handle.pwrite(b"\x44" * 65536, i * 65536)
        top.wait_for(r"healthy[^J]*\d\.\d MB/s[^J]*\033\[J")
        self.assertLessEqual(max(len(line) for line in top.frame()), 80)
        self.assertTrue(any(line.startswith("  c ") for line in top.frame()), top.frame())
        top.press("s")
        top.wait_for(r"by MB/s(?s:.*)\033\[J")
        top.press("p")
        top.wait_for(r"paused")
        top.press("p")
        top.resize(4, 40)
        top.text = ""
        top.wait_for(r"\033\[H(?s:.*?)\033\[J(?s:.*)\033\[H(?s:.*?)\033\[J")
        self.assertLessEqual(max(len(line) for line in top.frame()), 40)
        self.assertLessEqual(len(top.frame()), 4)
        top.press("q")
        top.wait_for(re.escape("\033[?25h\033[?1049l"))
        self.assertEqual(0, os.waitpid(top.pid, 0)[1])
        self.assertEqual(before[3] | termios.ECHO | termios.ICANON, termios.tcgetattr(top.fd)[3])
        server.stop()

    def test_a_frozen_leg_is_slow(self):
        """Proves that a leg that answers nothing is shown as what it is: its requests grow old, and its
        slowest answer is not one from before."""
        legs = self.two_and_one()
        volume, server = self.served(legs)
        handle = server.connect()
        for i in range(20):
            handle.pwrite(b"\x11" * 4096, i * 4096)
        legs[2].freeze()
        handle.pwrite(b"\x22" * 4096, 0)
        volume.wait_leg("c", "late")
        frozen = volume.wait_for(lambda status: volume.leg("c", status)["oldest_ms"] >= 1000,
                                 "a request that is a second old")
        frozen = volume.leg("c", frozen)
        self.assertGreaterEqual(frozen["in_flight"], 1)
        self.assertGreaterEqual(frozen["latency"]["write"]["max_us"], 1000000)
        self.assertGreaterEqual(frozen["latency"]["write"]["p99_us"], 1000000)
        self.assertGreaterEqual(age_s(frozen["since"]), 0)
        self.assertLess(age_s(frozen["since"]), age_s(volume.leg("a")["since"]))
        self.assertIn("unanswered, the oldest 1", self.rig.ctl("--control", volume.control, "status"))
        legs[2].thaw()
        volume.wait_all_in_sync()
        self.assertGreaterEqual(volume.leg("c")["latency"]["write"]["max_us"], 1000000)
        told = self.rig.ctl("--control", volume.control, "why", "vol0")
        self.assertRegex(told, r"Leg c did not answer in time and was left out: write at 0 not answered in 100 ms\.")
        self.assertRegex(told, r"Leg c is whole again \(after ")
        self.assertRegex(told, r"no client has waited longer than \d+ ms ")
        self.stop_and_compare(volume, server)


if __name__ == "__main__":
    main()
