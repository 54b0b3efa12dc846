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

# A plugin called $1 against the plugin API of the tree $2, which is laid out like the repository.
build() {
    local name=$1 tree=$2
    mkdir -p "$tree/tests/golden"
    cp -r "$golden/plugin" "$tree/tests/golden/plugin"
    # No paths of this machine in the panics' places.
    local remap="--remap-path-prefix=$tree=/mesos --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
    (cd "$tree/tests/golden/plugin" && GOLDEN_NAME=$name RUSTFLAGS="$remap" CARGO_TARGET_DIR="$scratch/target" \
        RUSTUP_TOOLCHAIN=$rust cargo build --quiet --release --locked)
    install -m 644 "$scratch/target/release/libgolden.so" "$golden/$name.so"
}

# What the plugin API is made of, as of the commit $1, in the folder $2.
tree() {
    mkdir -p "$2"
    git -C "$top" archive "$1" plugin-api | tar -x -C "$2"
    # The workspace, of which only the plugin API is here.
    git -C "$top" show "$1:Cargo.toml" | sed -E 's/^members = .*/members = ["plugin-api"]/; /^exclude = /d' > "$2/Cargo.toml"
}

tree HEAD "$scratch/now"
build golden-now "$scratch/now"

tree "$older" "$scratch/older"
build golden-older "$scratch/older"

# An API that has more: one function after the last one, and a version that says so.
tree HEAD "$scratch/newer"
sed -i -E '0,/^version = "([0-9]+\.[0-9]+)\.[0-9]+"/s//version = "\1.999"/' "$scratch/newer/Cargo.toml"
sed -i 's|^    pub new_executor: .*|&\n    #[sabi(missing_field(option))]\n    pub more: extern "C" fn(u64) -> u64,|' \
    "$scratch/newer/plugin-api/src/abi/module.rs"
sed -i 's|^            new_executor: new_executor::<E>,|&\n            more,|' "$scratch/newer/plugin-api/src/abi/export.rs"
echo 'extern "C" fn more(number: u64) -> u64 { number + 1 }' >> "$scratch/newer/plugin-api/src/abi/export.rs"
build golden-newer "$scratch/newer"

sha256sum -- *.so > SHA256SUMS
ls -l -- *.so
