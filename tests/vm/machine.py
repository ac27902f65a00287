"""A virtual machine with Debian's own kernel: what it boots from, and one run of it.

The guest's root is an overlay: on top memory, below it a layer with what only the guest needs
(kernel modules, udev, an installed Surefoot), below that the machine's own root, read-only over
9p.  Nothing is installed on the machine itself, and nothing that the guest does stays, except what
it writes to its disks and to /out, the folder that it shares with the host.
"""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

from load import Load
from qmp import Qmp

HERE = Path(__file__).resolve().parent
BOOT_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
UNPACKED = ("udev",)  # beside the kernel: what a container has no use for and a machine has


SLOWNESS = float(os.environ.get("SUREFOOT_SLOWNESS", "1"))


class Unavailable(Exception):
    """This machine cannot do it, and why."""


def command(*words, **options):
    options.setdefault("stdout", subprocess.PIPE)
    result = subprocess.run([str(word) for word in words], stderr=subprocess.STDOUT, text=True,
                            **options)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}: exit {result.returncode}\n"
                           f"{result.stdout or ''}")
    return result.stdout


# ---- what it boots from ----


class Image:
    def __init__(self, folder, build):
        self.folder = Path(folder).resolve()
        self.build = Path(build).resolve()
        self.layer = self.folder / "layer"
        self.empty = self.folder / "empty"
        self.initramfs = self.folder / "initramfs.gz"
        self.kernel = self.release = None

    def prepare(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self._base(self._packages())
        self._install()
        return self

    def _packages(self):
        text = command("apt-cache", "depends", "linux-image-amd64")
        found = re.search(r"Depends: (linux-image-\d\S+)", text)
        if not found:
            raise Unavailable(f"apt knows no kernel package:\n{text}")
        return self._fetch(found[1], *UNPACKED)

    def _fetch(self, *names):
        """The versions that apt would install today, fetched when they are not here yet."""
        paths = []
        for name in names:
            shown = command("apt-cache", "show", "--no-all-versions", name)
            version = re.search(r"^Version: (.*)$", shown, re.M)[1].replace(":", "%3a")
            path = next(self.folder.glob(f"{name}_{version}_*.deb"), None)
            if not path:
                print(f"fetching {name} {version}", flush=True)
                # As root apt would change to a user who may not write here.
                command("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", name,
                        cwd=self.folder)
                path = next(self.folder.glob(f"{name}_{version}_*.deb"))
            paths.append(path)
        return paths

    def _base(self, packages):
        """The layer of packages and the initramfs; made anew when the packages changed."""
        base = self.folder / "base"
        stamp = self.folder / "base.made"
        made_of = "\n".join(path.name for path in packages) + "\n" + (HERE / "guest/init").read_text()
        if not (stamp.exists() and stamp.read_text() == made_of):
            stamp.unlink(missing_ok=True)
            shutil.rmtree(base, ignore_errors=True)
            self._unpack(packages, base)
            self.release = self._release(base)
            # vmlinuz is outside the layer: depmod and the guest only want modules.
            command("depmod", "-b", base / "usr", self.release)
            self._make_initramfs(base)
            stamp.write_text(made_of)
        self.release = self._release(base)
        self.kernel = next((base / "boot").glob("vmlinuz-*"))

    @staticmethod
    def _release(base):
        return next((base / "usr/lib/modules").iterdir()).name

    @staticmethod
    def _unpack(packages, layer):
        for package in packages:
            command("dpkg-deb", "-x", package, layer)
        # A real /lib in the layer would hide the symbolic link /lib of the root below.
        for name in ("lib", "bin", "sbin"):
            if (layer / name).is_dir():
                (layer / "usr" / name).mkdir(parents=True, exist_ok=True)
                command("cp", "-a", f"{layer / name}/.", layer / "usr" / name)
                shutil.rmtree(layer / name)

    def _make_initramfs(self, base):
        root = self.folder / "initramfs"
        shutil.rmtree(root, ignore_errors=True)
        for name in ("bin", "dev", "proc", "sys", "modules"):
            (root / name).mkdir(parents=True)
        shutil.copy("/bin/busybox", root / "bin")
        order = []
        for module in BOOT_MODULES:
            lines = command("modprobe", "-d", base / "usr", "-S", self.release,
                            "--show-depends", module)
            for line in lines.splitlines():
                words = line.split()
                if words[0] == "insmod" and words[1] not in order:
                    order.append(words[1])
        for path in order:
            shutil.copy(path, root / "modules")
        (root / "modules/order").write_text("".join(f"{Path(path).name}\n" for path in order))
        shutil.copy(HERE / "guest/init", root / "init")
        (root / "init").chmod(0o755)
        with open(self.initramfs, "wb") as f:
            subprocess.run("find . | cpio -o -H newc --quiet | gzip -1", shell=True, cwd=root,
                           stdout=f, check=True)

    def add(self, *names):
        """Packages beside the installed Surefoot, for this run only."""
        self._unpack(self._fetch(*names), self.layer)

    def _install(self):
        """Surefoot as `cmake --install` lays it out, over the packages."""
        shutil.rmtree(self.layer, ignore_errors=True)
        self.empty.mkdir(exist_ok=True)
        command("cmake", "--install", self.build, "--prefix", "/usr",
                env={**os.environ, "DESTDIR": str(self.layer)})


# ---- one run of it ----


def working_accelerator(folder):
    """kvm where a guest really runs by it (the device alone is no proof), else tcg."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    root = Path(folder) / "probe"
    shutil.rmtree(root, ignore_errors=True)
    (root / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin")
    (root / "init").write_text("#!/bin/busybox sh\n/bin/busybox echo GUEST-RUNS\n"
                               "/bin/busybox poweroff -f\n")
    (root / "init").chmod(0o755)
    image = Path(folder) / "probe.gz"
    with open(image, "wb") as f:
        subprocess.run("find . | cpio -o -H newc --quiet | gzip -1", shell=True, cwd=root,
                       stdout=f, check=True)
    kernel = next((Path(folder) / "base/boot").glob("vmlinuz-*"))
    try:
        result = subprocess.run(
            ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-m", "512", "-display", "none",
             "-serial", "stdio", "-no-reboot", "-nodefaults", "-kernel", kernel, "-initrd", image,
             "-append", "console=ttyS0 quiet panic=-1"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10)
    except subprocess.TimeoutExpired:
        return "tcg"
    return "kvm" if b"GUEST-RUNS" in result.stdout else "tcg"


class Machine:
    """mode: "script" (no init system) or "systemd".  program: what the guest runs, in guest/."""

    def __init__(self, image, accelerator, out, program, mode, disks=(), arguments=(),
                 installed=True, devices=()):
        self.image = image
        self.layer = image.layer if installed else image.empty
        self.accelerator = accelerator
        self.out = Path(out)
        self.program = program
        self.mode = mode
        self.disks = disks
        self.arguments = arguments
        self.devices = devices  # more words for qemu
        self.process = None
        self.load = None
        self.console = self.out / "console"

    def start(self):
        guest = self.out / "guest"
        shutil.rmtree(guest, ignore_errors=True)
        shutil.copytree(HERE / "guest", guest, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("rc", "log", "load"):
            (self.out / name).unlink(missing_ok=True)
        model = "host" if self.accelerator == "kvm" else "max"
        words = ["qemu-system-x86_64", "-accel", self.accelerator + (
                     ",thread=multi" if self.accelerator == "tcg" else ""),
                 "-cpu", model, "-m", "2048", "-smp", "2", "-display", "none", "-nodefaults",
                 "-no-reboot", "-serial", f"file:{self.console}",
                 "-kernel", self.image.kernel, "-initrd", self.image.initramfs]
        shares = (("host", "/", True), ("base", self.image.folder / "base", True),
                  ("layer", self.layer, True), ("out", self.out, False))
        for tag, path, readonly in shares:
            words += ["-virtfs", f"local,path={path},mount_tag={tag},security_model=none,"
                                 f"multidevs=remap,readonly={'on' if readonly else 'off'}"]
        for disk in self.disks:
            # cache=writeback: a guest's flush is an fsync here, and what it did not flush may stay
            # behind in qemu.
            words += ["-drive", f"file={disk},if=virtio,cache=writeback,"
                                f"format={'qcow2' if disk.suffix == '.qcow2' else 'raw'}"]
        (self.out / "qmp").unlink(missing_ok=True)
        words += [*self.devices, "-qmp", f"unix:{self.out}/qmp,server=on,wait=off"]
        self.qmp = Qmp(self.out / "qmp")
        told = " ".join([f"vmtest={self.mode}:{self.program}", f"slowness={SLOWNESS}", *self.arguments])
        # The kernel checks its timer against the processor's clock at boot.  On a busy host the
        # emulated timer is late, and without the check's interrupt the guest stands still for minutes.
        words += ["-append", "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check "
                             f"{told}"]
        with open(self.out / "qemu.log", "ab") as log:
            self.process = subprocess.Popen([str(word) for word in words],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.load = Load(self.process.pid, self.out / "load")
        threading.Thread(target=self.load.watch, args=(self.process,), daemon=True).start()
        return self

    def limit(self, seconds):
        """What takes so long on two idle processors may take longer beside others."""
        return seconds * SLOWNESS * self.load.worst

    def wait(self, seconds, attend=None):
        """Until it powered off, calling attend() meanwhile.  What the guest's program returned; None if it
        did not say."""
        began = time.monotonic()
        while self.process.poll() is None and time.monotonic() - began < self.limit(seconds):
            if attend:
                attend()
            try:
                self.process.wait(0.1 if attend else 1)
            except subprocess.TimeoutExpired:
                pass
        if self.process.poll() is None:
            self.kill()
            print(f"the guest was still there after {self.limit(seconds):.0f} s ({seconds} s and "
                  f"what the host's load adds)", flush=True)
        rc = self.out / "rc"
        return int(rc.read_text()) if rc.exists() and rc.read_text().strip() else None

    def kill(self):
        """Pulls the plug."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def wait_until(self, condition, what, seconds):
        """condition is about files in /out.  Fails at once when the guest is gone."""
        began = time.monotonic()
        while not condition():
            if self.process.poll() is not None:
                raise RuntimeError(f"the guest ended before: {what}")
            if time.monotonic() - began > self.limit(seconds):
                raise RuntimeError(f"{what}: not after {self.limit(seconds):.0f} s")
            time.sleep(0.02)
