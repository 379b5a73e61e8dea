#!/usr/bin/env bash
# Assembles what a guest needs: QEMU from Debian sid in a directory of its own, kernels of two suites with their vfio modules, and the
# small library that shows the guest the modelled hops (hops.c). Nothing is installed and no root is needed.
#   assemble.sh DEST HOPS_C [KERNEL...]     KERNEL: sid trixie bookworm [default: sid trixie]
# Packages come from the Debian mirror that this machine's apt is configured for, or from AQLPROBE_DEBIAN_MIRROR.
# What is complete already is left alone and needs no network; `rm -r DEST` asks for everything anew.
# Layout: qemu/ (the unpacked packages), hops.so, kernels/NAME/{vmlinuz,release,modules/}, packages.txt in each.
set -euo pipefail

say() { printf 'guest: %s\n' "$*" >&2; }
die() {
    printf 'guest: %s\n' "$@" >&2
    exit 1
}

[ $# -ge 2 ] || die "usage: assemble.sh DEST HOPS_C [KERNEL...]"
mkdir -p "$1"
destination=$(cd "$1" && pwd)
hops_source=$2
shift 2
kernels=("$@")
[ ${#kernels[@]} -gt 0 ] || kernels=(sid trixie)

# What QEMU's package pulls in beyond what the program links against and opens with -nodefaults -kernel.
unneeded='^(systemd|libsystemd-shared|ipxe-qemu|libnss3|libnspr4|libsqlite3-0|libcacard0|libpcsclite1|libbrlapi.*|libasound2.*|libdb5.3.*|libsasl2-modules-db|libusb.*|libncursesw6|libtinfo6|libexecs1|libc-gconv.*|openssl-provider-legacy|qemu-system-common|gcc-.*-base)$'
# In the order of their dependencies. A kernel without one of them has it built in, or does not know it (vfio_virqfd: up to 6.1).
modules=(irqbypass vfio vfio_virqfd vfio_iommu_type1 vfio-pci-core vfio-pci)
recipe=$(printf '%s\n' 1 "$unneeded" "${modules[@]}" | sha256sum | cut -d ' ' -f 1)

is_complete() { [ -f "$1/packages.txt" ] && grep -qx "recipe $recipe" "$1/packages.txt"; }

missing=()
is_complete "$destination/qemu" || missing+=(qemu)
for kernel in "${kernels[@]}"; do
    case $kernel in sid | trixie | bookworm) ;; *) die "no kernel is called '$kernel': sid, trixie or bookworm" ;; esac
    is_complete "$destination/kernels/$kernel" || missing+=("$kernel")
done

build_hops() {
    [ "$destination/hops.so" -nt "$hops_source" ] && return 0
    command -v cc >/dev/null || die "cc is missing: a C compiler builds the library that shows the guest the modelled hops (apt install gcc)"
    cc -shared -fPIC -O1 -Wall -Wextra -o "$destination/hops.so.new" "$hops_source" -ldl || die "cc cannot compile $hops_source"
    mv "$destination/hops.so.new" "$destination/hops.so"
}

if [ ${#missing[@]} -eq 0 ]; then
    build_hops
    exit 0
fi
[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || die "the guest is made of Debian packages for amd64, which this machine cannot unpack and run"
for tool in apt-get apt-cache dpkg-deb xz; do
    command -v "$tool" >/dev/null || die "$tool is missing: the guest is made of Debian packages"
done
exec 9>"$destination/.lock"
flock -w 600 9 || die "another process is assembling $destination"
work=$(mktemp -d "$destination/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT

# An apt of our own per suite: it shares the machine's mirror and proxy, and none of its state.
apt_for() {
    local suite=$1 state=$work/apt-$1 keyring=/usr/share/keyrings/debian-archive-keyring.gpg mirror
    apt_options=(
        -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$state/sources" -o Dir::Etc::Preferences=/dev/null
        -o Dir::Etc::PreferencesParts=/dev/null -o "Dir::State::Lists=$state/lists" -o "Dir::State::status=$state/status"
        -o "Dir::Cache=$state/cache" -o APT::Architecture=amd64 -o APT::Architectures::=amd64 -o APT::Install-Recommends=0
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
        -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false -o Acquire::Retries=3 -o Debug::NoLocking=1
    )
    # apt drops its privileges to a user who may not write here.
    [ "$(id -u)" -ne 0 ] || apt_options+=(-o APT::Sandbox::User=root)
    [ ! -d "$state" ] || return 0
    mkdir -p "$state"/{sources,lists/partial,cache/archives/partial}
    : >"$state/status"
    mirror=${AQLPROBE_DEBIAN_MIRROR:-$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -m 1 '/debian/*$' || true)}
    [ -n "$mirror" ] || die "apt names no Debian mirror (its sources have no address that ends in /debian): set AQLPROBE_DEBIAN_MIRROR"
    [ -r "$keyring" ] || die "$keyring is missing: install debian-archive-keyring"
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$mirror" "$suite" "$keyring" >"$state/sources/debian.sources"
    say "asking the mirror for $suite"
    apt-get "${apt_options[@]}" update -qq >&2 || die "$mirror did not answer for the suite $suite"
}

# fetch DIRECTORY PACKAGE...: downloads and unpacks into DIRECTORY/unpacked, and notes what that was.
fetch() {
    local directory=$1
    shift
    mkdir -p "$directory/debs" "$directory/unpacked"
    (cd "$directory/debs" && apt-get "${apt_options[@]}" download -qq "$@" >&2) || die "the mirror does not have all of: $*"
    for package in "$directory"/debs/*.deb; do
        dpkg-deb -x "$package" "$directory/unpacked" || die "cannot unpack $(basename "$package")"
    done
    {
        printf 'recipe %s\n' "$recipe"
        for package in "$directory"/debs/*.deb; do
            printf 'package %s %s\n' "$(dpkg-deb -f "$package" Package)" "$(dpkg-deb -f "$package" Version)"
        done
    } >"$directory/packages.txt"
    say "$(ls "$directory/debs" | wc -l) packages, $(du -cm "$directory"/debs/*.deb | tail -1 | cut -f 1) MB downloaded, $(du -sm "$directory/unpacked" | cut -f 1) MB unpacked"
}

assemble_qemu() {
    local packages libraries unresolved
    apt_for sid
    mapfile -t packages < <(apt-get "${apt_options[@]}" install -y -s qemu-system-x86 | awk '/^Inst/{print $2}' | grep -vE "$unneeded")
    [ ${#packages[@]} -gt 1 ] || die "apt does not say what qemu-system-x86 needs"
    say "QEMU"
    fetch "$work/qemu" "${packages[@]}"
    libraries=$work/qemu/unpacked/usr/lib/x86_64-linux-gnu
    unresolved=$("$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" --list "$work/qemu/unpacked/usr/bin/qemu-system-x86_64" 2>&1 | grep 'not found' || true)
    [ -z "$unresolved" ] || die "QEMU needs what no unpacked package has:" "$unresolved"
    mv "$work/qemu/packages.txt" "$work/qemu/unpacked/"
    rm -rf "$destination/qemu"
    mv "$work/qemu/unpacked" "$destination/qemu"
}

assemble_kernel() {
    local name=$1 directory=$work/kernel-$1 result=$work/result-$1 image version tree vmlinuz module file
    apt_for "$name"
    # The meta package names the image of the day, signed or not.
    image=$(apt-cache "${apt_options[@]}" depends linux-image-cloud-amd64 | awk '/Depends: linux-image/{print $2; exit}')
    [ -n "$image" ] || die "the suite $name has no cloud kernel"
    version=${image#linux-image-}
    say "kernel $version"
    # Newer suites have the image and the modules in packages of their own, older ones both in one.
    if apt-cache "${apt_options[@]}" show "linux-binary-$version" >/dev/null 2>&1; then
        fetch "$directory" "linux-binary-$version" "linux-modules-$version"
    else
        fetch "$directory" "$image"
    fi
    vmlinuz=$(find "$directory/unpacked" -name 'vmlinuz*' -type f | head -1)
    [ -n "$vmlinuz" ] || die "the packages of $version hold no vmlinuz: their layout has changed, and this script must follow"
    tree=$(find "$directory/unpacked" -type d -path "*/modules/$version/kernel" | head -1)
    mkdir -p "$result/modules"
    cp "$vmlinuz" "$result/vmlinuz"
    printf '%s\n' "$version" >"$result/release"
    for module in "${modules[@]}"; do
        file=$(find "${tree:-$directory/unpacked}" -name "$module.ko*" | head -1)
        [ -n "$file" ] || continue
        case $file in
        *.xz) xz -dc "$file" ;;
        *.zst) zstd -dc "$file" ;;
        *) cat "$file" ;;
        esac >"$result/modules/$module.ko"
        printf '%s\n' "$module.ko" >>"$result/modules/order"
    done
    [ -f "$result/modules/vfio-pci.ko" ] || die "the packages of $version hold no vfio-pci"
    mv "$directory/packages.txt" "$result/"
    mkdir -p "$destination/kernels"
    rm -rf "$destination/kernels/$name"
    mv "$result" "$destination/kernels/$name"
}

for what in "${missing[@]}"; do
    if [ "$what" = qemu ]; then assemble_qemu; else assemble_kernel "$what"; fi
done
build_hops
say "complete: $(du -sm "$destination" | cut -f 1) MB"
