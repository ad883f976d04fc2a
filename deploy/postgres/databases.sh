#!/bin/sh
# Makes each service's database and its three roles; run once, as superuser, with libpq's PGHOST and
# so on in the environment. Passwords: INVENTORY_OWNER_PASSWORD, INVENTORY_APP_PASSWORD, …
#
# <service>_owner owns the database and runs migrations. <service>_app and <service>_system own
# nothing; migrations give them rights on tables. Nobody else enters.
set -eu

for service in inventory accounting sales gateway; do
    for kind in owner app system; do
        variable=$(echo "${service}_${kind}_PASSWORD" | tr '[:lower:]' '[:upper:]')
        eval "password=\${$variable:?is not set}"
        psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set=role="${service}_${kind}" \
            --set=password="$password" <<'SQL'
SET password_encryption = 'scram-sha-256';
CREATE ROLE :"role" LOGIN PASSWORD :'password';
SQL
    done
    psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set=service="$service" \
        --set=owner="${service}_owner" --set=app="${service}_app" --set=system="${service}_system" <<'SQL'
CREATE DATABASE :"service" OWNER :"owner" TEMPLATE template0 ENCODING 'UTF8';
REVOKE ALL ON DATABASE :"service" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"service" TO :"owner", :"app", :"system";
\connect :"service"
ALTER SCHEMA public OWNER TO :"owner";
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO :"owner", :"app", :"system";
SQL
done
