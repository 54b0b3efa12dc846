#!/usr/bin/env bash
# Builds the plugins of this folder anew; README.md says what each is and when that is right. Wants rustup and git.
set -euo pipefail
cd "$(dirname "$0")"
golden=$PWD
top=$(git rev-parse --show-toplevel)

# The oldest that the plugin API is built with, and a commit with an older shape of its messages.
rust=1.88.0
older=0b76d356
rustup toolchain list | grep -q "^$rust-" || rustup toolchain install "$rust" --profile minimal

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

tree=$scratch/tree
# No paths of this machine in the places of panics.
remap="--remap-path-prefix=$scratch=/scratch --remap-path-prefix=$tree=/mesos"
remap="$remap --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"

# What the plugin API is made of as of the commit $1. Each tree lies in the same folder, so that dependencies are built once.
plant() {
    rm -rf "$tree"
    mkdir -p "$tree/tests/golden"
    git -C "$top" archive "$1" plugin-api | tar -x -m -C "$tree"
    # The workspace, of which only the plugin API is here.
    git -C "$top" show "$1:Cargo.toml" | sed -E 's/^members = .*/members = ["plugin-api"]/; /^exclude = /d' > "$tree/Cargo.toml"
    cp -r "$golden/plugin" "$tree/tests/golden/plugin"
}

# The plugin, called $1, against what was planted.
build() {
    local version
    version=$(sed -n -E '0,/^version = /s/^version = "(.*)"/\1/p' "$tree/Cargo.toml")
    # The one line of the lock file that follows the tree.
    sed -i "/^name = \"mesos-plugin-api\"/{n;s/.*/version = \"$version\"/}" "$tree/tests/golden/plugin/Cargo.lock"
    (cd "$tree/tests/golden/plugin" && GOLDEN_NAME=$1 RUSTFLAGS="$remap" CARGO_TARGET_DIR="$scratch/target" \
        RUSTUP_TOOLCHAIN=$rust cargo build --quiet --release --locked)
    install -m 644 "$scratch/target/release/libgolden.so" "$golden/$1.so"
}

plant HEAD
build golden-now

plant "$older"
build golden-older

# An API that has more: one function after the last one, and a version that says so.
plant HEAD
sed -i -E '0,/^version = "([0-9]+\.[0-9]+)\.[0-9]+"/s//version = "\1.999"/' "$tree/Cargo.toml"
sed -i 's|^    pub new_executor: .*|&\n    #[sabi(missing_field(option))]\n    pub more: extern "C" fn(u64) -> u64,|' \
    "$tree/plugin-api/src/abi/module.rs"
sed -i 's|^            new_executor: new_executor::<E>,|&\n            more,|' "$tree/plugin-api/src/abi/export.rs"
echo 'extern "C" fn more(number: u64) -> u64 { number + 1 }' >> "$tree/plugin-api/src/abi/export.rs"
build golden-newer

sha256sum -- *.so > SHA256SUMS
ls -l -- *.so
