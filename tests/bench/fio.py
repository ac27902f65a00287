"""Running fio, and what it says."""

import json

from rig import CommandFailed

PERCENTILES = ("50.000000", "99.000000", "99.900000")


def options(load, size, seconds):
    words = [f"--rw={load.rw}", f"--bs={load.block}", f"--iodepth={load.depth}",
             f"--size={size}", f"--runtime={int(seconds * 1000)}ms", "--time_based", "--randrepeat=0",
             "--random_generator=tausworthe64", "--group_reporting", "--percentile_list=50:99:99.9",
             "--lat_percentiles=1", "--clat_percentiles=0", "--thread"]
    if load.mix:
        words.append(f"--rwmixread={load.mix}")
    if load.fsync:
        words.append(f"--fsync={load.fsync}")
    return words


def over_nbd(uri, load, size, seconds, *more):
    return ["fio", "--name=load", "--ioengine=nbd", f"--uri={uri}",
            f"--numjobs={load.connections}", *options(load, size, seconds), *more]


def straight(paths, load, size, seconds):
    """One job for each file, all at once, and `connections` of these."""
    common = ["--ioengine=io_uring", "--direct=1", f"--numjobs={load.connections}",
              *options(load, size, seconds)]
    command = ["fio"]
    for number, path in enumerate(paths):
        command += [f"--name=leg{number}", f"--filename={path}", *common]
    return command


def parse(text):
    """None: it is no report."""
    start = text.find("{")  # its warnings come first
    return None if start < 0 else json.loads(text[start:])


def read_report(path):
    return summary(parse(path.read_text())["jobs"])


def run(rig, command, seconds):
    text = rig.run(*command, "--output-format=json", seconds=seconds + 60)
    report = parse(text)
    if report is None:
        raise CommandFailed(command, 0, text)
    for job in report["jobs"]:
        if job["error"]:
            raise CommandFailed(command, job["error"], text)
    return summary(report["jobs"])


def _kind(jobs, kind):
    jobs = [job[kind] for job in jobs if job[kind].get("iops")]
    if not jobs:
        return None
    per_s = sum(job["iops"] for job in jobs)
    worst = jobs[0]["lat_ns"]  # with group_reporting there is one, but for fio straight on legs
    if len(jobs) > 1:
        worst = max((job["lat_ns"] for job in jobs), key=lambda lat: lat["max"])
    percentile = worst.get("percentile", {})
    return {"per_s": round(per_s, 1), "mib_per_s": round(sum(job["bw_bytes"] for job in jobs) / 2**20, 1),
            "requests": sum(job["total_ios"] for job in jobs), "mean_us": round(worst["mean"] / 1e3, 1),
            **{name: round(percentile.get(key, 0) / 1e3, 1)
               for name, key in zip(("p50_us", "p99_us", "p999_us"), PERCENTILES)},
            "max_us": round(worst["max"] / 1e3, 1)}


def summary(jobs):
    result = {"per_s": 0.0, "requests": 0}
    for kind in ("read", "write"):
        numbers = _kind(jobs, kind)
        if numbers:
            result[kind] = numbers
            result["per_s"] += numbers["per_s"]
            result["requests"] += sum(job[kind]["total_ios"] for job in jobs)
    return result


def read_log(path, direction=1):
    """[(completed at, seconds; latency ms)] of a latency log with one line a request."""
    found = []
    with open(path) as log:
        for line in log:
            at_ms, latency_ns, which, _ = line.split(",", 3)
            if int(which) == direction:
                found.append((int(at_ms) / 1000, int(latency_ns) / 1e6))
    return found
