"""Legs of the rig whose disk is flaky.c: a file on it, or a loop device over that file."""

import contextlib
import os
import signal
import socket
import time

import rig as e2e
from rig import FuseLeg, LoopLeg, Unavailable

IDLE_LOOKS = 3


class FlakyLeg(FuseLeg):
    def __init__(self, rig, name, seed):
        super().__init__(rig, name)
        self.seed = seed
        self.control = rig.folder / f"{name}.disk"
        self.plugged = True

    def start_server(self):
        self.control.unlink(missing_ok=True)
        self.socket.unlink(missing_ok=True)
        self.nbdkit = self.rig.spawn(
            ["nbdkit", "-f", "-U", self.socket, self.rig.plugin.parent / "nbdkit-flaky-plugin.so",
             f"image={self.image}", f"control={self.control}", f"seed={self.seed}"])
        self.rig.wait_until(self.socket.exists, f"{self.socket}", process=self.nbdkit)

    def order(self, *words):
        """What flaky.c is told; its counters."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(e2e.PATIENCE_S)
            connection.connect(str(self.control))
            connection.sendall(" ".join(map(str, words)).encode() + b"\n")
            answer = connection.recv(256).decode()
        if not answer.startswith("ok "):
            raise AssertionError(f"the disk {self.name}, told {words}: {answer}")
        self.flushes_failed, self.running, self.dirty = map(int, answer.split()[1:])

    def heal(self):
        if self.nbdkit.poll() is None:
            self.order("heal")

    # -- the way to the disk, and its power --

    def unplug(self):
        """What is open says ENOTCONN; the disk keeps its cache, and does what it had been sent."""
        self.plugged = False
        self.heal()
        # nbdkit 1.32 can abort when a connection ends while it answers there: let it answer first.
        self.nbdfuse.send_signal(signal.SIGSTOP)
        idle = 0
        while idle < IDLE_LOOKS:
            self.order("status")
            idle = idle + 1 if self.running == 0 else 0
            time.sleep(0.005)
        self.nbdfuse.kill()
        self.nbdfuse.wait()

    def cut_power(self):
        self.plugged = False
        self.vanish()

    def plug_in(self):
        if self.plugged:
            return
        FuseLeg._unmount(self)
        if self.nbdkit.poll() is not None:
            self.start_server()
        self.mount()
        self.plugged = True

    def can_unplug(self):
        return True

    def stop(self):
        if self.nbdkit and self.nbdkit.poll() is None:
            with contextlib.suppress(OSError):
                self.order("gone")  # what hangs would keep its processes
        super().stop()


class FlakyLoop(LoopLeg, FlakyLeg):
    """A block device.  It is never unplugged: a process that has it open keeps it."""

    def __init__(self, rig, name, seed):
        FlakyLeg.__init__(self, rig, name, seed)
        if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
            raise Unavailable("no loop devices here, or not root")
        self.file = self.path
        self.device = None

    def start_server(self):
        FlakyLeg.start_server(self)

    def can_unplug(self):
        return False
