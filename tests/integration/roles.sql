-- Roles that the zoo's objects belong to. Roles are the cluster's, so they come once, before it.
create role zoo_owner;
create role "Zoo Reader";
create role "zoo ""quoted"" rôle";
create role zoo_member in role zoo_owner;
create role zoo_login login password 'zoo-secret-password' connection limit 7 valid until '2099-01-01 00:00:00+00';
comment on role zoo_owner is 'owns most of the zoo';
alter role zoo_login set work_mem = '8MB';
