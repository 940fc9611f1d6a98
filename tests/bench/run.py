#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the benchmark programs and prints one table.

Each program measures its cases in turn, round after round, and is itself run several times in turn
with the others. A ratio is the median of the ratios round by round, so that what disturbs a round
disturbs both sides. Compare ratios; times are those of this machine in this minute.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys

LEGEND = """\
median, min: of all rounds; mad: median distance from the median, the noise of this machine.
ratio: time, divided by that of the first row of the group. target: what the ratio, or else the
figure itself, may be at most. Compare ratios; the rest is this machine in this minute.
"""

ROOT = pathlib.Path(__file__).resolve().parents[2]


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="benchmarks to run (decode, response, python, "
                        "lua, ...; python_write is a part of python); default: all")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "bench")
    parser.add_argument("--json", action="store_true", help="one object a line, for programs")
    parser.add_argument("--instructions", action="store_true",
                        help="also count instructions (valgrind): slow, and without noise")
    parser.add_argument("--processes", type=int, default=3, help="runs of each program")
    parser.add_argument("--rounds", type=int, default=5, help="rounds in each run")
    return parser.parse_args()


def build_peer(options):
    """Prometheus' own encoder of chunks, which ours are compared with where there is a Go."""
    program = options.build / "tests" / "bench" / "bench_chunks_go"
    go = shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")
    program.unlink(missing_ok=True)
    if options.instructions or options.names and "chunks" not in options.names:
        return
    if not go or subprocess.run([go, "build", "-o", program, "./chunks"], check=False,
                                cwd=ROOT / "tests" / "peers").returncode != 0:
        print("bench: no Go that builds tests/peers; chunks are measured alone", file=sys.stderr)


def is_peer(path):
    return path.name.endswith("_go")


def programs(options):
    """A peer comes before what is compared with it."""
    build_peer(options)
    paths = sorted((options.build / "tests" / "bench").glob("bench_*"),
                   key=lambda path: (path.name.removesuffix("_go"), not is_peer(path)))
    found = {path: path.name.removeprefix("bench_").removesuffix("_go")
             for path in paths if path.is_file() and path.stat().st_mode & 0o100}
    unknown = [asked for asked in options.names
               if not any(is_named(name, asked) for name in found.values())]
    if unknown or not found:
        sys.exit(f"bench: no benchmark {', '.join(unknown)} (there are: "
                 f"{', '.join(dict.fromkeys(found.values())) or 'none, not built'})")
    return [path for path, name in found.items()
            if not options.names or any(is_named(name, asked) for asked in options.names)]


def is_named(name, asked):
    return name == asked or name.startswith(f"{asked}_")


def run(path, *flags):
    result = subprocess.run([path, *flags], stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"bench: {path.name} failed")
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def measure(options):
    """Rows by (group, name) in the order of their first appearance."""
    rows = {}
    paths = programs(options)
    for number in range(options.processes):
        for path in paths:
            print(f"run {number + 1} of {options.processes}: {path.name}", file=sys.stderr)
            for row in run(path, "--rounds", str(options.rounds)):
                key = (row["group"], row.get("name", ""))
                kept = rows.setdefault(key, {**row, "program": path, "samples": []})
                kept["samples"] += row.get("samples", [row["value"]] if "value" in row else [])
    return list(rows.values())


def instructions(row):
    """Instructions of one iteration: what two more iterations add, halved."""
    totals = []
    for iterations in (2, 4):
        result = subprocess.run(
            ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", row["program"],
             "--only", row["group"], row["name"], str(iterations)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        match = re.search(r"Collected : (\d+)", result.stderr)
        if result.returncode != 0 or not match:
            sys.exit(f"bench: valgrind on {row['program'].name} failed\n{result.stderr}")
        totals.append(int(match[1]))
    return (totals[1] - totals[0]) // 2


def evaluate(rows, count_instructions):
    """Adds median, min, mad, ratio, and whether the target is met: by the ratio of a time, by the
    worst of other figures. The first timed row of a group is what its others are divided by."""
    bases = {}
    for row in rows:
        samples = row["samples"]
        row["median"] = statistics.median(samples)
        row["min"] = min(samples)
        row["mad"] = statistics.median(abs(s - row["median"]) for s in samples)
        if "value" in row:
            row["met"] = max(samples) <= row["target"] if "target" in row else None
            continue
        base = bases.setdefault(row["group"], row)
        if row is not base:
            row["ratio"] = statistics.median(
                s / b for s, b in zip(samples, base["samples"], strict=True))
        compared = row.get("target") and "ratio" in row
        row["met"] = row["ratio"] <= row["target"] if compared else None
        if count_instructions and row.get("countable", True):
            row["instructions"] = instructions(row)
            if row is not base:
                row["instruction_ratio"] = row["instructions"] / base["instructions"]


def figure(value):
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def short(ratio):
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.3f}"


def cells(row):
    ratio = short(row["ratio"]) if "ratio" in row else "" if "value" in row else "1"
    target = f"<= {row['target']:.3g}" if row["met"] is not None else ""
    verdict = {None: "", True: "met", False: "MISSED"}[row["met"]]
    cell = [row["name"], figure(row["median"]), row["unit"], figure(row["min"]),
            figure(row["mad"]), ratio, target, verdict]
    if "instructions" in row:
        cell += [f"{row['instructions']:,}", f"{row.get('instruction_ratio', 1):.2f}"]
    return cell


def print_table(rows, options):
    head = ["", "median", "", "min", "mad", "ratio", "target", ""]
    if options.instructions:
        head += ["instructions", "ratio"]
    lines = [head]
    group = None
    for row in rows:
        if row["group"] != group:
            group = row["group"]
            lines.append([f"{group}:"])
        name, *rest = cells(row)
        lines.append([f"  {name}", *rest])
    widths = [max(len(line[i]) for line in lines if len(line) > max(i, 1))
              for i in range(len(head))]
    for line in lines:
        if len(line) == 1:
            print(line[0])
            continue
        padded = [cell.ljust(width) if i in (0, 2, 7) else cell.rjust(width)
                  for i, (cell, width) in enumerate(zip(line, widths))]
        print("  ".join(padded).rstrip())


def main():
    options = arguments()
    rows = measure(options)
    # A program may print a group's rows apart from each other.
    order = list(dict.fromkeys(row["group"] for row in rows))
    rows.sort(key=lambda row: order.index(row["group"]))
    evaluate(rows, options.instructions)
    if options.json:
        for row in rows:
            print(json.dumps({k: v for k, v in row.items() if k != "program"}))
    else:
        print_table(rows, options)
        print(f"\n{LEGEND}", end="")


if __name__ == "__main__":
    main()
