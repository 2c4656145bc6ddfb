#!/bin/sh
# The image lets nobody replicate from another host; the password is asked for all the same.
echo "host replication postgres all scram-sha-256" >>"$PGDATA/pg_hba.conf"
