"""Several connections that write stamped blocks, read and flush, overlapping each other."""

import errno
import random
import threading

from register import BLOCK, pattern

HOT_BLOCKS = 256
BLOCKS_MOST = 24  # of one write: some cross the border of an extent
MIX = (("write", 60), ("read", 30), ("zero", 4), ("flush", 6))


class Connection:
    def __init__(self, handle, registers, seed, depth):
        self.handle = handle
        self.registers = registers
        self.random = random.Random(seed)
        self.depth = depth
        self.in_flight = 0
        self.answered = {kind: 0 for kind, _ in MIX}
        self.failed = 0
        self.wrong = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        import nbd

        try:
            while True:
                while self.in_flight < self.depth and not self.stopping.is_set():
                    self._issue()
                if self.in_flight == 0 and self.stopping.is_set():
                    return
                self.handle.poll(50)
        except nbd.Error:
            pass  # killed: libnbd has ended every command with an error

    def _issue(self):
        kinds, weights = zip(*MIX)
        kind = self.random.choices(kinds, weights)[0]
        count = 1 if self.random.random() < 0.7 else self.random.randint(2, BLOCKS_MOST)
        blocks = len(self.registers)
        if self.random.random() < 0.5:
            # Hot blocks lie all over the volume.
            first = self.random.randrange(HOT_BLOCKS) * (blocks // HOT_BLOCKS)
        else:
            first = self.random.randrange(blocks)
        count = min(count, blocks - first)
        self.in_flight += 1
        getattr(self, f"_{kind}")(first, count)

    def _ended(self, kind, error):
        self.in_flight -= 1
        if error == 0:
            self.answered[kind] += 1
        elif error != errno.ENOTCONN:
            self.failed += 1
        return 1

    def _flush(self, *_):
        self.handle.aio_flush(completion=lambda e: self._ended("flush", e.value))

    def _write(self, first, count):
        write = self.registers.begin_write(first, count)

        def end(error):
            self.registers.end_write(write, first, count, error.value == 0)
            return self._ended("write", error.value)

        self.handle.aio_pwrite(pattern(write.stamp) * count, first * BLOCK, completion=end)

    def _zero(self, first, count):
        write = self.registers.begin_write(first, count, zero=True)

        def end(error):
            self.registers.end_write(write, first, count, error.value == 0)
            return self._ended("zero", error.value)

        self.handle.aio_zero(count * BLOCK, first * BLOCK, completion=end)

    def _read(self, first, count):
        import nbd

        buffer = nbd.Buffer(count * BLOCK)
        begun = self.registers.begin_read()

        def end(error):
            if error.value == 0:
                self._check(first, count, bytes(buffer.to_bytearray()), begun)
            return self._ended("read", error.value)

        self.handle.aio_pread(buffer, first * BLOCK, completion=end)

    def _check(self, first, count, data, begun):
        for i in range(count):
            piece = data[i * BLOCK:(i + 1) * BLOCK]
            if not self.registers.allows(first + i, piece, begun):
                self.wrong.append(self.registers.describe(first + i, piece))


class Load:
    def __init__(self, server, registers, seed, connections=3, depth=8):
        self.connections = [Connection(server.connect(), registers, seed * 100 + i, depth)
                            for i in range(connections)]
        for connection in self.connections:
            connection.thread.start()

    def join(self, seconds=60):
        for connection in self.connections:
            connection.stopping.set()
        for connection in self.connections:
            connection.thread.join(seconds)
            assert not connection.thread.is_alive(), f"no answer for {seconds} s"

    @property
    def wrong(self):
        return [text for connection in self.connections for text in connection.wrong]

    @property
    def failed(self):
        return sum(connection.failed for connection in self.connections)

    def answered(self, kind):
        return sum(connection.answered[kind] for connection in self.connections)
