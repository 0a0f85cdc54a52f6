# What the scripts in this folder share; sourced, from the top of the repository.

# One build serves tools/run and tools/test: release, so that a second of device time doesn't take minutes.
build_programs() {
    say "building the programs"
    swift build -c release --product outrigger "$@"
    swift build -c release --product outrigger-agent "$@"
    swift build -c release --product outrigger-trap "$@"
}

# The recorded workloads, unpacked.
unpack_workloads() {
    mkdir -p build/workloads
    local packed
    for packed in Tests/Workloads/*.gz; do
        local plain
        plain=build/workloads/$(basename "$packed" .gz)
        [[ $plain -nt $packed ]] || gzip -dc "$packed" >"$plain"
    done
}

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi
say() { printf '%s== %s%s\n' "$bold" "$*" "$plain"; }
