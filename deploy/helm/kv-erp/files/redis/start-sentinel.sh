# Starts this pod's Sentinel on the master that the others know, or on the first pod.
set -eu
me="$POD_NAME.$SET"
master=$(sh /scripts/find-master.sh)
master=${master:-$SET-0.$SET}

umask 077
cat >/run/redis/sentinel.conf <<EOF
port 26379
dir /run/redis
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $me
sentinel monitor kv-erp $master 6379 2
sentinel auth-pass kv-erp "$REDISCLI_AUTH"
sentinel down-after-milliseconds kv-erp $DOWN_AFTER_MILLISECONDS
sentinel failover-timeout kv-erp 30000
sentinel parallel-syncs kv-erp 1
EOF
exec valkey-server /run/redis/sentinel.conf --sentinel
