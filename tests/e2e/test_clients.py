"""Proves that a client which goes away, politely or not, costs no other client anything.
Clients hang up in the middle of a stall, are killed in the middle of a load, come and go by the hundred."""

import os
import socket
import subprocess
import threading

import nbd

from case import VolumeTest, main
from rig import PATIENCE_S, SLOWNESS, FileLeg, Server, monotonic_deadline


def threads_of(server):
    return len(os.listdir(f"/proc/{server.process.pid}/task"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def address_of_this_machine():
    """An IPv4 address that is not loopback; None if there is none."""
    shown = subprocess.run(["ip", "-o", "-4", "address", "show", "scope", "global"], text=True,
                           stdout=subprocess.PIPE).stdout.split()
    return next((shown[i + 1].split("/")[0] for i, word in enumerate(shown) if word == "inet"), None)


class Clients(VolumeTest):
    def test_tcp_without_tls(self):
        """Proves that a client from elsewhere, by TCP and without TLS, is warned of, once; and that
        loopback, and TLS, are not."""
        address = address_of_this_machine()
        if not address:
            self.skipTest("this machine has no address but loopback")
        psk = self.rig.folder / "psk"
        psk.write_text("alice:" + "5a" * 32 + "\n")
        psk.chmod(0o600)
        volume, server = self.served([FileLeg(self.rig, "a")])
        server.stop()
        port = free_port()
        at = server.command.index("-U")
        server.command[at:at + 2] = ["-p", str(port), "--tls=on", f"--tls-psk={psk}"]
        server.launch()

        def connect(host, tls=False):
            handle = nbd.NBD()
            if tls:
                handle.set_tls(nbd.TLS_REQUIRE)
                handle.set_tls_username("alice")
                handle.set_tls_psk_file(str(psk))
            handle.connect_tcp(host, str(port))
            server.handles.append(handle)
            handle.pread(4096, 0)
            return True

        def connected():
            try:
                return connect("127.0.0.1")
            except nbd.Error:
                return False

        def warnings():
            return [line for line in server.log().splitlines() if "without TLS" in line]

        self.rig.wait_until(connected, "nbdkit", process=server.process)
        connect(address, tls=True)
        self.assertEqual([], warnings())
        connect(address)
        connect(address)
        (line,) = warnings()
        self.assertIn(address, line)
        self.assertIn("--tls=require", line)
        server.stop()

    def test_one_hangs_up_in_a_stall(self):
        """Proves that a client which waits for two legs that hang, and hangs up, leaves nothing
        behind: its threads end, others are served, and once the legs are back its block is one
        block on all of them."""
        legs = [FileLeg(self.rig, "a"), self.fuse_leg("b"), self.fuse_leg("c")]
        volume, server = self.served(legs, on_too_few="suspend", read_deadline="100ms",
                                     write_deadline="100ms", flush_deadline="100ms")
        before = threads_of(server)
        rude = server.connect()
        for leg in legs[1:]:
            leg.freeze()
        cookies = [rude.aio_pwrite(b"\x42" * 4096, block * 4096) for block in range(8)]
        volume.wait_for(lambda status: status["state"] == "suspended", "suspended")
        for cookie in cookies:
            self.assertFalse(rude.aio_command_completed(cookie))
        server.handles.remove(rude)
        del rude  # closes the socket, without a word
        self.rig.wait_until(lambda: threads_of(server) <= before, "the end of the client's threads")
        polite = server.connect()
        self.assertEqual(bytes(4096), bytes(polite.pread(4096, 1 << 20)))
        for leg in legs[1:]:
            leg.thaw()
        polite.pwrite(b"\x43" * 4096, 8 * 4096)
        for block in range(8):
            first = bytes(polite.pread(4096, block * 4096))
            self.assertIn(first, (bytes(4096), b"\x42" * 4096), "a block that was never written")
            self.assertEqual(first, bytes(polite.pread(4096, block * 4096)))
        self.stop_and_compare(volume, server)

    def test_what_is_gone_does_not_go_on(self):
        """Proves that a long request ends soon after its client: one that came back by another
        connection may write where it still zeroes.  The zeroing takes several batches on a leg that
        is slow; the new client writes where the later ones would be."""
        legs = [FileLeg(self.rig, "a"), self.fuse_leg("b")]
        volume = self.rig.volume(legs, size=320 << 20, read_deadline="25s", write_deadline="25s",
                                 flush_deadline="25s").create()
        server = volume.serve()
        volume.wait_all_in_sync()
        legs[1].limit_rate(64 * 8 << 20)
        first = server.connect()
        first.aio_zero(256 << 20, 0)
        first.aio_pread(nbd.Buffer(512), 300 << 20)  # answered after the zeroing has begun
        while first.aio_in_flight() > 1:
            first.poll(-1)
        server.handles.remove(first)
        del first
        second = server.connect()
        second.pwrite(b"\x44" * 4096, 250 << 20)
        self.rig.wait_until(lambda: "zero of 268435456 bytes" in server.log(),
                            "the end of what the first client asked for")
        legs[1].limit_rate(0)
        self.assertEqual(b"\x44" * 4096, bytes(second.pread(4096, 250 << 20)))
        self.stop_and_compare(volume, server)

    def _resent(self, there_before, length):
        """A write whose thread is held before it is submitted; its connection dies, and the client
        sends it again by another, then a newer one, and flushes."""
        preload = os.environ.get("SUREFOOT_HOLD_RING")
        if not preload:
            self.skipTest("run by ctest, which says where the preloaded library is")
        hold = self.rig.folder / "hold"
        held = self.rig.folder / "hold.held"
        volume = self.rig.volume().create()
        server = Server(self.rig, volume)
        server.environment = {
            "LD_PRELOAD": " ".join(filter(None, [os.environ.get("SUREFOOT_PRELOAD"), preload])),
            "SUREFOOT_HOLD_AT": str(hold)}
        server.start()
        volume.wait_all_in_sync()
        old = server.connect()
        old.set_strict_mode(0)
        new = server.connect() if there_before else None
        if there_before:
            new.pwrite(bytes(512), 1 << 20)
        hold.touch()
        old.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(b"\1" * length)), 0)
        while not held.exists():
            old.poll(10)
        with socket.socket(fileno=os.dup(old.aio_get_fd())) as connection:
            connection.shutdown(socket.SHUT_RDWR)
        new = new or server.connect()
        new.set_strict_mode(0)
        new.pwrite(b"\1" * length, 0)
        new.pwrite(b"\2" * length, 0)
        new.flush()
        held.unlink()
        self.rig.wait_until(lambda: f"write of {length} bytes at 0" in server.log(),
                            "the end of the first write")
        self.assertEqual(b"\2" * length, bytes(new.pread(length, 0)))
        server.handles.remove(old)
        self.stop_and_compare(volume, server)

    def test_what_was_resent_is_not_written_over(self):
        """Proves that a write of a dead connection never lands after what its client has sent since
        by a new one."""
        self._resent(there_before=False, length=4096)

    def test_what_was_resent_by_another_connection(self):
        """Proves the same where the client goes on by a connection that was there already."""
        self._resent(there_before=True, length=4096)

    def test_a_part_that_was_resent(self):
        """Proves the same for a part of a block."""
        self._resent(there_before=False, length=100)

    def test_one_is_killed_under_load(self):
        """Proves that a killed client's half-sent requests harm no other.  fio is killed three times
        while a load that knows what it wrote works on other blocks."""
        volume, server = self.served(threads=16)
        with self.load(server, mix=(("write", 0.6), ("read", 0.4)), blocks=1024) as load:
            for _ in range(3):
                fio = self.rig.spawn(["fio", "--name=rude", "--ioengine=nbd", f"--uri={server.uri}",
                                      "--rw=randwrite", "--bs=64k", "--iodepth=16", "--offset=8M",
                                      "--size=16M", "--time_based", "--runtime=60"])
                writes = volume.status()["requests"]["writes"]
                load.run_for(0.5)
                volume.wait_for(lambda status: status["requests"]["writes"] > writes, "writes")
                fio.kill()
                fio.wait()
        self.assert_load_well(load, server)
        self.stop_and_compare(volume, server)

    def test_many_with_few_files(self):
        """Proves that a volume which may open too few files for all threads of its clients serves all
        of them, answers its control socket, and says so once.  512 writes wait for a leg that hangs,
        each in a thread of its own, with 1024 files."""
        def shared(handles):
            for handle in handles:
                handle.poll(0)  # what did not fit into the socket
            return "share a ring" in server.log()

        legs = [FileLeg(self.rig, "a"), self.fuse_leg("b")]
        volume = self.rig.volume(legs, read_deadline="25s", write_deadline="25s",
                                 flush_deadline="25s").create()
        server = Server(self.rig, volume, threads=64)
        server.command = ["prlimit", "--nofile=1024:1024", *server.command]
        server.start()
        volume.wait_all_in_sync()
        handles = [server.connect() for _ in range(8)]
        legs[1].freeze()
        cookies = []
        for index, handle in enumerate(handles):
            for block in range(64):
                buffer = nbd.Buffer.from_bytearray(bytearray([index + 1]) * 4096)
                cookies.append((handle, handle.aio_pwrite(buffer, (index * 64 + block) * 4096)))
        self.rig.wait_until(lambda: shared(handles), "more threads than rings")
        files = len(os.listdir(f"/proc/{server.process.pid}/fd"))
        self.assertLess(files, 1024 - 100)
        self.assertEqual(0, volume.status()["requests"]["errors"])
        legs[1].thaw()
        for handle, cookie in cookies:
            while not handle.aio_command_completed(cookie):
                handle.poll(-1)
        for index, handle in enumerate(handles):
            self.assertEqual(bytes([index + 1]) * 4096, bytes(handle.pread(4096, index * 64 * 4096)))
        self.assertEqual(1, server.log().count("share a ring"))
        self.assertEqual(0, volume.status()["requests"]["errors"])
        self.stop_and_compare(volume, server)

    def test_the_limit_on_files_is_raised(self):
        """Proves that a low limit which may be raised is, without a word."""
        volume = self.rig.volume().create()
        server = Server(self.rig, volume)
        server.command = ["prlimit", "--nofile=256:4096", *server.command]
        server.start()
        with open(f"/proc/{server.process.pid}/limits") as limits:
            (line,) = [line for line in limits if line.startswith("Max open files")]
        self.assertEqual(["4096", "4096"], line.split()[3:5])
        self.stop_and_compare(volume, server)

    def test_many_come_and_go(self):
        """Proves that connections do not add up: a hundred, eight at a time, each of which writes,
        flushes and reads back, leave no thread and no growing memory behind."""
        volume, server = self.served(threads=8)

        def visit(index):
            handle = server.connect()
            data = bytes([index]) * 4096
            handle.pwrite(data, index * 4096)
            handle.flush()
            if bytes(handle.pread(4096, index * 4096)) != data:
                wrong.append(index)
            handle.shutdown()

        wrong, sizes = [], []
        for round_ in range(13):
            visitors = [threading.Thread(target=visit, args=(round_ * 8 + i,)) for i in range(8)]
            for visitor in visitors:
                visitor.start()
            for visitor in visitors:
                visitor.join()
            server.handles = []
            sizes.append(server.memory_peak_bytes())
        self.assertEqual([], wrong)
        self.assertLess(sizes[-1] - sizes[3], 8 * SLOWNESS * 1024 * 1024, f"it grows: {sizes}")
        left = monotonic_deadline(PATIENCE_S)
        while threads_of(server) > 40 and left() > 0:
            volume.status()
        self.assertLessEqual(threads_of(server), 40)
        self.stop_and_compare(volume, server)


if __name__ == "__main__":
    main()
