"""The rig: volumes on legs that freeze, fail, fill up and vanish on command, served by a real nbdkit.

A leg that can misbehave is a file made by nbdfuse over nbdkit's file plugin, with nbdkit's error,
delay and rate filters between.  SIGSTOP to that nbdkit freezes the leg, a file in the rig's folder
makes it fail.  No kernel module is needed, only /dev/fuse.

Every process dies with the rig, whatever happens, and every mount goes with it.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

MIB = 1024 * 1024
DATA_OFFSET = 8 * MIB  # where the data of a leg begins: SF_DATA_OFFSET
NBD_OPT_ABORT = 2
REPOSITORY = Path(__file__).resolve().parent.parent.parent

# A sanitizer makes everything slower; what must be fast is then allowed to be slower too.
SLOWNESS = float(os.environ.get("SUREFOOT_SLOWNESS", "1"))
PATIENCE_S = 30 * SLOWNESS  # for things that come by themselves

# Through which door clients come, where a test does not say it itself: "nbdkit" or "fast".
DOOR = os.environ.get("SUREFOOT_DOOR", "nbdkit")


class Unavailable(Exception):
    """This machine cannot do it: skip, and say why."""


class CommandFailed(Exception):
    def __init__(self, command, code, output):
        super().__init__(f"{' '.join(map(str, command))}: exit {code}\n{output}")
        self.code = code
        self.output = output


class TookTooLong(Exception):
    pass


def monotonic_deadline(seconds):
    end = time.monotonic() + seconds
    return lambda: end - time.monotonic()


def _die_with_parent():
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def sha_of_data(path, size):
    """What `cmp` would compare: the data area alone."""
    import hashlib

    digest = hashlib.sha256()
    with open(path, "rb") as f:
        f.seek(DATA_OFFSET)
        left = size
        while left:
            piece = f.read(min(left, 4 * MIB))
            if not piece:
                raise AssertionError(f"{path} is {left} bytes short")
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()


# ---- legs ----


class FileLeg:
    """A plain file, made by `surefootctl create`."""

    def __init__(self, rig, name):
        self.name = name
        self.path = self.image = rig.folder / f"{name}.img"

    def prepare(self, size):
        pass


def check_fuse():
    try:
        fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        device = os.fstat(fuse).st_rdev
        os.close(fuse)
    except OSError as error:
        raise Unavailable(f"/dev/fuse cannot be opened, so no leg can be frozen: {error.strerror}"
                          " (modprobe fuse; a container needs --device /dev/fuse)") from None
    if device != os.makedev(10, 229):
        raise Unavailable("/dev/fuse is not the device it should be: no leg can be frozen")


class FuseLeg:
    """A file that misbehaves on command."""

    def __init__(self, rig, name, filters=(), parameters=()):
        check_fuse()
        if not shutil.which("nbdfuse") or not shutil.which("fusermount3"):
            raise Unavailable("nbdfuse or fusermount3 is not installed")
        self.rig = rig
        self.name = name
        self.path = rig.folder / f"{name}.leg"
        self.image = rig.folder / f"{name}.img"
        self.socket = rig.folder / f"{name}.sock"
        self.filters = list(filters)
        self.parameters = list(parameters)
        self.nbdkit = self.nbdfuse = None
        rig.on_close(self.stop)

    def prepare(self, size):
        with open(self.image, "wb") as f:
            f.truncate(DATA_OFFSET + size)
        self.path.touch()
        self.start()

    def start(self):
        self.start_server()
        self.mount()

    def start_server(self):
        self.socket.unlink(missing_ok=True)
        command = ["nbdkit", "-f", "-U", self.socket, "--filter=error", "--filter=rate"]
        command += [f"--filter={name}" for name in self.filters]
        command += ["file", self.image]
        for operation in ("pread", "pwrite", "zero", "trim"):
            command += [f"error-{operation}-rate=100%",
                        f"error-{operation}-file={self._trigger(operation)}"]
        command += [f"rate-file={self.rig.folder / self.name}.rate"]
        self.nbdkit = self.rig.spawn(command + self.parameters)
        self.rig.wait_until(self.socket.exists, f"{self.socket}", process=self.nbdkit)

    def mount(self):
        self.nbdfuse = self.rig.spawn(
            ["nbdfuse", self.path, f"nbd+unix:///?socket={self.socket}"])
        self.rig.wait_until(self.is_mounted, f"the mount {self.path}", process=self.nbdfuse)

    def is_mounted(self):
        with open("/proc/self/mounts") as mounts:
            return any(line.split()[1] == str(self.path) for line in mounts)

    def _trigger(self, operation):
        return self.rig.folder / f"{self.name}.fails-{operation}"

    # -- what it can be made to do --

    def freeze(self):
        self.nbdkit.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.nbdkit.send_signal(signal.SIGCONT)

    def fail(self, *operations):
        for operation in operations:
            self._trigger(operation).touch()

    def heal(self):
        for operation in ("pread", "pwrite", "zero", "trim"):
            self._trigger(operation).unlink(missing_ok=True)

    def limit_rate(self, bits_per_second):
        temporary = self.rig.folder / f"{self.name}.rate.new"
        temporary.write_text(f"{bits_per_second}\n")
        temporary.rename(self.rig.folder / f"{self.name}.rate")

    def vanish(self):
        """The leg's server dies without a word; what is open gets ENOTCONN."""
        for process in (self.nbdfuse, self.nbdkit):
            process.kill()
            process.wait()

    def reappear(self):
        self._unmount()
        self.start()

    def _unmount(self):
        while self.is_mounted():
            subprocess.run(["fusermount3", "-u", "-z", str(self.path)],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)

    def stop(self):
        for process in (self.nbdkit, self.nbdfuse):
            if process and process.poll() is None:
                process.send_signal(signal.SIGCONT)
        if self.is_mounted():
            self._unmount()
        for process in (self.nbdfuse, self.nbdkit):
            if process:
                self.rig.reap(process, signal.SIGTERM)


