#!/usr/bin/python3
"""Surefoot on Debian's own kernel, in a virtual machine.  vmtest.py --build BUILD [NAME...]

Each test boots one guest or several and is judged by what the guest's program said (never by qemu,
which ends with 0 after a panic too).  Ends with "N passed, N failed"; with --seconds also how many
were left out for want of time.
"""

import argparse
import json
import random
import re
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

sys.dont_write_bytecode = True
from machine import Image, Machine, Unavailable, command, working_accelerator  # noqa: E402

MIB = 1024 * 1024
CUTS = 10
STOP_S = 20  # far below stop_timeout, which is when surefootd gives up
NOT_HERE = 77


class Test:
    def __init__(self, image, accelerator, folder, name):
        self.image = image
        self.accelerator = accelerator
        self.name = name
        self.out = folder / "out" / name
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)

    def disks(self, names, size=384 * MIB):
        """Empty disks, one for each leg: as many as said, or these."""
        made = []
        for name in "abcdefgh"[:names] if isinstance(names, int) else names:
            path = self.out / f"{name}.img"
            with open(path, "wb") as f:
                f.truncate(size)
            made.append(path)
        return made

    def boot(self, program, mode, disks=(), seconds=240, arguments=(), installed=True, devices=(), attend=None):
        """attend: is called with the machine again and again while it runs."""
        self.machine = machine = Machine(self.image, self.accelerator, self.out, program, mode, disks,
                                         arguments, installed, devices)
        machine.start()
        try:
            rc = machine.wait(seconds, attend and (lambda: attend(machine)))
        finally:
            if machine.process.poll() is None:
                machine.kill()
        assert rc == 0, f"the guest's program: {'no verdict' if rc is None else f'exit {rc}'}"

    def tell(self):
        for name in ("log", "console", "qemu.log"):
            path = self.out / name
            if path.exists():
                print(f"--- {path}", path.read_text(errors="replace")[-12000:], sep="\n")


# ---- the tests ----


def raw(test):
    test.boot("raw", "script", test.disks(3))


def service(test):
    disks = test.disks(3, 144 * MIB)
    test.boot("service", "systemd", disks)
    result, stopped = (test.out / "stopped").read_text().split()
    took_s = float(stopped) - float((test.out / "begins").read_text())
    print(f"service: unmounted and stopped in {took_s:.1f} s beside a frozen leg", flush=True)
    assert result == "success", f"surefootd at the shutdown: {result}"
    assert took_s < test.machine.limit(STOP_S), "that is too long"


def package(test):
    (deb,) = test.image.build.parent.glob("deb/surefoot_*.deb")
    shutil.copy(deb, test.out / "first.deb")
    # The same with a higher version.
    unpacked = test.out / "second"
    command("dpkg-deb", "-R", deb, unpacked)
    control = unpacked / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^(Version: .*)$", r"\1+again", control.read_text()))
    command("dpkg-deb", "--root-owner-group", "-b", unpacked, test.out / "second.deb")
    shutil.rmtree(unpacked)
    test.boot("package", "systemd", test.disks(3, 80 * MIB), installed=False)


def powercut(test):
    """qemu is killed in the middle of flushed writes, again and again.  Each life has fresh overlays:
    what the guest did not flush, qemu has not noted in them, and it is gone."""
    disks = test.disks(3, 144 * MIB)
    rng = random.Random()
    acknowledged = test.out / "acknowledged"

    def lines():
        return acknowledged.read_text().count("\n") if acknowledged.exists() else 0

    for life in range(CUTS + 1):
        above = []
        for disk in disks:
            overlay = test.out / f"{disk.name[0]}-{life}.qcow2"
            command("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "-b", disk,
                    "-F", disk.suffix[1:].replace("img", "raw"), overlay)
            above.append(overlay)
        disks = above
        if life == CUTS:
            test.boot("powercut", "systemd", disks, arguments=["last"])
            break
        machine = Machine(test.image, test.accelerator, test.out, "powercut", "systemd", disks)
        machine.start()
        try:
            enough = lines() + rng.randrange(20, 120)
            machine.wait_until(lambda: lines() >= enough, f"life {life}: {enough} flushes", 120)
        finally:
            machine.kill()
        (test.out / "log").rename(test.out / f"log-{life}")
    print(f"powercut: {CUTS} cuts, {lines()} flushed writes kept", flush=True)


def device(test):
    test.boot("device", "script", test.disks(3), seconds=520)


def stop(test):
    """Two boots: what the first one's shutdown has left is seen by the second."""
    test.image.add("lvm2", "dmeventd", "libdevmapper-event1.02.1", "liblvm2cmd2.03", "libaio1", "libedit2")
    disks = test.disks(3, 144 * MIB) + test.disks("defg", 80 * MIB)
    for _ in range(2):
        test.boot("stop", "systemd", disks, seconds=300)
    assert (test.out / "ended").read_text() == "success\n", (test.out / "ended").read_text()


