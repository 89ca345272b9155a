#!/bin/sh
# Installs what the tests in the lab need on a Debian-like machine, as root: Docker, sshd, a static busybox, sudo. Starts no
# service, leaves none running, and does nothing where all is there. gcloud is the one thing it does not install.
set -eu
export PATH="$PATH:/usr/sbin:/sbin" DEBIAN_FRONTEND=noninteractive

has() { command -v "$1" >/dev/null; }
static_busybox() { has busybox && ! head -c 4096 "$(command -v busybox)" | grep -q /ld-; }

packages=
need() { packages="$packages $*"; }
has dockerd && has containerd && [ -x /usr/bin/docker ] || need docker.io
has iptables || need iptables
has sshd || need openssh-server
has ssh && has ssh-keygen || need openssh-client
static_busybox || need busybox-static
has sudo || need sudo
has unshare && has nsenter || need util-linux
has ip || need iproute2

if [ -n "$packages" ]; then
    [ "$(id -u)" -eq 0 ] || { echo "install.sh: run me as root, to install:$packages" >&2; exit 1; }
    has apt-get || { echo "install.sh: there is no apt-get here; install by hand:$packages" >&2; exit 1; }

    # Packages start their services when they are installed, unless this file forbids it.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        trap 'exit 1' HUP INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    log=$(mktemp)
    {
        apt-get update &&
            # Since Debian 13 Docker's client is a package of its own.
            case "$packages" in *docker.io*) ! apt-cache show docker-cli >/dev/null 2>&1 || need docker-cli ;; esac &&
            # shellcheck disable=SC2086 # words on purpose
            apt-get install --yes --no-install-recommends $packages
    } >"$log" 2>&1 || {
        cat "$log" >&2
        echo "install.sh: apt-get could not install$packages; its output is above" >&2
        exit 1
    }
    rm -f "$log"
    # The lab starts its own; those of the packages shall not come at the next boot either, open to the network.
    if [ -d /run/systemd/system ]; then
        case "$packages" in *docker.io*) systemctl disable --quiet docker.service docker.socket containerd.service || true ;; esac
        case "$packages" in *openssh-server*) systemctl disable --quiet ssh.service ssh.socket 2>/dev/null || true ;; esac
    fi
    echo "install.sh: installed$packages"
fi

has gcloud || {
    echo "install.sh: gcloud is missing: install the Google Cloud CLI, https://cloud.google.com/sdk/docs/install" >&2
    echo "install.sh: until then the tests marked 'lab' are skipped (or fail, with IRIS_REQUIRE_LAB=1)" >&2
}
