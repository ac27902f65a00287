"""Proves what surefootd promises: it checks before it starts, restarts what dies, reloads without a
stop, tells everybody who asks, and ends cleanly.  One real daemon with real servers on file legs."""

import contextlib
import json
import os
import queue
import re
import signal
import socket
import stat
import subprocess
import threading
import time
import urllib.request

from case import VolumeTest, main
from daemon import Daemon
from rig import PATIENCE_S, REPOSITORY, CommandFailed

EVENTS_KEPT = 256  # of a server, and of surefootd


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Between:
    """In front of vol0's control socket: the test itself answers who asks for the events."""

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


class Life(DaemonTest):
    def test_two_volumes_and_a_clean_stop(self):
        """Proves that two volumes are served, listed in one answer, and clean after the stop, clients
        connected or not."""
        daemon = self.daemon()
        one, two = daemon.volume("one"), daemon.volume("two", legs="ab")
        daemon.start()
        statuses = daemon.statuses()
        self.assertEqual(["one", "two"], sorted(statuses))
        self.assertEqual({"healthy"}, {status["state"] for status in statuses.values()})
        idle = daemon.client(one).connect()
        handle = daemon.client(two).connect()
        handle.pwrite(b"x" * 4096, 0)
        handle.flush()
        handle.shutdown()
        began = time.monotonic()
        daemon.stop()
        self.assertLess(time.monotonic() - began, 20)
        del idle
        self.assertEqual(2, daemon.log().count("stopped (clean)"))
        for volume in (one, two):
            self.check_clean(volume)
            volume.assert_legs_equal()
        self.assertEqual([], [name for name in os.listdir(daemon.runtime) if name != "volumes"])
        self.assertEqual([], os.listdir(daemon.runtime / "volumes"))

    def test_systemd_is_told(self):
        """Proves that READY comes after the volumes serve, and that a reload and the stop are told."""
        daemon = self.daemon()
        volume = daemon.volume()
        daemon.start(ready=False)
        daemon.wait_notify("READY=1")
        self.assertEqual("healthy", daemon.status()["state"])
        daemon.client(volume).connect().pread(512, 0)
        daemon.process.send_signal(signal.SIGHUP)
        lines = daemon.wait_notify("READY=1")
        self.assertIn("RELOADING=1", lines)
        self.assertTrue(any(line.startswith("MONOTONIC_USEC=") for line in lines), lines)
        self.assertTrue(any("1 healthy" in line for line in lines), lines)
        daemon.process.send_signal(signal.SIGTERM)
        self.assertIn("STOPPING=1", daemon.wait_notify("STOPPING=1"))
        self.assertEqual(0, daemon.process.wait(PATIENCE_S))

    def test_the_watchdog_is_fed(self):
        """Proves that WATCHDOG=1 comes by itself."""
        os.environ["WATCHDOG_USEC"] = "400000"
        self.addCleanup(os.environ.pop, "WATCHDOG_USEC")
        daemon = self.daemon()
        daemon.volume(legs="a")
        daemon.start()
        daemon.wait_notify("WATCHDOG=1")
        daemon.stop()

    def test_server_killed_under_load(self):
        """Proves that after kill -9 of a server its clients come back through the same socket, nothing
        that was answered is lost, and the other volume sees nothing of it."""
        daemon = self.daemon()
        volume, other = daemon.volume("vol0"), daemon.volume("other", legs="a")
        daemon.start()
        client, quiet = daemon.client(volume), daemon.client(other)
        beside = self.load(quiet, blocks=64).start()
        model = None
        for _ in range(3):
            load = self.load(client, model=model, depth=8).start()
            model = load.model
            load.wait_count(200)
            killed = daemon.pid()
            os.kill(killed, signal.SIGKILL)
            daemon.wait_status(lambda status: status["service"]["pid"] not in (0, killed),
                               "a new server")
            load.stop()
            self.assertEqual([], load.errors)
            daemon.wait_serving()
        self.assertEqual(3, daemon.status()["service"]["restarts"])
        self.assertEqual([], model.verify(client.connect()))
        beside.wait_count(20)
        beside.stop()
        self.assertEqual([], beside.errors)
        self.assertFalse(beside.connection_lost)
        daemon.wait_status(lambda status: status["unconverged_bytes"] == 0, "legs equal")
        daemon.stop()
        volume.assert_legs_equal()
        self.check_clean(volume)

    def test_clients_wait_for_a_server(self):
        """Proves that who connects while the server is down is served by the next one."""
        daemon = self.daemon()
        volume = daemon.volume()
        daemon.start()
        for _ in range(4):  # the back-off begins with the second
            killed = daemon.pid()
            os.kill(killed, signal.SIGKILL)
            self.assertEqual(bytes(512), daemon.client(volume).connect().pread(512, 0))
        daemon.stop()

    def test_the_fast_socket(self):
        """Proves that a volume has a fast socket in the runtime folder, for its own user only and also after a kill of
        its server, that its file may move it or do without, and that it is removed with the service."""
        import nbd

        def read(path):
            handle = nbd.NBD()
            handle.connect_unix(str(path))
            self.assertEqual(bytes(4096), handle.pread(4096, 0))
            handle.shutdown()

        def restart(**settings):
            volume.settings.update(settings)
            volume.write_conf()
            daemon.ctl("reload")
            killed = daemon.pid()
            daemon.ctl("restart", volume.name)
            daemon.wait_status(lambda status: status["service"]["state"] == "serving"
                               and status["service"]["pid"] != killed, "the next server")

        daemon = self.daemon()
        volume = daemon.volume()
        volume.settings.pop("fast_socket", None)
        volume.write_conf()
        fast = daemon.runtime / f"{volume.name}.fast"
        daemon.start()
        self.assertEqual(0o600, stat.S_IMODE(fast.stat().st_mode))
        self.assertEqual({"value": str(fast), "source": "default"}, daemon.status()["settings"]["fast_socket"])
        read(fast)
        os.kill(daemon.pid(), signal.SIGKILL)
        daemon.client(volume).connect().pread(512, 0)
        read(fast)
        restart(device_door="nbdkit")
        self.assertFalse(fast.exists())
        elsewhere = daemon.runtime / "elsewhere"
        restart(device_door="fast", fast_socket=str(elsewhere))
        self.assertFalse(fast.exists())
        read(elsewhere)
        daemon.stop()
        self.assertFalse(elsewhere.exists())

    def test_killed_again_and_again(self):
        """Proves that a server that served before it was killed is started again at once, six times in a
        row."""
        daemon = self.daemon()
        volume = daemon.volume()
        daemon.start()
        for _ in range(6):
            killed = daemon.pid()
            os.kill(killed, signal.SIGKILL)
            daemon.client(volume).connect().pread(512, 0)
            daemon.wait_status(lambda status: status["service"]["state"] == "serving"
                               and status["service"]["pid"] != killed, "a new server")
        down, waits = 0, []
        for line in daemon.ctl("events", "--json", "vol0").splitlines():
            event = json.loads(line)
            if event["event"] == "service" and event["to"] == "down":
                down = event["monotonic_ns"]
            if event["event"] == "service" and event["from"] == "down" and down:
                waits.append((event["monotonic_ns"] - down) / 1e9)
        self.assertEqual(6, len(waits))
        self.assertLess(sorted(waits)[3], 0.4, waits)  # the back-off's first step is half a second
        daemon.stop()

    def test_events_survive_a_restart(self):
        """Proves that what happened is told by the next surefootd too, after a clean end and after a kill, in its order
        and once; a line of the file that is damaged costs itself."""
        daemon = self.daemon()
        kept = daemon.runtime.with_suffix(".events")
        daemon.volume("vol0")
        daemon.start()
        daemon.ctl("leg", "fail", "vol0", "vol0-b")
        daemon.wait_status(lambda status: status["legs"][1]["in_flight"] == 0, "the leg is quiet")
        daemon.ctl("leg", "return", "vol0", "vol0-b", "--wait")
        before = daemon.ctl("events", "--json", "vol0").splitlines()
        daemon.stop()
        with kept.open("a") as file:
            file.write("{damaged\n")
        daemon.start()
        after = daemon.ctl("events", "--json", "vol0").splitlines()
        self.assertEqual(before, after[:len(before)])
        self.assertEqual(len(after), len(set(after)))
        self.assertRegex(daemon.ctl("why", "vol0"), r"Leg vol0-b was taken out: .*operator")
        self.rig.wait_until(lambda: kept.read_text().splitlines()[-1] == after[-1],
                            "the events are kept")
        daemon.process.kill()
        daemon.process.wait()
        daemon.start()
        self.assertEqual(after, daemon.ctl("events", "--json", "vol0").splitlines()[:len(after)])
        daemon.stop()

    def test_where_settings_come_from(self):
        """Proves that with surefootd too a setting is told with where it comes from, also after a restart, which
        `restart --wait` ends with."""
        daemon = self.daemon()
        daemon.volume("vol0", write_deadline="90ms")
        daemon.start()
        daemon.ctl("set", "vol0", "flush_deadline=3s")
        pid = daemon.pid()
        self.assertIn("is restarted", daemon.ctl("restart", "vol0", "--wait"))
        self.assertNotEqual(pid, daemon.pid())
        self.assertEqual("serving", daemon.status()["service"]["state"])
        settings = daemon.status()["settings"]
        for key, value, source in (("write_deadline", "90ms", "file"), ("flush_deadline", "3s", "set"),
                                   ("fail_timeout", "30s", "default"), ("threads", "64", "default")):
            self.assertEqual({"value": value, "source": source}, settings[key], key)
        daemon.ctl("status", "--check", "vol0")
        self.assertRegex(daemon.ctl("list"), r"(?m)^vol0 +healthy ")
        daemon.stop()

    def test_a_volume_that_cannot_start(self):
        """Proves that a volume without its legs is listed as failed, with the reason, holds nobody up,
        and serves when the legs come."""
        daemon = self.daemon()
        good, bad = daemon.volume("good", legs="a"), daemon.volume("bad", legs="ab")
        hidden = []
        for leg in bad.legs:
            hidden.append((leg.path, leg.path.with_suffix(".away")))
            leg.path.rename(hidden[-1][1])
        daemon.start()
        status = daemon.wait_status(lambda status: status["service"]["reason"], "a reason", "bad")
        self.assertIn(status["state"], ("starting", "failed"))
        status = daemon.wait_status(lambda status: status["state"] == "failed", "a failed start", "bad")
        self.assertIn("bad-a", status["service"]["reason"])
        self.assertEqual("healthy", daemon.status("good")["state"])
        self.assertIn("bad: failed", daemon.ctl("status"))
        for path, away in hidden:
            away.rename(path)
        daemon.wait_serving("bad")
        daemon.stop()
        self.check_clean(good)

    def test_a_socket_that_is_taken(self):
        """Proves that a volume whose socket somebody else listens on is listed as failed, with the reason,
        at the start and after a reload, holds nobody up, and serves when the socket is free."""
        daemon = self.daemon()
        daemon.volume("good", legs="a"), daemon.volume("bad", legs="ab")
        daemon.runtime.mkdir()
        path = str(daemon.runtime / "bad.sock")
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
            other.listen()
            daemon.start()
            status = daemon.wait_status(lambda status: status["service"]["reason"], "a reason", "bad")
            self.assertEqual("failed", status["state"])
            self.assertIn(f"socket {path}: somebody listens there already", status["service"]["reason"])
            self.assertEqual("healthy", daemon.status("good")["state"])
            with socket.socket(socket.AF_UNIX) as another:
                another.bind(str(daemon.runtime / "late.sock"))
                another.listen()
                daemon.volume("late", legs="a")
                self.assertIn("not started yet: socket", daemon.ctl("reload"))
        daemon.wait_serving("bad")
        daemon.wait_serving("late")
        daemon.stop()
        self.assertFalse(os.path.exists(path))

    def taken(self, stack, path):
        other = stack.enter_context(socket.socket(socket.AF_UNIX))
        path.parent.mkdir(parents=True, exist_ok=True)
        other.bind(str(path))
        other.listen()
        return path

    def test_a_stop_while_its_socket_is_taken(self):
        """Proves that a volume that never got its socket can be removed, and stopped, that this ends no
        other, and that what whoever has the socket keeps beside it stays."""
        daemon = self.daemon()
        good = daemon.volume("good", legs="a")
        bad, worse = daemon.volume("bad", legs="a"), daemon.volume("worse", legs="a")
        with contextlib.ExitStack() as stack:
            kept = []
            for name in ("bad", "worse"):
                kept.append(self.taken(stack, daemon.runtime / f"{name}.sock"))
                kept.append(self.taken(stack, daemon.runtime / "volumes" / f"{name}.ctl"))
                kept.append(daemon.runtime / "volumes" / f"{name}.conf")
                kept[-1].write_text("theirs")
            daemon.start()
            for name in ("bad", "worse"):
                daemon.wait_status(lambda status: status["service"]["reason"], "a reason", name)
            pid = daemon.pid("good")
            bad.conf.unlink()
            daemon.ctl("reload")
            self.rig.wait_until(lambda: "bad" not in daemon.statuses(), "bad gone",
                                process=daemon.process)
            self.assertEqual(pid, daemon.pid("good"))
            daemon.stop()
            self.assertEqual([], [path for path in kept if not path.exists()])
            self.assertEqual("theirs", kept[-1].read_text())
        self.check_clean(good)
        self.check_clean(worse)

    def test_a_control_socket_that_is_taken(self):
        """Proves that a server that has to give way to another's control socket does not cost that one
        its socket, and that the one of a server that was killed goes."""
        daemon = self.daemon(stop_timeout="1s")
        daemon.volume("good", legs="a"), daemon.volume("bad", legs="a")
        with contextlib.ExitStack() as stack:
            kept = self.taken(stack, daemon.runtime / "volumes" / "bad.ctl")
            daemon.start()
            daemon.wait_status(lambda status: status["service"]["restarts"] > 0, "a failed start", "bad")
            own = daemon.runtime / "volumes" / "good.ctl"
            self.assertTrue(own.exists())
            os.kill(daemon.pid("good"), signal.SIGSTOP)
            daemon.stop()
            self.assertIn("did not stop in time", daemon.log())
            self.assertTrue(kept.exists())
            self.assertFalse(own.exists())

    def test_a_server_that_hangs(self):
        """Proves that a server that is stopped dead is told as silent in time, blocks neither the
        others nor the daemon's stop."""
        daemon = self.daemon(stop_timeout="2s", silent_timeout="0s")
        daemon.volume("vol0"), daemon.volume("other", legs="a")
        daemon.start()
        pid = daemon.pid()
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        statuses = daemon.statuses()
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual("silent", statuses["vol0"]["state"])
        self.assertIn("no answer", statuses["vol0"]["service"]["reason"])
        self.assertEqual("healthy", statuses["other"]["state"])
        with daemon.follow() as events:
            self.next_event(events, lambda event: event["to"] == "silent")
            os.kill(pid, signal.SIGCONT)
            self.next_event(events, lambda event: event["from"] == "silent")
        os.kill(pid, signal.SIGSTOP)
        daemon.stop(30)
        self.assertIn("did not stop in time", daemon.log())

    def test_a_server_that_hangs_for_ever(self):
        """Proves that a server that does not answer any more is replaced, and that this is said; a client
        that asked meanwhile is answered by the next one."""
        daemon = self.daemon(silent_timeout="5s")
        volume = daemon.volume("vol0")
        daemon.volume("other", legs="a")
        daemon.start()
        pid, other = daemon.pid(), daemon.pid("other")
        with daemon.follow() as events:
            os.kill(pid, signal.SIGSTOP)
            event = self.next_event(events, lambda event: event["to"] == "down")
            self.assertIn("did not answer for", event["reason"])
            self.assertIn("silent_timeout", event["reason"])
            self.next_event(events, lambda event: event["event"] == "service" and event["to"] == "serving")
        self.assertEqual(bytes(512), daemon.client(volume).connect().pread(512, 0))
        self.assertNotEqual(pid, daemon.pid())
        self.assertEqual(other, daemon.pid("other"))
        daemon.stop()

    def test_the_daemon_killed(self):
        """Proves that the servers end with a daemon that was killed, and that the next one starts at
        once, with what was answered."""
        daemon = self.daemon()
        volume = daemon.volume()
        daemon.start()
        load = self.load(daemon.client(volume)).start()
        load.wait_count(100)
        daemon.process.kill()
        daemon.process.wait()
        load.stop()
        self.assertEqual([], load.errors)
        daemon.start()
        daemon.wait_serving()
        self.assertEqual([], load.model.verify(daemon.client(volume).connect()))
        daemon.stop()

    def test_what_a_scrub_found_outlives_the_server(self):
        """Proves that the last scrub stands in the status after a restart of the server, and is not taken for one of
        the new server."""
        daemon = Daemon(self.rig)
        daemon.volume()
        daemon.start()
        self.assertIn("all alike", daemon.ctl("scrub", "vol0", "--wait"))
        self.assertNotIn("of_earlier_server", daemon.status()["scrub"])
        daemon.ctl("restart", "vol0", "--wait")
        daemon.wait_status(lambda status: status["state"] == "healthy", "all legs")
        scrub = daemon.status()["scrub"]
        self.assertEqual(("done", True), (scrub["state"], scrub["of_earlier_server"]))
        self.assertIn("scrub done", daemon.ctl("status"))
        daemon.ctl("scrub", "vol0", "--wait", "--rate", "64M")
        self.assertNotIn("of_earlier_server", daemon.status()["scrub"])
        daemon.stop()

    def test_stop_and_start_of_one_volume(self):
        """Proves that a stopped volume stays down, also over a reload, refuses clients, and starts when it is told;
        and that a forced start goes past a leg that is waited for."""
        daemon = Daemon(self.rig)
        volume = daemon.volume(legs=("a", "b"), min_legs=1)
        daemon.start()
        self.assertIn("is stopped", daemon.ctl("stop", "vol0", "--wait"))
        self.assertEqual(("stopped", "down"),
                         (daemon.status()["state"], daemon.status()["service"]["state"]))
        self.assertFalse((daemon.runtime / "vol0.sock").exists())
        with self.assertRaises(CommandFailed) as failed:
            daemon.ctl("stop", "vol0")
        self.assertIn("is stopped already", failed.exception.output)
        daemon.ctl("reload")
        self.assertEqual("stopped", daemon.status()["state"])
        away = volume.legs[1].path.with_suffix(".away")
        volume.legs[1].path.rename(away)
        with self.assertRaises(CommandFailed) as failed:
            daemon.ctl("start", "vol0", "--wait")
        self.assertIn("does not start", failed.exception.output)
        self.assertIn("serves", daemon.ctl("start", "vol0", "--force", "--wait"))
        self.assertEqual(1, daemon.status()["legs_in_sync"])
        with self.assertRaises(CommandFailed) as failed:
            daemon.ctl("start", "vol0")
        self.assertIn("is serving already", failed.exception.output)
        self.assertIn("leg vol0-b is taken out", daemon.ctl("leg", "fail", "vol0", volume.legs[1].path))
        daemon.stop()

    def test_restart_of_one_volume(self):
        """Proves that a restart ends cleanly and begins anew, with a client connected."""
        daemon = self.daemon()
        volume = daemon.volume()
        daemon.start()
        before, handle = daemon.status(), daemon.client(volume).connect()
        handle.pwrite(b"y" * 4096, 0)
        daemon.ctl("restart", "vol0")
        after = daemon.wait_status(lambda status: status["service"]["state"] == "serving"
                                   and status["service"]["pid"] != before["service"]["pid"],
                                   "the restart")
        self.assertEqual(before["record"]["term"] + 1, after["record"]["term"])
        self.assertEqual(0, after["unconverged_bytes"])  # it was clean
        self.assertEqual(0, after["service"]["restarts"])
        self.assertEqual(b"y" * 4096, bytes(daemon.client(volume).connect().pread(4096, 0)))
        daemon.stop()

    def test_stopped_while_it_starts(self):
        """Proves that who is stopped before it serves, or before it could be listened to, is not accused
        of a stop that was not clean."""
        daemon = self.daemon()
        volume = daemon.volume()
        for wanted in ("-> starting", "-> serving", "ready"):
            seen = len(daemon.log()) if daemon.log_path.exists() else 0
            daemon.start(ready=False)
            self.rig.wait_until(lambda: wanted in daemon.log()[seen:], wanted, daemon.process)
            daemon.stop()
        self.assertNotIn("did not say", daemon.log())
        self.check_clean(volume)

    def test_stopped_while_it_converges(self):
        """Proves that a volume whose legs were not made equal yet says so itself when it is stopped."""
        daemon = self.daemon()
        volume = daemon.volume(resync_min_rate="4K", resync_max_rate="4K")
        daemon.start()
        killed = daemon.pid()
        handle = daemon.client(volume).connect()
        for extent in range(16):
            handle.pwrite(b"z" * 4096, extent << 20)
        os.kill(killed, signal.SIGKILL)
        daemon.wait_status(lambda status: status["service"]["pid"] not in (0, killed), "a new server")
        status = daemon.wait_status(lambda status: status["service"]["state"] == "serving", "serving")
        self.assertGreater(status["unconverged_bytes"], 0)
        daemon.stop()
        self.assertIn("stopped, not clean: the next start converges", daemon.log())
        self.assertNotIn("did not say", daemon.log())

    def test_killed_while_it_stops(self):
        """Proves that a server which was heard, and ends without its last words, is told of."""
        daemon = self.daemon()
        volume = daemon.volume()
        daemon.start()
        idle = daemon.client(volume).connect()  # it waits for this one
        pid = daemon.pid()
        daemon.process.send_signal(signal.SIGTERM)
        self.rig.wait_until(lambda: "-> stopping" in daemon.log(), "the stop", daemon.process)
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(0, daemon.process.wait(PATIENCE_S))
        self.assertIn("did not say that it stopped cleanly (signal 9)", daemon.log())
        del idle


