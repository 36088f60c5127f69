#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Copyright the calico-libnetwork authors
#
# A laboratory: hosts with real Docker engines in namespaces of this machine, on a LAN without uplink.
#
#      ┌──────────── outside ────────────┐     A host has its own network, mounts, processes and host name.
#      │ br0  172.30.0.1/24  fd00:30::1  │     /run, /etc, /var/lib and /sys are private to it, so an engine
#      └──┬───────────────────────────┬──┘     and the plugin run in there with their ordinary paths.
#     eth0│.11                    eth0│.12     `outside` is a neighbour on the LAN. It answers pings, tells who
#      ┌──┴───┐                    ┌──┴───┐    asks (http://172.30.0.1/cgi-bin/whoami), routes nothing, and has
#      │ host │                    │ host2│    no route to any pool: only a masqueraded packet gets an answer.
#      └──────┘                    └──────┘
#
# Each host is a PID namespace; killing its first process ends everything that was ever started in it.
# Source this file, or run it:  LAB_DIR=DIR lab.sh COMMAND …  (state is in LAB_DIR, so both can be mixed)
#
#   up [HOST…]                      make the LAN and the hosts (default: one, "host")
#   engine_start HOST [ARG…]        start dockerd (its arguments are remembered), wait until it answers
#   engine_stop HOST | engine_kill HOST        SIGTERM and wait | SIGKILL
#   plugin_start HOST [VAR=VALUE…]  start $CALICO_LIBNETWORK_BINARY serve, wait for both sockets
#   plugin_stop HOST | plugin_kill HOST        SIGTERM and wait | SIGKILL
#   managed_plugin HOST FOLDER [VAR=VALUE…]    make the managed plugin "calico" of a folder by scripts/plugin, which has to
#                                   lie in LAB_DIR, set the variables, and enable it
#   etcd_start | etcd_stop | etcd_kill         the etcd of LAB_DATASTORE=etcd
#   image HOST                      import the image "bb": a static busybox (sh ip ping nc wget …)
#   in HOST COMMAND…                run a command as that host (docker, iptables, calico-libnetwork …)
#   net HOST COMMAND…               run a command of this machine in the host's network only
#   down                            end and remove all of it; fails if anything stays behind
#
# Options of `up`, from the environment:
#   LAB_ENGINE=20.10|26.1|28.5      this machine's own engine (the default, whatever its version; 20.10 insists), or one
#                                   from a root of scripts/engine-root
#   LAB_HOST_IPV6=on|off            whether the hosts' new interfaces begin with IPv6 (sysctl default/disable_ipv6)
#   LAB_DATASTORE=sqlite|etcd       with etcd, `outside` runs one, and ETCD_ENDPOINTS names it to all that `in` runs
#   LAB_DEFAULT_ROUTE=yes|no  LAB_IPV6=yes|no (on the LAN)  LAB_IPTABLES=nft|legacy
#   LAB_OWNER=PID             take the lab down when that process is gone, however it ended
# The name `outside` may stand wherever `in` and `net` take a host.

LAB_SELF=$(readlink -f "${BASH_SOURCE[0]}")
LAB_SOCKETS=/run/docker/plugins
export PATH=/usr/local/sbin:/usr/sbin:/sbin:$PATH

lab_fail() {
    echo "lab: $*" >&2
    return 1
}

# --- namespaces -----------------------------------------------------------------------------------------------------

# lab_pid HOST: puts the first process of a host, as this machine numbers it, into `pid`. Refuses a process that is not
# confined: acting on a stale or wrong pid would mean acting on the machine itself. All builtins, for thousands of calls.
lab_pid() {
    local space words=()
    read -r pid 2>/dev/null <"$LAB_DIR/$1/pid" || lab_fail "there is no host '$1' in $LAB_DIR" || return 1
    mapfile -d '' words 2>/dev/null <"/proc/$pid/cmdline"
    [[ ${words[*]} == *"$LAB_DIR"* ]] || lab_fail "host '$1' of $LAB_DIR is not running" || return 1
    for space in net mnt pid; do
        [ ! "/proc/$pid/ns/$space" -ef "/proc/$$/ns/$space" ] ||
            lab_fail "refused: host '$1' (process $pid) shares the $space namespace of this machine" || return 1
    done
}

