# Programs of others that tests compare with, for `.ci/run`. Where one cannot be had, its tests are
# skipped, and a line says so.

etcd_dir=$PWD/target/etcd
clients_dir=$PWD/target/clients

is_root() { [ "$(id -u)" = 0 ]; }

# etcd 3.4 is unpacked under target/ from the distribution's packages, and not installed.
fetch_etcd() {
  ! command -v etcd >/dev/null && [ ! -x "$etcd_dir/usr/bin/etcd" ] || return 0
  mkdir -p "$etcd_dir"
  (
    cd "$etcd_dir"
    fetch() { timeout 120 apt-get download --quiet etcd-server etcd-client; }
    fetch || { is_root && timeout 120 apt-get update --quiet && fetch; }
    for package in ./*.deb; do dpkg -x "$package" .; done
  ) >"$etcd_dir/log" 2>&1 || echo "no etcd can be fetched here: the comparison with it is skipped"
}

install_packages() {
  is_root && DEBIAN_FRONTEND=noninteractive timeout 300 apt-get install --quiet --yes \
    --no-install-recommends "$@"
}

# Logs are kept in PostgreSQL too. The tests start servers of their own, so that none is made here.
fetch_postgres() {
  [ ! -d /usr/lib/postgresql ] || return 0
  {
    is_root && mkdir -p /etc/postgresql-common &&
      echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf &&
      install_packages postgresql
  } >target/postgresql.log 2>&1 || echo "no PostgreSQL can be installed here: storage in it is not tested"
}

# Whether there is a compiler of protobuf that has the messages of its own.
has_protoc() {
  printf 'syntax = "proto3"; import "google/protobuf/descriptor.proto";' >target/probe.proto
  protoc --proto_path=target --descriptor_set_out=/dev/null target/probe.proto 2>>target/protoc.log
}

# Clients of etcd in other languages, for server/tests/clients.
fetch_clients() {
  mkdir -p "$clients_dir"
  [ -x "$clients_dir/bin/python3" ] || {
    python3 -m venv "$clients_dir" &&
      timeout 180 "$clients_dir/bin/pip" install --quiet etcd3gw==2.7.0 aetcd==1.0.0
  } >"$clients_dir/python.log" 2>&1 || echo "no etcd3gw or aetcd can be had here: they are not compared"
  [ -d "$clients_dir/node_modules" ] ||
    timeout 180 npm install --no-audit --no-fund --prefix "$clients_dir" etcd3@1.1.2 \
      >"$clients_dir/npm.log" 2>&1 || echo "no etcd3 of npm can be had here: it is not compared"
  # That of Rust is built, by a compiler of protobuf.
  has_protoc || install_packages protobuf-compiler libprotobuf-dev >>target/protoc.log 2>&1 ||
    echo "no protoc can be had here: the Rust client is not compared"
}

# One package manager at a time, as each locks its data.
fetch_all() {
  fetch_etcd
  fetch_postgres
  fetch_clients
}
