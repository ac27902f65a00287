"""surefootd as a service, a filesystem on its device, and everything that may happen to both: a frozen
leg, servers killed under load, reload, restart, stop; at last a shutdown while a leg hangs."""

import os
import signal
import time

from guest import (MIB, Fio, Leg, answered, assert_kernel_is_content, ctl, main, run, say,
                   slowness, status, wait_healthy, wait_state, wait_until)

DEVICE = "/dev/nbd0"
MOUNT = "/srv/vol0"
leg_c = Leg("c", "/dev/vdc")


def show(unit, prop):
    return run("systemctl", "show", "-P", prop, unit).strip()


def is_mounted():
    return any(line.split()[1] == MOUNT for line in open("/proc/mounts"))


def server_pid():
    return status()["service"]["pid"]


class Load:
    """Verified load across a disturbance."""

    def __init__(self, name, size=12 * MIB):
        self.name = name
        self.fio = Fio(name, f"{MOUNT}/{name}", "--fsync=32", size=size)
        wait_until(lambda: answered("nbd0") > 0, "load")
        before = answered("nbd0")
        wait_until(lambda: answered("nbd0") > before + 100, "load")

    def goes_on(self, since, count=1, seconds=60):
        before = answered("nbd0")
        wait_until(lambda: answered("nbd0") >= before + count, "an answer", seconds, every=0.005)
        return time.monotonic() - since

    def end(self, longest_s):
        assert self.fio.process.poll() is None, "the load ended too early to show anything"
        self.fio.wait()
        assert is_mounted(), "the filesystem is not mounted any more"
        assert self.fio.longest_s < longest_s * slowness(), f"{self.name}: a write waited {self.fio.longest_s} s"
        run("rm", f"{MOUNT}/{self.name}")


def killed(what, pid):
    """kill -9 under load; no writer hears of it."""
    load = Load(what)
    os.kill(pid, signal.SIGKILL)
    at = time.monotonic()
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "its end", every=0.002)
    first = load.goes_on(at)
    say(f"{what} killed: first write answered {first:.2f} s after the kill")
    load.end(45)
    wait_healthy()
    assert_kernel_is_content(r"Receive control failed|Dead connection|timed out")


def test():
    wait_until(lambda: show("surefootd", "ActiveState") == "active", "surefootd")
    wait_until(lambda: os.path.exists("/sys/block/nbd0/pid"), "the device")
    run("mkfs.ext4", "-q", DEVICE)
    run("systemctl", "start", "srv-vol0.mount")
    assert is_mounted()
    wait_healthy()

    load = Load("frozen")
    with leg_c.frozen():
        wait_state("c", "late")
        load.goes_on(time.monotonic(), 100)
    load.end(10)
    wait_healthy()
    assert_kernel_is_content()
    say("a frozen leg: the writes went on")

    killed("nbdkit", server_pid())
    killed("surefootd", int(show("surefootd", "MainPID")))
    assert int(show("surefootd", "NRestarts")) == 1

    conf = "/etc/surefoot/volumes.d/vol0.conf"
    text = open(conf).read()
    with open(conf, "w") as f:
        f.write(text.replace("write_deadline = 1s", "write_deadline = 1500ms"))
    load = Load("reload")
    run("systemctl", "reload", "surefootd")
    wait_until(lambda: "write_deadline" not in ctl("reload", "--dry-run"), "the new deadline")
    load.end(10)
    assert show("surefootd", "ActiveState") == "active"

    load = Load("restart")
    at = time.monotonic()
    run("systemctl", "restart", "surefootd")
    say(f"restarted in {time.monotonic() - at:.1f} s, the next write {load.goes_on(at):.1f} s after it")
    load.end(45)
    wait_healthy()
    assert_kernel_is_content(r"Receive control failed|Dead connection|timed out")

    with open(f"{MOUNT}/kept", "wb") as f:
        kept = os.urandom(MIB)
        f.write(kept)
    run("systemctl", "stop", "surefootd")
    assert not is_mounted(), "stopped under a mounted filesystem"
    assert not os.path.exists("/sys/block/nbd0/pid"), "the device is still attached"
    for leg in "abc":
        text = ctl("dump", f"/dev/mapper/leg-{leg}")
        newest = text[text.index("copy 0" if "copy 0 is the newest" in text else "copy 1 at"):]
        assert ", clean," in newest[newest.index("record"):].splitlines()[0], text
    say("stopped: unmounted, detached, clean")
    run("systemctl", "start", "surefoot.target", "srv-vol0.mount")
    assert open(f"{MOUNT}/kept", "rb").read() == kept
    run("systemctl", "stop", "srv-vol0.mount")
    run("e2fsck", "-f", "-n", DEVICE)
    run("systemctl", "start", "srv-vol0.mount")
    assert_kernel_is_content(r"Receive control failed|Dead connection|timed out")

    # The shutdown follows, with requests stuck in the frozen leg; service.prepare.sh has the end of it.
    run("systemctl", "start", "thaw.service", "begins.service")
    leg_c.freeze()
    with open(f"{MOUNT}/late", "wb") as f:
        f.write(os.urandom(MIB))
        os.fsync(f.fileno())
    wait_state("c", "late")


main(test)
