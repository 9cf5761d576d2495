# Completion of s2 for bash. Made by completions/generate; do not edit.

# The flags of a command.
_s2_flags() {
    case "$1" in
        "append") echo "-i --input --format --commands -0 --zero --delimiter --raw -H --header --timestamp-from --on-error --rate --dry-run --follow-file --exactly-once --state --create --on-lost-ack --linger --inflight --transport --compression -o --output -m --match-seq-num --fencing-token -k --encryption-key-file --stream --max-outage --storage-class --retention-policy --timestamping-mode --timestamping-uncapped --delete-on-empty-min-age" ;;
        "read") echo "--from --to -f --follow -n --count --state --speed --exec --parallel --exec-retries --dead-letter -o --output -O --output-file -k --encryption-key-file --transport --compression --skip-damaged --stream --max-outage --jq --format -t --template --parse-json --raw --delimiter -0 --zero --grep --grep-not -H --header --bytes --clamp --seq-num --timestamp --ago --tail-offset --until --storage-class --retention-policy --timestamping-mode --timestamping-uncapped --delete-on-empty-min-age" ;;
        "tail") echo "-n --lines -f --follow -o --output -O --output-file -k --encryption-key-file --transport --compression --skip-damaged --stream --max-outage --jq --format -t --template --parse-json --raw --delimiter -0 --zero --grep --grep-not -H --header" ;;
        "check-tail") echo "--max-outage -o --output --stream" ;;
        "trim") echo "-y --yes --force -o --output -m --match-seq-num --fencing-token -k --encryption-key-file --stream --max-outage" ;;
        "fence") echo "-o --output -m --match-seq-num --fencing-token -k --encryption-key-file --stream --max-outage" ;;
        "copy") echo "--create -f --follow --from --to --jq --commands --state --src-profile --dst-profile --src-key-file --dst-key-file --max-outage --compression -o --output --grep --grep-not -H --header" ;;
        "bench") echo "-b --record-size --target-mibps --rate --max -d --duration -w --catchup-delay --no-catchup --streams --writers --readers --batch --inflight -c --storage-class -k --encryption-key-file --compare --tolerance --plot -o --output" ;;
        "list") echo "-p --prefix --start-after -n --limit -0 --zero -o --output --no-headers" ;;
        "create") echo "--location --create-stream-on-append --no-create-stream-on-append --create-stream-on-read --no-create-stream-on-read --stream-cipher --storage-class --retention-policy --timestamping-mode --timestamping-uncapped --delete-on-empty-min-age --request-token -o --output --no-headers" ;;
        "get") echo "-o --output --no-headers" ;;
        "ensure") echo "--location --unset --create-stream-on-append --no-create-stream-on-append --create-stream-on-read --no-create-stream-on-read --stream-cipher --storage-class --retention-policy --timestamping-mode --timestamping-uncapped --delete-on-empty-min-age -o --output --no-headers" ;;
        "delete") echo "-y --yes --request-token" ;;
        "basins list") echo "-p --prefix --start-after -n --limit -0 --zero -o --output --no-headers" ;;
        "basins create") echo "--location --create-stream-on-append --no-create-stream-on-append --create-stream-on-read --no-create-stream-on-read --stream-cipher --storage-class --retention-policy --timestamping-mode --timestamping-uncapped --delete-on-empty-min-age --request-token -o --output --no-headers" ;;
        "basins get") echo "-o --output --no-headers" ;;
        "basins ensure") echo "--location --unset --create-stream-on-append --no-create-stream-on-append --create-stream-on-read --no-create-stream-on-read --stream-cipher --storage-class --retention-policy --timestamping-mode --timestamping-uncapped --delete-on-empty-min-age -o --output --no-headers" ;;
        "basins reconfigure") echo "--unset --create-stream-on-append --no-create-stream-on-append --create-stream-on-read --no-create-stream-on-read --stream-cipher --storage-class --retention-policy --timestamping-mode --timestamping-uncapped --delete-on-empty-min-age --request-token -o --output --no-headers" ;;
        "basins delete") echo "-y --yes --request-token" ;;
        "streams list") echo "-p --prefix --start-after -n --limit -0 --zero -o --output --no-headers" ;;
        "streams create") echo "--storage-class --retention-policy --timestamping-mode --timestamping-uncapped --delete-on-empty-min-age --request-token -o --output --no-headers" ;;
        "streams get") echo "-o --output --no-headers" ;;
        "streams ensure") echo "--unset --storage-class --retention-policy --timestamping-mode --timestamping-uncapped --delete-on-empty-min-age -o --output --no-headers" ;;
        "streams reconfigure") echo "--unset --storage-class --retention-policy --timestamping-mode --timestamping-uncapped --delete-on-empty-min-age --request-token -o --output --no-headers" ;;
        "streams delete") echo "-y --yes --request-token" ;;
        "tokens issue") echo "--basins-prefix --basins-exact --streams-prefix --streams-exact --access-tokens-prefix --access-tokens-exact --op-group-perms --ops --auto-prefix-streams --expires-in --expires-at --request-token -o --output --no-headers" ;;
        "tokens list") echo "-p --prefix --start-after -n --limit -0 --zero -o --output --no-headers" ;;
        "tokens revoke") echo "--request-token" ;;
        "metrics account") echo "--from --to --interval --start-timestamp --start-ago --end-timestamp --end-ago -o --output --no-headers" ;;
        "metrics basin") echo "--from --to --interval --start-timestamp --start-ago --end-timestamp --end-ago -o --output --no-headers" ;;
        "metrics stream") echo "--from --to --interval --start-timestamp --start-ago --end-timestamp --end-ago -o --output --no-headers" ;;
        "locations list") echo "-0 --zero -o --output --no-headers" ;;
        "locations get-default") echo "-o --output --no-headers" ;;
        "locations set-default") echo "--request-token -o --output --no-headers" ;;
        "state list") echo "-0 --zero -o --output --no-headers" ;;
        "state show") echo "-o --output --no-headers" ;;
        "state reset") echo "-y --yes" ;;
        "lite") echo "--data --memory --bucket --bucket-cache --host --port --root-token-file --no-auth --allow-host --cors --no-cors --base-domain --init-file --memory-limit -y --yes -o --output" ;;
        "completion") echo "" ;;
        "records append") echo "-i --input --format --commands -0 --zero --delimiter --raw -H --header --timestamp-from --on-error --rate --dry-run --follow-file --exactly-once --state --create --on-lost-ack --linger --inflight --transport --compression -o --output -m --match-seq-num --fencing-token -k --encryption-key-file --stream --max-outage --storage-class --retention-policy --timestamping-mode --timestamping-uncapped --delete-on-empty-min-age" ;;
        "records read") echo "--from --to -f --follow -n --count --state --speed --exec --parallel --exec-retries --dead-letter -o --output -O --output-file -k --encryption-key-file --transport --compression --skip-damaged --stream --max-outage --jq --format -t --template --parse-json --raw --delimiter -0 --zero --grep --grep-not -H --header --bytes --clamp --seq-num --timestamp --ago --tail-offset --until --storage-class --retention-policy --timestamping-mode --timestamping-uncapped --delete-on-empty-min-age" ;;
        "records tail") echo "-n --lines -f --follow -o --output -O --output-file -k --encryption-key-file --transport --compression --skip-damaged --stream --max-outage --jq --format -t --template --parse-json --raw --delimiter -0 --zero --grep --grep-not -H --header" ;;
        "records check-tail") echo "--max-outage -o --output --stream" ;;
        "records trim") echo "-y --yes --force -o --output -m --match-seq-num --fencing-token -k --encryption-key-file --stream --max-outage" ;;
        "records fence") echo "-o --output -m --match-seq-num --fencing-token -k --encryption-key-file --stream --max-outage" ;;
    esac
    echo "--local --profile --account-endpoint --basin-endpoint --access-token-file --ca-file --insecure-http --http2 --timeout -q --quiet -v --verbose --color -h --help"
}

