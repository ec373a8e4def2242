#!/bin/sh
# The programs of others that some tests run: a browser, a Modbus master, a FITS verifier, INDI's drivers, and systemd
# to judge our units (installed beside whatever runs as process 1, it starts nothing).
# As root on Debian or Ubuntu this installs what is missing; elsewhere it says which tests are therefore not run.
missing=""
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 || missing="$missing chromium fonts-dejavu-core"
need mbpoll mbpoll
need fitsverify fitsverify
need indiserver indi-bin
need systemd-analyze systemd
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing for the tests:$missing"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null && exit 0
    echo "apt-get could not install:$missing; the tests that need them are listed as skipped" >&2
    exit 0
fi
echo "not installed:$missing. Tests that need them are listed as skipped; on Debian or Ubuntu: apt-get install$missing" >&2
exit 0
