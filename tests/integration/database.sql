-- What belongs to the database itself and not to an object in it. :db is its quoted name.
alter database :"db" owner to zoo_owner;
alter database :"db" set DateStyle = 'German, DMY';
alter database :"db" set IntervalStyle = 'sql_standard';
alter database :"db" set extra_float_digits = -3;
alter database :"db" set bytea_output = 'escape';
alter database :"db" set timezone = 'Asia/Kathmandu';
alter database :"db" set search_path = zoo, "Mixed Case", public;
alter database :"db" set statement_timeout = '20min';
alter database :"db" set default_transaction_read_only = off;
alter database :"db" set "zoo.custom" = 'it''s "quoted"';
alter role zoo_login in database :"db" set work_mem = '9MB';
alter role "Zoo Reader" in database :"db" set DateStyle = 'SQL';
alter database :"db" connection limit 50;
revoke connect, temporary on database :"db" from public;
grant connect on database :"db" to "Zoo Reader" with grant option;
grant create on database :"db" to zoo_login;
comment on database :"db" is 'a database''s "comment"';