# What follows a flag of a command: words, <file>, <dir>, - for what nobody can name; empty for a switch.
_s2_values() {
    case "$1 $2" in
        "append -i"|"append --input") echo "<file>"; return ;;
        "append --format") echo "text json json-base64"; return ;;
        "append --commands") echo "skip send"; return ;;
        "append --delimiter") echo "-"; return ;;
        "append -H"|"append --header") echo "-"; return ;;
        "append --timestamp-from") echo "-"; return ;;
        "append --on-error") echo "-"; return ;;
        "append --rate") echo "-"; return ;;
        "append --state") echo "-"; return ;;
        "append --on-lost-ack") echo "check resend stop"; return ;;
        "append --linger") echo "-"; return ;;
        "append --inflight") echo "-"; return ;;
        "append --transport") echo "auto s2s unary"; return ;;
        "append --compression") echo "none gzip zstd auto"; return ;;
        "append -o"|"append --output") echo "json jsonl"; return ;;
        "append -m"|"append --match-seq-num") echo "-"; return ;;
        "append --fencing-token") echo "-"; return ;;
        "append -k"|"append --encryption-key-file") echo "<file>"; return ;;
        "append --stream") echo "-"; return ;;
        "append --max-outage") echo "-"; return ;;
        "append --storage-class") echo "-"; return ;;
        "append --retention-policy") echo "-"; return ;;
        "append --timestamping-mode") echo "client-prefer client-require arrival"; return ;;
        "append --timestamping-uncapped") echo "true false"; return ;;
        "append --delete-on-empty-min-age") echo "-"; return ;;
        "read --from") echo "-"; return ;;
        "read --to") echo "-"; return ;;
        "read -n"|"read --count") echo "-"; return ;;
        "read --state") echo "-"; return ;;
        "read --speed") echo "-"; return ;;
        "read --exec") echo "-"; return ;;
        "read --parallel") echo "-"; return ;;
        "read --exec-retries") echo "-"; return ;;
        "read --dead-letter") echo "-"; return ;;
        "read -o"|"read --output") echo "text json json-base64"; return ;;
        "read -O"|"read --output-file") echo "<file>"; return ;;
        "read -k"|"read --encryption-key-file") echo "<file>"; return ;;
        "read --transport") echo "auto s2s sse unary"; return ;;
        "read --compression") echo "none gzip zstd auto"; return ;;
        "read --stream") echo "-"; return ;;
        "read --max-outage") echo "-"; return ;;
        "read --jq") echo "-"; return ;;
        "read --format") echo "text json json-base64"; return ;;
        "read -t"|"read --template") echo "-"; return ;;
        "read --delimiter") echo "-"; return ;;
        "read --grep") echo "-"; return ;;
        "read --grep-not") echo "-"; return ;;
        "read -H"|"read --header") echo "-"; return ;;
        "read --bytes") echo "-"; return ;;
        "read --seq-num") echo "-"; return ;;
        "read --timestamp") echo "-"; return ;;
        "read --ago") echo "-"; return ;;
        "read --tail-offset") echo "-"; return ;;
        "read --until") echo "-"; return ;;
        "read --storage-class") echo "-"; return ;;
        "read --retention-policy") echo "-"; return ;;
        "read --timestamping-mode") echo "client-prefer client-require arrival"; return ;;
        "read --timestamping-uncapped") echo "true false"; return ;;
        "read --delete-on-empty-min-age") echo "-"; return ;;
        "tail -n"|"tail --lines") echo "-"; return ;;
        "tail -o"|"tail --output") echo "text json json-base64"; return ;;
        "tail -O"|"tail --output-file") echo "<file>"; return ;;
        "tail -k"|"tail --encryption-key-file") echo "<file>"; return ;;
        "tail --transport") echo "auto s2s sse unary"; return ;;
        "tail --compression") echo "none gzip zstd auto"; return ;;
        "tail --stream") echo "-"; return ;;
        "tail --max-outage") echo "-"; return ;;
        "tail --jq") echo "-"; return ;;
        "tail --format") echo "text json json-base64"; return ;;
        "tail -t"|"tail --template") echo "-"; return ;;
        "tail --delimiter") echo "-"; return ;;
        "tail --grep") echo "-"; return ;;
        "tail --grep-not") echo "-"; return ;;
        "tail -H"|"tail --header") echo "-"; return ;;
        "check-tail --max-outage") echo "-"; return ;;
        "check-tail -o"|"check-tail --output") echo "json jsonl"; return ;;
        "check-tail --stream") echo "-"; return ;;
        "trim -o"|"trim --output") echo "json jsonl"; return ;;
        "trim -m"|"trim --match-seq-num") echo "-"; return ;;
        "trim --fencing-token") echo "-"; return ;;
        "trim -k"|"trim --encryption-key-file") echo "<file>"; return ;;
        "trim --stream") echo "-"; return ;;
        "trim --max-outage") echo "-"; return ;;
        "fence -o"|"fence --output") echo "json jsonl"; return ;;
        "fence -m"|"fence --match-seq-num") echo "-"; return ;;
        "fence --fencing-token") echo "-"; return ;;
        "fence -k"|"fence --encryption-key-file") echo "<file>"; return ;;
        "fence --stream") echo "-"; return ;;
        "fence --max-outage") echo "-"; return ;;
        "copy --from") echo "-"; return ;;
        "copy --to") echo "-"; return ;;
        "copy --jq") echo "-"; return ;;
        "copy --commands") echo "skip send"; return ;;
        "copy --state") echo "-"; return ;;
        "copy --src-profile") echo "-"; return ;;
        "copy --dst-profile") echo "-"; return ;;
        "copy --src-key-file") echo "<file>"; return ;;
        "copy --dst-key-file") echo "<file>"; return ;;
        "copy --max-outage") echo "-"; return ;;
        "copy --compression") echo "none gzip zstd auto"; return ;;
        "copy -o"|"copy --output") echo "json jsonl"; return ;;
        "copy --grep") echo "-"; return ;;
        "copy --grep-not") echo "-"; return ;;
        "copy -H"|"copy --header") echo "-"; return ;;
        "bench -b"|"bench --record-size") echo "-"; return ;;
        "bench --target-mibps") echo "-"; return ;;
        "bench --rate") echo "-"; return ;;
        "bench -d"|"bench --duration") echo "-"; return ;;
        "bench -w"|"bench --catchup-delay") echo "-"; return ;;
        "bench --streams") echo "-"; return ;;
        "bench --writers") echo "-"; return ;;
        "bench --readers") echo "-"; return ;;
        "bench --batch") echo "-"; return ;;
        "bench --inflight") echo "-"; return ;;
        "bench -c"|"bench --storage-class") echo "-"; return ;;
        "bench -k"|"bench --encryption-key-file") echo "<file>"; return ;;
        "bench --compare") echo "<file>"; return ;;
        "bench --tolerance") echo "-"; return ;;
        "bench --plot") echo "<file>"; return ;;
        "bench -o"|"bench --output") echo "json jsonl"; return ;;
        "list -p"|"list --prefix") echo "-"; return ;;
        "list --start-after") echo "-"; return ;;
        "list -n"|"list --limit") echo "-"; return ;;
        "list -o"|"list --output") echo "table json jsonl name"; return ;;
        "create --location") echo "-"; return ;;
        "create --stream-cipher") echo "aegis-256 aes-256-gcm"; return ;;
        "create --storage-class") echo "-"; return ;;
        "create --retention-policy") echo "-"; return ;;
        "create --timestamping-mode") echo "client-prefer client-require arrival"; return ;;
        "create --timestamping-uncapped") echo "true false"; return ;;
        "create --delete-on-empty-min-age") echo "-"; return ;;
        "create --request-token") echo "-"; return ;;
        "create -o"|"create --output") echo "table json jsonl name"; return ;;
        "get -o"|"get --output") echo "table json jsonl name"; return ;;
        "ensure --location") echo "-"; return ;;
        "ensure --unset") echo "storage-class retention-policy timestamping-mode timestamping-uncapped delete-on-empty-min-age stream-cipher"; return ;;
        "ensure --stream-cipher") echo "aegis-256 aes-256-gcm"; return ;;
        "ensure --storage-class") echo "-"; return ;;
        "ensure --retention-policy") echo "-"; return ;;
        "ensure --timestamping-mode") echo "client-prefer client-require arrival"; return ;;
        "ensure --timestamping-uncapped") echo "true false"; return ;;
        "ensure --delete-on-empty-min-age") echo "-"; return ;;
        "ensure -o"|"ensure --output") echo "table json jsonl name"; return ;;
        "delete --request-token") echo "-"; return ;;
        "basins list -p"|"basins list --prefix") echo "-"; return ;;
        "basins list --start-after") echo "-"; return ;;
        "basins list -n"|"basins list --limit") echo "-"; return ;;
        "basins list -o"|"basins list --output") echo "table json jsonl name"; return ;;
        "basins create --location") echo "-"; return ;;
        "basins create --stream-cipher") echo "aegis-256 aes-256-gcm"; return ;;
        "basins create --storage-class") echo "-"; return ;;
        "basins create --retention-policy") echo "-"; return ;;
        "basins create --timestamping-mode") echo "client-prefer client-require arrival"; return ;;
        "basins create --timestamping-uncapped") echo "true false"; return ;;
        "basins create --delete-on-empty-min-age") echo "-"; return ;;
        "basins create --request-token") echo "-"; return ;;
        "basins create -o"|"basins create --output") echo "table json jsonl name"; return ;;
        "basins get -o"|"basins get --output") echo "table json jsonl name"; return ;;
        "basins ensure --location") echo "-"; return ;;
        "basins ensure --unset") echo "storage-class retention-policy timestamping-mode timestamping-uncapped delete-on-empty-min-age stream-cipher"; return ;;
        "basins ensure --stream-cipher") echo "aegis-256 aes-256-gcm"; return ;;
        "basins ensure --storage-class") echo "-"; return ;;
        "basins ensure --retention-policy") echo "-"; return ;;
        "basins ensure --timestamping-mode") echo "client-prefer client-require arrival"; return ;;
        "basins ensure --timestamping-uncapped") echo "true false"; return ;;
        "basins ensure --delete-on-empty-min-age") echo "-"; return ;;
        "basins ensure -o"|"basins ensure --output") echo "table json jsonl name"; return ;;
        "basins reconfigure --unset") echo "storage-class retention-policy timestamping-mode timestamping-uncapped delete-on-empty-min-age stream-cipher"; return ;;
        "basins reconfigure --stream-cipher") echo "aegis-256 aes-256-gcm"; return ;;
        "basins reconfigure --storage-class") echo "-"; return ;;
        "basins reconfigure --retention-policy") echo "-"; return ;;
        "basins reconfigure --timestamping-mode") echo "client-prefer client-require arrival"; return ;;
        "basins reconfigure --timestamping-uncapped") echo "true false"; return ;;
        "basins reconfigure --delete-on-empty-min-age") echo "-"; return ;;
        "basins reconfigure --request-token") echo "-"; return ;;
        "basins reconfigure -o"|"basins reconfigure --output") echo "table json jsonl name"; return ;;
        "basins delete --request-token") echo "-"; return ;;
        "streams list -p"|"streams list --prefix") echo "-"; return ;;
        "streams list --start-after") echo "-"; return ;;
        "streams list -n"|"streams list --limit") echo "-"; return ;;
        "streams list -o"|"streams list --output") echo "table json jsonl name"; return ;;
        "streams create --storage-class") echo "-"; return ;;
        "streams create --retention-policy") echo "-"; return ;;
        "streams create --timestamping-mode") echo "client-prefer client-require arrival"; return ;;
        "streams create --timestamping-uncapped") echo "true false"; return ;;
        "streams create --delete-on-empty-min-age") echo "-"; return ;;
        "streams create --request-token") echo "-"; return ;;
        "streams create -o"|"streams create --output") echo "table json jsonl name"; return ;;
        "streams get -o"|"streams get --output") echo "table json jsonl name"; return ;;
        "streams ensure --unset") echo "storage-class retention-policy timestamping-mode timestamping-uncapped delete-on-empty-min-age"; return ;;
        "streams ensure --storage-class") echo "-"; return ;;
        "streams ensure --retention-policy") echo "-"; return ;;
        "streams ensure --timestamping-mode") echo "client-prefer client-require arrival"; return ;;
        "streams ensure --timestamping-uncapped") echo "true false"; return ;;
        "streams ensure --delete-on-empty-min-age") echo "-"; return ;;
        "streams ensure -o"|"streams ensure --output") echo "table json jsonl name"; return ;;
        "streams reconfigure --unset") echo "storage-class retention-policy timestamping-mode timestamping-uncapped delete-on-empty-min-age"; return ;;
        "streams reconfigure --storage-class") echo "-"; return ;;
        "streams reconfigure --retention-policy") echo "-"; return ;;
        "streams reconfigure --timestamping-mode") echo "client-prefer client-require arrival"; return ;;
        "streams reconfigure --timestamping-uncapped") echo "true false"; return ;;
        "streams reconfigure --delete-on-empty-min-age") echo "-"; return ;;
        "streams reconfigure --request-token") echo "-"; return ;;
        "streams reconfigure -o"|"streams reconfigure --output") echo "table json jsonl name"; return ;;
        "streams delete --request-token") echo "-"; return ;;
        "tokens issue --basins-prefix") echo "-"; return ;;
        "tokens issue --basins-exact") echo "-"; return ;;
        "tokens issue --streams-prefix") echo "-"; return ;;
        "tokens issue --streams-exact") echo "-"; return ;;
        "tokens issue --access-tokens-prefix") echo "-"; return ;;
        "tokens issue --access-tokens-exact") echo "-"; return ;;
        "tokens issue --op-group-perms") echo "-"; return ;;
        "tokens issue --ops") echo "-"; return ;;
        "tokens issue --expires-in") echo "-"; return ;;
        "tokens issue --expires-at") echo "-"; return ;;
        "tokens issue --request-token") echo "-"; return ;;
        "tokens issue -o"|"tokens issue --output") echo "table json jsonl name"; return ;;
        "tokens list -p"|"tokens list --prefix") echo "-"; return ;;
        "tokens list --start-after") echo "-"; return ;;
        "tokens list -n"|"tokens list --limit") echo "-"; return ;;
        "tokens list -o"|"tokens list --output") echo "table json jsonl name"; return ;;
        "tokens revoke --request-token") echo "-"; return ;;
        "metrics account --from") echo "-"; return ;;
        "metrics account --to") echo "-"; return ;;
        "metrics account --interval") echo "minute hour day"; return ;;
        "metrics account --start-timestamp") echo "-"; return ;;
        "metrics account --start-ago") echo "-"; return ;;
        "metrics account --end-timestamp") echo "-"; return ;;
        "metrics account --end-ago") echo "-"; return ;;
        "metrics account -o"|"metrics account --output") echo "table json jsonl name"; return ;;
        "metrics basin --from") echo "-"; return ;;
        "metrics basin --to") echo "-"; return ;;
        "metrics basin --interval") echo "minute hour day"; return ;;
        "metrics basin --start-timestamp") echo "-"; return ;;
        "metrics basin --start-ago") echo "-"; return ;;
        "metrics basin --end-timestamp") echo "-"; return ;;
        "metrics basin --end-ago") echo "-"; return ;;
        "metrics basin -o"|"metrics basin --output") echo "table json jsonl name"; return ;;
        "metrics stream --from") echo "-"; return ;;
        "metrics stream --to") echo "-"; return ;;
        "metrics stream --interval") echo "minute hour day"; return ;;
        "metrics stream --start-timestamp") echo "-"; return ;;
        "metrics stream --start-ago") echo "-"; return ;;
        "metrics stream --end-timestamp") echo "-"; return ;;
        "metrics stream --end-ago") echo "-"; return ;;
        "metrics stream -o"|"metrics stream --output") echo "table json jsonl name"; return ;;
        "locations list -o"|"locations list --output") echo "table json jsonl name"; return ;;
        "locations get-default -o"|"locations get-default --output") echo "table json jsonl name"; return ;;
        "locations set-default --request-token") echo "-"; return ;;
        "locations set-default -o"|"locations set-default --output") echo "table json jsonl name"; return ;;
        "state list -o"|"state list --output") echo "table json jsonl name"; return ;;
        "state show -o"|"state show --output") echo "table json jsonl name"; return ;;
        "lite --data") echo "<dir>"; return ;;
        "lite --bucket") echo "-"; return ;;
        "lite --bucket-cache") echo "-"; return ;;
        "lite --host") echo "-"; return ;;
        "lite --port") echo "-"; return ;;
        "lite --root-token-file") echo "<file>"; return ;;
        "lite --allow-host") echo "-"; return ;;
        "lite --cors") echo "-"; return ;;
        "lite --base-domain") echo "-"; return ;;
        "lite --init-file") echo "<file>"; return ;;
        "lite --memory-limit") echo "-"; return ;;
        "lite -o"|"lite --output") echo "json jsonl"; return ;;
        "records append -i"|"records append --input") echo "<file>"; return ;;
        "records append --format") echo "text json json-base64"; return ;;
        "records append --commands") echo "skip send"; return ;;
        "records append --delimiter") echo "-"; return ;;
        "records append -H"|"records append --header") echo "-"; return ;;
        "records append --timestamp-from") echo "-"; return ;;
        "records append --on-error") echo "-"; return ;;
        "records append --rate") echo "-"; return ;;
        "records append --state") echo "-"; return ;;
        "records append --on-lost-ack") echo "check resend stop"; return ;;
        "records append --linger") echo "-"; return ;;
        "records append --inflight") echo "-"; return ;;
        "records append --transport") echo "auto s2s unary"; return ;;
        "records append --compression") echo "none gzip zstd auto"; return ;;
        "records append -o"|"records append --output") echo "json jsonl"; return ;;
        "records append -m"|"records append --match-seq-num") echo "-"; return ;;
        "records append --fencing-token") echo "-"; return ;;
        "records append -k"|"records append --encryption-key-file") echo "<file>"; return ;;
        "records append --stream") echo "-"; return ;;
        "records append --max-outage") echo "-"; return ;;
        "records append --storage-class") echo "-"; return ;;
        "records append --retention-policy") echo "-"; return ;;
        "records append --timestamping-mode") echo "client-prefer client-require arrival"; return ;;
        "records append --timestamping-uncapped") echo "true false"; return ;;
        "records append --delete-on-empty-min-age") echo "-"; return ;;
        "records read --from") echo "-"; return ;;
        "records read --to") echo "-"; return ;;
        "records read -n"|"records read --count") echo "-"; return ;;
        "records read --state") echo "-"; return ;;
        "records read --speed") echo "-"; return ;;
        "records read --exec") echo "-"; return ;;
        "records read --parallel") echo "-"; return ;;
        "records read --exec-retries") echo "-"; return ;;
        "records read --dead-letter") echo "-"; return ;;
        "records read -o"|"records read --output") echo "text json json-base64"; return ;;
        "records read -O"|"records read --output-file") echo "<file>"; return ;;
        "records read -k"|"records read --encryption-key-file") echo "<file>"; return ;;
        "records read --transport") echo "auto s2s sse unary"; return ;;
        "records read --compression") echo "none gzip zstd auto"; return ;;
        "records read --stream") echo "-"; return ;;
        "records read --max-outage") echo "-"; return ;;
        "records read --jq") echo "-"; return ;;
        "records read --format") echo "text json json-base64"; return ;;
        "records read -t"|"records read --template") echo "-"; return ;;
        "records read --delimiter") echo "-"; return ;;
        "records read --grep") echo "-"; return ;;
        "records read --grep-not") echo "-"; return ;;
        "records read -H"|"records read --header") echo "-"; return ;;
        "records read --bytes") echo "-"; return ;;
        "records read --seq-num") echo "-"; return ;;
        "records read --timestamp") echo "-"; return ;;
        "records read --ago") echo "-"; return ;;
        "records read --tail-offset") echo "-"; return ;;
        "records read --until") echo "-"; return ;;
        "records read --storage-class") echo "-"; return ;;
        "records read --retention-policy") echo "-"; return ;;
        "records read --timestamping-mode") echo "client-prefer client-require arrival"; return ;;
        "records read --timestamping-uncapped") echo "true false"; return ;;
        "records read --delete-on-empty-min-age") echo "-"; return ;;
        "records tail -n"|"records tail --lines") echo "-"; return ;;
        "records tail -o"|"records tail --output") echo "text json json-base64"; return ;;
        "records tail -O"|"records tail --output-file") echo "<file>"; return ;;
        "records tail -k"|"records tail --encryption-key-file") echo "<file>"; return ;;
        "records tail --transport") echo "auto s2s sse unary"; return ;;
        "records tail --compression") echo "none gzip zstd auto"; return ;;
        "records tail --stream") echo "-"; return ;;
        "records tail --max-outage") echo "-"; return ;;
        "records tail --jq") echo "-"; return ;;
        "records tail --format") echo "text json json-base64"; return ;;
        "records tail -t"|"records tail --template") echo "-"; return ;;
        "records tail --delimiter") echo "-"; return ;;
        "records tail --grep") echo "-"; return ;;
        "records tail --grep-not") echo "-"; return ;;
        "records tail -H"|"records tail --header") echo "-"; return ;;
        "records check-tail --max-outage") echo "-"; return ;;
        "records check-tail -o"|"records check-tail --output") echo "json jsonl"; return ;;
        "records check-tail --stream") echo "-"; return ;;
        "records trim -o"|"records trim --output") echo "json jsonl"; return ;;
        "records trim -m"|"records trim --match-seq-num") echo "-"; return ;;
        "records trim --fencing-token") echo "-"; return ;;
        "records trim -k"|"records trim --encryption-key-file") echo "<file>"; return ;;
        "records trim --stream") echo "-"; return ;;
        "records trim --max-outage") echo "-"; return ;;
        "records fence -o"|"records fence --output") echo "json jsonl"; return ;;
        "records fence -m"|"records fence --match-seq-num") echo "-"; return ;;
        "records fence --fencing-token") echo "-"; return ;;
        "records fence -k"|"records fence --encryption-key-file") echo "<file>"; return ;;
        "records fence --stream") echo "-"; return ;;
        "records fence --max-outage") echo "-"; return ;;
    esac
    case "$2" in
        "--profile") echo "local"; return ;;
        "--account-endpoint") echo "-"; return ;;
        "--basin-endpoint") echo "-"; return ;;
        "--access-token-file") echo "<file>"; return ;;
        "--ca-file") echo "<file>"; return ;;
        "--timeout") echo "-"; return ;;
        "--color") echo "always auto never"; return ;;
    esac
}

