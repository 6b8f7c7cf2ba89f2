#!/bin/sh
# Two databases with an owner each, Optuna's and MLflow's: both keep a table alembic_version, so one would not do.
# The postgres image runs this once, on an empty volume. The passwords are those of the clients' own connection files.
# In a subshell: where the file is not executable the image sources it, and nothing may stay in the server's environment.
(
set -eu
for service in optuna mlflow; do
    password=$(sed -n 's/^password=//p' "${SECRETS:-/run/secrets}/$service.conf")
    export service password
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username postgres --dbname postgres << 'END'
\getenv service service
\getenv password password
CREATE ROLE :"service" LOGIN PASSWORD :'password';
CREATE DATABASE :"service" OWNER :"service" ENCODING 'UTF8' TEMPLATE template0;
REVOKE CONNECT ON DATABASE :"service" FROM PUBLIC;
END
done
)