def unplug(test):
    """Disks that are pulled out and put in when the guest asks for it, on a bus of either kind."""
    models = {"a": {"driver": "virtio-blk-pci"}, "b": {"driver": "virtio-blk-pci"},
              "c": {"driver": "scsi-hd", "bus": "scsi.0"}, "spare": {"driver": "virtio-blk-pci"}}
    devices = ["-device", "virtio-scsi-pci,id=scsi"]
    for (name, model), disk in zip(models.items(), test.disks(4, 80 * MIB)):
        model |= {"id": f"disk-{name}", "serial": f"leg-{name}", "drive": f"image-{name}"}
        devices += ["-blockdev", f"driver=raw,node-name=image-{name},file.driver=file,file.filename={disk}"]
        if name != "spare":
            devices += ["-device", ",".join(f"{key}={value}" for key, value in model.items())]
    done = told = 0

    def attend(machine):
        nonlocal done, told
        asked = test.out / "asked"
        if not asked.exists():
            return
        number, what, name = asked.read_text().split()
        if int(number) == done:
            return
        if int(number) != told:
            told = int(number)
            if what == "put":
                machine.qmp.tell("device_add", **models[name])
            else:
                machine.qmp.events.clear()
                machine.qmp.tell("device_del", id=f"disk-{name}")
        # The guest's kernel has to agree.
        if what == "put" or machine.qmp.has_said("DEVICE_DELETED", device=f"disk-{name}"):
            done = told
            (test.out / "answered").write_text(f"{number}\n")

    test.boot("unplug", "systemd", seconds=300, devices=devices, attend=attend)


def memory(test):
    """In a guest with so little that it swaps."""
    test.boot("memory", "systemd", test.disks(3, 640 * MIB), seconds=600, arguments=["mem=768M"])


def peers(test):
    test.image.add("mdadm", "drbd-utils")
    test.boot("peers", "script", test.disks(3, 144 * MIB), seconds=1000)
    found = test.out / "peers.json"
    print(peers_table(json.loads(found.read_text())), found, sep="\n", flush=True)


# What each takes on two idle cores with software emulation, in seconds: to see what still fits.
TESTS = {"raw": (raw, 60), "service": (service, 120), "package": (package, 80),
         "powercut": (powercut, 240), "device": (device, 380), "memory": (memory, 240),
         "stop": (stop, 230), "unplug": (unplug, 100)}
# By name only: long, and most of it is about others.
ASKED_FOR = {"peers": (peers, 480)}


def peers_table(found):
    columns = (("", "system", "<34"), ("", "load", "<30"), ("longest gap s", "longest_gap_s", ">13"),
               ("before it s", "gap_before_s", ">13"), ("frozen s", "frozen_s", ">10"),
               ("answered", "answered_frozen", ">10"), ("errors", "errors", ">8"),
               ("whole after s", "whole_after_s", ">15"))
    lines = [f"One copy frozen for {found['frozen_s']} s under 4 KiB writes, {found['rate']} a second; "
             + ", ".join(f"{name} {version}" for name, version in found["versions"].items()), "",
             "".join(format(title, width) for title, _, width in columns) + "  meanwhile; afterwards"]
    for row in found["rows"]:
        after = [row["state_after"], "copies equal" if row["copies_equal"] else "COPIES NOT EQUAL",
                 row["details"]]
        lines.append("".join(format(row[key], width) for _, key, width in columns)
                     + f"  {row['state_frozen']}; {', '.join(filter(None, after))}")
    return "\n".join(lines)


def attempt(image, accelerator, name, body):
    test = Test(image, accelerator, image.folder, name)
    try:
        body(test)
        return True
    except (AssertionError, RuntimeError, OSError, subprocess.SubprocessError):
        traceback.print_exc(limit=4)
        test.tell()
        return False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True, type=Path)
    parser.add_argument("--folder", type=Path, default=Path("build/vm"))
    parser.add_argument("--seconds", type=int, default=None,
                        help="a test that would take longer than what is left of it is left out")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    tests = {**TESTS, **ASKED_FOR}
    unknown = [name for name in options.names if name not in tests]
    if unknown:
        parser.error(f"there is no test {', '.join(unknown)}; there are {', '.join(tests)}")

    began = time.monotonic()
    try:
        image = Image(options.folder, options.build).prepare()
    except Unavailable as reason:
        print(reason)
        return NOT_HERE
    accelerator = working_accelerator(image.folder)
    print(f"guest {image.release}, {accelerator}", flush=True)

    passed = failed = left_out = 0
    expected_s = taken_s = 0.0
    for name in options.names or TESTS:
        start = time.monotonic()
        body, takes_s = tests[name]
        # As slow as those before were, at least.
        pace = max(1.0, taken_s / expected_s) if expected_s else 1.0
        if options.seconds and start - began + takes_s * pace > options.seconds:
            print(f"{name}: LEFT OUT, it takes {takes_s * pace:.0f} s and they are not left",
                  flush=True)
            left_out += 1
            continue
        well = attempt(image, accelerator, name, body)
        # An emulated processor has slow moments of its own: among all, one more try if there is time.
        left_s = (options.seconds or 0) - (time.monotonic() - began)
        if not well and left_s > takes_s * pace:
            well = attempt(image, accelerator, name, body)
            if well:
                print(f"{name} needed a second try")
        passed += well
        failed += not well
        verdict = "passed" if well else "FAILED"
        expected_s += takes_s
        taken_s += time.monotonic() - start
        print(f"{name:12} {verdict}  ({time.monotonic() - start:.0f} s)", flush=True)
    print(f"{passed} passed, {failed} failed" + (f", {left_out} left out" if options.seconds else ""))
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
