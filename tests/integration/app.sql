-- An application's database, as teams have them: a trading application whose ORM quotes every name
-- (Drizzle) beside a workspace service with many small tables (Alembic). Rows are generated, the same
-- ones every time. Used by the tests, the demo and the benchmarks.
--
--     psql -v scale=1 -f app.sql app        about 10 MB; the size grows with scale, which is a number

\set QUIET on
set client_min_messages = warning;
set synchronous_commit = off;
create extension if not exists pg_trgm;

-- The trading application.

create table "Models" (
    "id" text primary key, "variant" text not null, "providerId" text not null, "modelId" text not null,
    "netPortfolio" text not null, "settings" jsonb not null default '{}',
    "createdAt" timestamp not null default now(), "updatedAt" timestamp not null default now());
create type "OrderStatus" as enum ('OPEN', 'CLOSED', 'CANCELLED');
create table "Orders" (
    "id" text primary key, "modelId" text not null references "Models" ("id") on delete cascade,
    "symbol" text not null, "side" text not null check ("side" in ('LONG', 'SHORT')), "quantity" text not null,
    "entryPrice" text not null, "exitPrice" text, "exitPlan" jsonb, "status" "OrderStatus" not null default 'OPEN',
    "leverage" numeric(6, 2), "createdAt" timestamp not null default now(), "closedAt" timestamp);
create table "PortfolioSnapshots" (
    "id" bigint generated always as identity primary key, "modelId" text not null references "Models" ("id"),
    "netPortfolio" text not null, "netValue" numeric generated always as (("netPortfolio")::numeric) stored,
    "createdAt" timestamp not null);
create table "Conversations" (
    "id" uuid primary key, "modelId" text not null references "Models" ("id"), "role" text not null,
    "content" text not null, "toolCalls" jsonb, "createdAt" timestamptz not null);
create table "CryptoPrice" (
    "symbol" text not null, "at" timestamptz not null, "open" float8, "high" float8, "low" float8, "close" float8,
    "volume" numeric, primary key ("symbol", "at")) partition by range ("at");
create table "CryptoPrice_2024" partition of "CryptoPrice" for values from ('2024-01-01') to ('2025-01-01');
create table "CryptoPrice_2025" partition of "CryptoPrice" for values from ('2025-01-01') to ('2026-01-01');
create table "CryptoPrice_default" partition of "CryptoPrice" default;

insert into "Models" ("id", "variant", "providerId", "modelId", "netPortfolio", "settings", "createdAt", "updatedAt")
    select md5('model' || i), (array['Apex', 'Trendsurfer', 'Contrarian', 'Sovereign'])[1 + i % 4],
           (array['north', 'south', 'east'])[1 + i % 3], 'model-' || i, (10000 + i * 13.5)::text,
           jsonb_build_object('risk', i % 5, 'symbols', array['BTC', 'ETH']),
           timestamp '2024-01-01' + i * interval '1 hour', timestamp '2024-06-01' + i * interval '1 hour'
    from generate_series(1, 20) i;
insert into "Orders"
    select md5('order' || i), md5('model' || 1 + i % 20), (array['BTC', 'ETH', 'SOL', 'XRP'])[1 + i % 4],
           (array['LONG', 'SHORT'])[1 + i % 2], (i % 97 / 7.0)::numeric(12, 6)::text, (100 + i % 1000)::text,
           case when i % 3 > 0 then (101 + i % 990)::text end,
           case when i % 5 = 0 then jsonb_build_object('stop', i % 50, 'target', i % 90, 'note', 'plan "' || i || E'"\n') end,
           (case when i % 3 > 0 then 'CLOSED' else 'OPEN' end)::"OrderStatus", i % 20 / 2.0,
           timestamp '2024-01-01' + i * interval '7 minutes',
           case when i % 3 > 0 then timestamp '2024-01-02' + i * interval '7 minutes' end
    from generate_series(1, 4000 * :scale) i;
insert into "PortfolioSnapshots" ("modelId", "netPortfolio", "createdAt")
    select md5('model' || 1 + i % 20), (10000 + (i * 7919::bigint % 5000) / 3.0)::numeric(14, 4)::text,
           timestamp '2024-01-01' + i * interval '30 seconds'
    from generate_series(1, 12000 * :scale) i;
