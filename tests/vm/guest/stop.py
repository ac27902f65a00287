"""A service that is stopped while its devices are in use: the stop is refused, in words, and nothing is lost; a
shutdown waits.  LVM on a whole device comes up at boot by itself, and ends in order; so does swap that has pages."""

import hashlib
import os
import pty
import struct
import subprocess

from guest import OUT, assert_kernel_is_content, main, run, say, status, wait_healthy, wait_until

PLAIN = "/mnt/plain"
DISK, ON_DISK = f"{PLAIN}/disk.img", "/mnt/on-disk"
SWAPS = f"{PLAIN}/a swap file", "/dev/nbd2"
KEPT_KIB = 24 << 10
LVM = {key: value for key, value in os.environ.items() if key != "DM_DISABLE_UDEV"}


# Ends with the machine only, and has its memory in swap until there is none.
KEEPER = f"""
import hashlib, mmap, os, re, time
size = {KEPT_KIB} << 10
memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.write(os.urandom(size))
wanted = hashlib.sha256(memory).digest()
while int(re.search(r"Swap: +([0-9]+)", open("/proc/self/smaps_rollup").read())[1]) < {KEPT_KIB} * 3 // 4:
    memory.madvise(21)  # MADV_PAGEOUT
    time.sleep(0.2)
open("/run/swapped", "w").close()
while len(open("/proc/swaps").readlines()) > 1:
    time.sleep(0.1)
with open("/run/kept.new", "w") as f:
    f.write("kept" if hashlib.sha256(memory).digest() == wanted else "it is other memory")
os.rename("/run/kept.new", "/run/kept")
time.sleep(1000)
"""


def is_mounted(path):
    return any(line.split()[1] == path for line in open("/proc/mounts"))


def log_in():
    """A terminal that `wall` writes to."""
    ours, terminal = pty.openpty()
    name = os.ttyname(terminal)
    record = struct.pack("hi32s4s32s256shhiii36x", 7, os.getpid(), name[5:].encode(), b"vt", b"root", b"",
                         0, 0, 0, 0, 0)
    with open("/run/utmp", "wb") as f:
        f.write(record.ljust(384, b"\0"))
    os.set_blocking(ours, False)
    return ours, terminal


def heard(ours):
    try:
        return os.read(ours, 65536).decode()
    except BlockingIOError:
        return ""


def refused(names, terminal):
    """The stop is called off, and says why."""
    pid = run("systemctl", "show", "-P", "MainPID", "surefootd")
    result = run("systemctl", "stop", "surefootd", check=False)
    assert result.returncode != 0 and "canceled" in result.stdout, result
    wait_until(lambda: run("systemctl", "is-active", "surefoot-hold", check=False).stdout == "active\n",
               "the next question")
    journal = run("journalctl", "-b", "-u", "surefootd", "-o", "cat", "--no-pager").splitlines()
    said = [line for line in journal if "is not stopped" in line][-1]
    on_terminal = "".join(heard(terminal).split())  # wall breaks lines anywhere
    for name in names:
        assert name in said, said
        assert name.replace(" ", "") in on_terminal, on_terminal
    assert run("systemctl", "show", "-P", "MainPID", "surefootd") == pid, "it is another surefootd"
    assert run("systemctl", "is-active", "surefootd", "surefoot.target") == "active\nactive\n"
    say(f"refused: {said}")


def write(path, size=1 << 20):
    with open(path, "wb") as f:
        data = os.urandom(size)
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    return hashlib.sha256(data).hexdigest()


def swap():
    """On a device and in a file, as much in one as in the other."""
    with open(SWAPS[0], "wb") as f:
        os.fchmod(f.fileno(), 0o600)
        f.write(bytes(16 << 20))
    for path in SWAPS:
        run("mkswap", path)
        run("swapon", "-p", "5", path)
    with open("/run/keeper.py", "w") as f:
        f.write(KEEPER)
    run("systemd-run", "--unit=keeper", "-p", "DefaultDependencies=no", "/usr/bin/python3", "/run/keeper.py")
    wait_until(lambda: os.path.exists("/run/swapped"), "memory that is in swap")
    used = [int(line.split()[-2]) for line in open("/proc/swaps").readlines()[1:]]
    assert len(used) == 2 and all(used), used
    say(f"{used} KiB are in swap")


