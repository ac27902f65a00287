"""surefootd in the rig's folder: its settings, the volumes that it runs, and how they are reached."""

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import threading

from rig import PATIENCE_S, CommandFailed, Events, TookTooLong, monotonic_deadline


class Daemon:
    def __init__(self, rig, **settings):
        self.rig = rig
        self.binary = rig.surefootctl.parent / "surefootd"
        self.folder = rig.folder / "volumes.d"
        self.runtime = rig.folder / "run"
        self.control = self.runtime / "control"
        self.log_path = rig.folder / "surefootd.log"
        self.settings_file = rig.folder / "surefoot.conf"
        self.settings = {"volumes": self.folder, "runtime": self.runtime, **settings}
        self.notify_path = rig.folder / "notify"
        self.folder.mkdir()
        if "SUREFOOT_PRELOAD" in os.environ:
            self.settings["nbdkit"] = self._preloading_nbdkit()
        self.write_settings()
        self.process = self.notify = None
        self.told = queue.Queue()

    def _preloading_nbdkit(self):
        """The sanitizer's library belongs into nbdkit, and the daemon has its own."""
        wrapper = self.rig.folder / "nbdkit"
        wrapper.write_text(f"#!/bin/sh\nexport LD_PRELOAD={os.environ['SUREFOOT_PRELOAD']}\n"
                           "exec nbdkit \"$@\"\n")
        wrapper.chmod(0o755)
        return wrapper

    def write_settings(self):
        self.settings_file.write_text(
            "[daemon]\n" + "".join(f"{key} = {value}\n" for key, value in self.settings.items()))

    # -- volumes --

    def volume(self, name="vol0", legs=("a", "b", "c"), **settings):
        """Its file, in the folder, and its legs, formatted.  Deadlines that a busy machine keeps: what
        is tested here is not the legs."""
        settings = {"read_deadline": "5s", "write_deadline": "5s", "flush_deadline": "10s", **settings}
        from rig import FileLeg

        made = self.rig.volume([FileLeg(self.rig, f"{name}-{leg}") for leg in legs], name=name,
                               **settings)
        made.create()
        return self.add(made)

    def add(self, volume):
        """A volume of the rig becomes one of the daemon's."""
        volume.conf.unlink(missing_ok=True)
        volume.conf = self.folder / f"{volume.name}.conf"
        volume.write_conf()
        volume.control = self.runtime / "volumes" / f"{volume.name}.ctl"
        return volume

    # -- life --

    def start(self, ready=True):
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify_path.unlink(missing_ok=True)
        self.notify.bind(str(self.notify_path))
        self.told = queue.Queue()  # nothing of an earlier run
        threading.Thread(target=self._listen, args=(self.notify, self.told), daemon=True).start()
        environment = {**os.environ, "NOTIFY_SOCKET": str(self.notify_path)}
        with open(self.log_path, "ab") as log:
            self.process = self.rig.spawn([self.binary, "-c", self.settings_file], stderr=log,
                                          env=environment)
        self.rig.on_close(lambda: self.rig.reap(self.process, signal.SIGTERM, seconds=10))
        if ready:
            self.wait_notify("READY=1")
        return self

    def _listen(self, notify, told):
        with contextlib.suppress(OSError):
            while True:
                for line in notify.recv(4096).decode().splitlines():
                    told.put(line)

    def wait_notify(self, wanted, seconds=PATIENCE_S):
        """Until systemd would have been told; what it was told until then."""
        left, lines = monotonic_deadline(seconds), []
        while wanted not in lines:
            if self.process.poll() is not None:
                raise CommandFailed([self.binary], self.process.returncode, self.log())
            if left() <= 0:
                raise TookTooLong(f"{wanted}: not after {seconds} s\n{self.log()}")
            with contextlib.suppress(queue.Empty):
                lines.append(self.told.get(timeout=0.1))
        return lines

    def stop(self, seconds=PATIENCE_S):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TookTooLong(f"surefootd did not end in {seconds} s\n{self.log()}") from None
        if code != 0:
            raise CommandFailed([self.binary], code, self.log())

    def log(self):
        return self.log_path.read_text(errors="replace")

    # -- what it says --

    def ctl(self, *words, **options):
        return self.rig.ctl("--control", self.control, *words, **options)

    def statuses(self):
        document = json.loads(self.ctl("status", "--json"))
        return {volume["name"]: volume for volume in document["volumes"]}

    def status(self, name="vol0"):
        return self.statuses()[name]

    def pid(self, name="vol0"):
        """Never 0, which would be the whole process group to kill()."""
        return self.wait_status(lambda status: status["service"]["pid"] > 0, "a server",
                                name)["service"]["pid"]

    def wait_status(self, condition, what, name="vol0", seconds=PATIENCE_S):
        def holds():
            status = self.status(name)
            return condition(status) and status
        self.rig.wait_until(holds, what, process=self.process, seconds=seconds)
        return self.status(name)

    def wait_serving(self, name="vol0", seconds=PATIENCE_S):
        return self.wait_status(lambda status: status["service"]["state"] == "serving"
                                and status["state"] == "healthy", f"{name} serving", name, seconds)

    def follow(self):
        return Events(self.control)

    def client(self, volume):
        return Client(self, volume)


class Client:
    """How Load reaches a volume of the daemon."""

    def __init__(self, daemon, volume):
        self.rig = volume.rig
        self.volume = volume
        self.uri = f"nbd+unix:///?socket={daemon.runtime / (volume.name + '.sock')}"
        self.handles = []

    def connect(self, door=None):
        assert door is None, "only the rig's own servers have another"
        import nbd

        handle = nbd.NBD()
        handle.connect_uri(self.uri)
        self.handles.append(handle)
        return handle

    def disconnect(self):
        import nbd

        for handle in self.handles:
            with contextlib.suppress(nbd.Error):
                handle.shutdown()
        self.handles = []
