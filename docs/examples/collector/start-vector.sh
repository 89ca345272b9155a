#!/bin/bash
# Keeps Vector running on a worker host. The host's guest agent runs it at every boot, as root, after iris's own start-up script, where the
# metadata key startup-script-url names it. Its output is in the VM's serial console and journal. See docs/scaling.md.
set -euo pipefail

image=timberio/vector:0.59.0-debian

fetch() {
  curl --silent --show-error --fail --retry 30 --retry-connrefused "$@"
}
metadata() {
  fetch --header "Metadata-Flavor: Google" "http://metadata.google.internal/computeMetadata/v1/instance/$1"
}

bucket=$(metadata attributes/collector-bucket)
cluster=$(metadata attributes/collector-cluster)
tpu=$(metadata attributes/tpu-env) # lines such as NODE_ID: 'iris-train-20261201120000' and WORKER_ID: '3'
slice=$(sed -n "s/^NODE_ID: '\(.*\)'$/\1/p" <<<"$tpu")
worker=$(sed -n "s/^WORKER_ID: '\(.*\)'$/\1/p" <<<"$tpu")
host="${slice:?tpu-env has no NODE_ID}-w${worker:?tpu-env has no WORKER_ID}" # as iris names the host's log file

# The token is given by standard input: a command line can be read by everybody on the host.
mkdir -p /var/lib/vector
token=$(metadata service-accounts/default/token | sed 's/.*"access_token" *: *"\([^"]*\)".*/\1/')
fetch --header @- --output /var/lib/vector/vector.yaml.new "https://storage.googleapis.com/$bucket/collector/vector.yaml" \
  <<<"Authorization: Bearer $token"
mv /var/lib/vector/vector.yaml.new /var/lib/vector/vector.yaml

until docker version >/dev/null 2>&1; do
  sleep 1
done
for attempt in $(seq 60); do
  docker rm --force vector >/dev/null 2>&1 || true
  # --log-driver=local: no json-file log of its own, or Vector would read what it writes of reading. VECTOR_REQUIRE_HEALTHY: where the
  # bucket cannot be reached it ends and is started again, rather than read what it cannot upload. A host's files are root's.
  docker run --detach --name=vector --restart=always --network=host --user=root --log-driver=local --stop-timeout=20 \
    --env=VECTOR_DANGEROUSLY_ALLOW_ENV_VAR_INTERPOLATION=true --env=VECTOR_REQUIRE_HEALTHY=true --env=VECTOR_THREADS=2 \
    --env=BUCKET="$bucket" --env=CLUSTER="$cluster" --env=HOST="$host" \
    --volume=/var/lib/docker/containers:/var/lib/docker/containers:ro --volume=/var/lib/vector:/var/lib/vector \
    --volume=/var/lib/vector/vector.yaml:/etc/vector/vector.yaml:ro "$image" --config=/etc/vector/vector.yaml && exit 0
  echo "attempt $attempt to run Vector failed" >&2
  sleep 10
done
exit 1
