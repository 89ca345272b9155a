#!/bin/sh
# The first process of a pretended host, in mount, PID and UTS namespaces of its own. It ends, and with it everything in the
# namespaces, when its standard input does: that is how a host ends with the process that started it, however that ended.
#   $1 the host's disk (a directory)   $2 its name   $3 the cgroup of its containers
#   $4 a directory with another engine's programs (dockerd, containerd, its shim, runc), or empty
#   $5 the address that it is about to have in a network namespace of its own, or empty
set -eu
disk=$1 name=$2 cgroup=$3 engine=${4:-} address=${5:-}
exec 3<&0 </dev/null
export PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root

hostname "$name"
mkdir -p "$disk/etc" "$disk/root" "$disk/docker" "$disk/var-lib"
# There is no metadata server, and who asks for it shall learn so at once.
{ cat /etc/hosts; echo "${address:-127.0.0.1} $name"; echo "127.0.0.1 metadata.google.internal"; } >"$disk/etc/hosts"
mount --bind "$disk/etc/hosts" /etc/hosts
# sshd refuses root where its password is locked with '!', even with a key.
sed -i 's/^root:!/root:*/' "$disk/etc/shadow"
mount --bind "$disk/etc/shadow" /etc/shadow
mount --bind "$disk/etc/passwd" /etc/passwd
# sudo looks in /usr/local/bin first: no other Docker client shall be there.
[ ! -e /usr/local/bin/docker ] || mount --bind /usr/bin/docker /usr/local/bin/docker
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd /run/lock
# The machine's own, for containers that are to run what is installed there.
mkdir /run/machine-root
mount --bind /root /run/machine-root
mount --bind "$disk/root" /root
mount --bind "$disk/var-lib" /var/lib
cd /root
until [ -z "$address" ] || ip -4 address show dev eth0 2>/dev/null | grep -q "$address/"; do sleep 0.05; done

cat >"$disk/etc/start-engine" <<END
#!/bin/sh
export PATH=${engine:+$engine:}$PATH HOME=/root
exec dockerd --config-file=$disk/etc/daemon.json --data-root=$disk/docker --exec-root=/run/docker --pidfile=/run/docker.pid \
    --host=unix:///run/docker.sock --bridge=none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
    --exec-opt=native.cgroupdriver=cgroupfs --cgroup-parent=$cgroup --log-driver=json-file >>$disk/engine.log 2>&1
END
chmod +x "$disk/etc/start-engine"
[ -e "$disk/etc/daemon.json" ] || echo '{}' >"$disk/etc/daemon.json"

"$(command -v sshd)" -D -e -f "$disk/etc/sshd_config" >>"$disk/sshd.log" 2>&1 3<&- &
"$disk/etc/start-engine" 3<&- &
# `wait` also buries the orphans that the first process of a PID namespace inherits.
cat <&3 >/dev/null &
wait $!
