# Starts this pod's Redis as replica of the master that the sentinels know, or as the master itself.
# When nobody knows of one, all are starting, and the first is it: what Redis holds may be lost.
set -eu
me="$POD_NAME.$SET"
master=$(sh /scripts/find-master.sh)
master=${master:-$SET-0.$SET}

umask 077
{
    echo "dir /data"
    echo "appendonly yes"
    echo "appendfsync everysec"
    echo "save 3600 1"
    echo "maxmemory $MAX_MEMORY"
    # Nothing that is held here, a lock least of all, may vanish before its time.
    echo "maxmemory-policy noeviction"
    echo "replica-announce-ip $me"
    echo "requirepass \"$REDISCLI_AUTH\""
    echo "masterauth \"$REDISCLI_AUTH\""
    [ "$master" = "$me" ] || echo "replicaof $master 6379"
} >/run/redis/redis.conf
exec valkey-server /run/redis/redis.conf
