"""The run time on N executors, from the measured pieces: list scheduling, plus what the network takes.

A piece takes the seconds that it was measured to work, and what Ballista adds to each (submitting, answering). Stages
that need all of an earlier stage wait for it; within a stage a free core takes the next piece. Beside the machine
that was measured each core is alone on its memory and disk, so nothing is added for sharing them; for each piece the bytes
that it wrote, and those it reads, go over the network once.
"""

import heapq

# Stages that wait for all pieces of these.
AFTER = {
    "suspended": ["engagements", "users"],
    "quarantine": ["engagements", "users"],
    "counts": ["suspended"],
    "connections": ["suspended"],
    "connection tables": ["connections"],
    "copies": ["messages"],
    "message counts": ["copies"],
    "scores": ["copies"],
    "score tables": ["scores"],
    "candidates": ["connections", "score tables"],
    "ranking": ["candidates"],
    "recommendation tables": ["ranking"],
    "checks": ["recommendation tables", "connection tables"],
}
# Stages that read exports: their pieces are of a size, and grow in number with the data.
BY_BYTES = {"engagements", "messages", "copies"}
# At most so many buckets: beyond, a bucket's piece grows with the data.
BUCKETS = 256
# The share of such a piece's work that goes into what it reads of all buckets.
SHARED_WORK = 0.3
# Bytes a second that each executor gets of a network of 10 Gbit/s, at half of its nominal speed.
NETWORK = 10e9 / 8 / 2
# Stages whose every piece reads all that another stage wrote.
READ_BY_ALL = {"ranking": "candidates"}


def overhead(timings):
    """What is added to a piece's work, from pieces that did not wait for a core: the smallest differences."""
    added = sorted(t["waited"] - t["worked"] for t in timings)
    return added[len(added) // 10] if added else 0.0


def grown(stage, timings, scale):
    """The seconds of a stage's pieces with `scale` times the data."""
    numbered = [t["worked"] for t in timings if t["piece"][-5:].isdigit()]
    single = [t["worked"] * scale for t in timings if not t["piece"][-5:].isdigit()]
    if stage == "users":
        # One file, unless it is exported in parts.
        return [work * scale for work in numbered]
    if scale <= 1 or not numbered:
        return numbered + single
    wanted = len(numbered) * scale
    count = round(wanted if stage in BY_BYTES else min(max(BUCKETS, len(numbered)), wanted))
    pieces = []
    for index in range(count):
        work = numbered[index % len(numbered)]
        if stage in READ_BY_ALL:
            # What all pieces read grows with the data, whatever the number of pieces.
            pieces.append(work * ((1 - SHARED_WORK) * wanted / count + SHARED_WORK * scale))
        else:
            pieces.append(work * wanted / count)
    return pieces + single


def schedule(timings, cores, scale=1.0, network=0.0, added=None, fixed=0.0):
    """Seconds until all pieces are done on `cores`. `scale`: so many times the data, in so many more pieces."""
    added = overhead(timings) if added is None else added
    by_stage = {}
    for timing in timings:
        by_stage.setdefault(timing["stage"], []).append(timing)
    written = {stage: sum(t["bytes"] for t in pieces) for stage, pieces in by_stage.items()}
    free = [0.0] * cores
    ended, order = {}, []
    pending = list(by_stage)
    while pending:
        ready = [s for s in pending if all(a in ended or a not in by_stage for a in AFTER.get(s, []))]
        stage = ready[0]
        pending.remove(stage)
        begin = max([ended[a] for a in AFTER.get(stage, []) if a in ended], default=0.0)
        order.append((stage, begin))
        pieces = grown(stage, by_stage[stage], scale)
        bytes_a_piece = written[stage] * scale / len(pieces)
        shared = written.get(READ_BY_ALL.get(stage), 0) * scale
        last = begin
        heapq.heapify(free)
        for work in sorted(pieces, reverse=True):
            core = heapq.heappop(free)
            moved = (2 * bytes_a_piece + shared) / network if network else 0.0
            end = max(core, begin) + work + moved
            # While a piece is submitted and its answer is on its way, the core is at work on another.
            last = max(last, end + added)
            heapq.heappush(free, end)
        ended[stage] = last
    return max(ended.values()) + fixed


def against(sizes):
    """Simulated against real, and the reading for a hundred times the data of the largest day."""
    found = {"checks": [], "reading": []}
    for size in sizes:
        for cores in (1, 2):
            measured = size["clusters"][str(cores)]
            # The pieces of the other run: a simulation that has seen what it foretells proves nothing.
            other = size["clusters"][str(3 - cores)]
            simulated = schedule(other["timings"], cores, fixed=beside(other, 3 - cores))
            found["checks"].append(
                {
                    "million_rows": size["million_rows"],
                    "executors": cores,
                    "real": measured["seconds"],
                    "simulated": simulated,
                    "off": simulated / measured["seconds"] - 1,
                }
            )
    largest = max(sizes, key=lambda size: size["million_rows"])
    one = largest["clusters"]["1"]
    for executors in (4, 8, 16, 32, 64, 128, 256):
        seconds = schedule(
            one["timings"], executors, scale=100, network=NETWORK, fixed=beside(one, 1)
        )
        found["reading"].append({"executors": executors, "seconds": seconds})
    return found


def beside(run, cores):
    """Seconds of a run on so many cores that its pieces don't explain: the driver's start, what it does between the
    stages, its commits, and cores that waited."""
    return max(0.0, run["seconds"] - schedule(run["timings"], cores))
