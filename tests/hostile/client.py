"""Clients that vanish in the middle of their requests and return, as the kernel's do: what was not
answered is sent again, and then come newer things."""

import contextlib
import errno
import os
import random
import socket
import threading
import time

import nbd

from history import SECTOR

BLOCK_SECTORS = 8
SLOT_SECTORS = 32
SLOTS = 96
MIX = (("write", 50), ("read", 36), ("flush", 8), ("zero", 4))
FUA_SHARE = 0.15
RECONNECT_S = 0.02


class Slot:
    """Some blocks in a row.  One that has an owner is written by that client alone, one write at a time,
    which is sent again until it is answered; the others by whoever likes, and never sent again."""

    def __init__(self, first, owner, in_sectors):
        self.first, self.owner = first, owner
        self.unit = 1 if in_sectors else BLOCK_SECTORS
        self.busy = False

    def draw(self, draw):
        """A piece of it: (first sector, number of sectors)."""
        units = SLOT_SECTORS // self.unit
        first = draw.randrange(units)
        count = 1 if draw.random() < 0.6 else draw.randint(1, units - first)
        return self.first + first * self.unit, count * self.unit


def lay_out(sectors, clients, draw):
    """Slots all over the volume, so that many extents are in use."""
    places = draw.sample(range(sectors // SLOT_SECTORS), SLOTS)
    return [Slot(place * SLOT_SECTORS, i % (clients + 1) or None, i % 5 == 0)
            for i, place in enumerate(places)]


class Request:
    def __init__(self, kind, op, slot=None):
        self.kind, self.op, self.slot = kind, op, slot


def hang_up(handle):
    """At once and without a word, whatever is under way."""
    with contextlib.suppress(nbd.Error, OSError), socket.socket(
            fileno=os.dup(handle.aio_get_fd())) as connection:
        connection.shutdown(socket.SHUT_RDWR)


class Client:
    def __init__(self, number, uri, history, slots, seed, depth=6):
        self.number, self.uri, self.history, self.slots, self.depth = number, uri, history, slots, depth
        self.own = [slot for slot in slots if slot.owner in (number, None)]
        self.random = random.Random(seed)
        self.running = set()   # sent on this connection
        self.to_repeat = []    # writes of slots of its own that were not answered
        self.answered = 0
        self.failures = []
        self.stopping = threading.Event()
        self.paused = threading.Event()
        self.vanish_until = None
        self.connected = False
        self.thread = threading.Thread(target=self._run, daemon=True, name=f"client {number}")
        self.thread.start()

    # -- from outside --

    def vanish(self, seconds):
        """Leaves at once, in the middle of whatever is under way, and stays away so long."""
        self.vanish_until = time.monotonic() + seconds

    def is_idle(self):
        return self.paused.is_set() and not self.running and not self.to_repeat

    def stop(self):
        self.stopping.set()

    # -- its thread --

    def _run(self):
        while not self.stopping.is_set():
            handle = nbd.NBD()
            try:
                handle.connect_uri(self.uri)
                self.connected = True
                self._repeat(handle)
                self._live(handle)
            except nbd.Error:
                pass
            hang_up(handle)
            del handle
            self._disconnect()
            time.sleep(RECONNECT_S)
            while self.vanish_until and not self.stopping.is_set() \
                    and time.monotonic() < self.vanish_until:
                time.sleep(RECONNECT_S)
            self.vanish_until = None

    def _disconnect(self):
        running, self.running = self.running, set()
        for request in running:
            if request.kind in ("write", "zero"):
                request.op.uncertain = True
                if request.slot.owner:
                    self.to_repeat.append(request)
        self.connected = False

    def _live(self, handle):
        while not self.stopping.is_set() and not self.vanish_until:
            while len(self.running) < self.depth and not self.paused.is_set():
                self._issue(handle)
            handle.poll(20)

    def _repeat(self, handle):
        while self.to_repeat:
            self._send(handle, self.to_repeat.pop(0))

    def _issue(self, handle):
        kinds, weights = zip(*MIX)
        kind = self.random.choices(kinds, weights)[0]
        if kind == "flush":
            self._send(handle, Request(kind, self.history.begin_flush()))
        elif kind == "read":
            piece = self.random.choice(self.slots).draw(self.random)
            self._send(handle, Request(kind, self.history.begin_read(*piece, self.number)))
        else:
            self._write(handle, kind)

    def _write(self, handle, kind):
        slot = self.random.choice(self.own)
        if slot.busy:
            return
        slot.busy = slot.owner is not None
        write = self.history.begin_write(
            self.number, *slot.draw(self.random), fua=self.random.random() < FUA_SHARE,
            zero=kind == "zero", sent_again=slot.owner is not None)
        self._send(handle, Request(kind, write, slot))

    def _send(self, handle, request):
        running = self.running
        running.add(request)
        op, kind = request.op, request.kind

        def end(error, data=None):
            # Of an earlier connection, or ended by libnbd because there is none.
            if request not in running or self.running is not running or error == errno.ENOTCONN:
                return 1
            running.remove(request)
            self._ended(request, error, data)
            return 1

        if kind == "flush":
            handle.aio_flush(completion=lambda error: end(error.value))
            return
        place, length = op.first * SECTOR, op.count * SECTOR
        flags = nbd.CMD_FLAG_FUA if kind != "read" and op.fua else 0
        if kind == "read":
            buffer = nbd.Buffer(length)
            handle.aio_pread(buffer, place,
                             completion=lambda error: end(error.value, buffer))
        elif kind == "write":
            handle.aio_pwrite(op.content(), place, completion=lambda error: end(error.value),
                              flags=flags)
        else:
            handle.aio_zero(length, place, completion=lambda error: end(error.value), flags=flags)

    def _ended(self, request, error, data):
        self.answered += 1
        if error:
            self.failures.append(f"{request.kind}: {errno.errorcode.get(error, error)}")
        if request.kind == "flush":
            self.history.end_flush(request.op, error == 0)
        elif request.kind == "read":
            if not error:
                self.history.end_read(request.op, bytes(data.to_bytearray()))
        else:
            self.history.end_write(request.op, error == 0)
            request.slot.busy = False