lab_in() {
    local home=$LAB_DIR/$1 pid
    lab_pid "$1" || return 1
    [ ! -s "$home/docker-api" ] || local -x DOCKER_API_VERSION=$(<"$home/docker-api")
    [ ! -s "$LAB_DIR/etcd" ] || local -x ETCD_ENDPOINTS=$(<"$LAB_DIR/etcd")
    # The two are the build's and the lab's own; the program would take them for mistyped settings.
    # An engine in a room of its own does not see the caller's temporary folder.
    PATH="$home/bin:$PATH" HOME=/root TMPDIR=/tmp HOSTNAME="$1" DOCKER_CONFIG="$home/docker-cli" \
        env -u CALICO_LIBNETWORK_BINARY -u CALICO_LIBNETWORK_STRICT \
        nsenter --target "$pid" --mount --net --pid --uts -- "${@:2}"
}

lab_net() {
    local pid
    lab_pid "$1" || return 1
    nsenter --target "$pid" --net -- "${@:2}"
}

# Runs as the first process of a new host: lab_holder NAME. Nothing in here reaches the machine's own mounts.
lab_holder() {
    local home=$LAB_DIR/$1 cgroups
    set -eu
    read -r LAB_HOLDER_PID _ </proc/self/stat # /proc is still the machine's, and so is the number
    echo "$1" >/proc/sys/kernel/hostname
    ip link set lo up
    mount -t proc proc /proc

    cgroups=$(mktemp -d)
    mount --rbind /sys/fs/cgroup "$cgroups"
    mount -t sysfs sysfs /sys # this network's devices instead of the machine's
    mount --move "$cgroups" /sys/fs/cgroup
    rmdir "$cgroups"
    grep -q ' /sys/fs/cgroup' /proc/mounts || mount -t cgroup2 cgroup2 /sys/fs/cgroup

    mount --bind "$home/var-lib" /var/lib # on disk: a store that syncs pays for it here as anywhere
    mkdir -p /var/lib/docker
    mount -t tmpfs -o mode=0710 tmpfs /var/lib/docker
    mount -t tmpfs -o mode=0700 tmpfs "$home/etc"
    cp -a /etc/. "$home/etc"
    rm -rf "$home/etc/docker" "$home/etc/calico"
    mount --bind "$home/etc" /etc
    mkdir /etc/docker
    mount -t tmpfs -o mode=0755 tmpfs /run # also hides systemd, containerd and the iptables lock of the machine
    mkdir -p "$LAB_SOCKETS"
    if [ -n "$LAB_ROOT" ]; then lab_make_room "$home"; else lab_choose_iptables "$home/bin"; fi

    set +eu
    trap : TERM INT HUP
    echo "$LAB_HOLDER_PID" >"$home/pid.new"
    mv "$home/pid.new" "$home/pid"
    while :; do # a shell as process 1 reaps orphans while it waits
        sleep infinity &
        wait $!
    done
}

LAB_IPTABLES_NAMES=(iptables ip6tables iptables-save ip6tables-save iptables-restore ip6tables-restore)

# lab_choose_iptables [FOLDER]: what `iptables` means, by Debian's alternatives and in FOLDER.
lab_choose_iptables() {
    local name folder
    for name in "${LAB_IPTABLES_NAMES[@]}"; do
        for folder in /etc/alternatives "$@"; do
            ln -sf "$(command -v "xtables-$LAB_IPTABLES-multi")" "$folder/$name"
        done
    done
}

# The docker client that came with the engine: a newer one found first on PATH refuses options that the engine knows.
lab_choose_client() {
    local client
    client=$(dirname "$(command -v dockerd)" | sed 's,sbin$,bin,')/docker
    [ ! -x "$client" ] || ln -sf "$client" "$1/docker"
}

# --- an engine of another Debian ------------------------------------------------------------------------------------
#
# It lives in a room: a second mount namespace of the host, whose root is that Debian. The plugin and the tools stay in
# the first one. Both see the same /run, with the sockets and the sandboxes mounted in it. The room outlives its
# engine, because containers do, and the next engine has to find their mounts.