class Checks(DaemonTest):
    def refused(self, daemon, *texts):
        with open(daemon.log_path, "wb") as log:
            process = self.rig.spawn([daemon.binary, "-c", daemon.settings_file], stderr=log)
        self.assertEqual(1, process.wait(PATIENCE_S))
        for text in texts:
            self.assertIn(text, daemon.log())
        self.assertFalse(daemon.runtime.exists(), "something was started")

    def left_out(self, daemon, served, *texts):
        """The others are served, the unit is up, and each who asks is told of the files that are not."""
        daemon.start(ready=False)
        line = next(line for line in daemon.wait_notify("READY=1") + [daemon.told.get(timeout=PATIENCE_S)]
                    if line.startswith("STATUS="))
        self.assertIn(f"; {len(texts)} problem", line)
        self.assertIn(texts[0], line)
        self.assertEqual(sorted(served), sorted(daemon.statuses()))
        for name in served:
            daemon.wait_serving(name)
        problems = json.loads(daemon.ctl("status", "--json"))["problems"]
        self.assertEqual(len(texts), len(problems), problems)
        text = daemon.ctl("status")
        for wanted, problem in zip(texts, problems):
            self.assertIn(wanted, problem)
            self.assertIn(wanted, text)
            self.assertIn(wanted, daemon.log())
        with self.assertRaises(CommandFailed) as failure:
            daemon.ctl("status", "not-there")
        self.assertIn(texts[0], failure.exception.output)
        daemon.stop()
        process = self.rig.spawn([daemon.binary, "-c", daemon.settings_file, "--check"])
        self.assertEqual(1, process.wait(PATIENCE_S))

    def test_files_with_mistakes(self):
        """Proves that each wrong file is told, and keeps only its own volume from being served."""
        daemon = self.daemon()
        daemon.volume("good"), daemon.volume("zero", legs="a")
        (daemon.folder / "bad1.conf").write_text("[volume]\nname = x\nnonsense = 1\n")
        (daemon.folder / "bad2.conf").write_text("[volume]\nname = y\n")
        (daemon.folder / "bad3.conf").symlink_to("nowhere")
        (daemon.folder / "bad4.conf").mkdir()
        (daemon.folder / "not-a-volume.txt").write_text("nonsense")
        self.left_out(daemon, ["good", "zero"], "bad1.conf:3: [volume] nonsense: unknown key",
                      "bad2.conf: the volume has no leg", "bad3.conf: No such file", "bad4.conf: is not a file")

    def test_nothing_but_mistakes(self):
        """Proves that the service is up when no file is right, and serves when one is mended."""
        daemon = self.daemon()
        volume = daemon.volume("one", legs="a")
        text = volume.conf.read_text()
        volume.conf.write_text(text + "colour = red\n")
        self.left_out(daemon, [], "colour: unknown key")
        daemon.start()
        volume.conf.write_text(text)
        daemon.ctl("reload")
        daemon.wait_serving("one")
        self.assertEqual([], json.loads(daemon.ctl("status", "--json"))["problems"])
        self.assertNotIn("not used", daemon.ctl("status"))
        daemon.stop()

    def test_two_that_want_the_same(self):
        """Proves that a leg, a name or a device cannot be in two volumes: the first file has it."""
        daemon = self.daemon()
        one = daemon.volume("one")
        two = daemon.volume("two")
        two.legs[1] = one.legs[0]
        two.write_conf()
        (daemon.folder / "three.conf").write_text(one.conf.read_text())
        self.left_out(daemon, ["one"], "three.conf: name: one is that of",
                      f"{one.legs[0].path} is a leg of volume one already")

    def test_timeouts_of_a_device(self):
        """Proves that a device that would give up a healthy volume is refused."""
        daemon = self.daemon()
        volume = daemon.volume(device="/dev/nbd0")
        volume.settings["device_timeout"] = "5s"
        volume.write_conf()
        self.left_out(daemon, [], "device_timeout: 5s must be 2s longer than fail_timeout")

    def test_settings(self):
        """Proves that wrong settings name file, line and key."""
        daemon = self.daemon()
        for key, value, text in (("hook", "relative", ":4: hook: \"relative\" must be an absolute"),
                                 ("colour", "red", ":4: colour: unknown key; known are volumes"),
                                 ("metrics", "localhost:1", "is not an address"),
                                 ("stop_timeout", "0s", "is not between 1s and 3600s")):
            daemon.settings = {"volumes": daemon.folder, "runtime": daemon.runtime, key: value}
            daemon.write_settings()
            self.refused(daemon, text)

    def test_one_daemon(self):
        """Proves that a second daemon in the same place ends, and harms nothing."""
        daemon = self.daemon()
        daemon.volume()
        daemon.start()
        second = self.rig.spawn([daemon.binary, "-c", daemon.settings_file])
        self.assertEqual(1, second.wait(PATIENCE_S))
        self.assertEqual("healthy", daemon.status()["state"])
        daemon.stop()

    def test_a_device_without_the_kernel(self):
        """Proves that a kernel without nbd is said, with the cure, and that the socket serves."""
        if os.path.exists("/sys/module/nbd"):
            self.skipTest("this kernel has nbd")
        daemon = self.daemon()
        volume = daemon.volume(device="/dev/nbd0")
        daemon.start()
        device = daemon.status()["service"]["device"]
        self.assertEqual("not attached", device["state"])
        self.assertIn("modprobe nbd", device["reason"])
        self.assertEqual(1, daemon.log().count("modprobe nbd"))
        daemon.client(volume).connect().pread(512, 0)
        daemon.stop()


