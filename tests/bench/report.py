"""Tables for people."""

import statistics

from loads import full
from systems import NAMES

PLACES = {"disk": "Files on a disk, O_DIRECT", "ram": "Files on a disk in memory, O_DIRECT",
          "tmpfs": "Files in memory (tmpfs)", "zram": "Block devices in memory (zram)"}


def machine(found):
    lines = [f"  {key:14} {found[key]}" for key in ("processor", "system", "disk", "load_at_start")]
    lines.append("  versions       " + ", ".join(found["versions"].values()))
    return "\n".join(lines) + "\n"


def _number(value):
    return f"{value / 1000:.1f}k" if value >= 10000 else f"{value:.0f}"


def speed(place, found):
    if not found:
        return ""
    names = [name for name in NAMES if any(name in its for its in found.values())]
    what = {load.key: load.what for load in full()}
    lines = [f"{PLACES[place]}: requests a second, median of the rounds (of that of the first column)", "",
             " " * 50 + "".join(f"{name:>17}" for name in names)]
    for load, its in sorted(found.items(), key=lambda item: list(what).index(item[0])):
        cells, first = [], None
        for name in names:
            if name not in its:
                cells.append(f"{'-':>17}")
                continue
            median = statistics.median(r["per_s"] for r in its[name])
            first = first or median
            cells.append(f"{_number(median):>8} {'(' + format(median / first, '.2f') + ')':>8}")
        lines.append(f"{what[load]:50}" + "".join(cells))
    return "\n".join(lines) + "\n\n" + _processor(place, found, names, what)


def _processor(place, found, names, what):
    """Of the server's processes; where the disk has moods, this is the figure to trust."""
    lines = [f"{PLACES[place]}: processor time of the server for a request, us, median", "",
             " " * 50 + "".join(f"{name:>17}" for name in names)]
    for load, its in sorted(found.items(), key=lambda item: list(what).index(item[0])):
        cells = []
        for name in names:
            used = [r["server_cpu_us"] for r in its.get(name, []) if "server_cpu_us" in r]
            cells.append(f"{statistics.median(used):17.1f}" if used else f"{'-':>17}")
        lines.append(f"{what[load]:50}" + "".join(cells))
    return "\n".join(lines) + "\n"


def busy(found):
    """Of a busy disk: what the mirrors give of what it gives by itself, and whether it kept its place."""
    lines = [f"{'Busy disks: MB/s, median of the rounds (of what the slowest disk gives by itself)':82}"
             f"{'all in sync':>16}", ""]
    for its in found.values():
        alone = _rate(its["alone"])
        lines.append(f"{its['what']}, {its['disks']}\n    {'the disk by itself':46}{alone:10.1f}")
        for name in ("fast-2", "surefoot-2", "quorum-2"):
            if name in its:
                ratio = statistics.median(one["per_s"] / floor["per_s"]
                                          for one, floor in zip(its[name], its["alone"]))
                samples = sum(one["samples"] for one in its[name])
                whole = f"{sum(one['whole'] for one in its[name])} of {samples}" if samples else ""
                lines.append(f"    {NAMES[name]:46}{_rate(its[name]):10.1f}{f'({ratio:.2f})':>10}{whole:>28}")
    return "\n".join(lines) + "\n"


def _rate(rounds):
    return statistics.median(one["write"]["mib_per_s"] for one in rounds) * 2**20 / 1e6


PHASES = (("well", "all are well"), ("slow", "one is {slow_ms} ms slower"),
          ("frozen", "one is frozen, {frozen_s} s"), ("back", "until it is whole again"))