# lab_make_room HOME, run by the holder. Commands of the engine's Debian enter the room by themselves.
lab_make_room() {
    local room=$1/room name attempt
    mkdir "$room"
    mount -t tmpfs tmpfs "$room" # takes all that is written; the root below it is shared by labs and stays as it is
    mkdir "$room"/{root,upper,work}
    mount -t overlay -o "lowerdir=$LAB_ROOT,upperdir=$room/upper,workdir=$room/work" overlay "$room/root"
    mount --make-shared /run
    unshare --mount --propagation unchanged bash "$LAB_SELF" room "$room/root" "$1/room.pid" &
    for attempt in $(seq 200); do
        [ ! -s "$1/room.pid" ] || break
        sleep 0.02
    done
    [ -s "$1/room.pid" ]
    for name in docker dockerd "${LAB_IPTABLES_NAMES[@]}"; do
        printf '#!/bin/sh\nexec nsenter --mount --target "$(cat %s)" env PATH=%s %s "$@"\n' \
            "$1/room.pid" /usr/sbin:/usr/bin:/sbin:/bin "$name" >"$1/bin/$name"
        chmod +x "$1/bin/$name"
    done
}

# lab_room ROOT PIDFILE, the first process of the room. A chroot would not do: what the engine starts leaves it, and
# `docker exec` would work in the file system of the machine.
lab_room() {
    local folder
    set -eu
    cd "$1"
    mkdir -p /etc/calico /var/lib/calico # a managed plugin mounts them; commands on the host read the same
    mkdir -p etc/{calico,docker} var/lib/{calico,docker} ".$LAB_DIR"
    mount -t proc proc proc
    for folder in sys dev run; do mount --rbind "/$folder" "$folder"; done
    for folder in etc/{calico,docker} var/lib/{calico,docker} "$LAB_DIR"; do mount --bind "/$folder" "./$folder"; done
    pivot_root . mnt
    cd /
    umount --lazy /mnt
    lab_choose_iptables
    echo $$ >"$2"
    exec sleep infinity
}

# The root file system for LAB_ENGINE in LAB_ROOT; empty for this machine's own engine.
lab_choose_engine() {
    LAB_ROOT=
    case ${LAB_ENGINE:-} in
        '') ;;
        20.10)
            dockerd --version | grep -q '^Docker version 20\.10\.' ||
                lab_fail "Debian 12 has engine 20.10; this machine has: $(dockerd --version 2>&1)" || return 1 ;;
        *) LAB_ROOT=$("$(dirname "$LAB_SELF")/engine-root" "$LAB_ENGINE") || return 1 ;;
    esac
    export LAB_ROOT
}

# lab_spawn NAME: a new set of namespaces with its holder.
lab_spawn() {
    local home=$LAB_DIR/$1 attempt pid
    mkdir -p "$home"/{bin,etc,var-lib,docker-cli}
    [ -n "$LAB_ROOT" ] || lab_choose_client "$home/bin"
    [ -z "${CALICO_LIBNETWORK_BINARY:-}" ] || ln -sf "$CALICO_LIBNETWORK_BINARY" "$home/bin/calico-libnetwork"
    setsid unshare --net --mount --pid --uts --fork --propagation private \
        env LAB_ROOT="$([ "$1" = outside ] || echo "$LAB_ROOT")" \
        bash "$LAB_SELF" holder "$1" "$LAB_DIR" </dev/null >"$home/holder.log" 2>&1 &
    for attempt in $(seq 200); do
        [ ! -s "$home/pid" ] || break
        sleep 0.02
    done
    lab_pid "$1" || { cat "$home/holder.log" >&2; return 1; }
}

# --- the LAN --------------------------------------------------------------------------------------------------------

lab_lan() {
    lab_net outside bash -ec '
        ip link add br0 type bridge
        ip link set br0 up
        ip addr add 172.30.0.1/24 dev br0
        echo 0 >/proc/sys/net/ipv4/ip_forward
        [ ! -e /proc/sys/net/ipv6 ] || ip addr add fd00:30::1/64 dev br0 nodad'
    mkdir -p "$LAB_DIR/outside/www/cgi-bin"
    printf '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n%%s\\n" "$REMOTE_ADDR" | tr -d "[]" | sed s/::ffff://\n' \
        >"$LAB_DIR/outside/www/cgi-bin/whoami"
    chmod +x "$LAB_DIR/outside/www/cgi-bin/whoami"
    lab_in outside busybox httpd -p 80 -h "$LAB_DIR/outside/www"
}

