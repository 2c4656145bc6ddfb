-- Three kinds of tables that an extension owns: one whose rows a user adds to and that is dumped
-- whole, one of which only the user's own rows are dumped, and one that is never dumped.
create table settings (id serial primary key, name text not null, value text);
select pg_extension_config_dump('settings', '');

create table rules (name text primary key, body text, builtin boolean not null default false);
insert into rules values ('shipped', 'comes with the extension', true);
select pg_extension_config_dump('rules', 'where not builtin');

create table internals (n int primary key);
insert into internals select generate_series(1, 10);

create sequence tickets;
select pg_extension_config_dump('tickets', '');
