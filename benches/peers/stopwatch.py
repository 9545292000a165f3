"""Seconds since the start and the process's peak memory, printed after each step of a peer."""

import resource
import time

_started = time.perf_counter()


def lap(name: str) -> None:
    seconds = time.perf_counter() - _started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{name:<24}{seconds:8.2f} s {peak:8} MiB", flush=True)
