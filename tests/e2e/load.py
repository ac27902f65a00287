"""A load that knows what it wrote: every block read back must hold what was acknowledged last, or
what was tried since and never acknowledged."""

import errno
import os
import random
import struct
import threading
import time

BLOCK = 4096


def pattern(stamp):
    return struct.pack("<Q", stamp) * (BLOCK // 8)


class Model:
    """What a correct volume may answer, block by block."""

    def __init__(self, blocks):
        self.acknowledged = [0] * blocks  # 0: zeros, as the volume was created
        self.attempted = [set() for _ in range(blocks)]

    def begin(self, block, stamp):
        self.attempted[block].add(stamp)

    def end(self, block, stamp):
        self.acknowledged[block] = stamp
        self.attempted[block].clear()

    def allows(self, block, data):
        (stamp,) = struct.unpack_from("<Q", data)
        if data != pattern(stamp):
            return False
        return stamp == self.acknowledged[block] or stamp in self.attempted[block]

    def verify(self, handle):
        """Reads everything; returns the blocks that are wrong."""
        wrong = []
        step = 64
        for first in range(0, len(self.acknowledged), step):
            count = min(step, len(self.acknowledged) - first)
            data = handle.pread(count * BLOCK, first * BLOCK)
            for i in range(count):
                if not self.allows(first + i, bytes(data[i * BLOCK:(i + 1) * BLOCK])):
                    wrong.append(first + i)
        return wrong


class Pulse:
    """What this machine itself makes wait while a load runs: a thread that wants to wake every 10 ms
    and to write a block to the disk that the legs are on."""

    PERIOD_S = 0.01

    def __init__(self, folder):
        self.path = folder / f"pulse-{id(self)}"
        self.worst_s = 0.0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self.thread.start()

    def stop(self):
        self.stopping.set()
        self.thread.join()

    def _run(self):
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_DSYNC, 0o600)
        while not self.stopping.is_set():
            began = time.monotonic()
            self.stopping.wait(self.PERIOD_S)
            os.pwrite(file, bytes(BLOCK), 0)
            self.worst_s = max(self.worst_s, time.monotonic() - began - self.PERIOD_S)
        os.close(file)
        self.path.unlink(missing_ok=True)


class Operation:
    def __init__(self, kind, started):
        self.kind = kind
        self.started = started
        self.seconds = None
        self.error = 0

    def __repr__(self):
        return f"{self.kind} after {self.seconds:.3f} s: error {self.error}"


class Load:
    """Random reads, writes and flushes at some depth, in a thread, until stopped.

    Never two at once in one block, so that the model knows what each may hold."""

    def __init__(self, server, model=None, depth=16, mix=(("write", 1.0),), blocks=None, seed=None,
                 door=None):
        self.seed = seed if seed is not None else int.from_bytes(os.urandom(4), "little")
        self.random = random.Random(self.seed)
        self.model = model or Model(blocks or server.volume.size // BLOCK)
        self.depth = depth
        self.kinds = [kind for kind, _ in mix]
        self.weights = [weight for _, weight in mix]
        self.handle = server.connect(door)
        self.operations = []
        self.wrong = []
        self.busy = set()
        self.in_flight = 0
        self.stamp = self.seed << 20
        self.stopping = threading.Event()
        self.connection_lost = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.pulse = Pulse(server.rig.folder)

    # -- used by tests --

    def start(self):
        self.pulse.start()
        self.thread.start()
        return self

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def stop(self, seconds=60):
        self.stopping.set()
        self.thread.join(seconds)
        self.pulse.stop()
        assert not self.thread.is_alive(), f"requests without an answer for {seconds} s"
        return self

    def run_for(self, seconds):
        self.stopping.wait(seconds)

    def wait_count(self, count, seconds=30):
        """Until so many more have been answered."""
        end, wanted = time.monotonic() + seconds, len(self.operations) + count
        while len(self.operations) < wanted:
            assert time.monotonic() < end, f"no {count} answers in {seconds} s"
            time.sleep(0.002)

    def wait_until(self, condition, seconds=30):
        """Until what was answered so far satisfies it: the load has not come to a stop."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"the load stood still for {seconds} s"
            time.sleep(0.01)

    def since(self, moment):
        return [op for op in list(self.operations) if op.started >= moment]

    @property
    def errors(self):
        """What the volume answered with an error: not what a lost connection left without answer."""
        return [op for op in list(self.operations) if op.error and op.error != errno.ENOTCONN]

    def longest(self, kind=None, since=0.0):
        return max((op.seconds for op in list(self.operations)
                    if op.started >= since and (kind is None or op.kind == kind)), default=0.0)

    # -- the thread --

    def _run(self):
        import nbd

        try:
            while True:
                while self.in_flight < self.depth and not self.stopping.is_set():
                    self._issue()
                if self.in_flight == 0 and self.stopping.is_set():
                    break
                self.handle.poll(100)
        except nbd.Error:
            self.connection_lost = True

    def _free_block(self):
        while True:
            block = self.random.randrange(len(self.model.acknowledged))
            if block not in self.busy:
                return block

    def _issue(self):
        kind = self.random.choices(self.kinds, self.weights)[0]
        if kind == "flush":
            operation = Operation(kind, time.monotonic())
            self.handle.aio_flush(completion=lambda e: self._end(operation, e, None))
        elif kind == "read":
            self._issue_read()
        else:
            self._issue_write()
        self.in_flight += 1

    def _issue_write(self):
        block = self._free_block()
        self.stamp += 1
        stamp = self.stamp
        self.busy.add(block)
        self.model.begin(block, stamp)
        operation = Operation("write", time.monotonic())

        def end(error):
            if error.value == 0:
                self.model.end(block, stamp)
            return self._end(operation, error, block)

        self.handle.aio_pwrite(pattern(stamp), block * BLOCK, completion=end)

    def _issue_read(self):
        import nbd

        block = self._free_block()
        self.busy.add(block)
        buffer = nbd.Buffer(BLOCK)
        operation = Operation("read", time.monotonic())

        def end(error):
            if error.value == 0 and not self.model.allows(block, bytes(buffer.to_bytearray())):
                self.wrong.append(block)
            return self._end(operation, error, block)

        self.handle.aio_pread(buffer, block * BLOCK, completion=end)

    def _end(self, operation, error, block):
        operation.seconds = time.monotonic() - operation.started
        operation.error = error.value
        self.operations.append(operation)
        self.busy.discard(block)
        self.in_flight -= 1
        return 1