def first():
    ours, terminal = log_in()
    for name in "nbd0", "nbd1", "nbd2":
        wait_until(lambda: os.path.exists(f"/sys/block/{name}/pid"), name)
    wait_healthy("vol0")
    run("mkfs.ext4", "-q", "/dev/nbd1")
    run("mount", "/dev/nbd1", PLAIN)
    user = subprocess.Popen(["sleep", "1000"], cwd=PLAIN)
    refused(["vol1", "nbd1", PLAIN, f"sleep (process {user.pid})"], ours)
    write(f"{PLAIN}/refused")
    user.kill()
    user.wait()
    run("umount", PLAIN)

    held = os.open("/dev/nbd1", os.O_RDONLY)
    refused(["nbd1 is open in", f"(process {os.getpid()})"], ours)
    os.close(held)

    run("pvcreate", "-q", "/dev/nbd0", env=LVM)
    run("vgcreate", "-q", "vg", "/dev/nbd0", env=LVM)
    run("lvcreate", "-q", "-n", "data", "-l", "100%FREE", "vg", env=LVM)
    run("mkfs.ext4", "-q", "/dev/vg/data")
    refused(["nbd0 is part of", "vg-data"], ours)

    # Restarted all the same, and stopped when all is free.
    run("mount", "/dev/nbd1", PLAIN)
    run("systemctl", "restart", "surefootd")
    assert is_mounted(PLAIN)
    write(f"{PLAIN}/restarted")
    run("umount", PLAIN)
    run("vgchange", "-an", "vg", env=LVM)
    run("systemctl", "stop", "surefootd")
    assert run("systemctl", "is-active", "surefootd", check=False).stdout == "inactive\n"
    assert not os.path.exists("/sys/block/nbd1/pid")
    say("restarted under a filesystem, and stopped without one")
    run("systemctl", "start", "surefootd", "surefoot.target")
    wait_healthy("vol0")
    run("vgchange", "-ay", "vg", env=LVM)  # by itself it comes once in a boot
    run("mount", "/dev/vg/data", "/srv/vol0")
    run("mount", "/dev/nbd1", PLAIN)
    with open(OUT / "sums", "w") as f:
        f.write(f"{write('/srv/vol0/kept')} {write(f'{PLAIN}/kept', 8 << 20)}\n")
    swap()
    # A disk in a file there, which keeps it busy.
    with open(DISK, "wb") as f:
        f.truncate(8 << 20)
    disk = run("losetup", "-f", "--show", DISK).strip()
    run("mkfs.ext4", "-q", disk)
    os.makedirs(ON_DISK)
    run("mount", disk, ON_DISK)
    with open(f"{ON_DISK}/late", "wb") as f:
        f.write(bytes(1 << 20))
    os.mkdir(f"{PLAIN}/beneath")
    run("mount", "-t", "tmpfs", "t", f"{PLAIN}/beneath")
    # What is in memory only when the shutdown begins.
    with open(f"{PLAIN}/late", "wb") as f:
        f.write(bytes(8 << 20))


def second():
    ended = (OUT / "ended").read_text()
    assert ended == "success\n", f"at the shutdown: {ended}"
    kept = (OUT / "kept").read_text()
    assert kept == "kept", f"of what was in swap at the shutdown: {kept}"
    wait_until(lambda: is_mounted("/srv/vol0"), "the logical volume of fstab")
    sums = [hashlib.sha256(open("/srv/vol0/kept", "rb").read()).hexdigest()]
    wait_healthy("vol1")
    # Not even a journal to replay.
    assert "clean" in run("dumpe2fs", "-h", "/dev/nbd1").split("Filesystem state:")[1].splitlines()[0]
    assert "needs_recovery" not in run("dumpe2fs", "-h", "/dev/nbd1"), "it was not unmounted"
    run("mount", "/dev/nbd1", PLAIN)
    sums.append(hashlib.sha256(open(f"{PLAIN}/kept", "rb").read()).hexdigest())
    assert os.path.getsize(f"{PLAIN}/late") == 8 << 20
    assert "needs_recovery" not in run("dumpe2fs", "-h", DISK), "the disk in a file was not unmounted"
    os.makedirs(ON_DISK)
    run("mount", "-o", "loop", DISK, ON_DISK)
    assert os.path.getsize(f"{ON_DISK}/late") == 1 << 20
    assert " ".join(sums) == (OUT / "sums").read_text().strip()
    say("both are there after the boot")


def test():
    if (OUT / "made").exists():
        second()
    else:
        first()
    assert_kernel_is_content(r"Receive control failed|Dead connection|timed out")
    (OUT / "made").touch()


main(test)
