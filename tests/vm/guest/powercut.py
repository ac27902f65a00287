"""One life between two power cuts: what the lives before flushed is all there, the filesystem is
clean, and then files are written and flushed until the plug is pulled.

/out/acknowledged has a line for each file, written when its fsync had returned, and for each version
of one block that is written again and again.  /out/tried has the versions that were begun."""

import hashlib
import os
import random
import sys

from guest import (MIB, OUT, assert_kernel_is_content, main, run, say, status, wait_healthy,
                   wait_until)

DEVICE = "/dev/nbd0"
MOUNT = "/srv/vol0"
REGISTER = f"{MOUNT}/register"
acknowledged = OUT / "acknowledged"
tried = OUT / "tried"


def is_mounted():
    return any(line.split()[1] == MOUNT for line in open("/proc/mounts"))


def append(path, text):
    with open(path, "a") as f:
        f.write(text + "\n")


def last_version(path):
    versions = [int(line.split()[1]) for line in path.read_text().splitlines()
                if line.startswith("register ")] if path.exists() else []
    return max(versions, default=0)


def content(name):
    return random.Random(name).randbytes(random.Random(name).randrange(1, 64) * 1024)


def verify():
    """Every acknowledged file, and a version of the register that may be there."""
    count = 0
    for line in acknowledged.read_text().splitlines():
        name, digest = line.split()
        if name == "register":
            continue
        with open(f"{MOUNT}/{name}", "rb") as f:
            found = hashlib.sha256(f.read()).hexdigest()
        assert found == digest, f"{name} was flushed and is not what it was"
        count += 1
    with open(REGISTER, "rb") as f:
        block = f.read(4096)
    version = int.from_bytes(block[:8], "little")
    assert block == version.to_bytes(8, "little") * 512, "a torn block"
    low, high = last_version(acknowledged), last_version(tried)
    assert low <= version <= high, f"the register is {version}, not from {low} to {high}"
    say(f"{count} flushed files are there; the register is {version} ({low} to {high})")


def write_until_dark():
    number = 0
    life = len(list(OUT.glob("life-*")))
    (OUT / f"life-{life}").touch()
    version = last_version(tried)
    register = os.open(REGISTER, os.O_RDWR | os.O_CREAT, 0o644)
    while True:
        name = f"file-{life}-{number}"
        number += 1
        data = content(name)
        with open(f"{MOUNT}/{name}", "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        folder = os.open(MOUNT, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        append(acknowledged, f"{name} {hashlib.sha256(data).hexdigest()}")
        for _ in range(4):
            version += 1
            append(tried, f"register {version}")
            os.pwrite(register, version.to_bytes(8, "little") * 512, 0)
            os.fdatasync(register)
            append(acknowledged, f"register {version}")


def test():
    last = "last" in open("/proc/cmdline").read().split()
    if not (OUT / "made").exists():
        wait_until(lambda: os.path.exists("/sys/block/nbd0/pid"), "the device")
        run("mkfs.ext4", "-q", DEVICE)
        run("systemctl", "start", "srv-vol0.mount")
        with open(REGISTER, "wb") as f:
            f.write(bytes(4096))
            os.fsync(f.fileno())
        run("sync")
        (OUT / "made").touch()
    else:
        wait_until(is_mounted, "the mount of fstab")
        verify()
        run("systemctl", "stop", "srv-vol0.mount")
        run("e2fsck", "-f", "-n", DEVICE)
        run("systemctl", "start", "srv-vol0.mount")
    assert_kernel_is_content()
    if not last:
        write_until_dark()
    wait_healthy()
    size = status()["size_bytes"]
    run("systemctl", "stop", "surefootd")
    for leg in "bc":
        run("cmp", "-i", 8 * MIB, "-n", size, "/dev/mapper/leg-a", f"/dev/mapper/leg-{leg}")
    say("the legs are equal")


main(test)
