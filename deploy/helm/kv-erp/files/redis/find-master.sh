# Prints whom the sentinels of the set call master; nothing when none of them answers.
for number in 0 1 2; do
    master=$(valkey-cli -h "$SET-$number.$SET" -p 26379 -t 1 \
        sentinel get-master-addr-by-name kv-erp 2>/dev/null | head -n 1) || continue
    case "$master" in
    "$SET"-*) echo "$master" && exit ;;
    esac
done
