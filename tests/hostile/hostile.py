"""The hostile campaign: the real server over disks with volatile caches that fail, hang, rot and go away,
clients that vanish and return, threads that get no processor, and processes that are killed.  After
every round all is healed, the volume must become healthy by itself, its legs must be alike, and the
history of every block must be one that a disk could have had.

Every round has a seed; what it draws is the same for the same seed, though the machine's timing is not.
"""

import argparse
import contextlib
import ctypes
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import nbd

import rig as e2e
from checker import check
from client import SLOT_SECTORS, Client, lay_out
from disk import FlakyLeg, FlakyLoop
from history import SECTOR, History
from nemesis import ACTIONS, UNSPARED_ERRORS, Nemesis, submitters
from rig import MIB, CommandFailed, Rig, Server, TookTooLong, Unavailable

SIZE = 16 * MIB
CLIENTS = 3
PATIENCE_S = 60
NOTED_S = 20
SHAPES = [(1, 1), (2, 1), (2, 1), (2, 2), (3, 2), (3, 2), (3, 1), (4, 2), (4, 3)]  # legs, min_legs
# A busy machine is not what is looked for once all is healed.
CALM = ("fail_timeout=10s", "write_deadline=3s", "read_deadline=3s", "flush_deadline=3s")
ADDR_NO_RANDOMIZE = 0x0040000
SANITIZED = bool(os.environ.get("SUREFOOT_PRELOAD"))
# nbdkit 1.32 can abort when a connection ends while another of its threads answers there.
NBDKIT_ABORTS = "raw_send_socket: Assertion"
# The sanitizer of gcc 12 has faults of its own with threads that end: it ends the process, sometimes without
# a word, or takes a thread's variables for those of an earlier one, which the linker gave back.
SANITIZER_FAILS = "ThreadSanitizer failed to allocate"
SANITIZER_ERRS = "__GI__dl_deallocate_tls"
END_S = 5  # from a connection that breaks to the end of its server


class Finding(Exception):
    """The product broke a promise."""


class ServerAborted(Exception):
    """By a fault that is not ours: as good as a kill."""