# lab_uplink HOST NUMBER: its cable to the LAN, 172.30.0.NUMBER.
lab_uplink() {
    local pid
    lab_pid "$1" || return 1
    lab_net outside ip link add "to-$1" up type veth peer name eth0 netns "$pid"
    lab_net outside ip link set "to-$1" master br0
    lab_net "$1" env NUMBER="$2" bash -ec '
        [ "$LAB_HOST_IPV6" = on ] || echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6 # eth0 is there already
        echo 0 >/proc/sys/net/ipv4/ip_forward # Docker sets the FORWARD policy to DROP only if it turns this on
        [ "$LAB_IPV6" = yes ] || echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
        ip link set eth0 up
        ip addr add "172.30.0.$NUMBER/24" dev eth0
        [ "$LAB_IPV6" = no ] || ip addr add "fd00:30::$NUMBER/64" dev eth0 nodad
        [ "$LAB_DEFAULT_ROUTE" = yes ] || exit 0
        ip route add default via 172.30.0.1
        [ "$LAB_IPV6" = no ] || ip -6 route add default via fd00:30::1'
}

lab_up() {
    local host number=11
    [ "$(id -u)" = 0 ] || lab_fail "needs root, because it makes namespaces" || return 1
    : "${LAB_DEFAULT_ROUTE:=yes}" "${LAB_IPV6:=yes}" "${LAB_IPTABLES:=nft}" "${LAB_HOST_IPV6:=on}" \
        "${LAB_DATASTORE:=sqlite}"
    lab_choose_engine || return 1
    [ -n "${LAB_DIR:-}" ] || LAB_DIR=$(mktemp -d "${TMPDIR:-/tmp}/calico-lab.XXXXXX")
    mkdir -p "$LAB_DIR"
    [ -z "$(ls -A "$LAB_DIR")" ] || lab_fail "$LAB_DIR is not empty" || return 1
    touch "$LAB_DIR/is-a-lab"
    export LAB_DIR LAB_DEFAULT_ROUTE LAB_IPV6 LAB_IPTABLES LAB_HOST_IPV6
    [ -z "${LAB_OWNER:-}" ] || lab_follow "$LAB_OWNER"
    [ $# -gt 0 ] || set -- host
    lab_spawn outside && lab_lan || return 1
    [ "$LAB_DATASTORE" = sqlite ] || lab_etcd_start || return 1
    for host; do
        lab_spawn "$host" && lab_uplink "$host" $((number++)) || return 1
    done
}

# Takes the lab down once the process PID is gone; the last resort when that process had no time to do so.
lab_follow() {
    setsid bash -c '
        echo $$ >"$LAB_DIR/keeper"
        tail --pid="$1" -f /dev/null
        exec bash "$2" down' keeper "$1" "$LAB_SELF" </dev/null >/dev/null 2>&1 &
}

# --- daemons --------------------------------------------------------------------------------------------------------

# lab_background HOST NAME COMMAND…: HOST/NAME.log gets the output, NAME.pid the pid inside the host, NAME.status the
# exit status once it has ended.
lab_background() {
    local host=$1 name=$2
    shift 2
    rm -f "$LAB_DIR/$host/$name".{pid,status}
    lab_in "$host" setsid bash -c '
        file=$1; shift
        "$@" & echo $! >"$file.pid"
        wait $!; echo $? >"$file.status"' background "$LAB_DIR/$host/$name" "$@" \
        </dev/null >>"$LAB_DIR/$host/$name.log" 2>&1 &
    lab_wait 2 test -s "$LAB_DIR/$host/$name.pid"
}

# lab_wait SECONDS COMMAND…: until it succeeds.
lab_wait() {
    local attempt
    for attempt in $(seq $(($1 * 20))); do
        ! "${@:2}" || return 0
        sleep 0.05
    done
    return 1
}

# lab_signal HOST NAME SIGNAL SECONDS: send it, then wait for the end of that process.
lab_signal() {
    local base=$LAB_DIR/$1/$2
    [ -s "$base.pid" ] || lab_fail "$2 of $1 was not started" || return 1
    lab_in "$1" kill "-$3" "$(cat "$base.pid")" || return 1
    lab_wait "$4" test -s "$base.status" || lab_fail "$2 of $1 still runs $4 s after SIG$3"
}

# One etcd for all hosts of the lab, on the LAN. Its data is on disk: what it says is kept, is kept. Its v2 API is for
# engines with a cluster store, which know no other.
lab_etcd_start() {
    local url=http://172.30.0.1:2379
    command -v etcd >/dev/null || lab_fail "there is no etcd: Debian's etcd-server has it" || return 1
    lab_background outside etcd env ETCD_UNSUPPORTED_ARCH="$(uname -m | sed 's/aarch64/arm64/;t;d')" \
        etcd --name lab --data-dir /var/lib/etcd --listen-client-urls "$url" --advertise-client-urls "$url" \
        --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
        --initial-cluster lab=http://127.0.0.1:2380 --enable-v2=true
    lab_wait 20 lab_etcd_answers "$url" || { tail -n 20 "$LAB_DIR/outside/etcd.log" >&2; return 1; }
    echo "$url" >"$LAB_DIR/etcd"
}

lab_etcd_answers() { lab_in outside busybox wget -q -O - "$1/health" 2>/dev/null | grep -q '"health":"true"'; }

lab_etcd_stop() { lab_signal outside etcd TERM 10; }
lab_etcd_kill() { lab_signal outside etcd KILL 5; }

lab_engine_start() {
    local host=$1
    shift
    [ $# = 0 ] || printf '%s\n' "$@" >"$LAB_DIR/$host/engine-arguments"
    touch "$LAB_DIR/$host/engine-arguments"
    mapfile -t arguments <"$LAB_DIR/$host/engine-arguments"
    lab_background "$host" engine dockerd --exec-opt native.cgroupdriver=cgroupfs \
        --cgroup-parent "/$(basename "$LAB_DIR")" "${arguments[@]}"
    lab_wait 60 lab_engine_answers "$host" && return
    tail -n 20 "$LAB_DIR/$host/engine.log" >&2
    lab_fail "the engine of $host does not answer; its log is above"
}

# Also notes the engine's API version: a newer client has to be told to keep to it.
lab_engine_answers() {
    local version
    lab_in "$1" test -S /run/docker.sock || return 1
    version=$(lab_in "$1" docker version --format '{{.Server.APIVersion}}' 2>/dev/null) || return 1
    echo "$version" >"$LAB_DIR/$1/docker-api"
}

lab_engine_stop() { lab_signal "$1" engine TERM 30; }
lab_engine_kill() { lab_signal "$1" engine KILL 5; }

lab_plugin_start() {
    local host=$1 name
    shift
    lab_in "$host" test -x "$LAB_DIR/$host/bin/calico-libnetwork" ||
        lab_fail "there is no program to start: CALICO_LIBNETWORK_BINARY='${CALICO_LIBNETWORK_BINARY:-}'" || return 1
    lab_background "$host" plugin env "$@" calico-libnetwork serve
    lab_wait 10 lab_plugin_listens "$host" && return
    tail -n 20 "$LAB_DIR/$host/plugin.log" >&2
    lab_fail "the plugin of $host does not listen on both sockets; its log is above"
}

# Looks for listening sockets (flag 00010000), because the file of a killed process stays.
lab_plugin_listens() {
    local name
    for name in calico calico-ipam; do
        lab_net "$1" grep -q " 00010000 .* $LAB_SOCKETS/$name.sock\$" /proc/net/unix || return 1
    done
}

lab_plugin_stop() { lab_signal "$1" plugin TERM 10; }
lab_plugin_kill() { lab_signal "$1" plugin KILL 5; }

lab_managed_plugin() {
    local host=$1 folder=$2
    shift 2
    [ ! -s "$LAB_DIR/etcd" ] || set -- "ETCD_ENDPOINTS=$(cat "$LAB_DIR/etcd")" "$@"
    lab_in "$host" mkdir -p /var/lib/calico /etc/calico
    lab_in "$host" docker plugin create calico "$folder" >/dev/null || return 1
    # The cgroup of a managed plugin lies beside the lab's and bears this name.
    lab_in "$host" docker plugin inspect --format '{{.Id}}' calico >>"$LAB_DIR/$host/managed-plugins"
    [ $# = 0 ] || lab_in "$host" docker plugin set calico "$@" || return 1
    lab_in "$host" docker plugin enable calico >/dev/null
}

lab_image() {
    local root=$LAB_DIR/bb
    if [ ! -d "$root" ]; then
        mkdir -p "$root"/{usr/bin,etc,tmp,proc,sys,dev,root}
        cp "$(command -v busybox)" "$root/usr/bin/busybox"
        ln -s usr/bin "$root/bin"
        busybox --install -s "$root/usr/bin" 2>/dev/null # complains about its own name, which is there already
        echo 'root:x:0:0::/root:/bin/sh' >"$root/etc/passwd"
    fi
    tar -C "$root" -c . | lab_in "$1" docker import --change 'CMD ["sh"]' - bb >/dev/null
}

# --- the end --------------------------------------------------------------------------------------------------------

lab_down() {
    local file host pid keeper
    [ -n "${LAB_DIR:-}" ] && [ -e "$LAB_DIR/is-a-lab" ] || return 0
    keeper=$(cat "$LAB_DIR/keeper" 2>/dev/null)
    LAB_MANAGED_PLUGINS=$(cat "$LAB_DIR"/*/managed-plugins 2>/dev/null)
    [ -z "$keeper" ] || [ "$keeper" = $$ ] || kill -- "-$keeper" 2>/dev/null
    for file in "$LAB_DIR"/*/pid; do
        host=$(basename "$(dirname "$file")")
        lab_pid "$host" 2>/dev/null || continue
        kill -KILL "$pid"
        lab_wait 10 test ! -e "/proc/$pid" || lab_fail "host $host (process $pid) does not end"
    done
    lab_wait 10 lab_remove_cgroups
    lab_wait 2 lab_remove_directory
    lab_leftovers
}

lab_remove_directory() {
    rm -rf "$LAB_DIR" 2>/dev/null # fails for a moment while the kernel dissolves the mounts in it
}

lab_cgroups() {
    local id names=(-path "*/$(basename "$LAB_DIR")*")
    for id in ${LAB_MANAGED_PLUGINS:-}; do names+=(-o -path "*/$id*"); done
    find /sys/fs/cgroup -mindepth 1 -maxdepth 5 -depth -type d \( "${names[@]}" \) 2>/dev/null
}

lab_remove_cgroups() {
    lab_cgroups | xargs -r rmdir 2>/dev/null
    [ -z "$(lab_cgroups)" ]
}

# Says what of this lab is still on the machine, and fails if there is anything.
lab_leftovers() {
    local found
    found=$(
        lab_cgroups
        grep -F "$LAB_DIR" /proc/mounts
        [ ! -e "$LAB_DIR" ] || echo "$LAB_DIR"
    )
    [ -z "$found" ] || lab_fail "left on this machine: $found"
}

# Daemons started from here must not hold what the caller happened to have open.
lab_close_inherited() {
    local descriptor
    for descriptor in /proc/$$/fd/*; do
        descriptor=${descriptor##*/}
        [ "$descriptor" -le 2 ] || [ "$descriptor" = 255 ] || eval "exec $descriptor>&-" # 255 is bash's own script
    done
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    lab_close_inherited
    case ${1:-} in
        holder) LAB_DIR=$3 && lab_holder "$2" ;;
        room) lab_room "$2" "$3" ;;
        up | down | in | net | image | engine_start | engine_stop | engine_kill | plugin_start | plugin_stop | \
            plugin_kill | managed_plugin | etcd_start | etcd_stop | etcd_kill)
            "lab_$1" "${@:2}" ;;
        *) sed -n '5,/^LAB_SELF/{/^#/s/^# \{0,1\}//p}' "$LAB_SELF" && exit 64 ;;
    esac
fi
