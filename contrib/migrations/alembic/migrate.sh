#!/bin/sh
# Before the application starts: alembic under guard. DATABASE_URL is read by migrations/env.py:
#     config.set_main_option("sqlalchemy.url", os.environ["DATABASE_URL"])
# and by the policy (connection: ${DATABASE_URL}). Where nothing is to be done no dump is taken.
set -eu
cluster=${1:-shop}
heads=$(alembic heads)
current=$(alembic current)
if [ -n "$heads" ] && [ "${heads%% *}" = "${current%% *}" ]; then
    exit 0
fi
exec pgcairn guard "$cluster" --keep 14d -- alembic upgrade head
