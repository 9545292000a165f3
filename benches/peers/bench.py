"""Runs graph-recs and its peers in turns on the same data, compares the results row by row, and prints the medians.

Every run is a process of its own. Seconds are from its start to its end, memory is the largest resident set of it and
its children together. For the network the tokens a second count, which each engine measures without its start.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

PEERS = pathlib.Path(__file__).parent
ROOT = PEERS.parent.parent
AS_OF = "2019-10-01"
LIMIT_SECONDS = 1800

parser = argparse.ArgumentParser(prog="benches/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--parts", default="engagements,texts,network,whole", help="which, with commas between; also: rows [%(default)s]")
parser.add_argument("--peers", help="only these rows, with commas between, by their first words")
parser.add_argument("--runs", type=int, default=5, help="of each side [%(default)s]")
parser.add_argument("--threads", type=int, default=2, help="of each side [%(default)s]")
parser.add_argument("--users", type=int, default=300_000)
parser.add_argument("--engagements", type=int, default=10_000_000)
parser.add_argument("--messages", type=int, default=1_000_000)
parser.add_argument("--tokens", type=int, default=20_000_000, help="of the network's documents, for graph-recs [%(default)s]")
parser.add_argument("--peer-tokens", type=int, default=2_000_000, help="the first of them, for ONNX Runtime [%(default)s]")
parser.add_argument("--words", type=int, default=30_000, help="vocabulary of the network of random weights [%(default)s]")
parser.add_argument("--memory-limit", default="4GB", help="of the whole run [%(default)s]")
parser.add_argument("--generate", default="", help="further options of `graph-recs generate`")
parser.add_argument("--day", type=pathlib.Path, help="a day that is there already, instead of a generated one")
parser.add_argument("--scores", type=pathlib.Path, help="its scores, a CSV file with user_id,pred [drawn evenly]")
parser.add_argument("--work", type=pathlib.Path, help="folder to keep data and results in [a temporary one]")
options = parser.parse_args()

target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PROGRAM = str(target / "release" / "graph-recs")
THREADS = str(options.threads)


def resident(root: int) -> int:
    """Resident memory of a process and its descendants, KiB. The pages that they share count more than once."""
    children, sizes = {}, {}
    for folder in pathlib.Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(folder.name))
                sizes[int(folder.name)] = int(fields[21]) * os.sysconf("SC_PAGE_SIZE") // 1024
    total, queue = 0, [root]
    while queue:
        process = queue.pop()
        total += sizes.get(process, 0)
        queue += children.get(process, [])
    return total


def measured(command: list[str], stdin: pathlib.Path | None = None, stdout: pathlib.Path | None = None) -> dict:
    """Runs a command: its seconds, its peak memory in MiB, and what it said."""
    with tempfile.TemporaryFile("w+") as said, contextlib.ExitStack() as files:
        source = files.enter_context(open(stdin)) if stdin else subprocess.DEVNULL
        sink = files.enter_context(open(stdout, "w")) if stdout else said
        started = time.perf_counter()
        process = subprocess.Popen(command, stdin=source, stdout=sink, stderr=said)
        watchdog = threading.Timer(LIMIT_SECONDS, process.kill)
        watchdog.start()
        peak, done = 0, threading.Event()

        def watch() -> None:
            nonlocal peak
            # Only Spark has children worth watching; the others' peak is the kernel's own figure.
            while "pyspark" in command[1] and not done.wait(0.2):
                peak = max(peak, resident(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        watchdog.cancel()
        done.set()
        watcher.join()
        said.seek(0)
        text = said.read()
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)}\nended with {process.returncode}:\n{text}")
    return {"seconds": seconds, "mib": max(peak, usage.ru_maxrss) / 1024, "said": text}


def characters(documents: pathlib.Path) -> int:
    count = "sum(length(clean_body) + length(coalesce(clean_link_desc, '')))"
    return int(quietly(sys.executable, "-c", f"import duckdb; print(duckdb.sql(\"SELECT {count} FROM '{documents}'\").fetchall()[0][0])"))


def quietly(*command: str, stdout: pathlib.Path | None = None) -> str:
    return measured(list(command), stdout=stdout)["said"]


def script(name: str, *arguments: object) -> list[str]:
    return [sys.executable, str(PEERS / name), *map(str, arguments)]


def fresh(folder: pathlib.Path) -> pathlib.Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def in_turns(sides: dict) -> dict[str, list[dict]]:
    """Each side once, then each again."""
    if options.peers:
        chosen = options.peers.split(",")
        sides = {name: side for name, side in sides.items() if name.startswith(("graph-recs", *chosen))}
    results = {name: [] for name in sides}
    for turn in range(options.runs):
        for name, side in sides.items():
            results[name].append(side())
            last = results[name][-1]
            print(f"  run {turn + 1}: {name}: {last['seconds']:.2f} s, {last['mib']:.0f} MiB", file=sys.stderr, flush=True)
    return results


def median(results: list[dict], key: str) -> float:
    return statistics.median(result[key] for result in results)


def seconds_table(title: str, results: dict[str, list[dict]]) -> None:
    base = results[next(iter(results))]
    print(f"\n### {title}\n\n| | seconds, median (least-most) | peak memory, MiB | seconds, ratio | memory, ratio |\n|---|---|---|---|---|")
    for name, runs in results.items():
        seconds, mib = median(runs, "seconds"), median(runs, "mib")
        spread = f"{min(r['seconds'] for r in runs):.2f}-{max(r['seconds'] for r in runs):.2f}"
        ratios = f"{seconds / median(base, 'seconds'):.2f} | {mib / median(base, 'mib'):.2f}"
        print(f"| {name} | {seconds:.2f} ({spread}) | {mib:.0f} | {ratios} |", flush=True)


def day(work: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    folder = options.day or work / "day"
    if not folder.exists():
        sizes = ["--users", str(options.users), "--engagements", str(options.engagements), "--messages", str(options.messages)]
        quietly(PROGRAM, "generate", "--log", "warn", "--out", str(folder), *sizes, *options.generate.split())
    scores = options.scores or work / "scores.csv"
    if not scores.exists():
        quietly(*script("scores.py", folder / "user.csv", scores))
    # The first side must not be the one that fills the file cache.
    for file in folder.iterdir():
        with open(file, "rb") as source:
            while source.read(1 << 24):
                pass
    return folder, scores


def ours(folder: pathlib.Path, where: list[str], queries: dict[str, str]) -> pathlib.Path:
    """Our tables as Parquet files, for the comparison."""
    for table, query in queries.items():
        quietly(PROGRAM, "sql", "--log", "warn", *where, "--format", "parquet", "--command", query, stdout=folder / f"{table}.parquet")
    return folder


def step(command: str, folder: pathlib.Path, warehouse: pathlib.Path, *more: str) -> list[str]:
    where = ["--input", str(folder), "--as-of", AS_OF, "--warehouse", str(warehouse)]
    return [PROGRAM, command, "--log", "warn", *where, "--threads", THREADS, *more]


class Peers:
    """The peers of one part: their scripts take the same arguments, and each writes to a folder of its own."""

    def __init__(self, part: str, work: pathlib.Path, *arguments: object):
        self.part, self.work, self.arguments, self.written = part, work, arguments, {}

    def side(self, name: str, *more: str):
        def run() -> dict:
            out = self.written[name, more] = fresh(self.work / f"{self.part}-{name}{''.join(more)}")
            return measured(script(f"{self.part}_{name}.py", *self.arguments, out, THREADS, *more))

        return run

    def compare(self, ours: pathlib.Path) -> None:
        """Ends the program when a row differs."""
        for out in self.written.values():
            print(f"  {out.name}\n{quietly(*script('compare.py', self.part, ours, out))}", file=sys.stderr, end="", flush=True)


def engagements(work: pathlib.Path) -> None:
    folder, scores = day(work)
    peers = Peers("engagements", work, folder, scores, AS_OF)
    given = ["--reputation-scores", str(scores)]
    warehouse = work / "warehouse"

    def run() -> dict:
        fresh(warehouse)
        return measured(step("run", folder, warehouse, *given))

    def without_checks() -> dict:
        """One process from raw files to published tables, but for the seconds of its checks, which the peers do not make."""
        fresh(warehouse)
        result = measured(step("run", folder, warehouse, "--json", *given))
        steps = json.loads(result["said"].splitlines()[-1])["report"]["steps"]
        work = [each for each in steps if each["step"] != "checks"]
        checks = sum(each["seconds"] for each in steps if each not in work)
        peak = max(each["peak_memory_bytes"] for each in work)
        return {"seconds": result["seconds"] - checks, "mib": peak / 2**20}

    def steps() -> dict:
        """The peers' work alone: no checks, nothing published; a process for each step."""
        fresh(warehouse)
        parts = [measured(step(name, folder, warehouse, *given)) for name in ("closest-connections", "reputation-scores", "recommend")]
        return {"seconds": sum(part["seconds"] for part in parts), "mib": max(part["mib"] for part in parts)}

    sides = {
        "graph-recs run, less its checks": without_checks,
        "graph-recs, the three steps": steps,
        "graph-recs run (checked and published)": run,
        "DuckDB": peers.side("duckdb"),
        "DuckDB --memory-limit 1GB": peers.side("duckdb", "--memory-limit", "1GB"),
        "DuckDB --plain": peers.side("duckdb", "--plain"),
        "Polars": peers.side("polars"),
        "PySpark": peers.side("pyspark"),
    }
    results = in_turns(sides)
    run()
    tables = {"closest": "closest_connections", "recommendations": "recommendations", "reasons": "rec_reasons"}
    queries = {name: f"SELECT * FROM {table}" for name, table in tables.items()}
    left = ours(fresh(work / "ours-engagements"), ["--warehouse", str(warehouse)], queries)
    peers.compare(left)
    seconds_table(f"Engagement half: CSV to Parquet, scores given, {THREADS} threads; equal row by row", results)


