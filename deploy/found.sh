#!/bin/sh
# Founds a small network for trying out, in two steps, because its chain gives coins to accounts that it is started with.
#   found.sh keys       makes the keys, and the sponsor's configuration; writes the accounts into fund.txt
#   found.sh network    with the chain running: contracts, funds, an aggregator, three evaluators, one node
# Either does nothing where it is done. All keys lie in one directory, which a real network never does.
set -eu
umask 077

net=${MERIDIAN_DIR:-/var/lib/meridian}
rpc_url=${MERIDIAN_RPC_URL:-http://127.0.0.1:8545}
measure_port=${MERIDIAN_MEASURE_PORT:-7390}
evaluator_port=${MERIDIAN_EVALUATOR_PORT:-7400}
epoch_seconds=${MERIDIAN_EPOCH_SECONDS:-300}
epochs=${MERIDIAN_EPOCHS:-100}
challenge_seconds=${MERIDIAN_CHALLENGE_SECONDS:-60}
genesis_s=$(($(date +%s) + ${MERIDIAN_GENESIS_AFTER_S:-120}))
listen_host=${MERIDIAN_LISTEN_HOST:-127.0.0.1}
evaluators="1 2 3"
node=${MERIDIAN_NODE:-node-1}

account_of() { sed -n 's/^account //p'; }

# Makes the keys that are missing, as the servers keep them, and prints their accounts as options of `meridian chain up`.
fund() {
    python3 -c '
import sys
from pathlib import Path
from meridian.node.keystore import load_or_create_key
from meridian.primitives.ids import address_text
for path in sys.argv[1:]:
    print("--fund", address_text(load_or_create_key(Path(path)).address))
' "$@"
}

keys() {
    [ -e "$net/fund.txt" ] && return
    mkdir -p "$net"
    aggregator=$(meridian init aggregator --network-dir "$net" | account_of)
    meridian init sponsor --network-dir "$net" --network trial --rpc-url "$rpc_url" --overwrite \
        --aggregator "$aggregator" --integer bytes --text path \
        --epoch-seconds "$epoch_seconds" --genesis-s "$genesis_s" \
        --challenge-seconds "$challenge_seconds" --epochs "$epochs" --each 100
    set -- "$net/aggregator/keys/aggregator.key" "$net/sponsor/keys/sponsor.key" "$net/node/keys/operator.key"
    for i in $evaluators; do set -- "$@" "$net/evaluator-$i/keys/evaluator.key"; done
    fund "$@" >"$net/fund.tmp"
    mv "$net/fund.tmp" "$net/fund.txt"
}

# Runs the line "next: meridian chain stake ..." that `meridian init` printed.
stake() { sh -euc "$(sed -n 's/^next: \(meridian chain stake .*\)$/\1/p')"; }

network() {
    [ -e "$net/founded" ] && return
    meridian chain deploy --config "$net/sponsor/sponsor.toml" --yes
    meridian chain fund --config "$net/sponsor/sponsor.toml" --yes
    meridian init aggregator --network-dir "$net" --port "$measure_port" --overwrite
    # Where it listens is its own matter; network.json keeps an address that its neighbours reach.
    sed -i "s/^#* *listen_host = .*/listen_host = \"$listen_host\"/" "$net/aggregator/aggregator.toml"
    for i in $evaluators; do
        meridian init evaluator --network-dir "$net" --dir "$net/evaluator-$i" \
            --port "$((evaluator_port + i))" --overwrite | stake
    done
    meridian init node --network-dir "$net" --node "$node" --overwrite | stake
    : >"$net/founded"
}

case ${1:-} in
keys | network) "$1" ;;
*) sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