insert into "Conversations"
    select md5('talk' || i)::uuid, md5('model' || 1 + i % 20), (array['user', 'assistant', 'tool'])[1 + i % 3],
           'Thought ' || i || ': ' || repeat(md5(i::text) || ' the market moved ', 3 + i % 40),
           case when i % 3 = 2 then jsonb_build_array(jsonb_build_object('name', 'price', 'arguments', jsonb_build_object('n', i, 'hash', md5((i * 3)::text)))) end,
           timestamptz '2024-01-01 00:00:00+00' + i * interval '3 minutes'
    from generate_series(1, 1500 * :scale) i;
insert into "CryptoPrice"
    select (array['BTC', 'ETH', 'SOL', 'XRP'])[1 + i % 4], timestamptz '2023-12-01 00:00:00+00' + i * interval '25 minutes' / :scale,
           100 + sin(i), 101 + sin(i), 99 + sin(i), 100 + sin(i + 1), (i * 104729::bigint % 1000000) / 100.0
    from generate_series(1, 30000 * :scale) i;
create index "idx_orders_model_id" on "Orders" ("modelId");
create index "idx_orders_open" on "Orders" ("createdAt") where "status" = 'OPEN';
create index "idx_snapshots_model" on "PortfolioSnapshots" ("modelId", "createdAt" desc);
create index "idx_conversations_content" on "Conversations" using gin (to_tsvector('simple', "content"));
create view "OpenOrders" as select o.*, m."variant" from "Orders" o join "Models" m on m."id" = o."modelId" where o."status" = 'OPEN';
create schema drizzle;
create table drizzle.__drizzle_migrations (id serial primary key, hash text not null, created_at bigint);
insert into drizzle.__drizzle_migrations (hash, created_at)
    select md5('migration' || i), 1704067200000 + i * 86400000 from generate_series(0, 6) i;

-- The workspace service.

create schema service;
create function service.touch_updated_at() returns trigger language plpgsql as $$
begin
    new.updated_at := now();
    return new;
end $$;
create table service.workspaces (
    id uuid primary key, name text not null, plan text not null default 'free', is_deleted boolean not null default false,
    deleted_at timestamptz, created_at timestamptz not null, updated_at timestamptz not null);
create table service.users (
    id uuid primary key, email text not null unique, name text, settings jsonb not null default '{}', created_at timestamptz not null);
create table service.team_members (
    workspace_id uuid not null references service.workspaces, user_id uuid not null references service.users,
    role text not null default 'member', primary key (workspace_id, user_id));
create table service.agents (
    id serial primary key, workspace_id uuid not null references service.workspaces, name text not null, persona jsonb,
    cloned_from_id int references service.agents, owner_type text not null check (owner_type in ('marketplace', 'workspace')),
    created_at timestamptz not null, updated_at timestamptz not null);
create table service.documents (
    id bigserial primary key, workspace_id uuid not null references service.workspaces, title text not null,
    body text, bytes bytea, tags text[] not null default '{}', created_at timestamptz not null);
create table service.chunks (
    document_id bigint not null references service.documents on delete cascade, chunk_index int not null,
    content text not null, embedding real[], primary key (document_id, chunk_index));
create table service.workflows (
    id bigserial primary key, workspace_id uuid not null references service.workspaces, definition jsonb not null, is_active boolean not null);
create table service.executions (
    id bigserial, workflow_id bigint not null references service.workflows, status text not null, log text,
    started_at timestamptz not null, finished_at timestamptz, primary key (id, started_at)) partition by range (started_at);
create table service.executions_2024h1 partition of service.executions for values from ('2024-01-01') to ('2024-07-01');
create table service.executions_2024h2 partition of service.executions for values from ('2024-07-01') to ('2025-01-01');
create table service.executions_later partition of service.executions default;
create table service.audit_logs (id bigint generated by default as identity primary key, workspace_id uuid, actor text, action text, detail jsonb, at timestamptz not null);
create unlogged table service.sessions (token text primary key, user_id uuid, seen_at timestamptz);
create table service.settings (key text primary key, value jsonb);
create table public.alembic_version (version_num varchar(32) primary key);
insert into public.alembic_version values ('7c1f2ab90e44');

