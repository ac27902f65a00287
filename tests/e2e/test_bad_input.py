"""Proves that bad input of any kind is a clear error and nothing else: no crash, no leg changed.
Tables of broken configurations, parameters, legs, superblocks and control messages are given to the
real programs.  What they say must name the place and the reason; the legs must hash as before."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import struct
import subprocess
from pathlib import Path

from case import VolumeTest, main
from rig import MIB, PATIENCE_S, REPOSITORY, CommandFailed, monotonic_deadline

VOLUME = "[volume]\nname = vol0\n"
LEG_A, LEG_B = "[leg a]\npath = {a}\n", "[leg b]\npath = {b}\n"
LEGS = LEG_A + LEG_B

# What, text, the line that is wrong (None: none in particular), what must be said of it.
CONFIGURATIONS = (
    ("nothing", "", None, "empty"),
    ("no leg", VOLUME, None, "leg"),
    ("no volume section", LEGS, None, r"\[volume\]|name"),
    ("no name", "[volume]\nmin_legs = 1\n" + LEGS, None, "name"),
    ("an unknown key", VOLUME + "write_dedline = 1s\n" + LEGS, 3, "write_dedline: unknown key"),
    ("a leg's key in [volume]", VOLUME + "write_timeout = 1s\n" + LEGS, 3, r"write_timeout.*\[leg"),
    ("a volume's key in a leg", VOLUME + LEG_A + "min_legs = 1\n" + LEG_B, 5, r"min_legs.*\[volume\]"),
    ("a key twice", VOLUME + "min_legs = 1\nmin_legs = 2\n" + LEGS, 4, "min_legs"),
    ("a section twice", VOLUME + LEG_A + LEG_A, 5, "leg a"),
    ("an unknown section", VOLUME + LEGS + "[mirror]\n", 7, "mirror"),
    ("a leg without a name", VOLUME + "[leg]\npath = /x\n", 3, "leg"),
    ("a key before any section", "name = vol0\n" + LEGS, 1, "section"),
    ("no path", VOLUME + LEG_A + "[leg b]\n", None, "leg b.*path"),
    ("an empty path", VOLUME + "[leg a]\npath =\n", 4, "path"),
    ("a path too long", VOLUME + "[leg a]\npath = /" + "x" * 5000 + "\n", 4, "line has 5008 characters"),
    ("a name with a slash", "[volume]\nname = ../vol\n" + LEGS, 2, "name"),
    ("a name too long", "[volume]\nname = " + "v" * 64 + "\n" + LEGS, 2, "name"),
    ("a leg's name that is none", VOLUME + "[leg a b]\npath = {a}\n", 3, "leg"),
    ("min_legs 0", VOLUME + "min_legs = 0\n" + LEGS, 3, "min_legs"),
    ("min_legs above the legs", VOLUME + "min_legs = 3\n" + LEGS, 3, "min_legs"),
    ("min_legs a word", VOLUME + "min_legs = most\n" + LEGS, 3, "min_legs.*most"),
    ("a deadline of 0", VOLUME + "write_deadline = 0\n" + LEGS, 3, "write_deadline"),
    ("a deadline without a unit", VOLUME + "write_deadline = 100\n" + LEGS, 3, "write_deadline.*ms"),
    ("a deadline below nothing", VOLUME + "write_deadline = -1s\n" + LEGS, 3, "write_deadline"),
    ("a deadline of years", VOLUME + "write_deadline = 99999999999s\n" + LEGS, 3, "write_deadline"),
    ("a deadline in parts", VOLUME + "write_deadline = 1.5s\n" + LEGS, 3, "write_deadline"),
    ("on_too_few of neither kind", VOLUME + "on_too_few = panic\n" + LEGS, 3,
     "on_too_few.*(suspend|error)"),
    ("a rate that overflows", VOLUME + "resync_max_rate = 99999999999T\n" + LEGS, 3,
     "resync_max_rate"),
    ("a control socket too long", VOLUME + "control = /" + "s" * 150 + "\n" + LEGS, 3, "control"),
    ("no equals sign", VOLUME + "min_legs\n" + LEGS, 3, "min_legs|="),
    ("an unclosed bracket", "[volume\nname = vol0\n", 1, "section|\\]"),
    ("a NUL byte", VOLUME + "min_legs = 1\0\n" + LEGS, 3, "byte 0x00 in column 13"),
    ("bytes that are no text", b"\xff\xfe\x00\x01" * 64, 1, "byte 0x"),
    ("a line without end", VOLUME + "# " + "x" * 5000 + "\n" + LEGS, 3, "line has"),
    ("a megabyte", VOLUME + "# x\n" * 250_000, None, "larger than"),
    ("more legs than 16",
     VOLUME + "".join(f"[leg l{i}]\npath = /x{i}\n" for i in range(17)), 35, "16"),
    ("one path for two legs", VOLUME + LEG_A + "[leg b]\npath = {a}\n", 6, "path.*leg a"),
)

# nbdkit parameters beside a configuration that is right, and what must be said.
PARAMETERS = (
    (("nonsense=1",), "nonsense"),
    (("write_deadline=soon",), "write_deadline.*soon"),
    (("min_legs=9",), "min_legs"),
    (("leg.z.path=/x",), "leg.z|leg z"),
    (("leg.a.colour=red",), "colour"),
    (("force=perhaps",), "force|perhaps"),
    (("control=" + "/" + "s" * 200,), "control"),
)

V1 = b'{"version":1,'
CONTROL_LINES = (
    (b"", "empty"),
    (b"status", "not a JSON object"),
    (b"GET / HTTP/1.1", "not a JSON object"),
    (b"[1]", "one JSON object"),
    (b"{}", "version"),
    (b'{"version":2,"command":"status"}', "version 2"),
    (b'{"version":1}', "command"),
    (V1 + b'"command":"format"}', "format.*status"),
    (V1 + b'"command":"status","all":1}', "unknown key.*all"),
    (V1 + b'"command":"status","volume":"vol1"}', "vol1"),
    (V1 + b'"command":"set","key":"write_deadline"}', "value.*missing"),
    (V1 + b'"command":"set","key":"write_deadline","value":"0"}', "write_deadline"),
    (V1 + b'"command":"set","key":"colour","value":"red"}', "colour"),
    (V1 + b'"command":"set","key":"min_legs","value":"1"}', "min_legs"),
    (V1 + b'"command":"set","key":"leg.z.write_timeout","value":"1s"}', "z"),
    (V1 + b'"command":"leg","action":"kill","leg":"a"}', "kill.*fail, return, discard"),
    (V1 + b'"command":"leg","action":"return","leg":"z"}', "z"),
    (V1 + b'"command":"leg","action":"discard","leg":"a"}', "in.sync|in use|a"),
    (V1 + b'"command":"sta\0tus"}', "NUL"),
    (V1 + b'"command":"\xff"}', "not a JSON object"),
    (b"[" * 100_000, "."),
    (b"x" * 1_000_000, "long|large|limit"),
)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def documented_fields():
    """[(offset, size, name)] of the superblock, as docs/on-disk-format.md says."""
    text = (REPOSITORY / "docs" / "on-disk-format.md").read_text()
    table = text.split("## The superblock, byte by byte")[1].split("\n\nAn entry")[0]
    return [(int(offset), int(size), name) for offset, size, name in
            re.findall(r"^\| (\d+) \| (\d+) \| `([^`]+)`", table, re.M)]


class BadInput(VolumeTest):
    def setUp(self):
        super().setUp()
        self.sockets = self.rig.folder / "second.sock"

    # -- what every case must do --

    def sane(self, result, what):
        """Ended by itself, with the exit code of a failure and no sign of a crash."""
        self.assertEqual(1, result.returncode, f"{what}: exit {result.returncode}: {result.stdout}")
        for sign in ("AddressSanitizer", "runtime error", "must be true", "Assertion"):
            self.assertNotIn(sign, result.stdout, what)
        self.assertLess(len(result.stdout), 20_000, what)
        return result.stdout

    def run_program(self, *command, **options):
        return subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
                              errors="replace", timeout=PATIENCE_S, **options)

    def ctl_fails(self, *words):
        return self.sane(self.run_program(self.rig.surefootctl, *words), f"surefootctl {words[0]}")

    def nbdkit_fails(self, *words):
        environment = dict(os.environ)
        if "SUREFOOT_PRELOAD" in os.environ:
            environment["LD_PRELOAD"] = os.environ["SUREFOOT_PRELOAD"]
        self.sockets.unlink(missing_ok=True)
        return self.sane(self.run_program("nbdkit", "-f", "-U", self.sockets, self.rig.plugin, *words,
                                          env=environment), "nbdkit")

    def hashes(self):
        """Of all that could be a leg here."""
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
                for path in self.rig.folder.glob("*.img") if path.is_file()}

    @contextlib.contextmanager
    def unchanged(self):
        before = self.hashes()
        yield
        self.assertEqual(before, self.hashes(), "a leg was written to")

    def stopped(self, names="ab", size=4 * MIB):
        """Two legs, since with two a start needs both: what is wrong with one cannot be passed over."""
        return self.rig.volume(self.rig.file_legs(names), size=size).create()

    # -- configurations and parameters --

    def test_configurations(self):
        """Proves it for configuration files, by `surefootctl check` and by nbdkit: each message
        names the file, the line and the key."""
        volume = self.stopped()
        conf = self.rig.folder / "broken.conf"
        for what, text, line, said in CONFIGURATIONS:
            with self.subTest(what), self.unchanged():
                if isinstance(text, str):
                    text = text.replace("{a}", str(volume.legs[0].path))
                    text = text.replace("{b}", str(volume.legs[1].path)).encode()
                conf.write_bytes(text)
                for output in (self.ctl_fails("check", conf), self.nbdkit_fails(conf)):
                    self.assertRegex(output, f"{conf}:{line}:" if line else str(conf))
                    self.assertRegex(output, said)

    def test_what_is_no_configuration(self):
        """Proves it for paths in place of a configuration file."""
        for path, said in (("/nonexistent.conf", "/nonexistent.conf"), (self.rig.folder, "directory"),
                           ("/dev/zero", "/dev/zero")):
            with self.subTest(path):
                for output in (self.ctl_fails("check", path), self.nbdkit_fails(path)):
                    self.assertRegex(output, said)

    def test_parameters(self):
        """Proves it for parameters of nbdkit."""
        volume = self.stopped()
        for words, said in PARAMETERS:
            with self.subTest(words), self.unchanged():
                self.assertRegex(self.nbdkit_fails(volume.conf, *words), said)
        with self.unchanged():
            self.assertRegex(self.nbdkit_fails(), "config|CONF")

    # -- legs --

    def refused_everywhere(self, volume, *said):
        """check and nbdkit both refuse, for the reasons given."""
        with self.unchanged():
            for output in (self.ctl_fails("check", volume.conf), self.nbdkit_fails(volume.conf)):
                for text in said:
                    self.assertRegex(output, text)

    def need_root(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")

    def mount(self, *words):
        """words[-1] is where."""
        self.need_root()
        try:
            self.rig.run("mount", *words)
        except CommandFailed as failure:
            self.skipTest(f"cannot mount here: {failure.output.strip()}")
        self.rig.on_close(lambda: self.rig.run("umount", "-l", words[-1]))

    def loop_device(self, file):
        self.need_root()
        try:
            device = self.rig.run("losetup", "-f", "--show", file).strip()
        except CommandFailed as failure:
            self.skipTest(f"no loop device here: {failure.output.strip()}")
        self.rig.on_close(lambda: self.rig.run("losetup", "-d", device))
        return Path(device)

    def with_leg_b(self, path):
        volume = self.stopped()
        volume.legs[1].path = path
        volume.write_conf()
        return volume

    def test_one_file_twice(self):
        """Proves that no alias makes one file two legs: a link of either kind, another way to it."""
        volume = self.stopped()
        first = volume.legs[0].path
        folder = first.parent
        (folder / "symbolic").symlink_to(first)
        (folder / "hard").hardlink_to(first)
        for alias in (folder / "symbolic", folder / "hard", folder / ".." / folder.name / first.name):
            with self.subTest(alias):
                volume.legs[1].path = alias
                volume.write_conf()
                self.refused_everywhere(volume, "one and the same", "a.*and b", str(first))

    def test_one_file_by_a_bind_mount(self):
        """Proves the same for a bind mount."""
        bound = self.rig.folder / "bound"
        volume = self.with_leg_b(bound)
        bound.touch()
        self.mount("--bind", volume.legs[0].path, bound)
        self.refused_everywhere(volume, "one and the same", str(bound))

    def test_one_file_by_a_loop_device(self):
        """Proves the same for a loop device over the other leg."""
        volume = self.stopped()
        volume.legs[1].path = self.loop_device(volume.legs[0].path)
        volume.write_conf()
        self.refused_everywhere(volume, "one and the same", str(volume.legs[1].path))

    def test_a_device_in_use(self):
        """Proves that a mounted block device is no leg, neither to serve nor to format."""
        if not shutil.which("mkfs.ext4"):
            self.skipTest("mkfs.ext4 is not installed")
        image, there = self.rig.folder / "fs.img", self.rig.folder / "there"
        with open(image, "wb") as f:
            f.truncate(16 * MIB)
        there.mkdir()
        device = self.loop_device(image)
        self.rig.run("mkfs.ext4", "-q", device)
        self.mount("-o", "ro", device, there)  # then nothing else writes to it
        volume = self.with_leg_b(device)
        before = device.read_bytes()
        self.assertRegex(self.nbdkit_fails(volume.conf), f"{device}.*in use.*mounted")
        with self.unchanged():
            self.assertRegex(self.ctl_fails("create", volume.conf, "--overwrite"), f"{device}.*in use")
        self.assertEqual(before, device.read_bytes())

    def test_things_that_are_no_legs(self):
        """Proves it for a directory, a character device, a pipe, a socket, a dangling link, a link to
        itself, a file that is not there, and a path through a file."""
        folder = self.rig.folder
        volume = self.stopped()
        (folder / "directory").mkdir()
        os.mkfifo(folder / "pipe")
        bound = socket.socket(socket.AF_UNIX)
        self.addCleanup(bound.close)
        bound.bind(str(folder / "socket"))
        (folder / "dangling").symlink_to(folder / "nowhere")
        (folder / "circle").symlink_to(folder / "circle")
        for path, said in ((folder / "directory", "directory"), (Path("/dev/null"), "character"),
                           (folder / "pipe", "pipe"), (folder / "socket", "socket"),
                           (folder / "dangling", "no such file"), (folder / "circle", "links"),
                           (folder / "nowhere.img", "no such file"),
                           (Path("/dev/nonexistent"), "no such device"),
                           (folder / "a.img" / "b", "[Nn]ot a directory")):
            with self.subTest(path):
                volume.legs[1].path = path
                volume.write_conf()
                self.refused_everywhere(volume, re.escape(str(path)), said)
                if said != "no such file":
                    with self.unchanged():
                        self.assertRegex(self.ctl_fails("create", volume.conf, "--size", "4M",
                                                        "--overwrite"), re.escape(str(path)))

    def test_a_file_that_may_not_be_read(self):
        """Proves it for a file without permission, for a user that is not root."""
        self.need_root()
        if not shutil.which("setpriv"):
            self.skipTest("setpriv is not installed")
        volume = self.stopped()
        volume.legs[1].path.chmod(0)
        volume.legs[0].path.chmod(0o666)
        self.rig.folder.chmod(0o755)
        volume.conf.chmod(0o644)
        result = self.run_program("setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all",
                                  "--", self.rig.surefootctl, "check", volume.conf)
        if "No such file" in result.stdout or "exec" in result.stdout:
            self.skipTest("another user cannot reach the program")
        self.assertRegex(self.sane(result, "check"), f"{volume.legs[1].path}.*permission denied")

    def test_a_read_only_file_system(self):
        """Proves it for a leg on a file system that is mounted read-only."""
        there = self.rig.folder / "there"
        there.mkdir()
        volume = self.stopped()
        self.mount("-t", "tmpfs", "-o", "size=64M", "none", there)
        shutil.copy(volume.legs[1].path, there / "b.img")
        self.rig.run("mount", "-o", "remount,ro", there)
        volume.legs[1].path = there / "b.img"
        volume.write_conf()
        self.assertRegex(self.nbdkit_fails(volume.conf), f"{there}/b.img.*(read-only|O_DIRECT)")

    def test_sizes(self):
        """Proves that `create` refuses sizes that cannot be, and leaves no file behind."""
        volume = self.rig.volume(self.rig.file_legs("ab"))
        for size in ("0", "1", "4095", "1048577", "-1", "64K", "9999999999T", "8E", "1.5", "1.0000000001G", "big", ""):
            with self.subTest(size):
                result = self.run_program(self.rig.surefootctl, "create", volume.conf, "--size", size)
                self.assertIn(result.returncode, (1, 2), result.stdout)
                self.assertRegex(result.stdout, "size")
                self.assertFalse(volume.legs[0].path.exists() or volume.legs[1].path.exists())

    def test_a_full_disk(self):
        """Proves that `create` on a full file system says so and leaves nothing behind."""
        there = self.rig.folder / "there"
        there.mkdir()
        self.mount("-t", "tmpfs", "-o", "size=12M", "none", there)
        volume = self.rig.volume(self.rig.file_legs("ab"))
        for leg in volume.legs:
            leg.path = there / f"{leg.name}.img"
        volume.write_conf()
        said = self.ctl_fails("create", volume.conf, "--size", "64M")
        self.assertRegex(said, f"{there}/[ab].img")
        self.assertEqual([], list(there.iterdir()))

    def test_what_is_not_overwritten(self):
        """Proves that `create` overwrites neither a volume nor data, and says how one may insist."""
        volume = self.stopped()
        with self.unchanged():
            self.assertRegex(self.ctl_fails("create", volume.conf), "--overwrite")
        with open(volume.legs[0].path, "r+b") as leg:
            leg.write(bytes(64 * 1024))
            leg.seek(9 * MIB)
            leg.write(b"somebody's data")
        with open(volume.legs[1].path, "wb") as leg:
            leg.truncate(12 * MIB)
        with self.unchanged():
            self.ctl_fails("create", volume.conf)

    def test_legs_of_another_volume(self):
        """Proves that legs are told apart: of another volume, one of them twice."""
        volume = self.stopped()
        other = self.rig.volume(self.rig.file_legs("xy"), size=4 * MIB, name="other").create()
        a = volume.legs[0].path.read_bytes()
        x = other.legs[0].path.read_bytes()
        for what, first, second, said in (
                ("another volume's", a, x, "other|another volume"),
                ("the same leg copied", a, a, "another leg of this volume")):
            with self.subTest(what):
                volume.legs[0].path.write_bytes(first)
                volume.legs[1].path.write_bytes(second)
                self.refused_everywhere(volume, said)

    def test_another_number_of_legs(self):
        """Proves that a configuration that does not fit the legs is told apart from one that does:
        a leg less, a leg by another name; one more is told of and left alone."""
        volume = self.stopped("abc")
        extra = self.rig.file_legs("d")[0]
        shutil.copy(volume.legs[0].path, extra.path)
        original = list(volume.legs)
        renamed = self.rig.file_legs("c")[0]
        renamed.name = "z"
        volume.legs = original + [extra]
        volume.write_conf()
        with self.unchanged():
            self.assertIn("the volume has no leg d, which the file lists",
                          self.rig.ctl("check", volume.conf))
        for what, legs in (("less", original[:1]), ("renamed", original[:1] + [renamed])):
            with self.subTest(what):
                volume.legs = legs
                volume.write_conf()
                self.refused_everywhere(volume, "leg")

    def test_truncated_legs(self):
        """Proves it for files that lost their end, at every length that means something."""
        volume = self.stopped()
        whole = volume.legs[1].path.read_bytes()
        for length in (0, 1, 511, 4096, 8192, 65536, 8 * MIB - 1, 8 * MIB, 12 * MIB - 4096,
                       12 * MIB - 1):
            with self.subTest(length):
                volume.legs[1].path.write_bytes(whole[:length])
                self.refused_everywhere(volume, str(volume.legs[1].path))
                if length < 8192:
                    self.assertRegex(self.ctl_fails("dump", volume.legs[1].path), "too small|valid")
                with self.unchanged():
                    self.assertRegex(self.ctl_fails("create", volume.conf, "--size", "4M",
                                                    "--overwrite"), "leg b.*(small|used)")

    # -- superblocks --

    def damage(self, leg, offset, old_and_new, with_crc):
        """The bytes at offset are changed in both copies."""
        with open(leg.path, "r+b") as f:
            for copy in range(2):
                f.seek(copy * 4096)
                page = bytearray(f.read(4096))
                page[offset:offset + len(old_and_new)] = old_and_new
                if with_crc:
                    page[16:20] = bytes(4)
                    page[16:20] = struct.pack("<I", crc32c(bytes(page)))
                f.seek(copy * 4096)
                f.write(page)

    def test_bit_flips(self):
        """Proves that one flipped bit, in whatever field, is found; flipped in both copies, so that
        none is left.  The fields are those of the documentation."""
        volume = self.stopped()
        leg = volume.legs[1]
        whole = leg.path.read_bytes()
        fields = documented_fields()
        self.assertGreater(len(fields), 25)
        for offset, size, name in fields:
            for at, bit in ((offset, 0), (offset + size - 1, 7)):
                with self.subTest(name, at=at):
                    leg.path.write_bytes(whole)
                    self.damage(leg, at, bytes([whole[at] ^ 1 << bit]), with_crc=False)
                    with self.unchanged():
                        for said in (self.ctl_fails("dump", leg.path),
                                     self.ctl_fails("check", volume.conf)):
                            self.assertRegex(said, "damaged|no surefoot metadata|no superblock|magic|were overwritten; by its mark")
        self.assertRegex(self.nbdkit_fails(volume.conf), str(leg.path))

    def test_one_bad_copy(self):
        """Proves that one damaged copy does no harm and is told by `dump`."""
        volume = self.stopped()
        with open(volume.legs[1].path, "r+b") as f:
            f.seek(100)
            f.write(b"\x80")
        with self.unchanged():
            self.rig.ctl("check", volume.conf)
            self.assertIn("damaged", self.rig.ctl("dump", volume.legs[1].path))

    def test_impossible_superblocks(self):
        """Proves that what the format rules out is refused though its checksum is right: an old or
        newer version, counts, sizes and offsets that cannot be."""
        volume = self.stopped()
        leg = volume.legs[1]
        whole = leg.path.read_bytes()
        u8, u16, u64 = (lambda n: bytes([n])), (lambda n: struct.pack("<H", n)), (
            lambda n: struct.pack("<Q", n))
        at = {name: offset for offset, _, name in documented_fields()}
        for name, value, said in (
                ("version", struct.pack("<I", 99), "newer"),
                ("version", bytes(4), "impossible|version"),
                ("length", struct.pack("<I", 512), "damaged|length"),
                ("volume", bytes(16), "impossible|uuid"),
                ("volume_name", b"\xff\x1b[2J", "impossible|name"),
                ("leg_index", u8(16), "impossible"),
                ("leg_index", u8(0), "another leg of this volume"),
                ("legs", u8(0), "impossible"),
                ("legs", u8(255), "impossible"),
                ("legs", u8(1), "impossible|legs"),
                ("ancestors", u8(9), "impossible"),
                ("min_legs", u8(0), "impossible"),
                ("min_legs", u8(200), "impossible"),
                ("in_sync", u16(0), "impossible"),
                ("in_sync", u16(0xFFFF), "impossible"),
                ("faulty", u16(1), "impossible"),
                ("flags", u8(0x80), "impossible"),
                ("term", u64(0), "impossible"),
                ("data_offset", u64(0), "impossible"),
                ("data_offset", u64(8 * MIB + 4096), "impossible"),
                ("data_offset", u64((1 << 62)), "another size"),
                ("data_bytes", u64(0), "impossible"),
                ("data_bytes", u64((1 << 63) - 4096), "impossible"),
                ("data_bytes", u64(1 << 40), "shorter|small|size|impossible|differ"),
                ("extent_bytes", u64(0), "impossible"),
                ("extent_bytes", u64(12345), "impossible"),
                ("lineage", bytes(16), "impossible"),
                ("leg_uuid", bytes(16), "impossible"),
                ("leg_name", bytes(32), "impossible")):
            with self.subTest(name, value=value):
                leg.path.write_bytes(whole)
                self.damage(leg, at[name], value, with_crc=True)
                self.refused_everywhere(volume, str(leg.path), f"{said}|are damaged; by its mark")
                with self.unchanged():
                    result = self.run_program(self.rig.surefootctl, "dump", leg.path)
                    self.assertIn(result.returncode, (0, 1), result.stdout)
                    self.assertNotIn("\x1b", result.stdout)

    # -- the control socket --

    def ask(self, volume, line):
        """The answer to one line of bytes, on a connection of its own."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_S)
            connection.connect(str(volume.control))
            answer = b""
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(line + b"\n")
                connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(65536):
                    answer += piece
            return answer

    def test_control_messages(self):
        """Proves it for whatever is sent to a serving volume's socket: one line says what is wrong,
        and the volume serves on."""
        volume, server = self.served(self.rig.file_legs("ab"), size=4 * MIB)
        for line, said in CONTROL_LINES:
            with self.subTest(line[:60]):
                answer = json.loads(self.ask(volume, line))
                self.assertFalse(answer["ok"])
                self.assertRegex(answer["error"], said)
                self.assertLess(len(answer["error"]), 1000)
        self.assertEqual("healthy", volume.status()["state"])
        self.stop_and_compare(volume, server)

    def test_rude_control_clients(self):
        """Proves that clients which hang up in the middle of a line, never read, or never write keep
        nobody else from being served."""
        volume, server = self.served(self.rig.file_legs("ab"), size=4 * MIB)
        rude = []
        for i in range(40):
            connection = socket.socket(socket.AF_UNIX)
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError, OSError):
                connection.connect(str(volume.control))
                if i % 4 == 1:
                    connection.send(b'{"version":1,"comm')
                if i % 4 == 2:
                    connection.send(b'{"version":1,"command":"events","follow":true}\n')
                if i % 4 == 3:
                    for _ in range(1000):
                        connection.send(b'{"version":1,"command":"status"}\n')
            rude.append(connection)
        for connection in rude[::2]:
            connection.close()
        left = monotonic_deadline(PATIENCE_S)
        while True:  # a full house may turn one away, but not for ever
            try:
                self.assertEqual("healthy", volume.status()["state"])
                break
            except CommandFailed:
                self.assertGreater(left(), 0, "no client is served any more")
        server.connect().pwrite(b"\x77" * 4096, 0)
        for connection in rude[1::2]:
            connection.close()
        self.stop_and_compare(volume, server)

    def test_command_lines(self):
        """Proves that wrong usage of surefootctl is exit 2 and says what is right."""
        for words in ((), ("frobnicate",), ("check",), ("check", "a", "b"), ("dump",), ("create",),
                      ("set", "vol0"), ("leg", "fail", "vol0"), ("leg", "explode", "vol0", "a"),
                      ("status", "--nonsense"), ("--control",)):
            with self.subTest(words):
                result = self.run_program(self.rig.surefootctl, *words)
                self.assertEqual(2, result.returncode, result.stdout)
                self.assertRegex(result.stdout, "usage|surefootctl")


if __name__ == "__main__":
    main()
