"""What it ran on."""

import os
import platform
import shutil
import subprocess
from pathlib import Path


def _version(*command):
    if not shutil.which(command[0]):
        return "not installed"
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    return (done.stdout or done.stderr).strip().splitlines()[0]


def _processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _memory_mib():
    return int(Path("/proc/meminfo").read_text().split()[1]) // 1024


def _filesystem(folder):
    best = ("", "?", "?")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        device, where, kind = line.split()[:3]
        if os.path.commonpath([where, folder]) == where and len(where) >= len(best[0]):
            best = (where, kind, device)
    return f"{best[1]} on {best[2]}"


def _distribution():
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.split("=", 1)[1].strip('"')
    return "?"


def _commit():
    folder = Path(__file__).parent
    done = subprocess.run(["git", "-C", folder, "describe", "--always", "--dirty"],
                          capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "not from a checkout"


def describe(rig):
    return {
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory_mib": _memory_mib(),
        "system": f"{_distribution()}, Linux {platform.release()}",
        "disk": _filesystem(str(rig.folder)),
        "load_at_start": os.getloadavg()[0],
        "versions": {"surefoot": _commit(), "nbdkit": _version("nbdkit", "--version"),
                     "qemu-nbd": _version("qemu-nbd", "--version").split(" (")[0],
                     "fio": _version("fio", "--version")},
    }
