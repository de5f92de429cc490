#!/bin/bash
# Records the captures of real clients, anew, in network namespaces of its own without a way out.
#
#   record.sh OUT PYTHON AWS JSDIR
#
# OUT: folder for the captures. PYTHON: an interpreter with boto3. AWS: the AWS CLI 1. JSDIR: a folder whose node_modules
# has @aws-sdk/credential-providers. Also needed: iproute2, nftables, tcpdump, curl, node, rclone, squid,
# tinyproxy, dnsmasq, busybox, openssl (all Debian 12). Must run as root. Nothing here runs in the root namespace but `ip`.
#
#   victim (10.20.1.10) --\
#                          bridge br0 (ns sw) --- router (10.20.1.1 | 10.20.2.1) --- rogue (10.20.2.66, and the endpoint)
#   peer/proxy (.20) -----/
set -eu
OUT=$(realpath "$1") PYTHON=$2 AWS=$3 JSDIR=$4
HERE=$(dirname "$(realpath "$0")")
P=imdswatch-rec
WORK=$(mktemp -d)
V="ip netns exec $P-victim"
R="ip netns exec $P-rogue"
FAKE="python3 $HERE/fake_imds.py"
IMDS="--bind 169.254.169.254 --bind fd00:ec2::254"
ONLY="not ip6 multicast and not port 53"

down() {
    for n in victim peer sw router rogue; do
        for pid in $(ip netns pids $P-$n 2>/dev/null); do kill "$pid" 2>/dev/null || true; done
        ip netns del $P-$n 2>/dev/null || true
        rm -rf /etc/netns/$P-$n
    done
    rm -rf "$WORK"
}
trap down EXIT

for n in victim peer sw router rogue; do
    ip netns add $P-$n
    ip -n $P-$n link set lo up
done
ip -n $P-sw link add br0 type bridge
ip -n $P-sw link set br0 up
last=16
for h in victim peer router; do
    ip link add p-$h netns $P-sw type veth peer name eth0 netns $P-$h
    ip -n $P-sw link set p-$h master br0 up
    ip -n $P-$h link set eth0 address 02:00:00:00:01:$last up
    last=$((last + 16))
done # victim ...:16, peer ...:32, router ...:48
ip link add eth1 netns $P-router type veth peer name eth0 netns $P-rogue
ip -n $P-router link set eth1 address 02:00:00:00:02:01 up
ip -n $P-rogue link set eth0 address 02:00:00:00:02:66 up
address() { ip -n $P-$1 addr add "$2" dev "$3" ${4:-}; }
address victim 10.20.1.10/24 eth0
address peer 10.20.1.20/24 eth0
address router 10.20.1.1/24 eth0
address router 10.20.2.1/24 eth1
address rogue 10.20.2.66/24 eth0
address victim fd20:1::10/64 eth0 nodad
address peer fd20:1::20/64 eth0 nodad
address router fd20:1::1/64 eth0 nodad
address router fd20:2::1/64 eth1 nodad
address rogue fd20:2::66/64 eth0 nodad
for h in victim peer; do
    ip -n $P-$h route add default via 10.20.1.1
    ip -n $P-$h -6 route add default via fd20:1::1
done
ip -n $P-rogue route add default via 10.20.2.1
ip -n $P-rogue -6 route add default via fd20:2::1
ip netns exec $P-router sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
address rogue 169.254.169.254/32 lo
address rogue fd00:ec2::254/128 lo nodad
ip -n $P-router route add 169.254.169.254/32 via 10.20.2.66
ip -n $P-router -6 route add fd00:ec2::254/128 via fd20:2::66
for n in victim peer; do # no resolver answers; the AWS endpoint is the rogue's
    mkdir -p /etc/netns/$P-$n
    echo "nameserver 10.20.1.1" > /etc/netns/$P-$n/resolv.conf
    echo "10.20.2.66 sts.amazonaws.com sts.us-east-1.amazonaws.com" > /etc/netns/$P-$n/hosts
done
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=sts.amazonaws.com -keyout "$WORK/key" -out "$WORK/crt" 2>/dev/null
cat "$WORK/crt" "$WORK/key" > "$WORK/pem"