class Reload(DaemonTest):
    def set_up(self):
        daemon = self.daemon()
        self.one, self.two = daemon.volume("one"), daemon.volume("two", legs="ab")
        daemon.start()
        return daemon

    def changes(self, daemon, *words):
        reply = json.loads(daemon.ctl("reload", "--json", *words))
        return {(change["volume"], change["change"], change["key"]): change
                for change in reply["changes"]}

    def test_live_settings(self):
        """Proves that a changed deadline is in force at once, also where two depend on each other, and
        outlives the server."""
        daemon = self.set_up()
        pid = daemon.pid("one")
        self.one.settings.update(write_deadline="40s", fail_timeout="60s")
        self.one.write_conf()
        self.assertEqual({("one", "set", "write_deadline"), ("one", "set", "fail_timeout")},
                         set(self.changes(daemon, "--dry-run")))
        self.assertEqual(2, len(self.changes(daemon, "--dry-run")), "a dry run changed something")
        done = self.changes(daemon)
        self.assertEqual({True}, {change["done"] for change in done.values()}, done)
        self.assertEqual({}, self.changes(daemon))
        self.assertEqual(pid, daemon.pid("one"))
        # One that the volume would refuse if it were not so.
        daemon.ctl("set", "one", "write_deadline=50s")
        os.kill(pid, signal.SIGKILL)
        daemon.wait_status(lambda status: status["service"]["pid"] not in (0, pid), "restart", "one")
        daemon.wait_serving("one")
        daemon.ctl("set", "one", "read_deadline=55s")
        # The file wins.
        self.assertEqual({("one", "set", "write_deadline"), ("one", "set", "read_deadline")},
                         set(self.changes(daemon)))
        daemon.stop()

    def test_volumes_come_and_go(self):
        """Proves that a new volume is started, and one whose file is gone is stopped cleanly; the third
        keeps its client."""
        daemon = self.set_up()
        load = self.load(daemon.client(self.one)).start()
        three = daemon.volume("three", legs="a")
        self.two.conf.rename(self.rig.folder / "two.conf")
        done = self.changes(daemon)
        self.assertTrue(done["three", "add", None]["done"])
        self.assertTrue(done["two", "remove", None]["done"])
        daemon.wait_serving("three")
        self.rig.wait_until(lambda: "two" not in daemon.statuses(), "two gone")
        self.two.conf = self.rig.folder / "two.conf"
        self.check_clean(self.two)
        load.wait_count(20)
        load.stop()
        self.assertEqual([], load.errors)
        self.assertFalse(load.connection_lost)
        daemon.stop()
        self.check_clean(three)

    def test_a_broken_file(self):
        """Proves that a bad file changes nothing of its own volume, not even when its server starts again,
        that the others are reloaded, and that all is told."""
        daemon = self.set_up()
        self.one.settings["write_deadline"] = "7s"
        self.one.write_conf()
        text = self.two.conf.read_text()
        self.two.conf.write_text("[volume\n")
        daemon.volume("three", legs="a")
        with self.assertRaises(CommandFailed) as failure:
            daemon.ctl("reload", "--dry-run")
        self.assertIn("two.conf:1:", failure.exception.output)
        self.assertIn("(nothing was done)", failure.exception.output)
        with self.assertRaises(CommandFailed) as failure:
            daemon.ctl("reload")
        self.assertIn("two.conf:1:", failure.exception.output)
        self.assertIn("one: write_deadline: 5s -> 7s", failure.exception.output)
        self.assertIn("three: is new: started", failure.exception.output)
        self.assertIn("go on as they were", failure.exception.output)
        daemon.wait_serving("three")
        self.assertIn("two.conf:1:", daemon.ctl("status"))
        pid = daemon.pid("two")
        os.kill(pid, signal.SIGKILL)
        daemon.wait_status(lambda status: status["service"]["pid"] not in (0, pid), "restart", "two")
        daemon.wait_serving("two")
        self.two.conf.write_text(text)
        self.assertEqual({}, self.changes(daemon))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_notify("READY=1")
        daemon.stop()

    def test_a_running_volume_comes_first(self):
        """Proves that a new file that wants what a running volume has is left out, though its name comes
        first, and so is one that a volume gets which takes another's leg: both go on as they were."""
        daemon = self.set_up()
        (daemon.folder / "a.conf").write_text(self.one.conf.read_text())
        text = self.two.conf.read_text()
        self.two.conf.write_text(text.replace(str(self.two.legs[1].path), str(self.one.legs[0].path)))
        with self.assertRaises(CommandFailed) as failure:
            daemon.ctl("reload")
        self.assertIn("a.conf: name: one is that of", failure.exception.output)
        self.assertIn("two.conf: leg two-b", failure.exception.output)
        self.assertEqual({"one", "two"}, set(daemon.statuses()))
        daemon.wait_serving("one"), daemon.wait_serving("two")
        self.two.conf.write_text(text)
        (daemon.folder / "a.conf").unlink()
        self.assertEqual({}, self.changes(daemon))
        daemon.stop()

    def test_wrong_settings(self):
        """Proves that a mistake in the settings changes nothing at all."""
        daemon = self.set_up()
        self.one.settings["write_deadline"] = "7s"
        self.one.write_conf()
        daemon.settings["colour"] = "red"
        daemon.write_settings()
        with self.assertRaises(CommandFailed) as failure:
            daemon.ctl("reload")
        self.assertIn("nothing is changed", failure.exception.output)
        del daemon.settings["colour"]
        daemon.write_settings()
        self.assertEqual({("one", "set", "write_deadline")}, set(self.changes(daemon)))
        daemon.stop()

    def test_what_needs_a_restart(self):
        """Proves that what cannot change while it runs is said, remembered over further reloads, and
        done by a restart."""
        daemon = self.set_up()
        self.one.settings["min_legs"] = 3
        self.one.write_conf()
        change = self.changes(daemon)["one", "restart", "min_legs"]
        self.assertEqual(("2", "3", False), (change["from"], change["to"], change["done"]))
        self.assertIn("surefootctl restart one", change["message"])
        self.assertIn(("one", "restart", "min_legs"), self.changes(daemon))
        status = daemon.status("one")
        self.assertEqual("min_legs", status["service"]["restart_needed_for"])
        self.assertEqual(2, status["min_legs"])
        daemon.ctl("restart", "one")
        daemon.wait_status(lambda status: status["min_legs"] == 3 and status["state"] == "healthy",
                           "min_legs", "one")
        self.assertEqual({}, self.changes(daemon))
        daemon.stop()


    def test_a_volume_that_is_starting(self):
        """Proves that what a starting server has not read is not told as done, and is not forgotten."""
        daemon = self.daemon()
        self.two = daemon.volume("two", legs="ab", wait_for_legs="30s")
        daemon.start()
        hidden = self.two.legs[0].path.with_suffix(".away")
        os.kill(daemon.pid("two"), signal.SIGKILL)
        self.two.legs[0].path.rename(hidden)
        daemon.wait_status(lambda status: status["service"]["state"] == "starting"
                           and status["service"]["pid"] > 0, "a start that waits", "two")
        daemon.wait_status(lambda status: "for leg two-a" in (status["service"]["reason"] or ""),
                           "whom it waits for", "two")
        self.two.settings["write_deadline"] = "6s"
        self.two.write_conf()
        change = self.changes(daemon)["two", "set", "write_deadline"]
        self.assertFalse(change["done"])
        self.assertIn("reload again", change["message"])
        self.assertEqual("write_deadline", daemon.status("two")["service"]["restart_needed_for"])
        hidden.rename(self.two.legs[0].path)
        daemon.wait_serving("two")
        self.assertTrue(self.changes(daemon)["two", "set", "write_deadline"]["done"])
        daemon.stop()

    def test_one_is_silent(self):
        """Proves that a volume that does not answer holds a reload up no longer than surefootctl waits,
        though the settings of another one take two rounds."""
        daemon = self.set_up()
        pid = daemon.pid("two")
        os.kill(pid, signal.SIGSTOP)
        self.one.settings.update(write_deadline="40s", fail_timeout="60s")
        self.two.settings["write_deadline"] = "6s"
        self.one.write_conf(), self.two.write_conf()
        done = self.changes(daemon)
        self.assertEqual({("one", "set", "write_deadline"): True, ("one", "set", "fail_timeout"): True,
                          ("two", "set", "write_deadline"): False},
                         {key: change["done"] for key, change in done.items()})
        os.kill(pid, signal.SIGCONT)
        self.assertTrue(self.changes(daemon)["two", "set", "write_deadline"]["done"])
        daemon.stop()

    def test_restart_and_removal(self):
        """Proves that a volume whose file goes away while it restarts ends, and that one that ends is not
        restarted."""
        daemon = self.set_up()
        text = self.two.conf.read_text()
        os.kill(daemon.pid("two"), signal.SIGSTOP)  # its stop takes as long as is wanted
        pid = daemon.pid("two")
        daemon.ctl("restart", "two")
        self.assertEqual("stopping", daemon.status("two")["service"]["state"])
        self.two.conf.unlink()
        self.assertTrue(self.changes(daemon)["two", "remove", None]["done"])
        with self.assertRaises(CommandFailed) as failure:
            daemon.ctl("restart", "two")
        self.assertIn("its file is gone", failure.exception.output)
        os.kill(pid, signal.SIGCONT)
        self.rig.wait_until(lambda: "two" not in daemon.statuses(), "two gone")
        self.two.conf.write_text(text)
        self.assertTrue(self.changes(daemon)["two", "add", None]["done"])
        daemon.wait_serving("two")
        daemon.stop()


