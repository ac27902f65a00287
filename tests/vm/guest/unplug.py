"""A disk is pulled out under load and put back, on virtio-blk and on SCSI: its leg is missing and no client waits
for it, and when the disk is there again under whatever name it is opened anew and caught up, by itself.
The host pulls and puts back, asked by files in /out."""

import os
import threading
import time

from guest import (MIB, OUT, Fio, answered, assert_kernel_is_content, ctl, leg_state, main, run, say,
                   slowness, status, wait_healthy, wait_until, write_conf)

DEVICE = "/dev/nbd0"
BY_ID = "/dev/disk/by-id"
PATHS = {"a": f"{BY_ID}/virtio-leg-a", "b": f"{BY_ID}/virtio-leg-b",
         "c": f"{BY_ID}/scsi-0QEMU_QEMU_HARDDISK_leg-c"}
asked = 0


def ask(what, leg):
    """Of the host, which answers when it is done."""
    global asked
    asked += 1
    (OUT / "asked.new").write_text(f"{asked} {what} {leg}\n")
    (OUT / "asked.new").rename(OUT / "asked")
    answer = OUT / "answered"
    wait_until(lambda: answer.exists() and answer.read_text() == f"{asked}\n", f"the host: {what} {leg}")


class Load(threading.Thread):
    """Verified writes, again and again until end()."""

    def __init__(self, name):
        super().__init__(daemon=True)
        self.name = name
        self.rounds = 0
        self.longest_s = 0.0
        self.ends = False
        self.failure = None
        self.start()

    def run(self):
        try:
            while not self.ends:
                fio = Fio(f"{self.name}-{self.rounds}", DEVICE, "--fsync=32", size=1 * MIB).wait()
                self.longest_s = max(self.longest_s, fio.longest_s, fio.longest_sync_s)
                self.rounds += 1
        except AssertionError as failure:
            self.failure = failure

    def goes_on(self, count=100):
        before = answered("nbd0")
        wait_until(lambda: self.failure or answered("nbd0") > before + count, "answers to writes")
        assert not self.failure, self.failure

    def end(self):
        self.ends = True
        wait_until(lambda: not self.is_alive(), "the last round of the load", 240)
        assert not self.failure, self.failure
        assert self.longest_s < 10 * slowness(), f"a write waited {self.longest_s} s"


def unplug(name, another_name=False):
    was = os.path.realpath(PATHS[name])
    load = Load(f"without-{name}")
    load.goes_on()
    ask("pull", name)
    wait_until(lambda: not os.path.exists(PATHS[name]), f"{PATHS[name]} gone")
    pulled = time.monotonic()
    wait_until(lambda: leg_state(name) == "missing", f"leg {name} missing", every=0.1)
    say(f"leg {name} ({was}) pulled out: missing after {time.monotonic() - pulled:.1f} s")
    load.goes_on()
    assert leg_state(name) in ("missing", None), status()
    if another_name:  # its old one is taken meanwhile
        ask("put", "spare")
        wait_until(lambda: os.path.exists(f"{BY_ID}/virtio-leg-spare"), "the spare disk")
    ask("put", name)
    wait_until(lambda: os.path.exists(PATHS[name]), f"{PATHS[name]} there")
    put = time.monotonic()
    wait_until(lambda: leg_state(name) == "in-sync", f"leg {name} in sync", 120, every=0.1)
    say(f"leg {name} ({os.path.realpath(PATHS[name])}) put back: in sync after {time.monotonic() - put:.1f} s")
    assert not another_name or os.path.realpath(PATHS[name]) != was, "it has its old name"
    load.goes_on()
    load.end()
    wait_healthy()
    # Of the disk that was pulled out the kernel may complain, and of nothing else.
    assert_kernel_is_content(r"dev [vs]d[a-z]+|\[[vs]d[a-z]+\]")


def data(path):
    """The volume's bytes on a leg."""
    with open(path, "rb") as f:
        f.seek(8 * MIB)
        return f.read(64 * MIB)


def test():
    run("modprobe", "-a", "virtio_scsi", "sd_mod")
    for path in PATHS.values():
        wait_until(lambda: os.path.exists(path), path)
    conf = write_conf("/etc/surefoot/volumes.d/vol0.conf", PATHS, DEVICE)
    ctl("create", "--zero", conf, "--size", "64M")
    run("systemctl", "start", "surefootd", "surefoot.target")
    wait_until(lambda: os.path.exists("/sys/block/nbd0/pid"), "the device")
    wait_healthy()
    unplug("b", another_name=True)
    unplug("c")
    run("systemctl", "stop", "surefootd")
    copies = [data(path) for path in PATHS.values()]
    assert copies[0] == copies[1] == copies[2], "the legs differ"
    say("all three hold the same")


main(test)
