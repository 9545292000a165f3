"""The daily job of graph-recs at 07:00 UTC, for Airflow 3.

Two DAGs, of which one is to be switched on:

* graph_recs_daily: a task a step, as `graph-recs --help` names them; the first two side by side, or on a cluster, of which
  each takes all executors, one after the other.
* graph_recs_daily_one_task: the whole job in one task: fewer starts, the same results.

The program finds its options in the worker's environment, GRAPH_RECS_INPUT, GRAPH_RECS_WAREHOUSE and whatever else it
is to know (`graph-recs run --help`). The DAGs themselves read, when Airflow parses them:

* GRAPH_RECS_PROGRAM: the program; graph-recs on the path by default
* GRAPH_RECS_START_DATE: the first day that is caught up with, YYYY-MM-DD; by default none before the DAG is switched on
* GRAPH_RECS_END_DATE: the last day, to fill in a stretch of the past; by default there is none
* GRAPH_RECS_POOL: a pool for tasks that compute, to keep them apart from others'; Airflow's default pool by default

A day's run is named after the day in whose morning it starts: its input is <GRAPH_RECS_INPUT>/<YYYYMMDD>/.
"""

import json
import os
import subprocess
from datetime import datetime, timedelta, timezone

from airflow.sdk import BaseSensorOperator, PokeReturnValue, dag, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

PROGRAM = os.environ.get("GRAPH_RECS_PROGRAM", "graph-recs")
START = os.environ.get("GRAPH_RECS_START_DATE")
END = os.environ.get("GRAPH_RECS_END_DATE")
POOL = os.environ.get("GRAPH_RECS_POOL", "default_pool")
CLUSTER = os.environ.get("GRAPH_RECS_CLUSTER")

NOT_THERE_YET = 4
# Wrong usage, and a quality check that failed: trying again changes nothing.
FINAL = {2: "wrong usage", 3: "a quality check failed, nothing was published"}

EVERY_DAY = {
    "schedule": "0 7 * * *",
    "start_date": (datetime.fromisoformat(START) if START else datetime.now(timezone.utc)).replace(
        tzinfo=timezone.utc, hour=0, minute=0, second=0, microsecond=0
    ),
    "end_date": datetime.fromisoformat(END).replace(tzinfo=timezone.utc, hour=23) if END else None,
    "catchup": START is not None,
    # Days in their order, and one at a time: the warehouse lets one run in.
    "max_active_runs": 1,
    "default_args": {
        "owner": "graph-recs",
        "retries": 3,
        "retry_delay": timedelta(minutes=5),
    },
    "dagrun_timeout": timedelta(hours=23),
    "tags": ["graph-recs"],
    "doc_md": __doc__,
}


def graph_recs(*arguments):
    """Runs the program; its exit code, and the JSON object on its last line. The log goes to the task's log."""
    command = [PROGRAM, *arguments, "--json"]
    print("+", *command, flush=True)
    ended = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=False)
    lines = ended.stdout.splitlines()
    if ended.returncode == 0:
        return 0, json.loads(lines[-1])
    print(*lines, sep="\n", flush=True)
    return ended.returncode, None


def day_of(context):
    """The day that a DAG run is about."""
    moment = context.get("logical_date") or context["dag_run"].run_after
    return moment.strftime("%Y-%m-%d")


def step(name, *options, **context):
    """A step of the day's run; what it answers is the task's XCom."""
    code, answer = graph_recs(name, "--date", day_of(context), *options)
    if code in FINAL:
        raise AirflowFailException(f"graph-recs {name}: {FINAL[code]} (exit code {code}); see the log above")
    if code != 0:
        raise AirflowException(f"graph-recs {name} ended with exit code {code}; see the log above")
    return answer


class InputIsThere(BaseSensorOperator):
    """Waits for the day's exports; gives its worker back between two looks."""

    def __init__(self, **options):
        super().__init__(
            mode="reschedule",
            poke_interval=300,
            timeout=timedelta(hours=12).total_seconds(),
            **options,
        )

    def poke(self, context):
        code, answer = graph_recs("doctor", "--only", "input", "--date", day_of(context))
        if code == NOT_THERE_YET:
            return PokeReturnValue(is_done=False)
        if code != 0:
            raise AirflowException(f"the input cannot be looked at (exit code {code}); see the log above")
        return PokeReturnValue(is_done=True, xcom_value=answer)


@dag(dag_id="graph_recs_daily", description="Whom to follow, a task a step", **EVERY_DAY)
def daily():
    @task(pool=POOL)
    def closest_connections(**context):
        return step("closest-connections", **context)

    @task(pool=POOL)
    def reputation_scores(**context):
        return step("reputation-scores", **context)

    @task(pool=POOL)
    def recommendations(**context):
        return step("recommend", **context)

    @task(pool=POOL)
    def checks(**context):
        # What is about to be published; not what PostgreSQL has from the day before.
        return step("check", "--database-url=", **context)

    # A day that is caught up with late does not take readers back behind a later one.
    @task(pool=POOL)
    def publish(**context):
        return step("publish", "--keep-later", **context)

    there, ranked = InputIsThere(task_id="input_is_there"), recommendations()
    connections, reputations = closest_connections(), reputation_scores()
    if CLUSTER:
        there >> connections >> reputations >> ranked
    else:
        there >> [connections, reputations] >> ranked
    ranked >> checks() >> publish()


@dag(dag_id="graph_recs_daily_one_task", description="Whom to follow, in one task", **EVERY_DAY)
def daily_one_task():
    @task(pool=POOL)
    def run(**context):
        return step("run", "--keep-later", **context)

    InputIsThere(task_id="input_is_there") >> run()


daily()
daily_one_task()
