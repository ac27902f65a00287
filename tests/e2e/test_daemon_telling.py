"""Proves that surefootd tells every client that asks: events, the hook, metrics; and that no client disturbs it."""

import contextlib
import json
import os
import re
import signal
import socket
import time
import urllib.request

from case import main
from daemon_case import DaemonTest, free_port
from rig import PATIENCE_S, REPOSITORY


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
        killed and holds nothing up."""
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

    def test_latency_since(self):
        """Proves that what was before a server died is still told after it, with the time that it is of."""
        daemon = self.daemon()
        volume = daemon.volume(legs="a")
        daemon.start()

        def writes():
            said = daemon.ctl("latency", "vol0", "--since", "1h")
            self.assertRegex(said, r"vol0: how long writes take, in the last \d")
            return int(re.search(r"vol0-a \((\d+)\)", said)[1])

        def write():
            handle = daemon.client(volume).connect()
            for block in range(50):
                handle.pwrite(b"z" * 4096, block * 4096)

        write()
        self.rig.wait_until(lambda: writes() >= 50, "50 writes in the history", process=daemon.process)
        first = daemon.pid()
        os.kill(first, signal.SIGKILL)
        daemon.wait_status(lambda status: status["service"]["pid"] not in (0, first)
                           and status["service"]["state"] == "serving", "another server")
        self.assertIn("vol0-a (0)", daemon.ctl("latency", "vol0"))
        self.assertGreaterEqual(writes(), 50)
        write()
        self.rig.wait_until(lambda: writes() >= 100, "the next 50 with them", process=daemon.process)
        daemon.stop()

    def test_latency_over_a_restart_of_surefootd(self):
        """Proves that the hour from before is told by the next surefootd, by `latency --since` and by the page; that a
        damaged file is told once, used as far as it is whole, and begun anew; and that one which cannot be had, or is
        turned off, stops nothing."""
        port = free_port()
        daemon = self.daemon(page=port)
        volume = daemon.volume(legs="a")
        kept = daemon.rig.folder / "run.latency"

        def writes():
            return int(re.search(r"vol0-a \((\d+)\)", daemon.ctl("latency", "vol0", "--since", "1h"))[1])

        def page():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
                return answer.read().decode()

        daemon.start()
        handle = daemon.client(volume).connect()
        for block in range(50):
            handle.pwrite(b"z" * 4096, block * 4096)
        handle.shutdown()
        self.rig.wait_until(lambda: writes() >= 50, "50 writes in the history", process=daemon.process)
        daemon.stop()
        self.assertLess(kept.stat().st_size, 64 * 1024)
        self.assertNotIn("damaged", daemon.log())

        daemon.start()
        self.assertEqual(50, writes())
        self.assertIn("<svg", page())
        self.assertIn("vol0-a (0)", daemon.ctl("latency", "vol0"))  # the server itself is new
        daemon.stop()

        with open(kept, "a") as file:
            file.write("{\"volume\":\"vol0\"\n")
        daemon.start()
        self.assertEqual(50, writes())
        self.assertRegex(daemon.log(), r"run\.latency: line \d+ is damaged")
        daemon.wait_serving()  # a look at the volume told that, so there is something to be kept
        daemon.stop()
        told = daemon.log().count("damaged")
        daemon.start()
        self.assertEqual((told, 50), (daemon.log().count("damaged"), writes()))
        daemon.stop()

        kept.unlink()
        kept.mkdir()  # it can be neither read nor written
        daemon.start()
        daemon.wait_serving()
        daemon.stop()
        daemon.settings["latency"] = "off"
        daemon.write_settings()
        daemon.start()
        daemon.stop()

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
