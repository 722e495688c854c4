# shellcheck shell=bash disable=SC2034
# Sourced by the scripts in deploy/ and deploy/offline/: what they say, what they need, and whether images can be
# pulled. They run at the root of the repository.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

node_image=${CAUSEWAY_IMAGE:-causeway:local}
# The default stands in docker-compose.yml alone.
jaeger_image=${CAUSEWAY_JAEGER_IMAGE:-$(sed -n 's/.*CAUSEWAY_JAEGER_IMAGE:-\([^}]*\)}.*/\1/p' docker-compose.yml)}
jaeger_standin=causeway-jaeger-standin:local
target=${CARGO_TARGET_DIR:-target}
COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME:-$(sed -n 's/^COMPOSE_PROJECT_NAME=//p' .env)}
export COMPOSE_PROJECT_NAME

say() { echo "-- $*"; }
fail() {
  echo "$(basename "$0"): $1" >&2
  shift
  if [ $# -gt 0 ]; then printf '  %s\n' "$@" >&2; fi
  exit 1
}

# What images and releases say of themselves.
version() { sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1; }
revision() { git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null || echo unknown; }

need_docker() {
  command -v docker >/dev/null || fail "Docker is missing." \
    "Install Docker Engine and Compose (on Debian or Ubuntu: apt-get install docker.io docker-compose)," \
    "or run a node without containers: cargo run --release -- 0 8000 '8000'"
  local answer
  answer=$(docker version --format '{{.Server.Version}}' 2>&1) ||
    fail "Docker's daemon doesn't answer: ${answer##*$'\n'}" \
    "Is it running, and may this user talk to it (as root, or in the group docker)?"
}

# Sets `compose` to the command of Compose v2 or of docker-compose 1.29.
need_compose() {
  if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
  elif command -v docker-compose >/dev/null; then
    compose=(docker-compose)
  else
    fail "Docker Compose is missing: neither 'docker compose' nor 'docker-compose' works." \
      "On Debian or Ubuntu: apt-get install docker-compose, or docker-compose-v2 where that exists."
  fi
}

# Makes the cluster's secret if there is none: all nodes get it as the file /run/secrets/cluster-secret.
need_secret() {
  local directory=deploy/secrets
  if [ -s "$directory/cluster" ]; then return; fi
  say "making the cluster's secret: $directory/cluster"
  # The nodes run as a user of their own and see nothing but the file; here nobody else gets through to it.
  mkdir -p "$directory"
  chmod 700 "$directory"
  { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' && echo; } >"$directory/new"
  chmod 644 "$directory/new"
  mv "$directory/new" "$directory/cluster"
}

# Whether images come from a registry. Asked once by pulling the one that is needed anyway; a 'no' is kept for an
# hour. CAUSEWAY_IMAGES=pull or CAUSEWAY_IMAGES=local decides it beforehand.
images_can_be_pulled() {
  local no=$target/deploy-no-registry
  case ${CAUSEWAY_IMAGES:-auto} in
  pull) return 0 ;;
  local) return 1 ;;
  auto) ;;
  *) fail "CAUSEWAY_IMAGES is '$CAUSEWAY_IMAGES'; it can be auto, pull or local." ;;
  esac
  if docker image inspect "$jaeger_image" >/dev/null 2>&1; then return 0; fi
  if [ -n "$(find "$no" -mmin -60 2>/dev/null)" ]; then return 1; fi
  say "pulling $jaeger_image, if images can be pulled here"
  if timeout 300 docker pull "$jaeger_image"; then return 0; fi
  mkdir -p "$target"
  touch "$no"
  return 1
}

# small_image ARGUMENTS...: docker build for the images that only wrap a binary; says nothing unless it fails.
small_image() {
  local output
  output=$(docker build --quiet "$@" 2>&1) || fail "docker build failed:" "$output"
}

# as_root COMMAND...: as it is when root, else through sudo if that asks no question.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# need_package COMMAND PACKAGE: installs Debian's PACKAGE when COMMAND is missing.
need_package() {
  if command -v "$1" >/dev/null; then return; fi
  command -v apt-get >/dev/null || fail "$1 is missing (Debian's package is called $2)."
  say "installing $2, for $1"
  { as_root apt-get -qq update && as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install "$2"; } >/dev/null ||
    fail "$1 is missing and could not be installed: apt-get install $2"
}
