"""What tends volumes beside us: Pacemaker's agent, udev's rules, Prometheus, a mail hook, and shells that complete."""

import os
import re
import shutil
import socket
import subprocess
import unittest
import urllib.request

from case import VolumeTest, main
from daemon import Daemon
from rig import REPOSITORY, CommandFailed

CONF = REPOSITORY / "conf"
SUCCESS, GENERIC, CONFIGURED, NOT_RUNNING = 0, 1, 6, 7


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def promtool():
    return shutil.which("promtool")


class Pacemaker(VolumeTest):
    def agent(self, daemon, action, **parameters):
        words = {"volume": "vol0", "config": self.rig.folder / "pacemaker.conf", "folder": daemon.folder,
                 "surefootctl": self.rig.surefootctl, **parameters}
        environment = {**os.environ, "SUREFOOT_CONTROL": str(daemon.control),
                       **{f"OCF_RESKEY_{key}": str(value) for key, value in words.items()}}
        result = subprocess.run([CONF / "pacemaker/volume", action], env=environment, timeout=120,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        print(action, result.returncode, result.stdout[-300:])
        return result.returncode

    def test_life(self):
        """Start and stop may be said twice; a monitor tells a volume that is served from one that is not."""
        daemon = Daemon(self.rig)
        volume = daemon.volume()
        volume.conf.rename(self.rig.folder / "pacemaker.conf")
        daemon.start()
        self.assertEqual(NOT_RUNNING, self.agent(daemon, "monitor"))
        self.assertEqual(SUCCESS, self.agent(daemon, "stop"))
        for _ in range(2):
            self.assertEqual(SUCCESS, self.agent(daemon, "start"))
            self.assertEqual(SUCCESS, self.agent(daemon, "monitor"))
        daemon.ctl("leg", "fail", "vol0", volume.legs[2].path)
        self.assertEqual(SUCCESS, self.agent(daemon, "monitor"))
        for _ in range(2):
            self.assertEqual(SUCCESS, self.agent(daemon, "stop"))
            self.assertEqual(NOT_RUNNING, self.agent(daemon, "monitor"))
        self.assertEqual([], list(daemon.folder.glob("*.conf")))
        self.assertEqual(SUCCESS, self.agent(daemon, "start"))
        daemon.ctl("stop", "vol0", "--wait")
        self.assertEqual(NOT_RUNNING, self.agent(daemon, "monitor"))
        self.assertEqual(SUCCESS, self.agent(daemon, "start"))
        self.assertEqual(SUCCESS, self.agent(daemon, "stop"))
        daemon.stop()

    @unittest.skipUnless(shutil.which("ocf-tester"), "no ocf-tester (package cluster-glue)")
    def test_ocf_tester(self):
        """Proves that the agent does what Pacemaker's own tester asks of one, on a volume that is there."""
        daemon = Daemon(self.rig)
        daemon.volume().conf.rename(self.rig.folder / "pacemaker.conf")
        daemon.start()
        environment = {**os.environ, "SUREFOOT_CONTROL": str(daemon.control), "OCF_ROOT": "/usr/lib/ocf"}
        agent = self.rig.folder / "agent"  # the tester calls it as nobody too, who may not see a clone of root's
        shutil.copy(CONF / "pacemaker/volume", agent)
        agent.chmod(0o755)
        self.rig.folder.chmod(0o711)
        result = subprocess.run(
            ["ocf-tester", "-v", "-n", "vol0", "-o", "volume=vol0", "-o", f"config={self.rig.folder / 'pacemaker.conf'}",
             "-o", f"folder={daemon.folder}", "-o", f"surefootctl={self.rig.surefootctl}", agent],
            env=environment, timeout=150, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(0, result.returncode, result.stdout)
        self.assertIn("passed all tests", result.stdout)
        faults = [line for line in result.stdout.splitlines()
                  if line.startswith("* ") and not line.endswith("(optional)")]
        self.assertEqual([], faults)
        daemon.stop()

    def test_what_it_refuses(self):
        daemon = Daemon(self.rig)
        self.assertEqual(CONFIGURED, self.agent(daemon, "validate-all", volume="a/b"))
        self.assertEqual(5, self.agent(daemon, "validate-all"))
        self.assertEqual(3, self.agent(daemon, "promote"))
        said = subprocess.run([CONF / "pacemaker/volume", "meta-data"], check=True, text=True,
                              stdout=subprocess.PIPE).stdout
        for action in ("start", "stop", "monitor", "meta-data", "validate-all"):
            self.assertIn(f'<action name="{action}"', said)


class Udev(VolumeTest):
    def test_a_leg(self):
        volume = self.rig.volume(size=16 << 20).create()
        said = self.rig.ctl("udev", volume.legs[1].path)
        self.assertIn("ID_FS_TYPE=surefoot_member\nID_FS_USAGE=raid\n", said)
        self.assertIn(f"ID_FS_LABEL={volume.name}:b\n", said)
        other = self.rig.folder / "other"
        other.write_bytes(bytes(1 << 20))
        with self.assertRaises(CommandFailed) as failed:
            self.rig.ctl("udev", other)
        self.assertEqual("", failed.exception.output.strip())

    @unittest.skipUnless(shutil.which("udevadm"), "no udevadm")
    def test_the_rules(self):
        result = subprocess.run(["udevadm", "verify", CONF / "60-surefoot.rules"],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if "Unknown command verb" not in result.stdout:
            self.assertEqual(0, result.returncode, result.stdout)


class Prometheus(VolumeTest):
    def test_metrics(self):
        """HEAD is answered, the version is told, histograms add up, and promtool, where it is, finds no fault."""
        port = free_port()
        daemon = Daemon(self.rig, metrics=port)
        volume = daemon.volume()
        daemon.start()
        daemon.wait_serving()
        daemon.client(volume).connect().pwrite(b"x" * 4096, 0)
        daemon.ctl("scrub", "vol0", "--wait")
        url = f"http://127.0.0.1:{port}/metrics"
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=20) as reply:
            self.assertEqual((200, b""), (reply.status, reply.read()))
        with urllib.request.urlopen(url, timeout=20) as reply:
            text = reply.read().decode()
        self.assertIn('surefoot_build_info{version="', text)
        self.assertIn('surefoot_volume_scrub_end_time_seconds{volume="vol0"}', text)
        labels = f'volume="vol0",leg="{volume.legs[0].name}",kind="write"'
        (count,) = re.findall(rf"surefoot_leg_request_duration_seconds_count\{{{labels}\}} (\d+)", text)
        self.assertGreaterEqual(int(count), 1)
        self.assertIn(f'surefoot_leg_request_duration_seconds_bucket{{{labels},le="+Inf"}} {count}\n', text)
        if promtool():
            checked = subprocess.run([promtool(), "check", "metrics"], input=text, text=True,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.assertEqual("", checked.stdout)
            self.assertEqual(0, checked.returncode)
        daemon.stop()

    @unittest.skipUnless(promtool(), "no promtool")
    def test_alerts(self):
        shutil.copy(CONF / "surefoot.rules.yml", self.rig.folder)
        shutil.copy(REPOSITORY / "tests/prometheus/rules_test.yml", self.rig.folder)
        result = subprocess.run([promtool(), "test", "rules", "rules_test.yml"], cwd=self.rig.folder,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(0, result.returncode, result.stdout)

    def test_alerts_use_metrics_that_there_are(self):
        source = (REPOSITORY / "daemon/surefootd/monitor/exposition.c").read_text()
        known = set(re.findall(r'"((?:volume|leg|server|device|build)_[a-z_]+)"', source))
        for file in ("surefoot.rules.yml", "grafana-dashboard.json"):
            for name in re.findall(r"surefoot_([a-z_]+)", (CONF / file).read_text()):
                if file == "grafana-dashboard.json" and name not in known:
                    continue  # a word of the text
                self.assertIn(name, known, file)


class Mail(VolumeTest):
    def test_hook(self):
        """What went wrong is mailed, with the status; what is well again is not, unless that is asked for."""
        tools = self.rig.folder / "tools"
        tools.mkdir()
        (tools / "curl").write_text(f'#!/bin/sh\necho "$@" > {tools}/words\ncat > {tools}/mail\n')
        (tools / "surefootctl").write_text('#!/bin/sh\necho "the status: $*"\n')
        for tool in ("curl", "surefootctl"):
            (tools / tool).chmod(0o755)
        conf = self.rig.folder / "mail"
        conf.write_text("TO=ops@example.org\n")
        environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "SUREFOOT_MAIL_CONF": str(conf),
                       "SUREFOOT_EVENT": "healthy", "SUREFOOT_VOLUME": "vol0", "SUREFOOT_LEG": "b",
                       "SUREFOOT_TIME": "now", "SUREFOOT_REASON": "write at 0", "SUREFOOT_CONTROL": "/c"}
        subprocess.run([CONF / "surefoot-mail"], env=environment, check=True)
        self.assertFalse((tools / "mail").exists())
        environment["SUREFOOT_EVENT"] = "leg-late"
        subprocess.run([CONF / "surefoot-mail"], env=environment, check=True)
        mail = (tools / "mail").read_text()
        self.assertIn("To: ops@example.org\n", mail)
        self.assertIn("vol0 leg-late b\n", mail)
        self.assertIn("write at 0", mail)
        self.assertIn("the status: --control /c status vol0", mail)
        self.assertIn("--mail-rcpt ops@example.org", (tools / "words").read_text())

    @unittest.skipUnless(shutil.which("shellcheck"), "no shellcheck")
    def test_scripts(self):
        subprocess.run(["shellcheck", "-s", "sh", "-e", "SC1090", CONF / "surefoot-mail", CONF / "pacemaker/volume",
                        REPOSITORY / "docs/examples/qemu.sh"], check=True)


class Shells(VolumeTest):
    def test_all_complete_the_same_commands(self):
        said = self.rig.ctl("--help")
        commands = set(re.findall(r"^  ([a-z]+) +", said, re.M))
        fish = re.search(r"set -l commands (.*)", (CONF / "surefootctl.fish").read_text())[1]
        zsh = re.search(r"commands=\(([^)]*)\)", (CONF / "_surefootctl").read_text())[1]
        self.assertEqual(commands, set(fish.split()))
        self.assertEqual(commands, set(zsh.split()))
        for shell, file in (("fish", "surefootctl.fish"), ("zsh", "_surefootctl")):
            if shutil.which(shell):
                subprocess.run([shell, "-n", CONF / file], check=True)


if __name__ == "__main__":
    main()
