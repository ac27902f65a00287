"""What the programs inside a guest share: legs that freeze, load that is verified, and checks."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

MIB = 1024 * 1024
OUT = Path("/out")
PATIENCE_S = 60
BOOT_S = {"script": 6, "systemd": 16}  # until a program begins, on two idle cores, emulated


def told(name, default):
    found = re.search(rf"{name}=(\S+)", Path("/proc/cmdline").read_text())
    return found[1] if found else default


def boot_slowness():
    mode = told("vmtest", "script").split(":")[0]
    return max(1.0, uptime() / BOOT_S.get(mode, BOOT_S["systemd"]))


def slowness():
    """How much slower than two idle cores with software emulation it is now: as slow as the boot was at
    least, and as the host's other work of the last minute makes it.  Every time that is waited for or
    judged here is multiplied by it when it ends, not when it begins: the host may become busy meanwhile.
    """
    try:
        now = float((OUT / "load").read_text())
    except (OSError, ValueError):
        now = 1.0
    return float(told("slowness", 1)) * max(BOOT_SLOWNESS, now)


os.environ["DM_DISABLE_UDEV"] = "1"  # dmsetup makes its own nodes: no udev, nothing to wait for
os.environ["LC_ALL"] = "C.UTF-8"


def uptime():
    return float(Path("/proc/uptime").read_text().split()[0])


BOOT_SLOWNESS = boot_slowness()


def say(text):
    print(f"{uptime():7.2f}  {text}", flush=True)


def run(*words, check=True, seconds=PATIENCE_S * 2, **options):
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.STDOUT)
    result = subprocess.run([str(word) for word in words], text=True, timeout=seconds * slowness(),
                            **options)
    if check and result.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, words))}: exit {result.returncode}\n"
                             f"{result.stdout}")
    return result.stdout if check else result


def wait_until(condition, what, seconds=PATIENCE_S, every=0.02):
    began = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        took = time.monotonic() - began
        if took > seconds and took > seconds * slowness():
            raise AssertionError(f"{what}: not after {took:.0f} s")
        time.sleep(every)


# ---- legs ----


class Leg:
    """A disk under a linear mapping, which can be frozen: what is sent to it then is kept, and
    answered after the thaw.  The disk has a volatile cache, so flushes mean something."""

    def __init__(self, name, disk):
        self.name = f"leg-{name}"
        self.disk = disk
        self.path = f"/dev/mapper/{self.name}"

    def make(self):
        sectors = run("blockdev", "--getsz", self.disk).strip()
        run("dmsetup", "create", self.name, "--table", f"0 {sectors} linear {self.disk} 0")
        return self

    def node(self):
        return run("dmsetup", "info", "-c", "--noheadings", "-o", "blkdevname", self.name).strip()

    def freeze(self):
        run("dmsetup", "suspend", "--nolockfs", "--noflush", self.name)

    def thaw(self):
        run("dmsetup", "resume", self.name)

    @contextlib.contextmanager
    def frozen(self):
        self.freeze()
        try:
            yield
        finally:
            self.thaw()


def legs(names="abc"):
    run("modprobe", "-a", "virtio_blk", "dm-mod")
    made = {}
    for number, name in enumerate(names):
        disk = f"/dev/vd{chr(ord('a') + number)}"
        wait_until(lambda: os.path.exists(disk), disk)
        made[name] = Leg(name, disk).make()
    return made


# ---- the volume ----


def ctl(*words, **options):
    return run("surefootctl", *words, **options)


def status(volume="vol0"):
    (document,) = json.loads(ctl("status", "--json", volume))["volumes"]
    return document


def leg_state(name, volume="vol0"):
    """None while surefootd has no word of the server's: a busy host is enough for that."""
    return next((leg["state"] for leg in status(volume)["legs"] if leg["name"] == name), None)


def wait_state(name, *states, volume="vol0", seconds=PATIENCE_S):
    wait_until(lambda: leg_state(name, volume) in states, f"leg {name} {' or '.join(states)}",
               seconds, every=0.1)


def wait_healthy(volume="vol0", seconds=PATIENCE_S):
    def healthy():
        now = status(volume)
        return now["state"] == "healthy" and now["unconverged_bytes"] == 0
    wait_until(healthy, f"{volume} healthy", seconds, every=0.1)


