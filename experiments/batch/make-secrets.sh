#!/bin/sh
# Make the secrets that the two databases need, with new passwords: for compose or for Kubernetes.
#
#   sh experiments/batch/make-secrets.sh experiments/batch/secrets
#   sh experiments/batch/make-secrets.sh experiments/batch/kubernetes/stores/secrets
#
# postgres_password   the database administrator's
# optuna.conf         how the workers reach Optuna's database: a libpq connection service file, password included
# mlflow.conf         how the tracking server reaches MLflow's
#
# A service file, not a URL: so no password is in a command line, an environment, a log or an error.
# Environment: PGHOST and PGPORT name a server other than the one that comes with compose.yaml and the manifests.
set -eu

directory=${1:?"usage: make-secrets.sh DIRECTORY"}
mkdir -p "$directory"
# The containers' users read the files, nobody else on this machine can reach them.
chmod 700 "$directory"
umask 022

password() { LC_ALL=C tr -dc 'A-Za-z0-9' < /dev/urandom | head -c 32; }

# write FILE: its content from stdin, unless it is there: a new password would lock everyone out of an old database.
write() {
    if [ -e "$directory/$1" ]; then
        echo "$directory/$1: kept" >&2
        cat > /dev/null
    else
        cat > "$directory/$1.new"
        mv "$directory/$1.new" "$directory/$1"
    fi
}

password | write postgres_password
for service in optuna mlflow; do
    write "$service.conf" << END
[$service]
host=${PGHOST:-postgres}
port=${PGPORT:-5432}
dbname=$service
user=$service
password=$(password)
connect_timeout=10
END
done
