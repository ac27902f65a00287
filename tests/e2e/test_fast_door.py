"""Proves what only the fast door does: that it and nbdkit's are two doors of one volume, whatever client vanishes and
whatever dies, and that a rude client delays only itself.  The other tests prove the rest, with SUREFOOT_DOOR=fast."""

import contextlib
import os
import random
import select
import socket
import stat
import struct
import sys
import threading
import time
from pathlib import Path

import nbd

from case import VolumeTest, main
from rig import MIB, PATIENCE_S, REPOSITORY, SLOWNESS, CommandFailed, Server, monotonic_deadline

sys.path.insert(0, str(REPOSITORY / "tests/hostile"))

from checker import check  # noqa: E402
from client import SLOT_SECTORS, Client, lay_out  # noqa: E402
from history import SECTOR, History  # noqa: E402

GO = 7
REQUEST, REPLY = 0x25609513, 0x67446698
READ, WRITE, DISC, FLUSH, ZEROES = 0, 1, 2, 3, 6


class Raw:
    """A client that says what it likes."""

    def __init__(self, server):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(str(server.fast_socket))

    def receive(self, n):
        data = b""
        while len(data) < n:
            piece = self.socket.recv(n - len(data))
            if not piece:
                raise EOFError(f"{len(data)} bytes of {n}")
            data += piece
        return data

    def send(self, data):
        self.socket.sendall(data)

    def greet(self):
        assert self.receive(18).startswith(b"NBDMAGIC")
        self.send(struct.pack(">I", 3))
        return self

    def go(self):
        self.greet()
        self.send(struct.pack(">8sIIIH", b"IHAVEOPT", GO, 6, 0, 0))
        while True:
            _, _, kind, length = struct.unpack(">QIII", self.receive(20))
            self.receive(length)
            if kind == 1:
                return self

    def request(self, kind, offset=0, length=0, cookie=7, flags=0, data=b""):
        self.send(struct.pack(">IHHQQI", REQUEST, flags, kind, cookie, offset, length) + data)

    def answer(self, length=0):
        """(errno, cookie, data)"""
        magic, error, cookie = struct.unpack(">IIQ", self.receive(16))
        assert magic == REPLY, hex(magic)
        return error, cookie, self.receive(length) if not error else b""

    def ended(self):
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while self.socket.recv(65536):
                pass
        return True

    def close(self):
        self.socket.close()


