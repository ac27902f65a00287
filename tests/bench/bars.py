"""What has to be reached.  All are ratios of one run, of the medians of the rounds."""

import statistics


def _ratio(result, place, load, a, b, scale=1):
    """The median of the ratios of each round: what met one met the other a second later."""
    rounds = result.get("speed", {}).get(place, {}).get(load, {})
    if a not in rounds or b not in rounds:
        return None
    return statistics.median(x["per_s"] / y["per_s"] for x, y in zip(rounds[a], rounds[b])) * scale


def _cpu(result, place, load, a, b):
    """Of the processor's time that the server takes for a request."""
    rounds = result.get("speed", {}).get(place, {}).get(load, {})
    if a not in rounds or b not in rounds:
        return None
    return statistics.median(x["server_cpu_us"] / y["server_cpu_us"]
                             for x, y in zip(rounds[a], rounds[b]) if y["server_cpu_us"])


def _between(result, place, load_a, load_b, system):
    its = result.get("speed", {}).get(place, {})
    if load_a not in its or load_b not in its or system not in its[load_a]:
        return None
    return statistics.median(x["per_s"] / y["per_s"]
                             for x, y in zip(its[load_a][system], its[load_b][system]))


def _disk_bars(result, place, prefix):
    ours, theirs, limit = "fast-3", "quorum-3", "fio-3"
    for kind, load in (("read", "randread-d32"), ("write", "randwrite-d32")):
        yield (f"{prefix}processor time of the server, 4 KiB random {kind}, depth 32, against quorum", -0.5,
               _cpu(result, place, load, ours, theirs))
    twice = _ratio(result, place, "randwrite-d32", ours, theirs, 1 / 2)
    all_of_it = _ratio(result, place, "randwrite-d32", ours, limit, 1 / 0.9)
    yield (f"{prefix}4 KiB random write, depth 32, against twice quorum, or 0.9 of fio on the three files", 1.0,
           max((value for value in (twice, all_of_it) if value is not None), default=None))
    for load, least, what in (
            ("randread-d32", 1.3, "4 KiB random read, depth 32"),
            ("randwrite-d1", 1.2, "4 KiB random write, depth 1"),
            ("randread-d1", 1.3, "4 KiB random read, depth 1"),
            ("write-256k", 1.3, "256 KiB sequential write, depth 8"),
            ("read-256k", 1.2, "256 KiB sequential read, depth 8")):
        yield f"{prefix}{what}, against quorum", least, _ratio(result, place, load, ours, theirs)
    for kind in ("write", "read"):
        yield (f"{prefix}four connections against one, 4 KiB random {kind}, depth 32", 1.0,
               _between(result, place, f"rand{kind}-d32-c4", f"rand{kind}-d32", ours))


def _speed_bars(result):
    ours, theirs = "fast-3", "quorum-3"
    yield from _disk_bars(result, "disk", "")
    yield from _disk_bars(result, "ram", "disk in memory: ")
    for place, load, least, what in (
            ("tmpfs", "randwrite-d32", 3.0, "tmpfs: 4 KiB random write, depth 32, against quorum"),
            ("tmpfs", "randread-d32", 1.7, "tmpfs: 4 KiB random read, depth 32, against quorum"),
            ("zram", "randwrite-d32", 1.3, "zram: 4 KiB random write, depth 32, against quorum"),
            ("zram", "randread-d32", 1.0, "zram: 4 KiB random read, depth 32, against quorum")):
        yield what, least, _ratio(result, place, load, ours, theirs)
    yield ("random write over the whole volume against its hot part", 0.6,
           _between(result, "disk", "cold", "randwrite-d32", ours))


def _busy_bars(result):
    for its in result.get("busy", {}).values():
        ours = its.get("fast-2") or its.get("surefoot-2")
        if ours:
            yield (f"{its['what']}: against the disk by itself", 0.9,
                   statistics.median(x["per_s"] / y["per_s"] for x, y in zip(ours, its["alone"])))
            yield ("the same: samples with all legs in sync", 0.98,
                   sum(x["whole"] for x in ours) / sum(x["samples"] for x in ours))


def _stall_bars(result):
    stall = result.get("stall")
    ours = stall and stall["mirrors"].get("fast-3")
    if not ours:
        return
    frozen, slow = ours["writes"]["frozen"], ours["slow"]
    # The deadline and the record.
    yield (f"one leg frozen: longest write, ms (deadline {stall['deadline_ms']})",
           -(stall["deadline_ms"] + 20), frozen.get("max_ms"))
    yield ("one leg frozen: writes per second against two plain legs", 0.95,
           frozen["per_s"] / statistics.mean(plain["per_s"] for plain in stall["two_plain"]))
    yield (f"one leg {stall['slow_ms']} ms slower: reads, p99 against all well", -1.2,
           slow["reads"]["p99_us"] / ours["reads_well"]["p99_us"])


def _resync_bars(result):
    rounds = result.get("resync", {}).get("rounds")
    if rounds:
        yield ("clients beside a resync of 512 MiB: p99 against none", -3.0,
               statistics.median(one["beside"]["p99_ms"] / one["quiet"]["p99_ms"] for one in rounds))


def _cost_bars(result):
    ours = result.get("cost", {}).get("fast-3", {})
    if "all_calls" in ours:
        yield "system calls, a 4 KiB random write at depth 32", -0.3, ours["all_calls"]


def judge(result):
    """A bar below zero is an upper one."""
    found = []
    for part in (_speed_bars, _busy_bars, _stall_bars, _resync_bars, _cost_bars):
        for what, bar, value in part(result):
            reached = None if value is None else value >= bar if bar > 0 else value <= -bar
            found.append({"what": what, "bar": abs(bar), "at_most": bar < 0,
                          "value": None if value is None else round(value, 3), "reached": reached})
    return found
