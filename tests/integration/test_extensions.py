"""Extensions that are packages of their own: where they are installed, what they hold comes back."""
import pytest
from compare import assert_equal_databases
from pg import SHAREDIR

VECTORS = """create extension vector;
             create table items (id int primary key, embedding vector(8), half halfvec(4), sparse sparsevec(1000));
             insert into items select g, (select array_agg(random()) from generate_series(1, 8) where g > 0)::vector(8),
                 '[0.5,-1,2,3.25]', '{1:1.5,999:-2}/1000' from generate_series(1, 2000) g;
             create index by_embedding on items using hnsw (embedding vector_cosine_ops);
             create index by_list on items using ivfflat (embedding vector_l2_ops) with (lists = 10)"""


@pytest.mark.stores("file")
def test_vectors_and_their_indexes(server, workspace, database):
    if not list(SHAREDIR.glob("extension/vector.control")):
        pytest.skip("pgvector is not installed (postgresql-N-pgvector)")
    database("vectors", VECTORS)
    ws = workspace(["vectors"])
    ws.dump()
    ws.run("restore", "dump", "demo", "latest", "--database", "vectors", "--into", "vectors_restored")
    try:
        assert_equal_databases(server, "vectors", "vectors_restored")
        methods = server.psql("vectors_restored", """select string_agg(a.amname, ' ' order by a.amname) from pg_class c
                                                     join pg_am a on a.oid = c.relam where c.relname like 'by_%'""")
        assert methods == "hnsw ivfflat"
    finally:
        server.psql("postgres", "drop database vectors_restored")