def stall(found, plan):
    lines = [f"Stalls: 4 KiB random writes at depth {found['depth']}, and one client that flushes; "
             f"deadline {found['deadline_ms']} ms; ms", "",
             f"{'':60}{'writes/s':>9}{'p50':>10}{'p99':>10}{'p99.9':>10}{'max':>10}"
             f"{'flush p50':>11}{'p99':>10}{'max':>10}"]
    for name, its in found["mirrors"].items():
        for key, what in PHASES:
            writes = its["slow"]["writes"] if key == "slow" else its["writes"][key]
            flushes = its["slow"]["flushes"] if key == "slow" else its["flushes"][key]
            cells = [f"{writes['per_s']:9d}"]
            for numbers, columns in ((writes, (("p50_ms", 10), ("p99_ms", 10), ("p999_ms", 10), ("max_ms", 10))),
                                     (flushes, (("p50_ms", 11), ("p99_ms", 10), ("max_ms", 10)))):
                for column, width in columns:
                    value = numbers.get(column)
                    cells.append(f"{'-' if value is None else format(value, '.2f'):>{width}}")
            lines.append(f"{NAMES[name]:32}{what.format(**found):28}" + "".join(cells))
    if found["two_plain"]:
        rates = ", ".join(str(plain["per_s"]) for plain in found["two_plain"])
        lines += ["", f"Surefoot, 2 plain legs, before and after the freeze of the first mirror: {rates} writes/s"]
    whole = [f"{NAMES[name]} {its['back_after_s']} s" if its["whole"] else f"{NAMES[name]} not in {its['back_after_s']} s"
             for name, its in found["mirrors"].items() if its["whole"] is not None]
    if whole:
        lines += ["", f"Whole again after the thaw: {'; '.join(whole)}"]
    peaks = [f"{NAMES[name]} {its['memory_peak_mib']} MiB" for name, its in
             found["mirrors"].items()]
    lines += ["", f"Most memory while one copy was frozen: {'; '.join(peaks)}"]
    return "\n".join(lines) + "\n"


def cost(found):
    if not found:
        return ""
    lines = ["Cost of a 4 KiB random write at depth 32, and memory", "",
             f"{'':26}{'I/O calls':>10}{'all calls':>10}{'switches':>10}{'CPU us':>8}"
             f"{'fresh MiB':>11}{'loaded':>8}{'a connection':>14}"]
    for name, its in found.items():
        memory = its["memory"]
        calls = [f"{its[key]:10.2f}" if key in its else f"{'-':>10}" for key in ("io_calls", "all_calls")]
        lines.append(f"{NAMES[name]:26}{''.join(calls)}{its['switches']:10.2f}{its['cpu_us']:8.1f}"
                     f"{memory['fresh_mib']:11.1f}{memory['loaded_mib']:8.1f}"
                     f"{memory['connection_mib']:14.1f}")
    return "\n".join(lines) + "\n"


def resync(found):
    if not found:
        return ""
    lines = [f"A leg copied anew: {found['alone']['mib_per_s']:.0f} MiB/s; "
             f"dd: {found['alone']['copy_mib_per_s']:.0f} MiB/s", "",
             f"{'The same while clients write, 4 KiB, random, depth 32; ms':60}{'seconds':>9}{'writes/s':>9}"
             f"{'p50':>10}{'p99':>10}{'p99.9':>10}{'max':>10}"]
    for round_ in found["rounds"]:
        for key, what in (("quiet", "nothing is copied"), ("beside", "a leg is copied")):
            its = round_[key]
            lines.append(f"{what:60}{its['seconds']:9.1f}{its['per_s']:9d}"
                         + "".join(f"{its[column]:10.2f}" for column in ("p50_ms", "p99_ms", "p999_ms", "max_ms")))
    return "\n".join(lines) + "\n"


def bars(found):
    lines = ["Bars", ""]
    for bar in found:
        value = "not measured" if bar["value"] is None else f"{bar['value']:.2f}"
        verdict = {True: "reached", False: "NOT REACHED", None: ""}[bar["reached"]]
        lines.append(f"{bar['what']:101}{'<=' if bar['at_most'] else '>='} {bar['bar']:<7g}"
                     f"{value:>13}  {verdict}")
    return "\n".join(lines) + "\n"