def texts(work: pathlib.Path) -> None:
    folder, _ = day(work)
    peers = Peers("texts", work, folder, AS_OF)
    left = fresh(work / "ours-texts")
    query = "SELECT user_id, week, clean_body, clean_link_desc FROM weekly_messages"
    copy = f"COPY ({query}) TO '{left}/documents.parquet'"
    sql = [PROGRAM, "sql", "--log", "warn", "--input", str(folder), "--as-of", AS_OF, "--threads", THREADS, "--command", copy]
    warehouse = work / "warehouse-texts"

    def scored() -> dict:
        fresh(warehouse)
        return measured(step("reputation-scores", folder, warehouse))

    sides = {
        "graph-recs, documents": lambda: measured(sql),
        "graph-recs, documents scored, nothing written of them": scored,
        "DuckDB": peers.side("duckdb"),
        "DuckDB --merged": peers.side("duckdb", "--merged"),
        "Polars": peers.side("polars"),
    }
    results = in_turns(sides)
    peers.compare(left)
    seconds_table(f"Text half: NDJSON to weekly documents as Parquet, {THREADS} threads; equal row by row", results)


def whole(work: pathlib.Path) -> None:
    """Everything: raw files to a published warehouse, against DuckDB for texts, ONNX Runtime, and DuckDB for the rest."""
    folder, _ = day(work)
    warehouse, left, sample = work / "warehouse-whole", fresh(work / "ours-whole"), work / "sample.txt"

    def run() -> dict:
        fresh(warehouse)
        return measured(step("run", folder, warehouse, "--memory-limit", options.memory_limit))

    run()
    at = ["--warehouse", str(warehouse)]
    ours(left, at, {"closest": "SELECT * FROM closest_connections", "recommendations": "SELECT * FROM recommendations", "reasons": "SELECT * FROM rec_reasons"})
    raw = ["--input", str(folder), "--as-of", AS_OF]
    ours(left, raw, {"documents": "SELECT *, reputation(clean_body, clean_link_desc) AS millionths FROM weekly_messages"})
    scores = work / "model-scores.csv"
    quietly(PROGRAM, "sql", "--log", "warn", *at, "--format", "csv", "--command", "SELECT user_id, pred FROM reputation_scores", stdout=scores)
    documents, connections = Peers("texts", work, folder, AS_OF), Peers("engagements", work, folder, scores, AS_OF)

    def chain() -> dict:
        texts = documents.side("duckdb", "--merged")()
        network = measured(script("cnn_onnx.py", ROOT / "udfs" / "model", left / "documents.parquet", sample, "--threads", THREADS, "--form", "matmul", "--most-tokens", options.peer_tokens))
        rest = connections.side("duckdb")()
        scored = json.loads(network["said"].splitlines()[-1])
        # A part of the documents stands for all, by the length of their texts: those of busy users come first.
        inference = scored["seconds"] * characters(left / "documents.parquet") / scored["characters"]
        print(f"  ONNX Runtime: {scored['tokens_a_second']:.0f} tokens a second, {inference:.0f} s for all", file=sys.stderr)
        return {"seconds": texts["seconds"] + inference + rest["seconds"], "mib": max(part["mib"] for part in (texts, network, rest))}

    results = in_turns({"graph-recs run": run, "DuckDB, ONNX Runtime, DuckDB": chain})
    documents.compare(left)
    connections.compare(left)
    quietly(*script("compare_scores.py", left / "documents.parquet", sample))
    seconds_table(f"Whole run: raw files to tables, {THREADS} threads, --memory-limit {options.memory_limit}; equal row by row", results)