class Members(DaemonTest):
    """Legs that change while the volume runs, and a file that says so before, after or never."""

    def set_up(self):
        self.daemon_ = daemon = self.daemon()
        self.volume = daemon.volume()
        daemon.start()
        far = self.rig.folder / ("x" * 250) / ("y" * 250)
        far.mkdir(parents=True)
        self.new = far / "new.img"
        self.new.touch()
        os.truncate(self.new, os.path.getsize(self.volume.legs[1].path))
        return daemon

    def kill_server(self):
        killed = self.daemon_.pid()
        os.kill(killed, signal.SIGKILL)
        self.daemon_.wait_status(lambda status: status["service"]["pid"] not in (0, killed), "a new server")

    def wait_path(self, leg, path):
        return self.daemon_.wait_status(
            lambda status: status["service"]["state"] == "serving" and status["state"] == "healthy"
            and [one["path"] for one in status["legs"] if one["name"] == leg] == [str(path)],
            f"{leg} at {path}")

    def replace(self):
        self.daemon_.ctl("leg", "fail", "vol0", "vol0-b")
        return self.daemon_.ctl("leg", "replace", "vol0", "vol0-b", str(self.new))

    def changes(self):
        reply = json.loads(self.daemon_.ctl("reload", "--json"))
        return {(change["change"], change["key"]): change for change in reply["changes"]}

    def point_file_at_new(self):
        leg = self.volume.legs[1]
        text = self.volume.conf.read_text()
        self.assertIn(str(leg.path), text)
        self.volume.conf.write_text(text.replace(str(leg.path), str(self.new)))

    def test_replaced(self):
        """Proves that a server that dies after a replacement finds the new disk, though the file says so
        later, is read with the old path in it, and only then says it."""
        daemon = self.set_up()
        self.assertIn("before surefootd itself starts again", self.replace())
        self.wait_path("vol0-b", self.new)
        self.kill_server()
        self.wait_path("vol0-b", self.new)
        (behind,) = daemon.status()["service"]["file_behind"]
        self.assertEqual(("vol0-b", str(self.new)), (behind["leg"], behind["now"]))
        self.assertIn("the file does not say so: leg vol0-b is ", daemon.ctl("status"))
        change = self.changes()["keep", "leg.vol0-b.path"]
        self.assertEqual((str(self.volume.legs[1].path), str(self.new), False),
                         (change["from"], change["to"], change["done"]))
        self.kill_server()
        self.wait_path("vol0-b", self.new)
        self.point_file_at_new()
        self.kill_server()
        self.wait_path("vol0-b", self.new)
        self.assertEqual({}, self.changes())
        self.assertEqual([], daemon.status()["service"]["file_behind"])
        self.kill_server()
        self.wait_path("vol0-b", self.new)
        daemon.stop()
        daemon.start()
        self.wait_path("vol0-b", self.new)
        daemon.stop()

    def test_replaced_after_the_file(self):
        """Proves that the file may say it first."""
        daemon = self.set_up()
        self.point_file_at_new()
        self.assertIn(("restart", "leg.vol0-b.path"), self.changes())
        self.replace()
        self.wait_path("vol0-b", self.new)
        self.assertEqual({}, self.changes())
        self.kill_server()
        self.wait_path("vol0-b", self.new)
        daemon.stop()

    def test_the_file_never_says_it(self):
        """Proves that the stop of surefootd tells what it alone knew, and that this is what the next
        start needs."""
        daemon = self.set_up()
        self.replace()
        self.wait_path("vol0-b", self.new)
        daemon.stop()
        told = f"vol0: before the next start its file must say: [leg vol0-b] path = {self.new}"
        self.assertEqual(1, daemon.log().count(told))
        self.point_file_at_new()
        daemon.start()
        self.wait_path("vol0-b", self.new)
        daemon.stop()

    def test_a_feed_that_begins_again(self):
        """Proves that what a feed that is opened again tells once more of a leg does not count, though the
        daemon itself keeps it no more: the leg would get back the disk before its last one."""
        daemon = self.daemon()
        daemon.volume()
        server = Between(daemon)
        self.addCleanup(server.close)
        daemon.start()
        self.daemon_ = daemon

        def event(number, kind, reason):
            return {"event": kind, "volume": "vol0", "leg": "vol0-b", "from": None, "to": None,
                    "reason": reason, "monotonic_ns": number, "time": "2024-01-01T00:00:00.000Z"}

        def wait_told(reason):
            self.rig.wait_until(lambda: f"({reason})" in daemon.log(), reason, process=daemon.process)

        older = event(1, "leg-replaced", "/older")
        newer = event(2 + EVENTS_KEPT, "leg-replaced", "/newer")
        feed = server.feeds.get(timeout=PATIENCE_S)
        server.say(feed, {"ok": True, "version": 1, "events": [older]})
        for number in range(EVENTS_KEPT):
            server.say(feed, event(2 + number, "read-repaired", f"extent {number}"))
        server.say(feed, newer)
        wait_told("/newer")
        feed.close()
        feed = server.feeds.get(timeout=PATIENCE_S)
        last = event(3 + EVENTS_KEPT, "read-repaired", "the last")
        server.say(feed, {"ok": True, "version": 1, "events": [older, newer, last]})
        wait_told("the last")
        self.assertEqual("/newer", self.changes()["keep", "leg.vol0-b.path"]["to"])
        self.assertEqual(1, daemon.log().count("(/older)"))
        self.assertEqual(1, daemon.log().count("(/newer)"))
        feed.close()
        daemon.stop()

    def test_a_server_that_dies_in_a_change(self):
        """Proves that commands that wait for a change end with the server, and say what became of it."""
        daemon = self.daemon()
        volume = daemon.volume()
        server = Between(daemon)
        self.addCleanup(server.close)
        daemon.start()
        new = self.rig.folder / "new.img"
        for words, said in ((("grow", "vol0", "128M"), "that is not done: ask again"),
                            (("leg", "add", "vol0", "d", str(new)), "that is not done: ask again"),
                            (("leg", "remove", "vol0", "vol0-c"), "that is not done: ask again"),
                            (("leg", "replace", "vol0", "vol0-c"), "whether that is done is not known")):
            begun = server.begun[words[0]] = threading.Event()
            process = subprocess.Popen([self.rig.surefootctl, "--control", daemon.control, *words],
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self.assertTrue(begun.wait(PATIENCE_S))
            os.kill(daemon.pid(), signal.SIGKILL)
            output, _ = process.communicate(timeout=PATIENCE_S)
            self.assertEqual(1, process.returncode, output)
            self.assertIn("its server ended meanwhile (signal 9)", output)
            self.assertIn(said, output)
            daemon.wait_serving()
        # One that was done all the same: the next server has the leg under its new path.
        path = volume.legs[2].path
        server.begun["leg"].clear()
        process = subprocess.Popen([self.rig.surefootctl, "--control", daemon.control, "leg", "add", "vol0",
                                    "vol0-c", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertTrue(server.begun["leg"].wait(PATIENCE_S))
        os.kill(daemon.pid(), signal.SIGKILL)
        output, _ = process.communicate(timeout=PATIENCE_S)
        self.assertEqual(0, process.returncode, output)
        self.assertIn("has one leg more", output)
        daemon.stop()

    def test_added_and_removed(self):
        """Proves the same for a leg more and a leg less, and that the file's other settings are applied."""
        daemon = self.set_up()
        self.assertIn("before surefootd itself starts again",
                      daemon.ctl("leg", "add", "vol0", "d", str(self.new)))
        self.wait_path("d", self.new)
        self.kill_server()
        self.wait_path("d", self.new)
        self.volume.settings["write_deadline"] = "6s"
        self.volume.write_conf()
        self.assertEqual({("keep", "leg.d.path"), ("set", "write_deadline")}, set(self.changes()))
        self.volume.settings.update(write_deadline="7s", min_legs=2)
        self.volume.write_conf()
        text = self.volume.conf.read_text()
        self.volume.conf.write_text(text + f"[leg d]\npath = {self.new}\n")
        self.assertEqual({("set", "write_deadline"): True},
                         {key: change["done"] for key, change in self.changes().items()})
        daemon.ctl("leg", "fail", "vol0", "vol0-a")
        self.assertIn("systemctl reload surefootd", daemon.ctl("leg", "remove", "vol0", "vol0-a"))
        self.kill_server()
        status = daemon.wait_serving()
        self.assertEqual({"vol0-b", "vol0-c", "d"}, {leg["name"] for leg in status["legs"]} - {""})
        self.assertEqual({("keep", "leg.vol0-a.path")}, set(self.changes()))
        daemon.stop()


class Telling(DaemonTest):
    def test_events_of_all(self):
        """Proves that one connection tells of all volumes, the daemon's own events too, and surefootctl
        as JSON lines."""
        daemon = self.daemon()
        daemon.volume("one"), daemon.volume("two", legs="ab")
        daemon.start()
        with daemon.follow() as events:
            daemon.ctl("leg", "fail", "one", "one-a")
            event = self.next_event(events, lambda event: event["event"] == "leg-state")
            self.assertEqual(("one", "one-a", "faulty"), (event["volume"], event["leg"], event["to"]))
            os.kill(daemon.pid("two"), signal.SIGKILL)
            event = self.next_event(events, lambda event: event["to"] == "down")
            self.assertEqual(("two", "service"), (event["volume"], event["event"]))
            self.assertIn("signal 9", event["reason"])
            self.next_event(events, lambda event: event["event"] == "started")
        lines = [json.loads(line) for line in daemon.ctl("events", "--json", "two").splitlines()]
        self.assertEqual({"two"}, {line["volume"] for line in lines})
        self.assertTrue(all("time" in line for line in lines))
        self.assertEqual(2, sum(line["event"] == "started" for line in lines), lines)
        daemon.stop()

    def test_hook(self):
        """Proves that the hook is called with what happened, in order, and that one that hangs is
        killed and holds nobody up."""
        said = self.rig.folder / "said"
        hook = self.rig.folder / "hook"
        hook.write_text(f"#!/bin/sh\n[ \"$1\" = server-ready ] && sleep 1000\n"
                        f"echo \"$* $SUREFOOT_FROM $SUREFOOT_TO\" >> {said}\n")
        hook.chmod(0o755)
        daemon = self.daemon(hook=hook, hook_timeout="1s")
        volume = daemon.volume(legs="abc")
        daemon.start()
        began = time.monotonic()
        daemon.ctl("leg", "fail", "vol0", "vol0-b")
        self.assertLess(time.monotonic() - began, 1)
        self.rig.wait_until(lambda: self.returned(daemon, "vol0-b"), "the leg's return")
        daemon.wait_serving()
        self.rig.wait_until(lambda: said.exists() and "degraded healthy" in said.read_text(), "the hook")
        lines = said.read_text().splitlines()
        wanted = ["healthy vol0 starting healthy", "leg-faulty vol0 vol0-b in-sync faulty", "degraded vol0 healthy degraded",
                  "leg-returned vol0 vol0-b catching-up in-sync", "healthy vol0 degraded healthy"]
        self.assertEqual(sorted(wanted), sorted(lines))
        self.assertLess(lines.index(wanted[1]), lines.index(wanted[3]))
        self.assertIn("hook for server-ready: killed after 1 s", daemon.log())
        self.assertEqual(bytes(512), daemon.client(volume).connect().pread(512, 0))
        daemon.stop()

    def test_degraded_from_the_start(self):
        """Proves that an event and the hook name the legs that are not there when a volume starts, once,
        at every start."""
        said = self.rig.folder / "said"
        hook = self.rig.folder / "hook"
        hook.write_text(f"#!/bin/sh\necho \"$* $SUREFOOT_TO $SUREFOOT_REASON\" >> {said}\n")
        hook.chmod(0o755)
        daemon = self.daemon(hook=hook)
        volume = daemon.volume(legs="abc")
        volume.legs[1].path.rename(volume.legs[1].path.with_suffix(".away"))
        daemon.start()
        for count in (1, 2):
            self.rig.wait_until(lambda: said.exists() and said.read_text().count("leg-missing") == count,
                                "the hook")
            if count == 1:
                os.kill(daemon.pid(), signal.SIGKILL)
        line = next(line for line in said.read_text().splitlines() if line.startswith("leg-missing"))
        self.assertTrue(line.startswith("leg-missing vol0 vol0-b missing "), line)
        self.assertRegex(line, "absent at the start|no such file")
        lines = [json.loads(line) for line in daemon.ctl("events", "--json", "vol0").splitlines()]
        told = [event for event in lines if event["event"] == "leg-state" and event["to"] == "missing"]
        self.assertEqual(["vol0-b", "vol0-b"], [event["leg"] for event in told])
        daemon.stop()

    def test_metrics(self):
        """Proves that Prometheus finds what status says, in its format, and a volume that is down."""
        port = free_port()
        daemon = self.daemon(metrics=port)
        volume = daemon.volume("one")
        daemon.volume("two", legs="ab")
        daemon.start()
        handle = daemon.client(volume).connect()
        for block in range(50):
            handle.pwrite(b"z" * 4096, block * 4096)
        daemon.ctl("leg", "fail", "one", "one-c")
        os.kill(daemon.pid("two"), signal.SIGSTOP)
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
        values = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                self.assertNotIn(name, values)
                values[name] = float(value)
        self.assertEqual(50, values['surefoot_volume_writes_total{volume="one"}'])
        self.assertEqual(1, values['surefoot_volume_state{volume="one",state="degraded"}'])
        self.assertEqual(1, values['surefoot_volume_state{volume="two",state="silent"}'])
        self.assertEqual(1, values['surefoot_leg_state{volume="one",leg="one-c",state="faulty"}'])
        p99 = values['surefoot_leg_latency_seconds{volume="one",leg="one-a",kind="write",'
                     'quantile="0.99"}']
        self.assertTrue(0 < p99 < 10, p99)
        self.check_dashboard(text)
        os.kill(daemon.pid("two"), signal.SIGCONT)
        with self.assertRaises(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10)
        daemon.stop()

    def check_dashboard(self, text):
        """Every metric that the dashboard asks for is one that is told."""
        dashboard = (REPOSITORY / "conf" / "grafana-dashboard.json").read_text()
        json.loads(dashboard)
        told = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
        asked = set(re.findall(r"surefoot_[a-z_]+", dashboard))
        self.assertTrue(asked)
        self.assertEqual(set(), asked - told)

    def test_off_by_default(self):
        """Proves that without the setting nothing listens on the network."""
        daemon = self.daemon()
        daemon.volume(legs="a")
        daemon.start()
        links = []
        for fd in os.listdir(f"/proc/{daemon.process.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):  # it is closed by now
                links.append(os.readlink(f"/proc/{daemon.process.pid}/fd/{fd}"))
        inodes = {link[8:-1] for link in links if link.startswith("socket:")}
        for table in ("tcp", "tcp6", "udp", "udp6"):
            with open(f"/proc/net/{table}") as lines:
                self.assertFalse(inodes & {line.split()[9] for line in lines}, table)
        daemon.stop()


class Abuse(DaemonTest):
    """The control socket against clients that are broken, slow, many or gone."""

    def connect(self, daemon):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE_S)
        connection.connect(str(daemon.control))
        self.addCleanup(connection.close)
        return connection

    def reply(self, connection):
        data = b""
        while not data.endswith(b"\n"):
            piece = connection.recv(65536)
            if not piece:
                break
            data += piece
        return data

    def test_broken_clients(self):
        """Proves that rubbish, half lines, far too long ones and sudden ends leave the daemon well."""
        daemon = self.daemon()
        daemon.volume()
        daemon.start()
        for rubbish in (b"\n", b"{}\n", b"\0\0\0\n", b"[1,2]\n", b'{"version":1,"command":"stop"}\n',
                        b'{"version":1,"command":"set","key":"a","value":"b"}\n',
                        b'{"version":1,"command":"status","volume":"nobody"}\n'):
            connection = self.connect(daemon)
            connection.sendall(rubbish)
            self.assertFalse(json.loads(self.reply(connection))["ok"], rubbish)
        connection = self.connect(daemon)
        try:
            connection.sendall(b"x" * 200000)
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.assertIn(b"longer than", self.reply(connection))
        for _ in range(50):
            connection = self.connect(daemon)
            connection.sendall(b'{"version":1,"command":"status"}\n')
            connection.close()
        self.rig.wait_until(lambda: "vol0" in daemon.ctl("status", check=False), "a free place")
        connection = self.connect(daemon)
        connection.sendall(b'{"version":1,"command":"status"}\n' * 20)
        connection.shutdown(socket.SHUT_WR)
        lines = b""
        while piece := connection.recv(65536):
            lines += piece
        self.assertEqual(20, lines.count(b'"ok":true') + lines.count(b'"ok": true'))
        self.assertEqual("healthy", daemon.status()["state"])
        daemon.stop()

    def test_clients_that_do_not_read(self):
        """Proves that followers and askers that read nothing are dropped in the end and stop neither
        events nor others."""
        daemon = self.daemon()
        daemon.volume()
        daemon.start()
        deaf = [self.connect(daemon) for _ in range(4)]
        for connection in deaf:
            connection.sendall(b'{"version":1,"command":"events","follow":true}\n')
        asker = self.connect(daemon)
        asker.setblocking(False)
        try:
            while True:
                asker.send(b'{"version":1,"command":"status"}\n' * 100)
        except BlockingIOError:
            pass
        for _ in range(3):
            daemon.ctl("leg", "fail", "vol0", "vol0-a")
            self.rig.wait_until(lambda: self.returned(daemon, "vol0-a"), "the leg's return")
            daemon.wait_serving()
        self.assertEqual("healthy", daemon.status()["state"])
        daemon.stop()

    def test_many_clients(self):
        """Proves that at the limit a further client is told so, and that places become free again."""
        daemon = self.daemon()
        daemon.volume()
        daemon.start()
        crowd = [self.connect(daemon) for _ in range(32)]
        late = self.connect(daemon)
        self.assertIn(b"too many clients", self.reply(late))
        for connection in crowd:
            connection.close()
        self.rig.wait_until(lambda: "vol0" in daemon.ctl("status", check=False), "a free place")
        daemon.stop()

    def test_mode_of_the_sockets(self):
        """Proves that only the owner and the group may connect."""
        daemon = self.daemon()
        daemon.volume()
        daemon.start()
        for path in (daemon.control, daemon.runtime / "vol0.sock",
                     daemon.runtime / "volumes" / "vol0.ctl"):
            self.assertEqual(0o660, path.stat().st_mode & 0o777, path)
        daemon.stop()


if __name__ == "__main__":
    main()
