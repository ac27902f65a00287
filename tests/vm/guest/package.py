"""The Debian package on a running system: installed, it serves; upgraded, a mounted filesystem hears
nothing of it; removed, it stops cleanly; purged, nothing is left but the administrator's volumes."""

import os
import time

from guest import OUT, assert_kernel_is_content, ctl, legs, main, run, say, write_conf

CONF = "/etc/surefoot/volumes.d/vol0.conf"


def dpkg(*words):
    # No triggers: the manual's index and the like are not ours, and slow here.
    run("dpkg", "--no-triggers", *words, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def state(unit="surefootd.service"):
    return run("systemctl", "is-active", unit, check=False).stdout.strip()


def enabled(unit="surefootd.service"):
    return run("systemctl", "is-enabled", unit, check=False).stdout.strip()


def known_to_udev(disk):
    """What lsblk says of a leg comes from udev, which asks surefootctl."""
    run("udevadm", "trigger", "--action=change", disk)
    run("udevadm", "settle")
    said = run("lsblk", "--nodeps", "--noheadings", "--output", "FSTYPE,LABEL", disk).split()
    assert said == ["surefoot_member", "vol0:a"], f"lsblk of a leg: {said}"
    say(f"lsblk: {' '.join(said)}")


def test():
    leg = legs()
    first, second = OUT / "first.deb", OUT / "second.deb"
    assert not os.path.exists("/usr/bin/surefootctl"), "it is there before it is installed"

    dpkg("-i", first)
    assert state() == "active", run("systemctl", "status", "surefootd", check=False).stdout
    assert enabled() == "enabled" and enabled("surefoot.target") == "enabled"
    assert "surefoot" in open("/etc/group").read()
    assert os.stat("/run/surefoot").st_mode & 0o7777 == 0o750
    say("installed, enabled, running")

    # The lines of surefoot(7) and of README.md, "As a service".
    write_conf(CONF, leg, device="/dev/nbd0", control="/run/surefoot/volumes/vol0.ctl")
    ctl("create", CONF, "--size", "64M")
    known_to_udev(leg["a"].disk)
    run("systemctl", "restart", "surefootd")
    assert os.path.exists("/sys/block/nbd0/pid"), "the service is up, and its device is not attached"
    run("udevadm", "settle")
    assert os.path.realpath("/dev/surefoot/vol0") == "/dev/nbd0", "udev has made no /dev/surefoot/vol0"
    with open("/etc/fstab", "a") as f:
        f.write("/dev/nbd0 /srv/vol0 ext4 _netdev,nofail,x-systemd.requires=surefoot.target 0 2\n")
    os.makedirs("/srv/vol0", exist_ok=True)
    run("mkfs.ext4", "-q", "/dev/nbd0")
    run("systemctl", "daemon-reload")
    run("mount", "/srv/vol0")
    say("served and mounted, by the lines of README.md")
    with open("/srv/vol0/open", "wb") as held:
        held.write(b"before")
        with open("/etc/surefoot/surefoot.conf", "a") as f:
            f.write("; the administrator was here\n")
        pid = run("systemctl", "show", "-P", "MainPID", "surefootd").strip()
        dpkg("-i", second)
        assert run("systemctl", "show", "-P", "MainPID", "surefootd").strip() not in (pid, "0")
        held.write(b" and after")
        held.flush()
        os.fsync(held.fileno())
    assert "the administrator was here" in open("/etc/surefoot/surefoot.conf").read()
    assert_kernel_is_content(r"Receive control failed|Dead connection|timed out")
    say("upgraded under a mounted filesystem")

    run("systemctl", "disable", "surefootd")
    dpkg("-i", first)
    assert enabled() == "disabled", "an upgrade enabled what the administrator had disabled"
    assert state() == "active"

    dpkg("-r", "surefoot")
    assert state() != "active"
    assert "/srv/vol0" not in open("/proc/mounts").read(), "removed under a mounted filesystem"
    assert not os.path.exists("/usr/sbin/surefootd")
    assert os.path.exists("/etc/surefoot/surefoot.conf"), "a removal keeps the configuration"
    dpkg("-i", second)
    dpkg("-P", "surefoot")
    assert not os.path.exists("/etc/surefoot/surefoot.conf")
    assert os.path.exists(CONF), "a purge must not remove the administrator's volumes"
    left = run("find", "/etc/systemd", "/var/lib/systemd", "/usr/lib/systemd", "/usr/lib/sysusers.d",
               "/usr/lib/tmpfiles.d", "-name", "*surefoot*").split()
    left = [path for path in left if os.path.lexists(path)]
    assert not left, f"left behind: {left}"
    say("removed and purged")


main(test)
