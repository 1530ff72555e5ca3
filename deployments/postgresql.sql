-- The database of Prefect's server: psql -v password=... -f deployments/postgresql.sql, as PostgreSQL's superuser.
-- Running it again only sets the password.
SELECT 'CREATE ROLE prefect LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'prefect') \gexec
ALTER ROLE prefect PASSWORD :'password';
SELECT 'CREATE DATABASE prefect OWNER prefect' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'prefect') \gexec
\connect prefect
-- Prefect's own set-up needs it, and only a superuser may make it everywhere.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