serve() { # serve NS ARGUMENTS...: the fake service, until `unserve`
    local ns=$1 port=80 argument before=
    shift
    ip netns exec $P-$ns $FAKE "$@" &
    SERVERS="${SERVERS:-} $!"
    for argument in "$@"; do
        if [ "$before" = --port ]; then port=$argument; fi
        before=$argument
    done
    for _ in $(seq 50); do ip netns exec $P-$ns ss -ltn | grep -q ":$port " && return; sleep 0.1; done
    echo "nothing listens on $port in $ns" >&2
    exit 1
}
unserve() { for pid in ${SERVERS:-}; do kill "$pid"; wait "$pid" 2>/dev/null || true; done; SERVERS=; }
capture() { # capture NAME [FILTER [NAMESPACE [INTERFACE]]]: until `uncapture`
    : > "$WORK/td"
    ip netns exec $P-${3:-sw} tcpdump --immediate-mode -U -nn -i "${4:-p-victim}" -w "$OUT/$1.pcap" "${2:-$ONLY}" 2>> "$WORK/td" &
    TAPS="${TAPS:-} $!"
    for _ in $(seq 50); do grep -q "listening on" "$WORK/td" && break; sleep 0.1; done
    sleep 0.1
}
uncapture() { sleep "${1:-0.5}"; for pid in $TAPS; do kill "$pid"; wait "$pid" 2>/dev/null || true; done; TAPS=; }
victim() { # a clean home, no proxy, no AWS settings but those in MORE
    mkdir -p "$WORK/home"
    $V env -i HOME="$WORK/home" PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 ${MORE:-} timeout 20 "$@" < /dev/null > "$WORK/out" 2>&1 || true
    rm -rf "$WORK/home"
}
fresh() { ip -n $P-victim neigh flush all > /dev/null 2>&1; ip -n $P-router neigh flush all > /dev/null 2>&1; }

