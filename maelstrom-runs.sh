#!/usr/bin/env bash
# Every workload, as Maelstrom runs it: one line a run, one exit status.
#
#   ./maelstrom-runs.sh [--quick] [--nemesis FAULTS] [--nodes N] [RUN ...]
#
# A RUN is a name from the table below, or a prefix of some (`broadcast` is all of
# them). Without one, all run. --quick limits each to 5 seconds of operations and one
# repetition, and the built-in bench draws the same faults each time. --nemesis replaces
# the faults of every run (partition,kill,pause) and lifts demands of total availability,
# which nobody meets while killed. --nodes replaces the number of nodes.
#
# Uses the real Maelstrom if $MAELSTROM names it or `maelstrom` is on PATH, else the
# built-in bench; nodes are real processes, each run with a fresh data directory: nodes that
# find the state of an earlier run are wrong from their first answer on. What a run printed,
# and where its files are, is in store/runs/.
#
# The binaries are those of the release build. Where there is none yet, --quick makes do with
# the profile `quick` of Cargo.toml, which is built in less than half the time and optimises
# our own crates little or not at all: its verdicts are the same, its latencies are higher.
set -euo pipefail
cd "$(dirname "$0")"

# name | times | flags | options of the node
runs='
echo           | 1  | -w echo --node-count 1 --time-limit 10 |
unique-ids     | 1  | -w unique-ids --node-count 3 --time-limit 30 --rate 1000 --availability total --nemesis partition |
broadcast-3a   | 1  | -w broadcast --node-count 1 --time-limit 20 --rate 10 |
broadcast-3b   | 1  | -w broadcast --node-count 5 --time-limit 20 --rate 10 |
broadcast-3c   | 1  | -w broadcast --node-count 5 --time-limit 20 --rate 10 --availability total --nemesis partition | broadcast
broadcast-3d   | 1  | -w broadcast --node-count 25 --time-limit 20 --rate 100 --latency 100 |
broadcast-3e   | 1  | -w broadcast --node-count 25 --time-limit 20 --rate 100 --latency 100 | --latency-budget 2000
g-set          | 1  | -w g-set --node-count 3 --time-limit 20 --rate 100 --availability total --nemesis partition | g-set
g-counter      | 1  | -w g-counter --node-count 3 --time-limit 20 --rate 100 --availability total --nemesis partition | g-counter
g-counter-seq-kv | 1 | -w g-counter --node-count 3 --time-limit 20 --rate 100 --availability total --nemesis partition | g-counter --store seq-kv
pn-counter     | 1  | -w pn-counter --node-count 3 --time-limit 20 --rate 100 --availability total --nemesis partition | pn-counter
kafka-5a       | 1  | -w kafka --node-count 1 --concurrency 2n --time-limit 20 --rate 1000 |
kafka-5b       | 1  | -w kafka --node-count 2 --concurrency 2n --time-limit 20 --rate 1000 |
kafka-5c       | 1  | -w kafka --node-count 2 --concurrency 2n --time-limit 20 --rate 1000 | --batch-delay 5
kafka-lin-kv   | 1  | -w kafka --node-count 2 --concurrency 2n --time-limit 20 --rate 1000 | kafka --store lin-kv
txn-rw-register-6a | 1 | -w txn-rw-register --node-count 1 --concurrency 2n --time-limit 20 --rate 1000 --consistency-models read-uncommitted --availability total | txn --isolation read-uncommitted
txn-rw-register-6b | 1 | -w txn-rw-register --node-count 2 --concurrency 2n --time-limit 20 --rate 1000 --consistency-models read-uncommitted --availability total --nemesis partition | txn --isolation read-uncommitted
txn-rw-register-6c | 1 | -w txn-rw-register --node-count 2 --concurrency 2n --time-limit 20 --rate 1000 --consistency-models read-committed --availability total --nemesis partition | txn --isolation read-committed
txn-rw-register-strict | 1 | -w txn-rw-register --node-count 3 --concurrency 4n --time-limit 30 --rate 100 --nemesis partition |
txn-list-append-strict | 1 | -w txn-list-append --node-count 3 --concurrency 4n --time-limit 30 --rate 100 --nemesis partition |
lin-kv         | 10 | -w lin-kv --node-count 3 --concurrency 4n --rate 30 --time-limit 60 --nemesis partition --nemesis-interval 10 |
'

quick='' nemesis='' nodes='' wanted=()
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=1 ;;
    --nemesis) nemesis=${2:?--nemesis needs a list of faults}; shift ;;
    --nodes) nodes=${2:?--nodes needs a number}; shift ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    -*) echo "unknown option $1, see --help" >&2; exit 254 ;;
    *) wanted+=("$1") ;;
  esac
  shift
done

