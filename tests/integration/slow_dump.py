"""A dump that lasts as long as a test needs: rows that do not compress through a slow pipe.

    ws = slow_workspace(workspace, database)
    with mid_dump(ws) as run:            COPY is going on now
        ...
        run.wait(expect=0)
"""
from cairn import CLUSTER, JOBS
from pg import wait_until

# 8 MB of hashes, which zstd can't make smaller; `small` tables to be altered meanwhile.
ROWS = """
    create table big (id int primary key, b bytea);
    alter table big alter b set storage external;
    insert into big select i, (select decode(string_agg(md5((i * 1000 + k)::text), ''), 'hex') from generate_series(1, 512) k)
    from generate_series(1, 1000) i;
    create table small (id int primary key, v text);
    insert into small select i, 'row ' || i from generate_series(1, 100) i;
    create table other as select i as v from generate_series(1, 10) i;
"""
SECONDS_PER_DUMP = 8


def slow_workspace(workspace, database, name="slow", rate="1MB", defaults=None, **options):
    database(name, ROWS)
    jobs = {**JOBS, "second": {**JOBS["nightly"], "schedule": "0 3 * * *"}}
    return workspace([name], repository={"rate_limit": rate}, jobs=jobs, defaults={"retries": 0, **(defaults or {})}, **options)


def copying(server, name="slow"):
    """Process ids of the backends that read rows for a dump now."""
    return [r["pid"] for r in server.json("postgres", f"""
        select pid from pg_stat_activity where datname = '{name}' and application_name like 'pgcairn%'
        and query ilike 'copy %' and state = 'active'""")]


def mid_dump(ws, job="nightly", name="slow", env=None, json=False):
    """Starts a dump and returns once rows are being copied."""
    run = ws.start("run", f"{CLUSTER}/{job}", env=env, json=json)
    try:
        def begun():
            assert run.running(), f"the dump ended before its middle: {run.process.returncode}\n{run.err}"
            # pg_dump has its locks by then, and nobody can come between.
            return copying(ws.server, name) and ws.repository.find("schema.pgdump")
        wait_until(begun, 60, "rows being copied")
    except BaseException:
        run.__exit__()
        raise
    return run