class FastDoor(VolumeTest):
    def raw(self, server):
        client = Raw(server)
        self.addCleanup(client.close)
        return client

    def test_only_its_user_may_connect(self):
        """Proves the mode of the socket, and that it is gone after a stop.  Looks at the file."""
        volume, server = self.served()
        mode = stat.S_IMODE(Path(server.fast_socket).stat().st_mode)
        self.assertEqual(0o600, mode)
        server.stop()
        self.assertFalse(Path(server.fast_socket).exists())

    def test_a_place_that_is_taken(self):
        """Proves that a server which cannot have its fast socket says why and leaves nothing behind: not what is there,
        and no control socket.  A file stands where the socket is to be, then it is gone."""
        volume = self.rig.volume().create()
        place = Path(volume.settings["fast_socket"])
        place.write_text("kept")
        server = volume.launch()
        self.assertEqual(1, server.process.wait(PATIENCE_S))
        self.assertIn("something that is no socket is there", server.log())
        self.assertEqual("kept", place.read_text())
        self.assertFalse(Path(volume.control).exists())
        place.unlink()
        server = volume.serve()
        self.assert_serves(server)
        server.stop()

    # -- two doors --

    def world(self, **settings):
        volume, server = self.served(self.two_and_one(), size=16 * MIB, **settings)
        seed = random.randrange(1 << 32)
        print(f"seed {seed}", file=sys.stderr)
        draw = random.Random(seed)
        history = History()
        slots = lay_out(volume.size // SECTOR, 4, draw)
        clients = [Client(i + 1, server.uris[door], history, slots, seed + i)
                   for i, door in enumerate(("nbdkit", "fast", "fast", "nbdkit"))]
        self.addCleanup(lambda: [client.stop() for client in clients])
        return volume, server, history, slots, clients, draw

    def wait_for_more(self, clients, more=20):
        wanted = [client.answered + more for client in clients]
        self.rig.wait_until(lambda: all(client.answered >= n for client, n in zip(clients, wanted)),
                            "answers")

    def settle(self, clients):
        for client in clients:
            client.paused.set()
        self.rig.wait_until(lambda: all(client.is_idle() for client in clients), "idle clients")
        for client in clients:
            client.stop()
            client.thread.join(PATIENCE_S)

    def read_back(self, server, history, slots):
        for door in ("nbdkit", "fast"):
            handle = server.connect(door)
            for slot in slots:
                read = history.begin_read(slot.first, SLOT_SECTORS, door)
                history.end_read(read, bytes(handle.pread(SLOT_SECTORS * SECTOR, slot.first * SECTOR)))

    def test_one_volume(self):
        """Proves that both doors lead to one linearizable volume, when clients of both vanish with requests
        under way and send them again, and a leg freezes and returns.  The history of every sector is
        checked."""
        volume, server, history, slots, clients, draw = self.world()
        for turn in range(12):
            self.wait_for_more([client for client in clients if not client.vanish_until])
            draw.choice(clients).vanish(draw.random() * 0.1)
            if turn == 4:
                volume.legs[2].freeze()
                volume.wait_leg("c", "late")
            if turn == 8:
                volume.legs[2].thaw()
        self.settle(clients)
        self.assertEqual([], [failure for client in clients for failure in client.failures])
        volume.wait_all_in_sync()
        self.read_back(server, history, slots)
        self.assertEqual([], check(history))
        self.stop_and_compare(volume, server)

    def test_a_killed_server(self):
        """Proves that what both doors' clients were answered survives a kill of the server under load, and
        that they go on with the next one."""
        volume, server, history, slots, clients, _ = self.world(wait_for_legs="10s")
        for _ in range(3):
            self.wait_for_more(clients)
            server.kill()
            history.server_ended()
            server = volume.serve()
            volume.wait_all_in_sync()
        self.wait_for_more(clients)
        self.settle(clients)
        self.read_back(server, history, slots)
        self.assertEqual([], check(history))
        self.stop_and_compare(volume, server)

    def test_a_stop_under_load(self):
        """Proves that nbdkit ends although clients of the fast door are there, with their connections ended and
        no error told.  SIGTERM while one writes and one has nothing to do."""
        volume, server = self.served()
        idle = server.connect("fast")
        with self.load(server, mix=(("write", 1.0),), door="fast") as load:
            load.run_for(0.5)
            server.handles.remove(idle)
            server.stop()
            self.rig.wait_until(lambda: load.connection_lost, "the end of the connection")
        self.assertEqual([], load.errors)
        self.assertEqual([], load.wrong)
        server = volume.serve()
        self.assertEqual([], load.model.verify(server.connect()))
        self.stop_and_compare(volume, server)

    def test_a_stop_while_suspended(self):
        """Proves that a server ends while requests of fast clients wait without end.  Two of three legs hang, with
        on_too_few = suspend."""
        legs = [*self.rig.file_legs("a"), self.fuse_leg("b"), self.fuse_leg("c")]
        volume, server = self.served(legs, on_too_few="suspend")
        handle = server.connect("fast")
        server.handles.remove(handle)
        for leg in legs[1:]:
            leg.freeze()
        handle.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(4096)), 0)
        handle.poll(10)
        volume.wait_for(lambda status: status["state"] == "suspended", "suspended")
        before = self.cpu_s(server)
        began = time.monotonic()
        volume.wait_for(lambda status: status["oldest_ms"] > 2000, "two seconds")
        self.assertLess(self.cpu_s(server) - before, 0.5 * (time.monotonic() - began))
        server.process.terminate()
        self.rig.wait_until(lambda: any("stopped" in line for line in server.log().splitlines()[-4:])
                            or server.process.poll() is not None, "the stop", seconds=PATIENCE_S)
        for leg in legs[1:]:
            leg.thaw()
        server.process.wait(PATIENCE_S)

    def cpu_s(self, server):
        words = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / 100

    def test_frozen_leg(self):
        """Proves that no write waits longer than the deadline and a little when a leg freezes, and that a connection
        which comes when another one died with requests on that leg is served at once."""
        volume, server = self.served(self.two_and_one(), size=64 * MIB)
        with self.load(server, mix=(("write", 0.8), ("read", 0.2)), blocks=4096, door="fast") as load:
            load.run_for(0.5)
            dying = server.connect("fast")
            cookies = [dying.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(4096)), 32 * MIB + i * 4096)
                       for i in range(8)]
            volume.legs[2].freeze()
            for cookie in cookies[:1]:
                dying.poll(20)
            server.handles.remove(dying)
            del dying
            volume.wait_leg("c", "late")
            again = server.connect("fast")
            again.pwrite(b"\5" * 4096, 32 * MIB)
            self.assertEqual(b"\5" * 4096, bytes(again.pread(4096, 32 * MIB)))
            load.run_for(1)
            volume.legs[2].thaw()
            load.run_for(0.5)
        self.assert_load_well(load, server)
        self.assert_longest(load, 0.125)
        self.stop_and_compare(volume, server)

    # -- rude clients --

    def assert_serves(self, server, told=None):
        handle = server.connect("fast")
        handle.pwrite(b"\x42" * 4096, 0)
        self.assertEqual(b"\x42" * 4096, bytes(handle.pread(4096, 0)))
        handle.shutdown()
        server.handles.remove(handle)
        if told:
            self.rig.wait_until(lambda: told in server.log(), told)

    def test_memory_of_a_connection(self):
        """Proves that what a connection needs is there before it serves: under want of memory it asks for none."""
        _, server = self.served()
        before = server.memory_peak_bytes()
        server.connect("fast")
        after = server.memory_peak_bytes()
        self.assertGreater(after - before, 8 * MIB)

    def test_one_that_ends(self):
        """Proves that what is under way when a client says that it ends is done and answered, though it shuts its writing
        side then, as libnbd does.  A leg freezes for longer than a look at the client takes."""
        legs = [*self.rig.file_legs("a"), self.fuse_leg("b")]
        volume, server = self.served(legs, write_deadline="25s", read_deadline="25s", flush_deadline="25s")
        handle, client = server.connect("fast"), self.raw(server).go()
        server.handles.remove(handle)
        handle.set_strict_mode(handle.get_strict_mode() & ~nbd.STRICT_ALIGN)
        legs[1].freeze()
        answers = []

        def answered(error):
            answers.append(error.value)
            return 1

        handle.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(b"\1" * 4096)), 0, completion=answered)
        handle.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(b"\2" * 100)), 9000, completion=answered)
        handle.aio_zero(16 * MIB, 16 * MIB, completion=answered)
        handle.aio_flush(completion=answered)
        client.request(WRITE, 65536, 4096, data=b"\3" * 4096)
        client.request(DISC, 0, 0)
        client.socket.shutdown(socket.SHUT_WR)
        thaw = threading.Timer(2, legs[1].thaw)
        thaw.start()
        handle.shutdown()
        thaw.join()
        self.assertEqual([0] * 4, answers)
        self.assertEqual((0, 7, b""), client.answer())
        self.assertTrue(client.ended())
        self.assertEqual(0, volume.status()["requests"]["errors"])
        self.stop_and_compare(volume, server)

    def test_no_client(self):
        """Proves that what is no NBD is told of and ended: in the handshake, and in a request."""
        volume, server = self.served()
        client = self.raw(server)
        client.greet()
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertTrue(client.ended())
        self.assert_serves(server, "an option without its magic number")
        client = self.raw(server).go()
        client.send(b"x" * 28)
        self.assertTrue(client.ended())
        self.assert_serves(server, "bytes that are no request")
        client = self.raw(server)
        client.send(b"\xff" * 4)
        self.assertTrue(client.ended())
        self.assert_serves(server, "a handshake that is not known")

    def test_wrong_requests(self):
        """Proves that a request that cannot be is answered with an error, and the next one with data."""
        volume, server = self.served()
        client = self.raw(server).go()
        wrong = [(READ, volume.size, 512, 0, 22), (READ, 0, 32 * MIB + 512, 0, 22), (READ, 0, 0, 0, 22),
                 (READ, 2**64 - 512, 512, 0, 22), (77, 0, 0, 0, 22), (READ, 0, 512, 1 << 3, 22),
                 (6, 0, 4096, 1 << 4, 95), (4, volume.size, 4096, 0, 22),
                 (ZEROES, volume.size, 4096, 0, 28), (FLUSH, 0, 4096, 0, 22)]
        for kind, offset, length, flags, error in wrong:
            client.request(kind, offset, length, flags=flags)
            self.assertEqual((error, 7, b""), client.answer(), (kind, offset, length))
        # The data of a refused write is not taken for requests.
        client.request(WRITE, volume.size, 8192, data=struct.pack(">I", REQUEST) * 2048)
        self.assertEqual(28, client.answer()[0])
        client.request(WRITE, 0, 32 * MIB + 4096)
        for _ in range(32):
            client.send(bytes(MIB))
        client.send(bytes(4096))
        self.assertEqual(22, client.answer()[0])
        client.request(READ, 0, 4096, cookie=9)
        self.assertEqual((0, 9, bytes(4096)), client.answer(4096))
        client.request(DISC)
        self.assertTrue(client.ended())

    def test_halves(self):
        """Proves that it does not matter in which pieces requests come: every request, byte by byte or many in
        one, is done."""
        volume, server = self.served()
        client = self.raw(server).go()
        data = random.Random(1).randbytes(300_000)
        whole = (struct.pack(">IHHQQI", REQUEST, 0, WRITE, 1, 4096, len(data)) + data
                 + struct.pack(">IHHQQI", REQUEST, 0, FLUSH, 2, 0, 0))
        for at in range(40):
            client.send(whole[at:at + 1])
        at = 40
        for length in (1, 27, 28, 4095, 100_000, 262_144):
            client.send(whole[at:at + length])
            at += length
        client.send(whole[at:])
        self.assertEqual({1, 2}, {client.answer()[1] for _ in range(2)})
        client.send(b"".join(struct.pack(">IHHQQI", REQUEST, 0, READ, i, 4096 + i * 1000, 1000)
                             for i in range(250)))
        for _ in range(250):
            error, cookie, got = client.answer(1000)
            self.assertEqual(0, error)
            self.assertEqual(data[cookie * 1000:cookie * 1000 + 1000], got, cookie)
        self.stop_and_compare(volume, server)

    def test_one_that_does_not_read(self):
        """Proves that a client which asks for much and takes no answers keeps no other one, in bounded memory:
        several ask for 1 GiB each, and others read and write."""
        volume, server = self.served()
        before = server.memory_peak_bytes()
        rude = [self.raw(server).go() for _ in range(8)]
        for client in rude:
            client.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                for i in range(4096):
                    client.request(READ, 0, 256 * 1024, cookie=i)
        with self.load(server, mix=(("write", 0.5), ("read", 0.5)), door="fast") as load:
            load.run_for(1)
        self.assertGreater(len(load.operations), 50)
        self.assert_load_well(load, server)
        self.assertLess(server.memory_peak_bytes() - before, (8 * 8 + 32) * MIB * SLOWNESS)
        for client in rude:
            client.close()
        self.stop_and_compare(volume, server)

    def test_a_thousand(self):
        """Proves that a thousand connections are too many and keep neither those that are served nor, when they are
        gone, new ones."""
        volume, server = self.served()
        kept = server.connect("fast")
        many = []
        for _ in range(1000):
            connection = socket.socket(socket.AF_UNIX)
            connection.setblocking(False)
            with contextlib.suppress(OSError):
                connection.connect(str(server.fast_socket))
            many.append(connection)
        kept.pwrite(b"\1" * 4096, 0)
        self.rig.wait_until(lambda: "too many of them" in server.log(), "a line about it")
        for connection in many:
            connection.close()
        left = monotonic_deadline(PATIENCE_S)
        while True:
            try:
                self.assert_serves(server)
                break
            except (nbd.Error, CommandFailed):
                self.assertGreater(left(), 0, "no client is served any more")
        self.assertEqual(b"\x42" * 4096, bytes(kept.pread(4096, 0)))
        self.stop_and_compare(volume, server)

    def test_many_with_few_files(self):
        """Proves that as many connections as there may be are served with 1024 files, also when each asks at once for
        what goes to its threads, and that the control socket answers."""
        volume = self.rig.volume().create()
        server = Server(self.rig, volume)
        server.command = ["prlimit", "--nofile=1024:1024", *server.command]
        server.start()
        clients = [self.raw(server).go() for _ in range(64)]
        for index, client in enumerate(clients):
            for i in range(8):
                client.request(ZEROES, (index * 8 + i) * 4096, 4096, cookie=i)
        for client in clients:
            self.assertEqual({(0, i) for i in range(8)}, {client.answer()[:2] for _ in range(8)})
        files = len(os.listdir(f"/proc/{server.process.pid}/fd"))
        self.assertLess(files, 1024 - 100)
        self.assertEqual(0, volume.status()["requests"]["errors"])
        self.assertNotIn("refused", server.log())
        self.stop_and_compare(volume, server)

    def trickle(self, client):
        """Returns when the server has ended it."""
        client.send(struct.pack(">8sII", b"IHAVEOPT", GO, 8000))
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while not select.select([client.socket], [], [], 1)[0]:
                client.send(b"x")

    def test_one_that_stalls(self):
        """Proves that a handshake which is not ended is, after ten seconds, also one that goes on byte by byte, and
        that a write without its data delays no other: others write the same block meanwhile."""
        volume, server = self.served()
        silent, half = self.raw(server).greet(), self.raw(server).go()
        trickle = threading.Thread(target=self.trickle, args=(self.raw(server).greet(),))
        trickle.start()
        half.request(WRITE, 0, 65536, data=b"x" * 100)
        ended = threading.Thread(target=silent.ended)
        ended.start()
        self.assert_serves(server, "it stalls in the handshake")
        ended.join(PATIENCE_S)
        self.assertFalse(ended.is_alive())
        trickle.join(PATIENCE_S)
        self.assertFalse(trickle.is_alive())
        half.send(b"x" * 65436)
        self.assertEqual((0, 7, b""), half.answer())
        self.stop_and_compare(volume, server)


if __name__ == "__main__":
    main()
