# Sourced: puts uv and just on PATH, from .tools, which it makes where they are missing. Needs only Python.
if ! command -v uv >/dev/null || ! command -v just >/dev/null; then
    if [ ! -x .tools/bin/just ]; then
        python3 -m venv .tools
        .tools/bin/python -m pip install --quiet --disable-pip-version-check uv rust-just
    fi
    PATH="$PWD/.tools/bin:$PATH"
    export PATH
fi
