"""What the tests of surefootd share: one real daemon with real servers on file legs."""

import contextlib
import json
import queue
import socket
import threading
import time

from case import VolumeTest
from daemon import Daemon
from rig import PATIENCE_S, CommandFailed

EVENTS_KEPT = 256  # of a server, and of surefootd


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Between:
    """In front of vol0's control socket: the test itself answers requests for the events."""

    def __init__(self, daemon):
        self.real = daemon.rig.folder / "vol0.real"
        self.feeds = queue.Queue()
        self.begun = {}
        wrapper = daemon.rig.folder / "nbdkit-elsewhere"
        wrapper.write_text(
            f"#!/bin/sh\nexec {daemon.settings.get('nbdkit', 'nbdkit')} \"$@\" control={self.real}\n")
        wrapper.chmod(0o755)
        daemon.settings["nbdkit"] = wrapper
        daemon.write_settings()
        path = daemon.runtime / "volumes" / "vol0.ctl"
        path.parent.mkdir(parents=True)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    @staticmethod
    def line(client):
        with client.makefile("rb") as file:
            return file.readline()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.socket.accept()
                self.answer(client)

    def answer(self, client):
        request = self.line(client)
        command = json.loads(request or "{}").get("command")
        if command == "events":
            self.feeds.put(client)
            return
        if command in self.begun:  # said to be begun, and nothing comes of it
            self.begun[command].set()
            with client:
                self.say(client, {"ok": True, "version": 1})
            return
        with client, contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as real:
            real.connect(str(self.real))
            real.sendall(request)
            client.sendall(self.line(real))

    @staticmethod
    def say(feed, document):
        feed.sendall(json.dumps(document).encode() + b"\n")

    def close(self):
        self.socket.close()


class DaemonTest(VolumeTest):
    def daemon(self, **settings):
        return Daemon(self.rig, **settings)

    def check_clean(self, volume):
        document = json.loads(self.rig.ctl("check", volume.conf, "--json"))
        self.assertTrue(document["may_start"], document)
        self.assertTrue(all(leg["clean"] for leg in document["legs"]), document)

    def returned(self, daemon, leg):
        """A leg can return when what it was doing has ended."""
        try:
            daemon.ctl("leg", "return", "vol0", leg)
        except CommandFailed:
            return False
        return True

    def next_event(self, events, condition, seconds=PATIENCE_S):
        end = time.monotonic() + seconds
        while True:
            event = events.next(max(0.01, end - time.monotonic()))
            self.assertIsNotNone(event, "no such event")
            if condition(event):
                return event