def rows_alone(work: pathlib.Path) -> None:
    """Ours alone: what a row costs as days grow, and what a run costs beside its steps."""
    print("\n### Cost per row: `run` with scores given\n\n| million engagements | seconds | of these beside the steps | seconds a million | of the first | peak memory, MiB |\n|---|---|---|---|---|---|")
    first = None
    for millions in (1, 10, 50):
        folder, scores, warehouse = work / f"day-{millions}m", work / f"scores-{millions}m.csv", work / "warehouse-rows"
        sizes = ["--users", str(30_000 * millions), "--engagements", str(1_000_000 * millions), "--messages", "1000"]
        quietly(PROGRAM, "generate", "--log", "warn", "--out", str(folder), *sizes, *options.generate.split())
        quietly(*script("scores.py", folder / "user.csv", scores))
        runs = []
        for _ in range(options.runs):
            fresh(warehouse)
            runs.append(measured(step("run", folder, warehouse, "--json", "--reputation-scores", str(scores), "--memory-limit", "8GB")))
            steps = {each["step"]: each["seconds"] for each in json.loads(runs[-1]["said"].splitlines()[-1])["report"]["steps"]}
            # The first two run side by side.
            work_itself = max(steps["closest_connections"], steps["reputation_scores"]) + steps["recommendations"] + steps["checks"]
            runs[-1]["beside"] = runs[-1]["seconds"] - work_itself
        seconds = median(runs, "seconds")
        first = first or seconds / millions
        print(f"| {millions} | {seconds:.2f} | {median(runs, 'beside'):.2f} | {seconds / millions:.2f} | {seconds / millions / first:.2f} | {median(runs, 'mib'):.0f} |", flush=True)
        shutil.rmtree(folder)


