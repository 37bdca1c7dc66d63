#!/usr/bin/env bash
# Starts PostgreSQL, three relays and a load balancer on this machine, sends events to
# the balancer, kills a relay now and then, and counts: every event that was answered
# 200 must be delivered. It ends everything that it started, and exits with 0 if nothing
# was lost.
#
#   CADDY    the program, by default caddy
#   POSTGRES the directory of initdb and postgres, by default Debian's newest
#   PORT     the first of nine free ports, by default 18080
#   RATE     events in a second, by default 250
#   KILLS    how often a relay is killed, by default 5
set -euo pipefail
cd "$(dirname "$0")"
program=${CADDY:-caddy}
CADDY=$(command -v "$program") || {
	echo "there is no program $program: build it with go build -o /tmp/caddy ./cmd/caddy, and name it: CADDY=/tmp/caddy" >&2
	exit 1
}
# Debian has these programs outside of PATH.
[ -n "${POSTGRES:-}" ] || POSTGRES=$(find /usr/lib/postgresql -path '*/bin/initdb' -printf '%h\n' 2>/dev/null | sort -V | tail -n 1)
[ -n "$POSTGRES" ] || POSTGRES=$(dirname "$(command -v initdb)")
[ -x "$POSTGRES/initdb" ] || {
	echo "there is no initdb in $POSTGRES: install PostgreSQL, and name the directory of its programs: POSTGRES=/usr/lib/postgresql/15/bin" >&2
	exit 1
}
PORT=${PORT:-18080} RATE=${RATE:-250} KILLS=${KILLS:-5}
work=$(mktemp -d)
declare -A pids

as_postgres() {
	# PostgreSQL refuses to run as root.
	if [ "$(id -u)" = 0 ]; then
		setpriv --reuid postgres --regid postgres --clear-groups "$@"
	else
		"$@"
	fi
}

finish() {
	status=$?
	trap - EXIT
	[ "$status" = 0 ] || tail -n 5 "$work"/*.log >&2 || true
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	wait
	as_postgres "$POSTGRES/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1 || true
	rm -rf "$work"
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# PostgreSQL, on a socket in the directory and a port of this machine.
chmod 711 "$work"
mkdir "$work/data" "$work/socket"
[ "$(id -u)" != 0 ] || chown postgres "$work/data" "$work/socket"
as_postgres "$POSTGRES/initdb" -D "$work/data" -U postgres -A trust >"$work/initdb.log"
as_postgres "$POSTGRES/pg_ctl" -D "$work/data" -w -l "$work/data/server.log" \
	-o "-p $((PORT + 7)) -k $work/socket -c listen_addresses=127.0.0.1" start >/dev/null
as_postgres "$POSTGRES/psql" -q -h "$work/socket" -p $((PORT + 7)) -U postgres \
	-c 'CREATE USER relay' -c 'CREATE DATABASE relay OWNER relay'
export RELAY_DB="postgres://relay@127.0.0.1:$((PORT + 7))/relay" SHOP_TOKEN=demo-shop-token
export XDG_DATA_HOME="$work/share" XDG_CONFIG_HOME="$work/config"

# run NAME CADDYFILE VARIABLE=VALUE…: a Caddy in the background.
run() {
	env "${@:3}" "$CADDY" run --config "$2" --adapter caddyfile >>"$work/$1.log" 2>&1 &
	pids[$1]=$!
}
node() {
	run "node$1" Caddyfile NODE="node$1" SITE=":$((PORT + $1))" ADMIN="127.0.0.1:$((PORT + 3 + $1))" LAN="http://127.0.0.1:$((PORT + 8))"
}
for n in 1 2 3; do node $n; done
run lan lan.caddy SITE=":$((PORT + 8))" BOOK="$work/book"
run balancer balancer.caddy SITE=":$PORT" NODES="127.0.0.1:$((PORT + 1)) 127.0.0.1:$((PORT + 2)) 127.0.0.1:$((PORT + 3))"

status() { "$CADDY" event-relay status --address "127.0.0.1:$((PORT + 3 + $1))" "${@:2}"; }
for n in 1 2 3; do
	for _ in $(seq 300); do
		if status $n >/dev/null 2>&1 || [ $? = 2 ]; then continue 2; fi
		sleep 0.1
	done
	echo "node$n did not start" >&2
	exit 1
done

# second S: as many events as RATE says, at once, and the answers into a file.
second() {
	local from=$(($1 * RATE + 1)) to=$((($1 + 1) * RATE))
	for id in $(seq "$from" "$to"); do
		printf 'url = "http://127.0.0.1:%s/listen.php?order=%s"\n' "$PORT" "$id"
		printf 'header = "Authorization: Bearer %s"\nheader = "Content-Type: application/json"\n' "$SHOP_TOKEN"
		printf 'data = "{\\"event\\":\\"order_paid\\",\\"id\\":\\"%s\\"}"\noutput = /dev/null\n' "$id"
		printf 'write-out = "%%{http_code} %s\\n"\nnext\n' "$id"
	done | sed '$d' >"$work/requests"
	curl -sS --parallel --parallel-max 16 --max-time 60 -K "$work/requests" >>"$work/answers" 2>>"$work/curl.log" || true
}

# Two seconds before each kill, and two at the end.
for ((s = 0; s < 2 * KILLS + 2; s++)); do
	begun=$(date +%s%N)
	second "$s" &
	sender=$!
	if ((s % 2 == 0 && s > 0)); then
		# In the midst of the second.
		n=$((s / 2 % 3 + 1))
		sleep 0.2
		kill -KILL "${pids[node$n]}"
		wait "${pids[node$n]}" 2>/dev/null || true
		node $n
	fi
	wait "$sender"
	left=$((1000000000 - $(date +%s%N) + begun))
	if ((left > 0)); then sleep "$(printf '0.%09d' "$left")"; fi
done

awk '$1 == 200 {print $2}' "$work/answers" | sort -u >"$work/accepted"
booked() { grep -o '"uri":"/orders/[0-9]*' "$work/book" | grep -o '[0-9]*$'; }
lost() { booked | sort -u | comm -23 "$work/accepted" -; }
for _ in $(seq 600); do
	[ -n "$(lost)" ] || break
	sleep 0.2
done
sent=$((RATE * (2 * KILLS + 2))) accepted=$(wc -l <"$work/accepted") missing=$(lost | wc -l)
repeated=$(($(booked | wc -l) - $(booked | sort -u | wc -l)))
echo "sent $sent, answered 200: $accepted, of these not delivered: $missing; delivered more than once: $repeated; kills: $KILLS"
if [ "$missing" != 0 ] || [ "$accepted" -lt $((sent * 9 / 10)) ]; then
	status 1 >&2 || true
	exit 1
fi
