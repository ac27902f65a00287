"""Proves what surefootd promises of its servers: it restarts what dies, starts and stops one volume or all, and ends
cleanly."""

import contextlib
import json
import os
import signal
import socket
import stat
import time

from case import main
from daemon import Daemon
from daemon_case import DaemonTest
from rig import PATIENCE_S, CommandFailed


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
        """Proves that a client that connects while the server is down is served by the next one."""
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
        self.rig.wait_until(lambda: after[-1] in kept.read_text().splitlines(),
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
        """Proves that a volume without its legs is listed as failed, with the reason, holds no other up,
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
        """Proves that a volume with a socket that another process listens on is listed as failed, with the reason,
        at the start and after a reload, holds no other up, and serves when the socket is free."""
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
            self.assertIn(f"socket {path}: another process listens there", status["service"]["reason"])
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
        """Proves that a server stopped before it serves, or before it could be listened to, is not accused
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


if __name__ == "__main__":
    main()
