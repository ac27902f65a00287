"""surefootd and the kernel's block device: what is mounted on it survives the death of the server, a
restart of the daemon and a long wait for legs without an error; a stop takes nothing away from
anybody, and what is left behind fails in time."""

import os
import signal
import subprocess
import time
from pathlib import Path

from guest import (Fio, MIB, answered, assert_kernel_is_content, ctl, legs, main, run, say, slowness, status,
                   wait_healthy, wait_until, write_conf)

DEVICE = "/dev/nbd0"
RECONNECT_S = 25  # the kernel looks every 2 s; the rest is a slow machine
DEAD_S = round(20 * slowness())  # longer than the daemon takes to start several times


class Daemon:
    def __init__(self):
        Path("/etc/surefoot").mkdir(exist_ok=True)
        Path("/etc/surefoot/surefoot.conf").write_text("[daemon]\nstop_timeout = 30s\n")
        self.process = None

    def start(self):
        with open("/out/surefootd.log", "ab") as log:
            self.process = subprocess.Popen(["/usr/sbin/surefootd"], stderr=log, stdout=log)
        wait_until(lambda: ctl("status", check=False).returncode == 0, "surefootd")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, "surefootd failed"


def device_state():
    return (status()["service"]["device"] or {}).get("state")


def server_pid():
    return status()["service"]["pid"]


def wait_attached():
    wait_until(lambda: device_state() == "attached", f"{DEVICE} attached", every=0.1)


def is_bound():
    return os.path.exists("/sys/block/nbd0/pid")


def device_path():
    return (status()["service"]["device"] or {}).get("path")


def device_door():
    return (status()["service"]["device"] or {}).get("door")


def log_size():
    return Path("/out/surefootd.log").stat().st_size


def wait_for_line(since, wanted):
    """Of the daemon's log."""
    wait_until(lambda: wanted in Path("/out/surefootd.log").read_bytes()[since:], f"{wanted.decode()} in the log",
               every=0.002)


