# shellcheck shell=sh
# Making a Python environment on a machine that may have little more than git and Python. To be sourced.
#
#   python_env FOLDER LOCK WORK   an environment in FOLDER with exactly what LOCK names, and the checkout on its path;
#                                 whatever is needed on the way stays in WORK. Done already: it returns at once.
#
# Needs $checkout, the root of the checkout. Debian leaves ensurepip and pip out of its python3 package; where they are
# missing, pip comes from Debian's package of it, fetched with this machine's own apt sources and unpacked, not installed.

say() {
    printf '%s\n' "$*" >&2
}

fail() {
    say "$*"
    exit 1
}

# Everything that pip, uv and Python write beside the environment stays in folder $1.
keep_inside() {
    mkdir -p "$1/cache" "$1/tmp"
    PIP_CACHE_DIR=$1/cache/pip
    UV_CACHE_DIR=$1/cache/uv
    XDG_CACHE_HOME=$1/cache
    XDG_CONFIG_HOME=$1/config
    XDG_DATA_HOME=$1/data
    TMPDIR=$1/tmp
    PYTHONDONTWRITEBYTECODE=1
    export PIP_CACHE_DIR UV_CACHE_DIR XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME TMPDIR PYTHONDONTWRITEBYTECODE
}

# Prints the newest Python from 3.11 to 3.13; $PYTHON, when set, is the only candidate.
find_python() {
    best='' best_minor=0
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        minor=$("$candidate" -c 'import sys; print(sys.version_info[1] if sys.version_info[0] == 3 else 0)' \
            2>/dev/null) || continue
        if [ "$minor" -ge 11 ] && [ "$minor" -le 13 ] && [ "$minor" -gt "$best_minor" ]; then
            best=$candidate best_minor=$minor
        fi
    done
    [ -n "$best" ] || fail "PgVillage needs Python 3.11, 3.12 or 3.13: install one, or name it: PYTHON=/path/to/python3"
    printf '%s\n' "$best"
}

# Unpacks Debian's package of pip into folder $1 and prints the wheel's path; works as any user.
debian_pip_wheel() {
    for wheel in /usr/share/python-wheels/pip-*.whl "$1"/usr/share/python-wheels/pip-*.whl; do
        [ -f "$wheel" ] && printf '%s\n' "$wheel" && return 0
    done
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
    rm -rf "$1" && mkdir -p "$1/state/lists/partial" "$1/apt/archives/partial" || return 1
    (
        cd "$1" || exit 1
        # The machine's package lists may be missing or too old; our own need no rights and change nothing.
        pip=$1
        set -- -qq -o Dir::Cache="$pip/apt" -o APT::Sandbox::User=root -o Acquire::Languages=none
        apt-get "$@" download python3-pip-whl >/dev/null 2>&1 || {
            set -- "$@" -o Dir::State="$pip/state" -o Dir::State::lists="$pip/state/lists" \
                -o Dir::State::status=/var/lib/dpkg/status
            apt-get "$@" update >&2 && apt-get "$@" download python3-pip-whl >&2
        } && dpkg-deb -x python3-pip-whl_*.deb .
    ) || return 1
    rm -rf "$1/state" "$1/apt"
    for wheel in "$1"/usr/share/python-wheels/pip-*.whl; do
        [ -f "$wheel" ] && printf '%s\n' "$wheel" && return 0
    done
    return 1
}

# An environment in $2 of Python $1, with pip; $3 is for what is needed on the way.
create_environment() {
    if "$1" -c 'import ensurepip, venv' 2>/dev/null && "$1" -m venv --clear "$2" >/dev/null 2>&1; then
        return 0
    fi
    if command -v uv >/dev/null && uv venv --quiet --clear --seed --python "$1" "$2" 2>/dev/null; then
        return 0
    fi
    say 'This Python comes without venv and pip: taking pip from its Debian package ...'
    if wheel=$(debian_pip_wheel "$3/pip") && "$1" -m venv --clear --without-pip "$2" &&
        PYTHONPATH=$wheel "$2/bin/python" -m pip install --quiet --no-index --no-deps "$wheel"; then
        rm -rf "$3/pip"
        return 0
    fi
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null && apt-get -qq update &&
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3-venv >/dev/null; then
        "$1" -m venv --clear "$2" && return 0
    fi
    fail "Python here cannot make environments: install Debian's python3-venv (or uv) and run this again"
}

python_env() {
    python=$(find_python)
    stamp="$("$python" -VV | tr '\n' ' ') $(cksum <"$2")"
    [ -f "$1/.installed" ] && [ "$(cat "$1/.installed")" = "$stamp" ] && "$1/bin/python" -c '' && return 0
    say "Installing what $(basename "$2") names, with $("$python" -V), into $1 ..."
    create_environment "$python" "$1" "$3"
    # Wheels alone, but for what has none: Patroni, in the tests, asks for both.
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --only-binary :all: \
        --no-binary python-etcd,ydiff --require-hashes --requirement "$2"
    # The checkout itself needs no build: a path file puts it on the environment's path.
    site=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    printf "%s\n" "${checkout:?}" >"$site/pgvillage-checkout.pth"
    printf '%s\n' "$stamp" >"$1/.installed"
}