# The operands of a command, as far as they can be named.
_s2_operands() {
    case "$1" in
        "metrics account") echo "active-basins account-ops estimated-billable-usage" ;;
        "metrics basin") echo "storage append-ops read-ops read-throughput append-throughput basin-ops" ;;
        "metrics stream") echo "storage" ;;
        "lite") echo "status stop check repair backup restore trust-clock" ;;
        "completion") echo "bash zsh fish" ;;
        "") echo "append read tail check-tail trim fence copy bench list create get ensure delete lite completion basins streams tokens metrics locations state" ;;
        records) echo "append read tail check-tail trim fence" ;;
        basins) echo "list create get ensure reconfigure delete" ;;
        streams) echo "list create get ensure reconfigure delete" ;;
        tokens) echo "issue list revoke" ;;
        metrics) echo "account basin stream" ;;
        locations) echo "list get-default set-default" ;;
        state) echo "list show reset" ;;
        help) echo "commands options environment exit-codes formats append read tail check-tail trim fence copy bench list create get ensure delete lite completion basins streams tokens metrics locations state" ;;
    esac
}

_s2_completion() {
    local current="${COMP_WORDS[COMP_CWORD]}" previous="" command="" word="" values="" at
    # bash splits --flag=value at the =.
    if [[ $current == "=" ]]; then
        current="" previous="${COMP_WORDS[COMP_CWORD - 1]}"
    elif (( COMP_CWORD >= 2 )) && [[ ${COMP_WORDS[COMP_CWORD - 1]} == "=" ]]; then
        previous="${COMP_WORDS[COMP_CWORD - 2]}"
    else
        previous="${COMP_WORDS[COMP_CWORD - 1]}"
    fi
    for (( at = 1; at < COMP_CWORD; at++ )); do
        word="${COMP_WORDS[at]}"
        if [[ $word == -* ]]; then
            if [[ -n $(_s2_values "$command" "$word") ]]; then
                [[ ${COMP_WORDS[at + 1]} == "=" ]] && (( at++ ))
                (( at++ ))
            fi
        elif [[ -z $command ]]; then
            command="$word"
        else
            case "$command" in
                records|basins|streams|tokens|metrics|locations|state) command="$command $word" ;;
            esac
        fi
    done
    COMPREPLY=()
    [[ $previous == -* ]] && values="$(_s2_values "$command" "$previous")"
    if [[ -z $values ]]; then
        if [[ $current == -* ]]; then
            values="$(_s2_flags "$command")"
        else
            values="$(_s2_operands "$command")"
        fi
    fi
    local IFS=$' \t\n'
    case "$values" in
        "<file>" | "<dir>") IFS=$'\n'; compopt -o filenames 2> /dev/null ;;
    esac
    case "$values" in
        "" | "-") ;;
        "<file>") COMPREPLY=($(compgen -f -- "$current")) ;;
        "<dir>") COMPREPLY=($(compgen -d -- "$current")) ;;
        *) COMPREPLY=($(compgen -W "$values" -- "$current")) ;;
    esac
}

complete -o bashdefault -F _s2_completion s2