def left_behind():
    """Processes of surefootd's that are still there."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name, state = (entry / "comm").read_text().strip(), (entry / "stat").read_text().split(")")[1].split()[0]
            except OSError:
                continue
            if name == "surefootd" and state != "Z":
                found.append((entry.name, state))
    return found


def change_device(conf, leg, device):
    write_conf(conf, leg, device=device, device_dead_timeout=f"{DEAD_S}s")
    ctl("reload")
    first = server_pid()
    ctl("restart", "vol0")
    wait_until(lambda: server_pid() not in (0, first), "the next server")
    wait_attached()


def change_door(conf, leg, door):
    write_conf(conf, leg, device=DEVICE, device_dead_timeout=f"{DEAD_S}s", device_door=door)
    ctl("reload")
    assert "device_door" in status()["service"]["restart_needed_for"]
    first = server_pid()
    ctl("restart", "vol0")
    wait_until(lambda: server_pid() not in (0, first), "the next server")
    wait_attached()
    assert device_door() == door, f"attached by {device_door()}"


def under_load(name, act, seconds=12):
    """Verified writes with fsync through the filesystem, and something in the middle of them."""
    fio = Fio(name, f"/mnt/{name}", "--fsync=32", size=8 * MIB, seconds=seconds)
    wait_until(lambda: answered("nbd0") > 100, "load")
    act()
    before = answered("nbd0")
    wait_until(lambda: answered("nbd0") > before + 20, "writes again")
    fio.wait()
    wait_attached()
    return fio


def test():
    os.makedirs("/mnt", exist_ok=True)
    leg = legs()
    conf = write_conf("/etc/surefoot/volumes.d/vol0.conf", leg, device=DEVICE,
                      device_dead_timeout=f"{DEAD_S}s")
    ctl("create", "--zero", conf, "--size", "200M")
    daemon = Daemon()

    daemon.start()
    wait_until(lambda: "modprobe nbd" in (status()["service"]["device"]["reason"] or ""),
               "a reason without the module", every=0.1)
    wait_healthy()
    run("modprobe", "nbd")
    wait_attached()
    assert device_door() == "fast", f"attached by {device_door()}"
    say("attached when the module came, by the fast door")

    run("mkfs.ext4", "-q", DEVICE)
    run("mount", DEVICE, "/mnt")

    fio = under_load("server-killed", lambda: os.kill(server_pid(), signal.SIGKILL))
    assert fio.longest_s < RECONNECT_S * slowness(), f"a write waited {fio.longest_s} s"

    def kill_twice():
        first = server_pid()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: server_pid() not in (0, first), "the next server")
        os.kill(server_pid(), signal.SIGKILL)
    under_load("killed-twice", kill_twice)

    # In each moment of its life, and of the attach of the device.
    def kill_again_and_again():
        moments = (b"-> starting", b"-> serving", b"is attached")
        for turn in range(2 * len(moments)):
            seen, first = log_size(), server_pid()
            if first:
                os.kill(first, signal.SIGKILL)
            wait_for_line(seen, moments[turn % len(moments)])
    under_load("killed-again-and-again", kill_again_and_again, seconds=40)
    assert device_door() == "fast", f"attached by {device_door()}"

    under_load("door-nbdkit", lambda: change_door(conf, leg, "nbdkit"))
    under_load("door-fast", lambda: change_door(conf, leg, "fast"))
    say("the other door, and back, under a mounted filesystem")

    under_load("restart-volume", lambda: ctl("restart", "vol0"))

    under_load("grown", lambda: ctl("grow", "vol0", "240M"))
    size = int(run("blockdev", "--getsize64", DEVICE))
    assert size == 240 * MIB, f"the device has {size} bytes"
    run("resize2fs", DEVICE)
    assert os.statvfs("/mnt").f_blocks * os.statvfs("/mnt").f_frsize > 210 * MIB

    def restart_daemon():
        daemon.stop()
        assert is_bound(), "the device went away under a mounted filesystem"
        daemon.start()
    under_load("restart-daemon", restart_daemon)

    def kill_daemon():
        daemon.process.kill()
        daemon.process.wait()
        daemon.start()
    under_load("daemon-killed", kill_daemon)

    # Again and again, also in the moment in which it attaches the device: nothing of it may be held back
    # by the kernel, since the service would wait for that in its stop.
    def kill_daemon_again_and_again():
        for turn in range(5):
            daemon.process.kill()
            daemon.process.wait()
            seen = log_size()
            daemon.start()
            wait_for_line(seen, b"-> serving" if turn % 2 else b"-> starting")
        daemon.process.kill()
        daemon.process.wait()
        wait_until(lambda: not left_behind(), "the end of all that it had begun", 20)
        daemon.start()
    under_load("daemon-killed-again-and-again", kill_daemon_again_and_again, seconds=40)
    say("surefootd was killed again and again, and left nothing behind that hangs")

    def detach_by_hand():
        run("nbd-client", "-d", DEVICE)
        wait_until(lambda: "attached -> lost" in Path("/out/surefootd.log").read_text(), "that it is noticed")
    run("umount", "/mnt")
    detach_by_hand()
    wait_attached()
    assert is_bound()
    run("mount", DEVICE, "/mnt")
    say("a device that was detached by hand was attached again")

    # Another one in the file: the old one stays while it is mounted, and is detached when it is not.
    change_device(conf, leg, "/dev/nbd1")
    assert device_path() == DEVICE and is_bound(), "a mounted device was given up"
    assert status()["service"]["restart_needed_for"] == "device"
    Path("/mnt/stays").write_text("stays")
    os.sync()
    run("umount", "/mnt")
    change_device(conf, leg, "/dev/nbd1")
    assert device_path() == "/dev/nbd1" and not is_bound(), "the old device was left behind"
    change_device(conf, leg, DEVICE)
    assert device_path() == DEVICE and not os.path.exists("/sys/block/nbd1/pid")
    say("a changed device was changed when it was not in use")

    # A hidden mount holds the volume all the same.
    hidden = subprocess.Popen(["unshare", "-m", "sh", "-c",
                               f"mount {DEVICE} /mnt && echo mounted && exec sleep 1000"],
                              stdout=subprocess.PIPE, text=True)
    assert hidden.stdout.readline() == "mounted\n"
    assert DEVICE not in Path("/proc/1/mountinfo").read_text()
    away = conf.rename("/etc/surefoot/vol0.conf")
    assert "its device is in use" in ctl("reload")
    away.rename(conf)
    hidden.kill()
    hidden.wait()
    run("mount", DEVICE, "/mnt")
    say("what is mounted in another namespace was not taken away")

    def freeze_two():
        with leg["a"].frozen(), leg["b"].frozen():
            wait_until(lambda: status()["state"] == "suspended", "suspended", every=0.1)
            time.sleep(40)  # the kernel's own patience is 30 s
    under_load("long-wait", freeze_two, seconds=70)
    assert_kernel_is_content("possible stuck request")
    say("a healthy server that waits for its legs was not given up")

    # In use: a stop leaves it, and after a while its requests fail instead of hanging for ever.
    daemon.stop()
    assert is_bound()
    started = time.monotonic()
    failed = subprocess.run(["dd", "if=/dev/zero", "of=/mnt/x", "bs=4k", "count=1", "oflag=direct",
                             "conv=fsync"], stderr=subprocess.DEVNULL, timeout=DEAD_S + 100 * slowness())
    assert failed.returncode != 0, "a write without a server succeeded"
    assert time.monotonic() - started < DEAD_S + 40 * slowness()
    run("umount", "/mnt", check=False, seconds=120)
    say("without a server its requests failed in time")

    daemon.start()
    wait_attached()
    wait_healthy()
    run("e2fsck", "-f", "-y", DEVICE, check=False)
    run("mount", DEVICE, "/mnt")
    Path("/mnt/again").write_text("again")
    run("umount", "/mnt")
    ctl("restart", "vol0")
    daemon.stop()  # also while it restarts
    wait_until(lambda: not is_bound(), "the device detached")
    assert "would start" in ctl("check", conf)
    say("it was not in use: detached")

    # Another program's device is left alone.
    run("nbdkit", "-U", "/run/other.sock", "-P", "/run/other.pid", "memory", "16M")
    run("nbd-client", "-unix", "/run/other.sock", DEVICE)
    daemon.start()
    wait_until(lambda: "something else" in (status()["service"]["device"]["reason"] or ""),
               "a reason beside another client", every=0.1)
    run("nbd-client", "-d", DEVICE)
    wait_attached()
    daemon.stop()
    assert not is_bound()


main(test)