def network(work: pathlib.Path) -> None:
    random = work / "random-model"
    quietly(*script("documents.py", "model", random, options.words))
    for title, model in (("the shipped network", ROOT / "udfs" / "model"), (f"random weights, {options.words:,} words", random)):
        documents = work / "documents.txt"
        quietly(*script("documents.py", "texts", model, options.tokens, 100, documents))
        left = work / "probabilities"

        def scored(*more: str) -> dict:
            command = [PROGRAM, "score", "--model", str(model), "--threads", THREADS, *more]
            result = measured(command, stdin=documents, stdout=left)
            tokens, seconds = re.search(r"([0-9]+) tokens; .* in ([0-9.]+) s", result["said"]).groups()
            return result | {"rate": int(tokens) / float(seconds)}

        def peer(form: str) -> dict:
            out = work / "peer-probabilities"
            result = measured(script("cnn_onnx.py", model, documents, out, "--threads", THREADS, "--form", form, "--most-tokens", options.peer_tokens))
            pairs = list(zip(open(left), open(out)))
            apart = max(abs(float(a) - float(b)) for a, b in pairs)
            if apart > 1e-5 or len(pairs) != -(-options.peer_tokens // 100):
                sys.exit(f"{form}: {len(pairs)} probabilities, up to {apart} apart")
            return result | {"rate": json.loads(result["said"].splitlines()[-1])["tokens_a_second"], "apart": apart}

        sides = {
            "graph-recs, cleaned, tokenized and scored": lambda: scored(),
            "graph-recs, tokenized and scored": lambda: scored("--cleaned"),
        } | {f"ONNX Runtime, {form}": lambda form=form: peer(form) for form in ("conv", "matmul", "tables")}
        results = in_turns(sides)
        best = median(results["graph-recs, tokenized and scored"], "rate")
        print(f"\n### Network: {title}, documents of 100 tokens, {THREADS} threads; probabilities equal to 1e-5\n")
        print("| | million tokens a second, median | peak memory, MiB | graph-recs is faster | largest difference |\n|---|---|---|---|---|")
        for name, runs in results.items():
            rate, apart = median(runs, "rate"), runs[0].get("apart")
            print(f"| {name} | {rate / 1e6:.2f} | {median(runs, 'mib'):.0f} | {best / rate:.1f} times | {'' if apart is None else f'{apart:.1e}'} |", flush=True)


with contextlib.ExitStack() as stack:
    work = options.work or pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    work.mkdir(parents=True, exist_ok=True)
    parts = {"engagements": engagements, "texts": texts, "network": network, "whole": whole, "rows": rows_alone}
    for name in options.parts.split(","):
        parts[name](work)