trim() { local s=$1; s=${s#"${s%%[![:space:]]*}"}; echo "${s%"${s##*[![:space:]]}"}"; }

# Whether the run called $1 was asked for.
is_wanted() {
  [ ${#wanted[@]} -eq 0 ] && return 0
  local w
  for w in "${wanted[@]}"; do
    case $1 in "$w" | "$w"-*) return 0 ;; esac
  done
  return 1
}

for w in ${wanted[@]+"${wanted[@]}"}; do
  grep -qE "^$w(-[^|]*)?[[:space:]]*\|" <<<"$runs" || { echo "there is no run $w" >&2; exit 254; }
done

# The flags of a run with what the options of this script change.
adapt() {
  local flags=" $1 "
  if [ -n "$nemesis" ]; then
    flags=$(sed -E 's/ --nemesis [^ ]+//; s/ --availability [^ ]+//' <<<"$flags")
    flags="$flags --nemesis $nemesis"
  fi
  [ -z "$nodes" ] || flags=$(sed -E "s/ --node-count [0-9]+/ --node-count $nodes/" <<<"$flags")
  if [ -n "$quick" ]; then
    flags=$(sed -E 's/ --time-limit [0-9]+//; s/ --nemesis-interval [0-9]+//' <<<"$flags")
    flags="$flags --time-limit 5 --nemesis-interval 2"
  fi
  echo "$flags"
}

profile=release
[ -z "$quick" ] || [ -x target/release/seaworthy ] || profile=quick
[ -x "target/$profile/seaworthy" ] || echo "building, which takes one to three minutes the first time" >&2
cargo build --profile "$profile" --locked --quiet -p seaworthy-workloads -p seaworthy-bench \
  --bin seaworthy-node --bin seaworthy
bin=$PWD/target/$profile/seaworthy-node
bench=$PWD/target/$profile/seaworthy
maelstrom=${MAELSTROM:-$(command -v maelstrom || true)}
# Quick runs wait twenty times as long as they work, so all go side by side. Maelstrom has one
# store for all, and a full run's latencies are worth a quiet machine.
jobs=1
[ -z "$quick" ] || [ -n "$maelstrom" ] || jobs=32
# Maelstrom knows no directory of a run's own, so each run gets one from here.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p store/runs

# Runs $1 for the $2-th of $3 times with the flags $4 and node options $5.
run_one() {
  local name=$1 label=$1 log=store/runs/$1-$2.log data latest start seconds line status=0
  [ "$3" -eq 1 ] || label="$name $2/$3"
  local -a flags options where=()
  read -ra flags <<<"$(adapt "$4")"
  read -ra options <<<"$5"
  data=$(mktemp -d "$scratch/data.XXXXXX")
  latest=store/latest
  if [ -z "$maelstrom" ]; then
    data={run}
    where=(--store "store/runs/$name-$2")
    # In five seconds faults that are drawn anew may leave no time in which a node could answer.
    [ -z "$quick" ] || where+=(--seed 1)
    latest=store/runs/$name-$2/latest
  fi
  start=$(date +%s.%N)
  "${maelstrom:-$bench}" test --bin "$bin" "${flags[@]}" ${where[@]+"${where[@]}"} -- \
    --data-dir "$data" ${options[@]+"${options[@]}"} >"$log" 2>&1 </dev/null || status=$?
  seconds=$(awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')
  line=$("$bench" summary "$latest" 2>/dev/null) || [ -n "$line" ] || line="status $status"
  printf '%-22s %-78s %7s\n' "$label" "$line" "$seconds"
  if [ "$status" -ne 0 ]; then
    grep -E '^(Node|Invariant|seaworthy:|  \|)' "$log" | head -12 || true
    echo "  failed: see $log and $latest"
  fi
  # The state of a run that failed is evidence.
  [ -n "$maelstrom" ] || [ "$status" -ne 0 ] || data=$latest/data
  [ "$data" = '{run}' ] || rm -rf "$data"
  return "$status"
}

echo "node: ${bin#"$PWD"/}   judge: ${maelstrom:-built-in bench}"
printf '%-22s %-8s %11s  %11s  %14s  %22s %7s\n' \
  run verdict operations ok 'between servers' 'latency p50 / p99' seconds

failed=0
while IFS='|' read -r name times flags options; do
  name=$(trim "$name")
  [ -n "$name" ] && is_wanted "$name" || continue
  times=$(trim "$times")
  [ -z "$quick" ] || times=1
  for ((i = 1; i <= times; i++)); do
    if [ "$jobs" -eq 1 ]; then
      run_one "$name" "$i" "$times" "$flags" "$options" || failed=1
      continue
    fi
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || failed=1; done
    run_one "$name" "$i" "$times" "$flags" "$options" &
  done
done <<<"$runs"
while [ -n "$(jobs -p)" ]; do wait -n || failed=1; done
exit $failed
