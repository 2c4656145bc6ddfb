-- What the bench dumps: mixed tables as applications have them. `-v scale=1` makes about 200 MB as COPY
-- text, and grows with it. Half of it is text that compresses like prose, the rest numbers, times,
-- JSON documents and vectors of floats.

create function words(n bigint, count int) returns text language sql immutable as $$
    select string_agg((array['order','models','the','price','of','filled','with','agent','stop','loss',
        'analysis','signal','confirmed','reason','volume','and','momentum','portfolio','to','risk'])
        [1 + ((n * 7919 + i * 104729 + (n * i) % 9973) % 20)::int], ' ') from generate_series(1, count) i
$$;
create table "Orders" (id bigint primary key, model_id int, symbol text, side text, quantity numeric(18,8),
    price numeric(18,4), status text, created_at timestamptz, closed_at timestamptz);
insert into "Orders" select i, i % 97, (array['BTC','ETH','SOL','XRP'])[1 + i % 4],
    case when i % 2 = 0 then 'buy' else 'sell' end, (i * 37 % 100000) / 1000.0, 20000 + (i * 7919 % 900000) / 100.0,
    case when i % 11 = 0 then 'OPEN' else 'CLOSED' end, '2024-01-01'::timestamptz + i * interval '7 seconds',
    case when i % 11 <> 0 then '2024-01-02'::timestamptz + i * interval '7 seconds' end
    from generate_series(1, (550000 * :scale)::bigint) i;
create table conversations (id bigserial primary key, workspace uuid, role text, body text, meta jsonb,
    created_at timestamptz);
insert into conversations (workspace, role, body, meta, created_at)
    select md5((i % 500)::text)::uuid, case when i % 2 = 0 then 'user' else 'assistant' end,
    words(i, 40 + (i % 60)::int), jsonb_build_object('model', 'm' || i % 7, 'tokens', i % 4096, 'cost', (i * 31 % 10007) / 1e6,
    'tags', jsonb_build_array('t' || i % 13, 't' || i % 29)), '2024-03-01'::timestamptz + i * interval '11 seconds'
    from generate_series(1, (110000 * :scale)::bigint) i;
create table chunks (id bigserial primary key, document_id int, position int, embedding real[]);
insert into chunks (document_id, position, embedding)
    select i / 20, i % 20, (select array_agg((sin(i * j) * 0.5)::real) from generate_series(1, 192) j)
    from generate_series(1, (14000 * :scale)::bigint) i;
create table prices (symbol text, at timestamptz, open double precision, high double precision, low double precision,
    close double precision, volume double precision);
insert into prices select (array['BTC','ETH','SOL','XRP'])[1 + i % 4], '2023-01-01'::timestamptz + i * interval '1 minute',
    20000 + sin(i) * 900, 20100 + sin(i) * 900, 19900 + sin(i) * 900, 20000 + cos(i) * 900, abs(sin(i * 3)) * 1e6
    from generate_series(1, (360000 * :scale)::bigint) i;
create index on "Orders" (created_at);
create index on conversations (workspace, created_at);
create index on prices (at);
alter table conversations add check (role in ('user', 'assistant'));
drop function words(bigint, int);