class World:
    """One volume, its disks, its clients and all that is known of them."""

    def __init__(self, arguments, seed, tell):
        self.tell = tell
        self.rig = Rig(arguments.build)
        draw = random.Random(seed)
        legs, self.min_legs = draw.choice(SHAPES)
        self.storm = draw.random() < 0.3  # disks may lose what is nowhere else
        self.legs = [self._leg(name, draw, arguments.loops) for name in "abcd"[:legs]]
        self.volume = self.rig.volume(
            self.legs, SIZE, min_legs=self.min_legs, wait_for_legs=f"{int(PATIENCE_S)}s",
            write_deadline=draw.choice(["100ms", "200ms"]), read_deadline="200ms",
            flush_deadline="300ms", fail_timeout=draw.choice(["3s", "5s"]),
            on_too_few=draw.choice(["error", "suspend"]),
            intent_delay=draw.choice(["10ms", "200ms", "2s"]),
            hot_extents=draw.choice(["1", "8", "8192"]),
            resync_max_rate=draw.choice(["0", "16M"])).create()
        self.history = History()
        self.loss = None
        self.aborts = 0
        self.slots = lay_out(SIZE // SECTOR, CLIENTS, draw)
        self.sanitizer_log = self.rig.folder / "sanitizer"
        os.environ["TSAN_OPTIONS"] = f"log_path={self.sanitizer_log}:exitcode=0"
        self.server = Server(self.rig, self.volume, threads=32).start()
        self.log_begin = 0
        self.clients = [Client(i + 1, self.server.uri, self.history, self.slots, seed * 10 + i)
                        for i in range(CLIENTS)]
        tell(f"{legs} legs{' (storm)' if self.storm else ''}: "
             + " ".join(f"{leg.name}={type(leg).__name__}" for leg in self.legs) + ", "
             + " ".join(f"{k}={v}" for k, v in self.volume.settings.items()
                        if k not in ("name", "control", "wait_for_legs")))

    def _leg(self, name, draw, loops):
        kind = FlakyLoop if draw.random() < 0.3 and loops else FlakyLeg
        return kind(self.rig, name, draw.randrange(1, 1 << 30))

    # -- the server --

    def threads(self):
        """Of the server and of its submitters."""
        pids = [self.server.process.pid] + [pid for pid, _ in submitters(self.server.process.pid)]
        found = []
        for pid in pids:
            with contextlib.suppress(OSError):
                found += sorted(int(task) for task in os.listdir(f"/proc/{pid}/task"))
        return found

    def in_sync(self, even=False):
        """The names of the legs that are; None: no answer, or `even` is asked and they may differ somewhere."""
        with contextlib.suppress(CommandFailed, Exception):
            status = self.volume.status()
            if not even or status["unconverged_bytes"] == 0:
                return {leg["name"] for leg in status["legs"] if leg["state"] == "in-sync"}
        return None

    def wait_until_out(self, leg, seconds):
        try:
            self.rig.wait_until(lambda: leg.name not in (self.in_sync() or {leg.name}),
                                f"leg {leg.name} is out of the set", seconds=seconds)
        except TookTooLong:
            raise Finding(f"leg {leg.name} fails its flushes or everything, others could answer, "
                          f"and {seconds} s later it is still in sync") from None

    def kill(self):
        self.server.process.kill()
        self._wait_for_end()

    def keep_stacks(self):
        """Where a server that does not go on stands: by gdb, if there is one, else in the kernel."""
        pid = self.server.process.pid
        with open(self.rig.folder / "stacks.log", "ab") as log, contextlib.suppress(OSError):
            if shutil.which("gdb"):
                subprocess.run(["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all bt 16"],
                               stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=60)
            for task in sorted(Path(f"/proc/{pid}/task").iterdir()):
                with contextlib.suppress(OSError):
                    log.write((task / "comm").read_bytes() + (task / "stack").read_bytes())

    def look_for_end(self, seconds=0):
        """A server does not end by itself."""
        with contextlib.suppress(Exception):
            self.server.process.wait(seconds)
        code = self.server.process.returncode
        if code == -signal.SIGABRT and NBDKIT_ABORTS in self.server.log()[self.log_begin:]:
            raise ServerAborted("nbdkit")
        own = Path(f"{self.sanitizer_log}.{self.server.process.pid}")
        report = own.read_text(errors="replace") if own.exists() else ""
        if code is not None and SANITIZER_FAILS in report:
            own.unlink()
            raise ServerAborted("the sanitizer")
        if code == 0 and SANITIZED and not report and "stopping" not in self.server.log()[self.log_begin:]:
            raise ServerAborted("the sanitizer, without a word,")
        if code is not None:
            raise Finding(f"the server ended by itself: {code}")

    def go_on_after_abort(self, whose):
        self.tell(f"{whose} aborted")
        self.aborts += 1
        self._wait_for_end()
        self.start_again()

    def _wait_for_end(self):
        try:
            self.server.process.wait(5)
        except Exception:
            self.tell("its end hangs on a leg")
            for leg in self.legs:
                leg.plug_in()
                leg.heal()
            self.server.process.wait(PATIENCE_S)
        self.rig.wait_until(lambda: not any(client.connected for client in self.clients),
                            "the clients see that the server has ended", seconds=PATIENCE_S)
        self.history.server_ended()

    def start_again(self):
        self.log_begin = len(self.server.log())
        self.server = Server(self.rig, self.volume, threads=32).launch()
        try:
            self.rig.wait_until(self.server.answers, "the server answers", seconds=5)
        except TookTooLong:
            self.tell("its start waits for a leg")
            for leg in self.legs:
                leg.plug_in()
                leg.heal()
            try:
                self.rig.wait_until(self.server.answers, "the server answers",
                                    process=self.server.process, seconds=PATIENCE_S)
            except TookTooLong:
                raise Finding("the server does not start, with every leg well") from None

    def stop(self):
        """A clean stop: of everything, nothing is only in a cache."""
        for client in self.clients:
            client.vanish(PATIENCE_S)
        try:
            self.server.stop(PATIENCE_S)
        except TookTooLong:
            self.keep_stacks()
            if not self._hangs_in_exit():
                raise
            self.tell("it hangs after its end, in exit(): killed")
            self.aborts += 1
            self.server.process.kill()
        self._wait_for_end()

    def _hangs_in_exit(self):
        """Seen with the sanitizer of gcc 12 alone: libraries that end wait for a lock of a thread that
        has ended."""
        stacks = (self.rig.folder / "stacks.log").read_text(errors="replace")
        return (SANITIZED and "stopped, clean" in self.server.log()[self.log_begin:]
                and (not shutil.which("gdb") or "_dl_fini" in stacks))

    # -- caches --

    def begin_loss(self):
        if not self.loss:
            self.loss = self.history.begin_loss()

    def lose_caches(self, draw):
        self.tell("the disks lose their caches")
        for leg in self.legs:
            if not leg.plugged and leg.nbdkit.poll() is not None:
                continue
            if leg.can_unplug() and draw.random() < 0.3:
                leg.cut_power()
            else:
                leg.order("lose", draw.choice((0, 50, 100)))
        self.history.lose_at_rest()

    # -- is all well? --

    def wait_until_healthy(self):
        """By itself, without a restart, when its disks are well again."""
        for setting in CALM:
            self.rig.ctl("--control", self.volume.control, "set", self.volume.name, setting)

        def is_healthy(status):
            for leg in status["legs"]:
                if leg["state"] == "faulty":
                    with contextlib.suppress(CommandFailed):
                        self.rig.ctl("--control", self.volume.control, "leg", "return",
                                     self.volume.name, leg["name"])
            settled = (status["unconverged_bytes"] == 0
                       and all(leg["state"] == "in-sync" for leg in status["legs"]))
            if settled and status["state"] == "failed":
                self._take_note_of_losses()  # the clients go on flushing, and each fails
            return settled and status["state"] == "healthy"

        try:
            self.volume.wait_for(is_healthy, "healthy", PATIENCE_S)
        except (TookTooLong, CommandFailed, OSError) as failure:
            raise Finding(f"the disks are well, and the volume is not: {failure}") from None
        self._take_note_of_losses()
        if self.loss:
            self.history.end_loss(self.loss)
            self.loss = None

    def _flush(self):
        handle = nbd.NBD()
        handle.connect_uri(self.server.uri)
        asked, done = self.history.begin_flush(), True
        try:
            handle.flush()
        except nbd.Error:
            done = False
        self.history.end_flush(asked, done)
        return done

    def _take_note_of_losses(self):
        """As the operator: flushes fail until then, if a disk has lost what no other has (R9)."""
        if self._flush():
            return
        self.tell("flushes fail: the operator takes note")
        try:
            self.rig.wait_until(self._flush_or_note, "a flush", seconds=NOTED_S)
        except TookTooLong:
            raise Finding("the volume is healthy, the operator has taken note, and flushes fail") from None

    def _flush_or_note(self):
        """A disk that is opened anew may have lost more than was noted."""
        if self._flush():
            return True
        for leg in self.legs:
            with contextlib.suppress(CommandFailed):
                self.rig.ctl("--control", self.volume.control, "leg", "return", self.volume.name,
                             leg.name)
        return False

    def settle_losses(self):
        """All legs are in sync again: what failed until now was for trouble that is over."""
        self._take_note_of_losses()
        for client in self.clients:
            client.failures = []

    def look_for_errors(self, nemesis):
        """No request fails while enough legs have been left in peace since all were in sync."""
        failures = [failure for client in self.clients for failure in client.failures]
        for client in self.clients:
            client.failures = []
        if failures and len(self.legs) - len(nemesis.touched) >= self.min_legs:
            raise Finding(f"{len(failures)} requests failed although enough legs were well: "
                          + ", ".join(sorted(set(failures))))

    def quiesce(self):
        for client in self.clients:
            client.paused.set()
        try:
            self.rig.wait_until(lambda: all(client.is_idle() for client in self.clients),
                                "an answer to every request", seconds=PATIENCE_S)
        except TookTooLong:
            waiting = [f"{client.number}: {sorted(r.kind for r in client.running)}"
                       for client in self.clients if not client.is_idle()]
            raise Finding(f"the volume is healthy, and {PATIENCE_S:.0f} s later these have no answer: "
                          + "; ".join(waiting)) from None

    def read_back(self, by, flush=False):
        handle = nbd.NBD()
        handle.connect_uri(self.server.uri)
        if flush and not self._flush():
            raise Finding("the volume is healthy, and a flush fails")
        for slot in self.slots:
            read = self.history.begin_read(slot.first, SLOT_SECTORS, by)
            self.history.end_read(read, bytes(handle.pread(SLOT_SECTORS * SECTOR,
                                                           slot.first * SECTOR)))
        handle.shutdown()

    def check(self):
        wrong = check(self.history)
        reports = [path.read_text(errors="replace") for path in sorted(self.rig.folder.glob("sanitizer.*"))]
        reports = [report for report in reports if SANITIZER_FAILS not in report
                   and (report.count("WARNING: ") > 1 or SANITIZER_ERRS not in report)]
        if wrong:
            raise Finding("; ".join(wrong))
        if reports:
            raise Finding("the sanitizer: " + reports[0][:4000])

    def requests(self):
        return sum(client.answered for client in self.clients)

    def close(self, keep):
        for client in self.clients:
            client.stop()
        for client in self.clients:
            client.thread.join(5)
        self.rig.close_without_removing()
        if not keep:
            shutil.rmtree(self.rig.folder, ignore_errors=True)


def although_it_aborts(world, step):
    """True: done."""
    try:
        step()
        world.look_for_end()
        return True
    except Exception as failure:
        try:
            world.look_for_end(END_S)
        except ServerAborted as abort:
            world.go_on_after_abort(abort)
            return False
        raise failure


def until_done(world, step):
    while not although_it_aborts(world, step):
        pass


def live(world, nemesis, draw, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        world.look_for_errors(nemesis)
        time.sleep(draw.choice((0.01, 0.1, 0.3, 0.8)))
        although_it_aborts(world, nemesis.act)


def heal(world, nemesis):
    world.tell("all is healed")
    nemesis.end()
    world.wait_until_healthy()
    world.quiesce()


def finish(world, nemesis, draw):
    """Heal all, look at all, through an end of any kind."""
    until_done(world, lambda: heal(world, nemesis))
    flush = draw.random() < 0.5
    until_done(world, lambda: world.read_back("quiet", flush))
    if draw.random() < 0.6:
        world.tell("killed at the end")
        world.kill()
        if draw.random() < 0.6:
            world.lose_caches(draw)
        nemesis.end()
        world.start_again()
        until_done(world, world.wait_until_healthy)
        until_done(world, lambda: world.read_back("after a crash"))
    world.stop()
    world.tell("stopped, and every cache is lost")
    for leg in world.legs:
        leg.order("lose", 100)
    world.history.lose_at_rest()
    try:
        world.volume.assert_legs_equal()
    except AssertionError as difference:
        raise Finding(str(difference)) from None
    world.start_again()
    until_done(world, lambda: world.read_back("after a clean stop"))
    world.check()


def run_round(arguments, seed, totals):
    story, begun = [], time.monotonic()

    def tell(text):
        story.append(f"{time.monotonic() - begun:8.3f} {text}")
        if arguments.verbose:
            print(story[-1])

    world = World(arguments, seed, tell)
    draw = random.Random(seed ^ 0x5EED)
    nemesis = Nemesis(world, draw, arguments.without)
    failure = None
    try:
        live(world, nemesis, draw, arguments.seconds)
        finish(world, nemesis, draw)
    except Exception as exception:
        failure = exception
    totals["rounds"] += 1
    totals["requests"] += world.requests()
    totals["aborts"] += world.aborts
    for name, count in nemesis.counts.items():
        totals[name] = totals.get(name, 0) + count
    if failure:
        if world.server.process.poll() is None:
            world.keep_stacks()
        for client in world.clients:
            client.stop()
            client.thread.join(10)
        print(f"FAILED with seed {seed}: {type(failure).__name__}: {failure}")
        print("\n".join(story))
        with contextlib.suppress(Exception):
            if not isinstance(failure, Finding) or "sector" not in str(failure):
                print("the history says: " + "; ".join(check(world.history)))
        (world.rig.folder / "story.log").write_text("\n".join(story) + "\n")
        print(f"kept: {world.rig.folder}\nagain: ./run campaign hostile --rounds 1 --seed {seed}"
              f" --seconds {arguments.seconds:g}")
    with contextlib.suppress(Exception):
        nemesis.end()
    world.close(keep=bool(failure))
    return failure is None


def main():
    parser = argparse.ArgumentParser(prog="./run campaign hostile", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--run-seconds", type=float, help="instead of minutes")
    parser.add_argument("--rounds", type=int, default=1 << 30)
    parser.add_argument("--seconds", type=float, default=12, help="of trouble in a round")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "little"))
    parser.add_argument("--without", default="", help="kinds of trouble, comma-separated, of: "
                        + ", ".join([*ACTIONS, UNSPARED_ERRORS]))
    parser.add_argument("--keep-going", action="store_true", help="after a failed round")
    parser.add_argument("--no-loops", dest="loops", action="store_false")
    parser.add_argument("--build", default=os.environ.get("SUREFOOT_BUILD"))
    parser.add_argument("--verbose", action="store_true", help="tell what happens as it does")
    arguments = parser.parse_args()
    arguments.without = set(filter(None, arguments.without.split(",")))
    if unknown := arguments.without - {*ACTIONS, UNSPARED_ERRORS}:
        parser.error(f"no such trouble: {', '.join(sorted(unknown))}")
    try:
        e2e.check_fuse()
    except Unavailable as reason:
        print(reason)
        return 77
    arguments.loops &= os.geteuid() == 0 and os.path.exists("/dev/loop-control")
    # More address randomisation than the sanitizers of Debian 12 can take; children inherit this.
    ctypes.CDLL(None).personality(ADDR_NO_RANDOMIZE)

    sys.stdout.reconfigure(line_buffering=True)  # a failure of an hour's campaign is read when it happens
    begun, seed, failed = time.monotonic(), arguments.seed, 0
    totals = {"rounds": 0, "requests": 0, "aborts": 0}
    run_seconds = arguments.run_seconds or arguments.minutes * 60
    print(f"seed {seed}")
    while totals["rounds"] < arguments.rounds and time.monotonic() - begun < run_seconds:
        if not run_round(arguments, seed, totals):
            failed += 1
            if not arguments.keep_going:
                break
        seed += 1
    print(", ".join(f"{value} {name}" for name, value in totals.items())
          + f"; {failed} failed, in {time.monotonic() - begun:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
