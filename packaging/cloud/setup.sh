#!/bin/sh
# Sets up a fresh Debian or Ubuntu machine to serve an app packed as a tar.gz: nginx, rcorn, and supervisor or systemd.
# Use it as user data by itself, with the variables added below, or through user-data/main.tf, which sets them.
# It may be run again: steps already done are skipped.
set -eu

# Written by user-data/main.tf. Each value is a DEPLOY_ variable of rcorn-deploy.
settings=${RCORN_SITE_ENV:-/etc/rcorn-site.env}
# shellcheck source=/dev/null
if [ -r "$settings" ]; then set -a; . "$settings"; set +a; fi

: "${DEPLOY_DOWNLOAD_URL:?the address of the package}"
: "${DEPLOY_WSGI_APP:?the app, such as wsgiapp:wsgi_app}"
export DEPLOY_NAME="${DEPLOY_NAME:-app}"
export DEPLOY_ROOT="${DEPLOY_ROOT:-/srv/$DEPLOY_NAME}"
export DEPLOY_SERVICE="${DEPLOY_SERVICE:-supervisor}"
export DEPLOY_USER="${DEPLOY_USER:-www-data}"
# With DEPLOY_TLS rcorn speaks TLS itself.
[ -n "${DEPLOY_TLS:-}" ] || export DEPLOY_NGINX_DIR="${DEPLOY_NGINX_DIR:-/etc/nginx/conf.d}"
export DEPLOY_SHARE="${DEPLOY_SHARE:-/opt/rcorn/share}"
[ "$DEPLOY_SERVICE" != systemd ] || export DEPLOY_RUN_DIR="/run/rcorn-$DEPLOY_NAME"
# The requirement for pip: a name with a version, or the URL of a wheel.
package=${RCORN_PACKAGE:-rcorn}
deploy=${RCORN_DEPLOY:-/opt/rcorn/bin/rcorn-deploy}

# The balancer may probe the machine during setup; it must not find nginx's welcome page.
if [ "${RCORN_APT:-yes}" = yes ]; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  apt-get install -q -y --no-install-recommends nginx-light python3-venv ca-certificates supervisor
  rm -f /etc/nginx/sites-enabled/default
fi

if ! command -v rcorn > /dev/null; then
  python3 -m venv /opt/rcorn/venv
  /opt/rcorn/venv/bin/pip install --quiet "$package"
  ln -sf /opt/rcorn/venv/bin/rcorn /usr/bin/rcorn
fi
if [ "$DEPLOY_SERVICE" = systemd ]; then
  install -D -m 644 "$DEPLOY_SHARE/systemd/rcorn@.service" /etc/systemd/system/rcorn@.service
  mkdir -p /etc/rcorn
  systemctl daemon-reload
fi

exec python3 "$deploy" install