insert into service.workspaces
    select md5('ws' || i)::uuid, 'Workspace ' || i, (array['free', 'team', 'business'])[1 + i % 3], i % 17 = 0,
           case when i % 17 = 0 then timestamptz '2024-05-01 00:00:00+00' end, timestamptz '2024-01-01 00:00:00+00' + i * interval '1 hour',
           timestamptz '2024-02-01 00:00:00+00' + i * interval '1 hour'
    from generate_series(1, 50) i;
insert into service.users
    select md5('user' || i)::uuid, 'user' || i || '@example.org', 'User Nº ' || i, jsonb_build_object('locale', 'de', 'n', i), timestamptz '2024-01-01 00:00:00+00' + i * interval '1 minute'
    from generate_series(1, 400) i;
insert into service.team_members
    select md5('ws' || 1 + i % 50)::uuid, md5('user' || i)::uuid, (array['owner', 'member'])[1 + i % 2] from generate_series(1, 400) i;
insert into service.agents (workspace_id, name, persona, cloned_from_id, owner_type, created_at, updated_at)
    select md5('ws' || 1 + i % 50)::uuid, 'Agent ' || i, jsonb_build_object('tone', 'calm'), nullif(i / 2, 0), (array['marketplace', 'workspace'])[1 + i % 2],
           timestamptz '2024-03-01 00:00:00+00', timestamptz '2024-03-02 00:00:00+00'
    from generate_series(1, 300) i;
insert into service.documents (workspace_id, title, body, bytes, tags, created_at)
    select md5('ws' || 1 + i % 50)::uuid, 'Document ' || i, repeat('Paragraph ' || md5(i::text) || E' with a\ttab.\n', 5 + i % 60),
           case when i % 10 = 0 then decode(repeat(md5(i::text), 50), 'hex') end, array['t' || i % 9, 'ü'], timestamptz '2024-01-01 00:00:00+00' + i * interval '20 minutes'
    from generate_series(1, 600 * :scale) i;
insert into service.chunks
    select 1 + i % (600 * :scale), i / (600 * :scale), md5(i::text) || ' chunk ' || i, array[sin(i), cos(i), sin(i * 2), cos(i * 2), sin(i * 3), cos(i * 3), sin(i * 5), cos(i * 5)]::real[]
    from generate_series(0, 6000 * :scale - 1) i;
insert into service.workflows (workspace_id, definition, is_active)
    select md5('ws' || 1 + i % 50)::uuid, jsonb_build_object('steps', jsonb_build_array('fetch', 'think', i)), i % 2 = 0 from generate_series(1, 100) i;
insert into service.executions (workflow_id, status, log, started_at, finished_at)
    select 1 + i % 100, (array['done', 'failed', 'running'])[1 + i % 3], case when i % 3 = 1 then repeat('error ' || i || E'\\n', 5) end,
           timestamptz '2023-12-25 00:00:00+00' + i * interval '1 hour' / :scale, timestamptz '2024-01-01 00:00:10+00' + i * interval '1 hour' / :scale
    from generate_series(1, 9000 * :scale) i;
insert into service.audit_logs (workspace_id, actor, action, detail, at)
    select md5('ws' || 1 + i % 50)::uuid, 'user' || i % 400, 'update', jsonb_build_object('before', i, 'after', i + 1), timestamptz '2024-01-01 00:00:00+00' + i * interval '1 minute'
    from generate_series(1, 8000 * :scale) i;
insert into service.sessions select md5('session' || i), md5('user' || i)::uuid, timestamptz '2024-09-01 00:00:00+00' from generate_series(1, 200) i;
insert into service.settings values ('theme', '{"dark": true}'), ('limits', '{"agents": 10}');
create index on service.agents (workspace_id, created_at desc);
create index on service.documents (workspace_id, created_at desc);
create index on service.documents using gin (title gin_trgm_ops);
create index on service.audit_logs (workspace_id, at);
create trigger workspaces_touch before update on service.workspaces for each row execute function service.touch_updated_at();
create materialized view service.usage as
    select workspace_id, count(*) as documents, sum(length(body)) as characters from service.documents group by workspace_id;
create unique index on service.usage (workspace_id);
analyze;