cat > "$WORK/chain.py" <<'PY'
import boto3
credentials = boto3.Session().get_credentials()
print(credentials and credentials.get_frozen_credentials().access_key)
PY
cat > "$JSDIR/imdswatch-chain.mjs" <<'JS'
import { fromNodeProviderChain } from "@aws-sdk/credential-providers";
try { console.log((await fromNodeProviderChain()()).accessKeyId); } catch (e) { console.log(e.name); }
JS
boto3() { victim "$PYTHON" "$WORK/chain.py"; }
awscli() { victim "$AWS" configure list; }
js3() { (cd "$JSDIR" && victim node imdswatch-chain.mjs); }
go1() { victim rclone --config /dev/null --contimeout 1s --timeout 1s --retries 1 --low-level-retries 1 lsd :s3,provider=AWS,env_auth=true,region=us-east-1,endpoint=http://10.20.2.66:9:; }
curl1() { victim curl -s -m 3 "$@" http://169.254.169.254/latest/meta-data/iam/security-credentials/ -o /dev/null; victim curl -s -m 3 "$@" http://169.254.169.254/latest/meta-data/iam/security-credentials/fake-role -o /dev/null; }
curl2() {
    local host=$1 token
    shift
    victim curl -s -m 3 "$@" -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 900" "http://$host/latest/api/token"
    token=$(cat "$WORK/out")
    victim curl -s -m 3 "$@" -H "X-aws-ec2-metadata-token: $token" "http://$host/latest/meta-data/iam/security-credentials/"
    victim curl -s -m 3 "$@" -H "X-aws-ec2-metadata-token: $token" "http://$host/latest/meta-data/iam/security-credentials/fake-role"
}
one() { fresh; capture "$1"; shift; "$@" || true; uncapture; } # NAME COMMAND...

# Real clients, IMDSv1, v2, IPv6
serve rogue $IMDS
for c in boto3 awscli js3 go1; do one $c-v2 $c; done
one curl-v1 curl1
one curl-v2 curl2 169.254.169.254
one curl-v6 curl2 "[fd00:ec2::254]" -g
MORE=AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE=IPv6
for c in boto3 awscli js3 go1; do one $c-v6 $c; done
MORE=
unserve
serve rogue $IMDS --no-v2
for c in boto3 awscli js3 go1; do one $c-v1 $c; done
unserve

# Through a proxy: tinyproxy, squid, and both where nobody answers
printf 'Port 3128\nListen 10.20.1.20\nTimeout 5\nMaxClients 20\nAllow 10.20.1.0/24\nConnectPort 80\n' > "$WORK/tinyproxy.conf"
ip netns exec $P-peer tinyproxy -d -c "$WORK/tinyproxy.conf" > /dev/null 2>&1 &
sleep 0.7
serve rogue $IMDS
MORE="http_proxy=http://10.20.1.20:3128"
for c in boto3 awscli go1; do one $c-proxy $c; done
MORE=
one curl-proxy curl2 169.254.169.254 -x http://10.20.1.20:3128
one curl-connect-tunnel curl2 169.254.169.254 -p -x http://10.20.1.20:3128
fresh
capture boto3-proxy-outside "host 169.254.169.254" sw p-peer
MORE="http_proxy=http://10.20.1.20:3128" boto3
uncapture
unserve
MORE="http_proxy=http://10.20.1.20:3128" one boto3-proxy-tinyproxy-refused boto3
mkdir "$WORK/squid"
chmod 777 "$WORK" "$WORK/squid"
cat > "$WORK/squid.conf" <<S
http_port 10.20.1.20:3129
acl lan src 10.20.1.0/24
http_access allow lan
access_log none
cache_log $WORK/squid/cache.log
pid_filename $WORK/squid/pid
cache deny all
coredump_dir $WORK/squid
dns_nameservers 10.20.1.1
visible_hostname proxy.lab
pinger_enable off
connect_timeout 2 seconds
shutdown_lifetime 1 seconds
S
ip netns exec $P-peer squid -N -f "$WORK/squid.conf" > /dev/null 2>&1 &
for _ in $(seq 50); do ip netns exec $P-peer ss -ltn | grep -q ":3129 " && break; sleep 0.2; done
MORE="http_proxy=http://10.20.1.20:3129" one boto3-proxy-squid-503 boto3
serve rogue $IMDS
MORE="http_proxy=http://10.20.1.20:3129" one boto3-proxy-squid boto3
unserve

# How it may end without credentials
for status in 401 403 404; do
    serve rogue $IMDS --status $status
    one answer-$status boto3
    unserve
done
serve rogue $IMDS --portal
one portal-200-html victim curl -s -m 3 http://169.254.169.254/latest/meta-data/iam/security-credentials/fake-role
unserve
serve rogue $IMDS --code AssumeRoleUnauthorizedAccess
one assume-role-unauthorized boto3
unserve
serve rogue $IMDS
one bare-handshake victim "$PYTHON" -c "import socket; socket.create_connection(('169.254.169.254', 80), 2).close()"
unserve

# Whose account
serve rogue $IMDS --key-id ASIAQAAAAAAAFAKEFAKE
one account-zeros boto3
unserve
serve rogue $IMDS --key-id ASIAFAKEFAKEFAKEFAKE
one account-old-format boto3
unserve
everything() {
    local base=http://169.254.169.254/latest
    for path in meta-data/iam/info dynamic/instance-identity/document meta-data/iam/security-credentials-extended/ \
        meta-data/iam/security-credentials-extended/fake-role; do
        victim curl -s -m 3 $base/$path
    done
}
serve rogue $IMDS --extended 123456789012
one account-agrees everything
unserve
serve rogue $IMDS --extended 111122223333 --info 444455556666 --document 123456789012
one account-forged everything
unserve
serve rogue $IMDS --key-id ASIAFAKEFAKEFAKEFAKE --extended 123456789012
one account-extended-only everything
unserve
serve rogue $IMDS --key-id ASIAFAKEFAKEFAKEFAKE --info 444455556666
one account-info-only victim curl -s -m 3 http://169.254.169.254/latest/meta-data/iam/info
unserve
for body in chunked gzip; do
    serve rogue $IMDS --body $body
    one body-$body victim curl -s -m 3 http://169.254.169.254/latest/meta-data/iam/security-credentials/fake-role
    unserve
done

# The victim uses what it was given: TLS to STS, plain HTTP with a SigV4 signature
serve rogue $IMDS
serve rogue --bind 10.20.2.66 --port 443 --status 403 --tls "$WORK/pem"
serve rogue --bind 10.20.2.66 --port 8000 --status 403
MORE="AWS_DEFAULT_REGION=us-east-1 AWS_MAX_ATTEMPTS=1"
one used-tls-awscli victim "$AWS" --no-verify-ssl sts get-caller-identity
one used-sigv4-http victim "$AWS" --endpoint-url http://10.20.2.66:8000 sts get-caller-identity
MORE="AWS_DEFAULT_REGION=us-east-1 AWS_MAX_ATTEMPTS=1 AWS_ACCESS_KEY_ID=AKIAFAKEFAKEFAKEFAKE AWS_SECRET_ACCESS_KEY=FAKE"
one benign-aws-use-without-imds victim "$AWS" --no-verify-ssl sts get-caller-identity
MORE=
unserve

# Ways to the rogue: custom endpoint, DNAT seen from both sides, on-link with ARP
serve rogue --bind 10.20.2.66 --port 1338
MORE="AWS_EC2_METADATA_SERVICE_ENDPOINT=http://10.20.2.66:1338/"
one custom-endpoint-boto3 boto3
one custom-endpoint-js3 js3
MORE=
unserve
ip -n $P-router route del 169.254.169.254/32
ip netns exec $P-router nft -f - <<N
table ip nat {
  chain pre {
    type nat hook prerouting priority -100; policy accept;
    ip daddr 169.254.169.254 tcp dport 80 dnat to 10.20.2.66:8080
  }
}
N
serve rogue --bind 10.20.2.66 --port 8080
fresh
capture dnat-victim-side
capture dnat-rogue-side "tcp port 8080" router eth1
capture dnat-both-sides "$ONLY" router any
boto3
uncapture
unserve
ip netns exec $P-router nft flush ruleset
ip -n $P-router route add 169.254.169.254/32 via 10.20.2.66
ip -n $P-victim route add 169.254.0.0/16 dev eth0 scope link
ip -n $P-victim -6 route add fd00:ec2::/32 dev eth0
address peer 169.254.169.254/32 eth0
address peer fd00:ec2::254/128 eth0 nodad
serve peer $IMDS
one onlink-arp boto3
unserve
serve peer $IMDS --key-id ASIAZWOIXTHEFAKEFAKE # of account 666677778888
serve rogue --bind 10.20.2.66 --port 443 --status 403 --tls "$WORK/pem"
MORE="AWS_DEFAULT_REGION=us-east-1 AWS_MAX_ATTEMPTS=1"
one onlink-arp-used victim "$AWS" --no-verify-ssl sts get-caller-identity
MORE=
unserve
serve peer $IMDS
MORE=AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE=IPv6
fresh
capture onlink-nd "not port 53 and (not ip6 multicast or icmp6[0] = 135)"
boto3
uncapture
MORE=
unserve
ip -n $P-peer addr del 169.254.169.254/32 dev eth0
ip -n $P-peer addr del fd00:ec2::254/128 dev eth0
one onlink-nobody boto3
ip -n $P-victim route del 169.254.0.0/16 dev eth0
ip -n $P-victim -6 route del fd00:ec2::/32 dev eth0

# DHCP and router advertisements by dnsmasq; the client is BusyBox's
dhcp() { # NAME OPTIONS...: what a server offers to a host that has no address
    local name=$1
    shift
    rm -f "$WORK/leases"
    ip netns exec $P-peer dnsmasq --pid-file="$WORK/dnsmasq.pid" --conf-file=/dev/null -u root --port=0 --interface=eth0 --bind-interfaces --no-ping \
        --dhcp-range=10.20.1.100,10.20.1.110,1h --dhcp-leasefile="$WORK/leases" --dhcp-authoritative "$@"
    capture "$name" "udp port 67 or udp port 68"
    $V busybox udhcpc -i eth0 -n -q -f -t 2 -T 1 -s /bin/true -O 121 -O 249 > /dev/null 2>&1 || true
    uncapture
    kill "$(cat "$WORK/dnsmasq.pid")"
    sleep 0.3
}
dhcp dhcp-121-endpoint --dhcp-option=121,169.254.169.254/32,10.20.1.20
dhcp dhcp-249-endpoint --dhcp-option=249,169.254.169.254/32,10.20.1.20
dhcp dhcp-121-link-local --dhcp-option=121,0.0.0.0/0,10.20.1.1,169.254.0.0/16,10.20.1.20
dhcp benign-dhcp-default-route --dhcp-option=3,10.20.1.1 --dhcp-option=121,0.0.0.0/0,10.20.1.1,10.30.0.0/16,10.20.1.1
address peer fd00:ec2::1/64 eth0 nodad
ip netns exec $P-peer dnsmasq --pid-file="$WORK/dnsmasq.pid" --conf-file=/dev/null -u root --port=0 --interface=eth0 --bind-interfaces --enable-ra \
    --dhcp-range=fd00:ec2::,ra-only,64,1h --ra-param=eth0,4,60 --dhcp-leasefile="$WORK/leases6"
capture ra-prefix "icmp6[0] = 134"
uncapture 6
ls -l "$OUT"
