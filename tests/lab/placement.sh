#!/usr/bin/env bash
# On a host with several NUMA nodes, pages and threads of guests sit where the definition or the plan says.
#
# The guests stay paused: their memory is touched by QEMU, so nothing has to boot. What the kernel did is read from /proc alone.
#
# lab: --nodes 4
# lab: --nodes 3 --memless 1 --memless-first
set -euo pipefail

root=$(mktemp -d)
chmod 755 "$root"
export POLYVIRT_DEFAULT_URI="qemu:///embed?root=$root"
nodes=/sys/devices/system/node

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

memory_of() { awk '/MemTotal/ { print $4 }' "$nodes/node$1/meminfo"; }
free_of() { awk '/MemFree/ { print $4 }' "$nodes/node$1/meminfo"; }

# Nodes that have memory, ascending.
memory_nodes() {
    local node
    for node in $(ls "$nodes" | sed -n 's/^node\([0-9]*\)$/\1/p' | sort -n); do
        [ "$(memory_of "$node")" = 0 ] || echo "$node"
    done
}

# The process of a guest.
process_of() { pgrep -f -- "-name guest=$1," | head -n 1; }

# "NODE MIB" for the guest's memory. Every cell here has 128 MiB or more; mappings with less than half of that are QEMU's own.
pages_of() {
    awk '{
        page = 4; total = 0; delete on
        for (i = 2; i <= NF; i++) {
            if ($i ~ /^kernelpagesize_kB=/) { split($i, a, "="); page = a[2] }
            if ($i ~ /^N[0-9]+=/) { split(substr($i, 2), a, "="); on[a[1]] = a[2] }
        }
        for (node in on) total += on[node] * page
        if (total >= 65536) for (node in on) sum[node] += on[node] * page
    } END { for (node in sum) print node, int(sum[node] / 1024) }' "/proc/$(process_of "$1")/numa_maps" | sort -n
}

# The CPUs that the vCPU threads of a guest may use, one line each.
affinity_of() {
    local task
    for task in /proc/"$(process_of "$1")"/task/*; do
        case $(cat "$task/comm") in
            "CPU "*) awk '/^Cpus_allowed_list/ { print $2 }' "$task/status" ;;
        esac
    done
}

# guest NAME CPU-PLACEMENT NUMATUNE: two cells of 128 MiB with one vCPU each, started paused.
guest() {
    cat > "$root/$1.xml" <<XML
<domain type='qemu'>
  <name>$1</name>
  <memory unit='MiB'>256</memory>
  <memoryBacking><allocation mode='immediate'/></memoryBacking>
  <vcpu $2>2</vcpu>
  $3
  <os><type arch='x86_64'>hvm</type></os>
  <cpu><numa>
    <cell id='0' cpus='0' memory='128' unit='MiB'/>
    <cell id='1' cpus='1' memory='128' unit='MiB'/>
  </numa></cpu>
</domain>
XML
    "$POLYVIRT" define "$root/$1.xml"
    "$POLYVIRT" start "$1" --paused
}

remove() {
    "$POLYVIRT" destroy "$1"
    "$POLYVIRT" undefine "$1"
    [ -z "$(process_of "$1")" ] || fail "$1 was destroyed, but its process is still there"
}

mapfile -t with_memory < <(memory_nodes)
first=${with_memory[0]} last=${with_memory[-1]}

echo "strict: cell 0 on node $first, cell 1 on node $last"
guest strict "" "<numatune><memory mode='strict' nodeset='$first,$last'/>
    <memnode cellid='0' mode='strict' nodeset='$first'/><memnode cellid='1' mode='strict' nodeset='$last'/></numatune>"
seen=$(pages_of strict | tr '\n' ';')
[ "$seen" = "$first 128;$last 128;" ] || fail "pages of 'strict' by node and MiB: $seen"
remove strict

echo "auto: node $first is full"
keep=$((100 * 1024))
fill=$((($(free_of "$first") - keep) / 1024))
mkdir -p "$root/full"
mount -t tmpfs -o "mpol=bind:$first,size=${fill}m" full "$root/full"
dd if=/dev/zero of="$root/full/file" bs=1M 2>/dev/null || true
guest auto "placement='auto'" ""
seen=$(pages_of auto)
echo "$seen" | sed 's/^/  node and MiB: /'
[ "$(echo "$seen" | awk '{ sum += $2 } END { print sum }')" = 256 ] || fail "pages of 'auto' by node and MiB: $seen"
! echo "$seen" | grep -q "^$first " || fail "'auto' has pages on node $first, which was full"
cpus=$(echo "$seen" | while read -r node _; do cat "$nodes/node$node/cpulist"; done)
affinity=$(affinity_of auto)
echo "$affinity" | sed 's/^/  vCPU may use: /'
[ "$(echo "$affinity" | wc -l)" = 2 ] || fail "two vCPU threads were expected"
[ "$(echo "$affinity" | sort -u)" = "$(echo "$cpus" | sort -u)" ] || fail "'auto' runs on $affinity, its pages are local to $cpus"
remove auto
umount "$root/full"

[ -z "$("$POLYVIRT" list --all --name 2>/dev/null | grep .)" ] || fail "guests are left"
echo "pages and threads are where they belong"
