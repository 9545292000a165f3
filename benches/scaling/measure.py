"""Measures the daily job embedded and on clusters of one-core executors; see `run`."""

import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import simulate
import page

AS_OF = "2019-10-01"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release"
SIZES = [float(size) for size in os.environ.get("SIZES", "1 2 5 10 20").split()]
RUNS = int(os.environ.get("RUNS", "3"))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Cluster:
    """A scheduler and executors of one core each on the loopback address."""

    def __init__(self, executors, folder):
        self.port = free_port()
        self.processes = [
            self.start("scheduler", ["--bind-port", self.port, "--log-level-setting", "error"])
        ]
        for number in range(executors):
            work = folder / f"executor-{number}"
            work.mkdir()
            self.processes.append(
                self.start(
                    "executor",
                    ["--scheduler-port", self.port, "--bind-port", free_port()]
                    + ["--bind-grpc-port", free_port(), "--vcores", 1, "--memory-pool-size", "6GiB"]
                    + ["--work-dir", work, "--log-level-setting", "error"],
                )
            )
        deadline = time.time() + 60
        while self.listed() < executors:
            if time.time() > deadline:
                raise SystemExit("the executors do not come")
            time.sleep(0.2)

    @staticmethod
    def start(what, options):
        return subprocess.Popen([TARGET / f"graph-recs-{what}", *map(str, options)])

    def listed(self):
        answer = subprocess.run(
            [TARGET / "graph-recs", "jobs", "--json", "--log", "error", "--cluster", self.url()],
            capture_output=True,
            text=True,
        )
        return len(json.loads(answer.stdout)["executors"]) if answer.returncode == 0 else 0

    def url(self):
        return f"df://127.0.0.1:{self.port}"

    def end(self):
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait()


def run(day, folder, options):
    """One run into a new warehouse: seconds, the driver's peak memory, the report, and the pieces' timings."""
    warehouse = folder / "warehouse"
    shutil.rmtree(warehouse, ignore_errors=True)
    begun = time.time()
    child = subprocess.Popen(
        [TARGET / "graph-recs", "run", "--json", "--log", "error", "--input", day, "--as-of", AS_OF]
        + ["--warehouse", warehouse, *map(str, options)],
        stdout=subprocess.PIPE,
        text=True,
    )
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"the run failed with {child.returncode}")
    seconds = time.time() - begun
    answer = json.loads(output.splitlines()[-1])
    timings = warehouse / "_runs" / answer["run_id"] / "timings.json"
    return {
        "seconds": seconds,
        "driver_peak_mb": usage.ru_maxrss / 1024,
        "steps": {step["step"]: step["seconds"] for step in answer["report"]["steps"]},
        "rows": answer["report"]["rows"],
        "timings": json.loads(timings.read_text()) if timings.exists() else [],
    }


def median(runs):
    return sorted(runs, key=lambda run: run["seconds"])[len(runs) // 2]


def generate(size, folder):
    """A day of `size` million engagements and as many messages."""
    day = folder / f"day-{size:g}"
    if not day.exists():
        rows = int(size * 1e6)
        subprocess.run(
            [TARGET / "graph-recs", "generate", "--log", "error", "--out", day, "--seed", "1"]
            + ["--users", str(rows * 3 // 100), "--engagements", str(rows), "--messages", str(rows)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return day


def main(out):
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    results = {"sizes": []}
    with tempfile.TemporaryDirectory(dir=os.environ.get("SCRATCH")) as scratch:
        scratch = pathlib.Path(scratch)
        for size in SIZES:
            day = generate(size, scratch)
            entry = {"million_rows": size}
            entry["bytes"] = sum(file.stat().st_size for file in day.iterdir())
            embedded, clusters = [], {1: [], 2: []}
            # In turns, so that a busy minute of the machine falls on all alike.
            for turn in range(RUNS):
                embedded.append(run(day, scratch, ["--threads", 2]))
                for executors in clusters:
                    place = scratch / f"cluster-{turn}-{executors}"
                    place.mkdir()
                    cluster = Cluster(executors, place)
                    try:
                        clusters[executors].append(run(day, scratch, ["--cluster", cluster.url()]))
                    finally:
                        cluster.end()
                        shutil.rmtree(place)
            entry["embedded"] = median(embedded)
            entry["clusters"] = {str(n): median(runs) for n, runs in clusters.items()}
            entry["all_seconds"] = {
                "embedded": [run["seconds"] for run in embedded],
                **{f"{n} executors": [run["seconds"] for run in runs] for n, runs in clusters.items()},
            }
            two = entry["clusters"]["2"]["seconds"] / entry["embedded"]["seconds"]
            print(
                f"{size:g} million rows: embedded {entry['embedded']['seconds']:.1f} s, "
                f"1 executor {entry['clusters']['1']['seconds']:.1f} s, "
                f"2 executors {entry['clusters']['2']['seconds']:.1f} s ({two:.2f} times embedded), "
                f"driver {entry['clusters']['2']['driver_peak_mb']:.0f} MB",
                flush=True,
            )
            results["sizes"].append(entry)
            if size != SIZES[-1]:
                shutil.rmtree(day)
    results["simulated"] = simulate.against(results["sizes"])
    (out / "results.json").write_text(json.dumps(results, indent=1))
    page.write(out, results)
    print(f"{out}/index.html")


if __name__ == "__main__":
    main(sys.argv[1])
