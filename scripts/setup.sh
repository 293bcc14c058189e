# Sourced by examples/quickstart.sh and tests/run.sh: installs what is missing, configures and builds.
# Exit status 3: the environment lacks something that cannot be installed from here.

packages="cmake make gcc flex bison pkg-config llvm-19-dev libdnnl-dev libcjson-dev libcmocka-dev gnuplot-nox graphviz python3-numpy"
fuzz_packages="clang-19 libclang-rt-19-dev llvm-19" # for tests/fuzz only
valgrind_packages="valgrind"                       # for tests/valgrind.sh only

die() {
    echo "$0: $1" >&2
    exit 3
}

# install_missing [PACKAGE...]: what every build needs, and these
install_missing() {
    packages="$packages $*"
    if ! command -v dpkg-query >/dev/null 2>&1; then
        for tool in cmake flex bison cc gnuplot llvm-config-19; do
            command -v "$tool" >/dev/null 2>&1 || die "$tool is missing and this is not a Debian system; please install the equivalents of: $packages"
        done
        return
    fi
    missing=
    for package in $packages; do
        case $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) in
        "install ok installed") ;;
        *) missing="$missing $package" ;;
        esac
    done
    [ -z "$missing" ] && return
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
            as_root="sudo -n"
        else
            die "please install:$missing   (as root: apt-get install$missing)"
        fi
    fi
    echo "installing:$missing"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq || die "apt-get update failed"
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
        die "apt-get could not install:$missing"
}

# build PRESET [TARGET]
build() {
    cmake --preset "$1" >"/tmp/attnc-configure.$$" 2>&1 || {
        cat "/tmp/attnc-configure.$$" >&2
        rm -f "/tmp/attnc-configure.$$"
        die "cmake could not configure; a build folder of another checkout may be in the way: rm -r build/$1"
    }
    rm -f "/tmp/attnc-configure.$$"
    cmake --build --preset "$1" ${2:+--target "$2"} -j "$(nproc)" || die "the build failed"
}