def write_conf(path, legs, device=None, **settings):
    settings = {"name": "vol0", "control": "/run/surefoot/vol0.ctl", "on_too_few": "suspend",
                # Software emulation stalls by itself: a deadline that it keeps.
                "write_deadline": "1s", "read_deadline": "1s", "flush_deadline": "2s",
                "wait_for_legs": "30s", **settings}
    if device:
        settings["device"] = device
    text = "[volume]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())
    for name, leg in legs.items():
        text += f"[leg {name}]\npath = {leg if isinstance(leg, str) else leg.path}\n"
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def serve(conf, socket):
    """nbdkit with our plugin, without surefootd."""
    Path(socket).unlink(missing_ok=True)
    server = subprocess.Popen(["nbdkit", "-f", "-U", socket, "-t", "16", "surefoot", conf])
    wait_until(lambda: ctl("status", "vol0", check=False).returncode == 0, "the server")
    return server


def attach(socket, device):
    run("nbd-client", "-unix", socket, device, "-b", "4096", "-timeout", "30")


# ---- load ----


class Fio:
    """Verified writes in the background.  What counts: errors, wrong data, the longest wait."""

    def __init__(self, name, target, *options, size=24 * MIB, seconds=None):
        self.name = name
        self.report = f"/tmp/{name}.json"
        self.words = ["fio", f"--name={name}", f"--filename={target}", f"--size={size}",
                      "--rw=randwrite", "--bs=4k", "--iodepth=16", "--ioengine=libaio", "--direct=1",
                      "--verify=crc32c", "--verify_fatal=1", "--randrepeat=0", "--group_reporting",
                      "--eta=never", "--output-format=json", f"--output={self.report}", *options]
        if seconds:
            self.words += ["--time_based", f"--runtime={seconds}"]
        self.process = subprocess.Popen(self.words, stdout=sys.stderr, stderr=sys.stderr)

    def acknowledged_sectors(self, disk):
        return int(Path(f"/sys/block/{disk}/stat").read_text().split()[6])

    def wait(self, seconds=240):
        wait_until(lambda: self.process.poll() is not None, f"fio {self.name}", seconds)
        code = self.process.returncode
        text = Path(self.report).read_text()
        (job,) = json.loads(text[text.index("{"):])["jobs"]
        assert code == 0 and job["error"] == 0, f"fio {self.name}: exit {code}, {job['error']}\n" + \
            text[:text.index("{")]
        self.longest_s = max(job[kind]["lat_ns"]["max"] for kind in ("read", "write")) / 1e9
        self.longest_sync_s = job["sync"]["lat_ns"]["max"] / 1e9
        self.writes = job["write"]["total_ios"]
        say(f"fio {self.name}: {self.writes} writes verified, longest wait "
            f"{self.longest_s:.2f} s, sync {self.longest_sync_s:.2f} s, no error")
        return self


def answered(disk):
    """Writes that the device has answered so far."""
    return int(Path(f"/sys/block/{disk}/stat").read_text().split()[4])


def kernel_complaints():
    """I/O errors and aborted journals in the kernel's log."""
    bad = re.compile(r"I/O error|Buffer I/O|aborted journal|Remounting filesystem read-only|"
                     r"EXT4-fs error|XFS.*(shutdown|[Cc]orruption)|hung_task|blocked for more than")
    return [line for line in run("dmesg").splitlines() if bad.search(line)]


def assert_kernel_is_content(allowed=None):
    lines = [line for line in kernel_complaints() if not (allowed and re.search(allowed, line))]
    assert not lines, "the kernel complains:\n" + "\n".join(lines[:20])


# ---- being a test ----


def main(test, seconds=600):
    """Runs it; the exit status is the verdict, a traceback the reason."""
    began = time.monotonic()

    def late(number, frame):
        left = seconds * slowness() - (time.monotonic() - began)
        if left <= 0:
            raise AssertionError(f"the whole took longer than {seconds} s, {slowness():.1f} times")
        signal.alarm(max(1, int(left)))

    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        test()
    except BaseException:
        import traceback

        traceback.print_exc()
        print("--- dmesg", run("dmesg")[-4000:], sep="\n")
        if os.path.isdir("/run/systemd/system"):
            print("--- journal", run("journalctl", "-b", "--no-pager", "-n", "80", "-o",
                                     "short-monotonic", check=False).stdout, sep="\n")
        sys.exit(1)
    say("passed")
    sys.exit(0)
