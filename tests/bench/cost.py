"""What a request costs the machine, and what a volume costs in memory."""

import re
import shutil
import signal
import subprocess
import time

import fio
import places
import systems
from loads import Load
from rig import MIB, Unavailable

SIZE = 256 * MIB
LOAD = Load("cost", "", "randwrite", depth=32)
# What serves the client's socket or wakes a thread; the rest is I/O.
NOT_IO = ("recvfrom", "recvmsg", "read", "sendto", "sendmsg", "write", "futex", "poll", "ppoll",
          "epoll_wait", "epoll_pwait2", "setsockopt", "brk", "madvise", "mmap", "munmap", "mprotect",
          "restart_syscall", "clone3", "set_robust_list", "rseq", "rt_sigprocmask", "exit",
          "clock_nanosleep", "accept4", "close", "fcntl", "getpid", "gettid", "prctl", "getsockname",
          "getsockopt", "eventfd2", "shutdown", "epoll_ctl", "rt_sigreturn", "tgkill", "lseek",
          "sched_yield", "unlink")


def system_calls(rig, system):
    """Of every kind, for each request.  strace slows all of it down, and counts right."""
    if not shutil.which("strace"):
        raise Unavailable("strace is not installed")
    output = rig.folder / f"{system.name}.strace"
    tracer = rig.spawn(["strace", "-c", "-f", "-q", "-p", str(system.process.pid), "-o", output],
                       stderr=subprocess.DEVNULL)
    try:
        rig.wait_until(lambda: traced(system.process.pid), "strace", process=tracer)
        numbers = system.measure(LOAD, SIZE, 1)
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
    calls = {}
    for line in output.read_text().splitlines():
        words = line.split()
        if len(words) >= 5 and re.fullmatch(r"[\d.]+", words[0]) and words[-1] != "total":
            calls[words[-1]] = int(words[3]) / numbers["requests"]
    return calls


def traced(pid):
    with open(f"/proc/{pid}/status") as status:
        return any(line.startswith("TracerPid:") and line.split()[1] != "0" for line in status)


def switches(rig, system):
    """Context switches a request, while the load runs: the counters of ended threads are lost."""
    process = rig.spawn(system.command(LOAD, SIZE, 3, "--output-format=json",
                                       f"--output={rig.folder}/switches.json"))
    time.sleep(1)
    began, before = time.monotonic(), systems.process_switches(system.process.pid)
    cpu = systems.process_cpu_s(system.process.pid)
    time.sleep(1)
    seconds = time.monotonic() - began
    during = systems.process_switches(system.process.pid) - before
    cpu = systems.process_cpu_s(system.process.pid) - cpu
    process.wait(60)
    per_s = fio.read_report(rig.folder / "switches.json")["per_s"]
    return {"switches": during / seconds / per_s, "cpu_us": cpu / seconds / per_s * 1e6}


def most_resident(rig, system, connections):
    load = Load("cost", "", "randwrite", depth=32, connections=connections)
    process = rig.spawn(system.command(load, SIZE, 2, "--output-format=json",
                                       f"--output={rig.folder}/memory.json"))
    most = 0
    while process.poll() is None:
        most = max(most, systems.process_memory(system.process.pid))
        time.sleep(0.05)
    assert process.returncode == 0, f"fio: exit {process.returncode}\n{rig.processes_log()}"
    return most


def memory(rig, system):
    """Before anything else: memory that a larger request has had comes back in a smaller one."""
    fresh = systems.process_memory(system.process.pid)
    one = most_resident(rig, system, 1)
    four = most_resident(rig, system, 4)
    return {"fresh_mib": fresh / MIB, "loaded_mib": one / MIB, "connection_mib": (four - one) / 3 / MIB}


def measure(plan, rig, progress, notes):
    result = {}
    try:
        place = places.open_place("disk", "/var/tmp")
    except Unavailable as reason:
        notes.append(f"cost: not measured, {reason}")
        return result
    rig.on_close(place.close)
    for name in ("fast-3",) if plan.quick else ("fast-3", "surefoot-3", "quorum-3", "file"):
        progress(f"cost: {systems.NAMES[name]}")
        system = systems.start(rig, place, name, SIZE, write_out=False)
        found = result[name] = {"memory": memory(rig, system)}
        system.write_out()
        found.update(switches(rig, system))
        try:
            calls = system_calls(rig, system)
            found["calls"] = {key: round(value, 3) for key, value in
                              sorted(calls.items(), key=lambda item: -item[1]) if value >= 0.001}
            found["io_calls"] = sum(value for key, value in calls.items() if key not in NOT_IO)
            found["all_calls"] = sum(calls.values())
        except Unavailable as reason:
            notes.append(f"system calls: not counted, {reason}")
        system.stop()
    place.close()
    return result
