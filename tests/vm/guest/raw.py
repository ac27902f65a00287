"""The kernel's nbd client on our server, without a service manager: a filesystem takes verified load
while a leg is frozen, and after a kill -9 of the server and a reboot of the device it is all there."""

import os
import signal

from guest import (Fio, MIB, answered, assert_kernel_is_content, attach, ctl, legs, main, run,
                   say, serve, slowness, wait_healthy, wait_state, wait_until, write_conf)

SOCKET = "/run/vol0.sock"
DEVICE = "/dev/nbd0"


def load(name, size):
    return Fio(name, f"/mnt/{name}", f"--fsync=64", size=size)


def test():
    os.makedirs("/run/surefoot")
    os.makedirs("/mnt", exist_ok=True)
    run("modprobe", "nbd")
    leg = legs()
    conf = write_conf("/tmp/vol0.conf", leg)
    ctl("create", "--zero", conf, "--size", "320M")
    server = serve(conf, SOCKET)
    wait_healthy()
    attach(SOCKET, DEVICE)

    for kind in ("ext4", "xfs"):
        run(f"mkfs.{kind}", *(["-q"] if kind == "ext4" else ["-q", "-f", "-m", "reflink=0"]), DEVICE)
        run("mount", DEVICE, "/mnt")
        # Long enough that the freeze lies inside.
        fio = load(kind, 16 * MIB)
        wait_until(lambda: answered("nbd0") > 100, "load")
        with leg["c"].frozen():
            wait_state("c", "late")
            before = answered("nbd0")
            wait_until(lambda: answered("nbd0") > before + 200, "writes beside the frozen leg")
        fio.wait()
        assert fio.longest_s < 10 * slowness(), f"a write waited {fio.longest_s} s"
        wait_healthy()
        run("umount", "/mnt")
        say(f"{kind}: went on beside a frozen leg")
    assert_kernel_is_content()

    run("mkfs.ext4", "-q", "-F", DEVICE)
    run("mount", DEVICE, "/mnt")
    with open("/mnt/kept", "wb") as f:
        kept = os.urandom(MIB)
        f.write(kept)
        os.fsync(f.fileno())
    server.send_signal(signal.SIGKILL)
    server.wait()
    say("server killed")
    run("umount", "/mnt", check=False)
    run("nbd-client", "-d", DEVICE)
    server = serve(conf, SOCKET)
    attach(SOCKET, DEVICE)
    run("mount", DEVICE, "/mnt")
    with open("/mnt/kept", "rb") as f:
        assert f.read() == kept, "what was flushed before the kill is not there"
    run("umount", "/mnt")
    run("e2fsck", "-f", "-n", DEVICE)
    wait_healthy()
    run("nbd-client", "-d", DEVICE)
    server.send_signal(signal.SIGTERM)
    assert server.wait(30) == 0


main(test)