class LoopLeg(FuseLeg):
    """The same as a block device: a loop device over such a file.  It hangs, and fails, as a disk."""

    def __init__(self, rig, name, **options):
        super().__init__(rig, name, **options)
        if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
            raise Unavailable("no loop devices here, or not root")
        self.file = self.path
        self.device = None

    def start(self):
        self.path = self.file
        super().start()
        with open(self.image, "ab") as image:
            size = image.tell()
        self.rig.wait_until(lambda: self.file.stat().st_size == size, f"{self.file}")
        # Two that ask at once may be given the same device; the second is refused.
        for attempts_left in reversed(range(10)):
            try:
                self.device = self.rig.run("losetup", "--direct-io=on", "--show", "-f",
                                           self.file).strip()
                break
            except CommandFailed:
                if not attempts_left:
                    raise
        self.path = Path(self.device)

    def _unmount(self):
        self.detach()
        self.path = self.file
        super()._unmount()

    def is_mounted(self):
        with open("/proc/self/mounts") as mounts:
            return any(line.split()[1] == str(self.file) for line in mounts)

    def detach(self):
        if self.device:
            self.rig.run("losetup", "-d", self.device, check=False)
        self.device = None


# ---- the server ----


class Server:
    """One nbdkit with our plugin."""

    def __init__(self, rig, volume, parameters=(), threads=16, filters=()):
        self.rig = rig
        self.volume = volume
        self.socket = rig.folder / f"{volume.name}.sock"
        self.fast_socket = volume.settings["fast_socket"]
        self.uris = {"nbdkit": f"nbd+unix:///?socket={self.socket}",
                     "fast": f"nbd+unix:///?socket={self.fast_socket}"}
        self.uri = self.uris[DOOR]
        self.log_path = rig.folder / f"{volume.name}.log"
        self.command = ["nbdkit", "-f", "-U", self.socket, f"--threads={threads}"]
        self.command += [f"--filter={name}" for name in filters]
        self.command += [rig.plugin, volume.conf, *parameters]
        self.process = None
        self.handles = []
        self.environment = {}

    def start(self):
        self.launch()
        try:
            # The socket is there before the threads are: an answer is the proof.
            self.rig.wait_until(self.answers, "nbdkit", process=self.process)
        except CommandFailed as failure:
            raise CommandFailed(self.command, failure.code, self.log()) from None
        return self

    def launch(self):
        """The process alone, whether it will serve or not."""
        self.socket.unlink(missing_ok=True)
        environment = dict(os.environ)
        if "SUREFOOT_PRELOAD" in os.environ:
            environment["LD_PRELOAD"] = os.environ["SUREFOOT_PRELOAD"]
        environment.update(self.environment)
        with open(self.log_path, "ab") as log:
            self.process = self.rig.spawn(self.command, env=environment, stderr=log)
        self.rig.on_close(self._close)
        return self

    def answers(self):
        if not self.socket.exists():
            return False
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(PATIENCE_S)
            probe.connect(str(self.socket))
            greeting = probe.recv(18, socket.MSG_WAITALL)
            probe.sendall(struct.pack(">I8sII", 1, b"IHAVEOPT", NBD_OPT_ABORT, 0))
            return greeting.startswith(b"NBDMAGIC")
        return False

    def log(self):
        return self.log_path.read_text(errors="replace")

    def connect(self, door=None):
        import nbd

        handle = nbd.NBD()
        handle.connect_uri(self.uris[door] if door else self.uri)
        self.handles.append(handle)
        return handle

    def disconnect(self):
        """Every client of this test leaves: nbdkit does not end before."""
        import nbd

        for handle in self.handles:
            with contextlib.suppress(nbd.Error):
                handle.shutdown()
        self.handles = []

    def stop(self, seconds=PATIENCE_S):
        """A clean stop; what nbdkit returned must be 0."""
        self.disconnect()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TookTooLong(f"nbdkit did not end in {seconds} s\n{self.log()}") from None
        if code != 0:
            raise CommandFailed(self.command, code, self.log())

    def kill(self):
        self.process.kill()
        self.process.wait()

    def memory_peak_bytes(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmHWM")

    def _close(self):
        for leg in self.volume.legs:
            if isinstance(leg, FuseLeg) and leg.nbdkit:
                leg.thaw()
        self.rig.reap(self.process, signal.SIGTERM, seconds=5)


class Volume:
    """A configuration file and its legs."""

    def __init__(self, rig, name, legs, size, settings, leg_settings):
        self.rig = rig
        self.name = name
        self.legs = legs
        self.size = size
        # A start that is to be refused is refused at once.
        self.settings = {"name": name, "control": rig.folder / f"{name}.ctl",
                         "fast_socket": rig.folder / f"{name}.fast",
                         "wait_for_legs": "0s", "read_deadline": "100ms", "write_deadline": "100ms",
                         "flush_deadline": "1s", **settings}
        self.leg_settings = leg_settings
        self.control = self.settings["control"]
        self.conf = rig.folder / f"{name}.conf"
        self.write_conf()

    def write_conf(self):
        lines = ["[volume]"] + [f"{key} = {value}" for key, value in self.settings.items()]
        for leg in self.legs:
            lines += ["", f"[leg {leg.name}]", f"path = {leg.path}"]
            lines += [f"{key} = {value}"
                      for key, value in self.leg_settings.get(leg.name, {}).items()]
        self.conf.write_text("\n".join(lines) + "\n")

    def create(self):
        for leg in self.legs:
            leg.prepare(self.size)
        self.write_conf()  # some know their path only now
        # So that it does not depend on how busy this machine is what the legs hold.
        self.rig.ctl("create", self.conf, "--size", self.size, "--zero")
        return self

    def serve(self, *parameters, **options):
        return Server(self.rig, self, parameters, **options).start()

    def launch(self, *parameters, **options):
        """A server that may have to wait for legs."""
        return Server(self.rig, self, parameters, **options).launch()

    # -- what it says of itself --

    def status(self):
        document = json.loads(self.rig.ctl("--control", self.control, "status", "--json"))
        assert document["version"] == 1, document
        (volume,) = document["volumes"]
        return volume

    def leg(self, name, status=None):
        for leg in (status or self.status())["legs"]:
            if leg["name"] == name:
                return leg
        raise AssertionError(f"no leg {name}")

    def wait_for(self, condition, what, seconds=PATIENCE_S):
        """Asks condition(status) again at every event of the volume."""
        left = monotonic_deadline(seconds)
        with self.follow() as events:
            while True:
                status = self.status()
                if condition(status):
                    return status
                if left() <= 0:
                    raise TookTooLong(f"{what}: not after {seconds} s\n{json.dumps(status)}")
                # What counts bytes has no event of its own: look again soon.
                events.next(min(left(), 0.2))

    def wait_leg(self, name, *states, seconds=PATIENCE_S):
        return self.wait_for(lambda status: self.leg(name, status)["state"] in states,
                             f"leg {name} {' or '.join(states)}", seconds)

    def wait_all_in_sync(self, seconds=PATIENCE_S):
        return self.wait_for(
            lambda status: status["state"] == "healthy" and status["unconverged_bytes"] == 0
            and all(leg["state"] == "in-sync" for leg in status["legs"]),
            "every leg in sync", seconds)

    @contextlib.contextmanager
    def follow(self):
        with Events(self.control) as events:
            yield events

    def set(self, key, value):
        self.rig.ctl("--control", self.control, "set", self.name, f"{key}={value}")

    # -- what its legs hold --

    def data_hashes(self):
        return {leg.name: sha_of_data(leg.image, self.size) for leg in self.legs}

    def assert_legs_equal(self):
        hashes = self.data_hashes()
        assert len(set(hashes.values())) == 1, f"the legs differ: {hashes}"


class Events:
    """The volume's events as they happen."""

    def __init__(self, control):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(str(control))
        self.socket.sendall(b'{"version":1,"command":"events","follow":true}\n')
        self.buffer = b""

    def next(self, seconds):
        """The next event, or None after so many seconds or at the end of the volume."""
        left = monotonic_deadline(seconds)
        while True:
            while b"\n" not in self.buffer:
                if not select.select([self.socket], [], [], max(0, left()))[0]:
                    return None
                piece = self.socket.recv(65536)
                if not piece:
                    time.sleep(max(0, left()))  # nothing will come any more
                    return None
                self.buffer += piece
            line, self.buffer = self.buffer.split(b"\n", 1)
            event = json.loads(line)
            if "event" in event:  # the first line only says that the request was taken
                return event

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


# ---- the rig itself ----


def plugin_of(build):
    return Path(build).resolve() / "lib" / "nbdkit-surefoot-plugin.so"


class Rig:
    def __init__(self, build=None):
        build = Path(build or os.environ.get("SUREFOOT_BUILD", REPOSITORY / "build"))
        self.surefootctl = build.resolve() / "bin" / "surefootctl"
        self.plugin = plugin_of(build)
        # Not /tmp: where that is a tmpfs, there is no O_DIRECT.
        self.folder = Path(tempfile.mkdtemp(prefix="surefoot-",
                                            dir=os.environ.get("SUREFOOT_TMP", "/var/tmp")))
        self.cleanups = []

    # -- volumes --

    def file_legs(self, names="abc"):
        return [FileLeg(self, name) for name in names]

    def volume(self, legs=None, size=32 * MIB, name="vol0", leg_settings=None, **settings):
        return Volume(self, name, legs or self.file_legs(), size, settings, leg_settings or {})

    # -- processes --

    def spawn(self, command, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.DEVNULL)
        options.setdefault("start_new_session", True)  # Ctrl-C is for us alone
        if "stderr" not in options:
            with open(self.folder / "processes.log", "ab") as log:
                return subprocess.Popen([str(word) for word in command], stderr=log,
                                        preexec_fn=_die_with_parent, **options)
        return subprocess.Popen([str(word) for word in command], preexec_fn=_die_with_parent,
                                **options)

    def run(self, *command, seconds=PATIENCE_S, check=True, **options):
        """Standard output of a command that must succeed."""
        result = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, timeout=seconds, **options)
        if check and result.returncode != 0:
            raise CommandFailed(command, result.returncode, result.stdout + result.stderr)
        return result.stdout

    def ctl(self, *words, **options):
        return self.run(self.surefootctl, *words, **options)

    def wait_until(self, condition, what, process=None, seconds=PATIENCE_S):
        """For what sends no event: looks every few milliseconds, at once when the process ends."""
        left = monotonic_deadline(seconds)
        while not condition():
            if left() <= 0:
                raise TookTooLong(f"{what}: not after {seconds} s")
            if process is None:
                time.sleep(0.005)
                continue
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(0.005)
                raise CommandFailed(process.args, code, self.processes_log())

    def processes_log(self):
        log = self.folder / "processes.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def reap(self, process, first_signal, seconds=5):
        if process.poll() is None:
            process.send_signal(first_signal)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)

    # -- the end --

    def on_close(self, function):
        self.cleanups.append(function)

    def close(self):
        self.close_without_removing()
        shutil.rmtree(self.folder, ignore_errors=True)

    def close_without_removing(self):
        """Leaves everything for a look at what is left."""
        while self.cleanups:
            function = self.cleanups.pop()
            try:
                function()
            except Exception as error:  # the rest must still be cleaned up
                print(f"clean-up: {error}")
