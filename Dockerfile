# The reconciler as an image: no compiler, no pip, no root. Build: docker build --tag pgvillage .
#
# Run, with a root file system that nothing can write to:
#   docker run --read-only --tmpfs /tmp --volume pgvillage:/var/lib/pgvillage --publish 8432:8432 \
#     --volume "$PWD/pgvillage.yaml:/etc/pgvillage/pgvillage.yaml:ro" pgvillage
# The settings must listen on all addresses of the container: `serve: {listen: "0.0.0.0:8432"}`.

FROM python:3.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
RUN python -m venv --without-pip /opt/pgvillage
COPY requirements/runtime.lock requirements/
RUN python -m pip --python /opt/pgvillage/bin/python install \
        --require-hashes --only-binary :all: --requirement requirements/runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY examples examples
COPY pgvillage pgvillage
RUN python -m pip wheel --no-deps --wheel-dir /wheel . \
 && python -m pip --python /opt/pgvillage/bin/python install --no-deps --no-index /wheel/*.whl \
 && python -m compileall -q /opt/pgvillage/lib

FROM python:3.13-slim-bookworm
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates git gpg openssh-client \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
 && useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/pgvillage --shell /usr/sbin/nologin pgvillage \
 && install -d -o 10001 -g 10001 -m 0750 /var/lib/pgvillage
COPY --from=build /opt/pgvillage /opt/pgvillage
# The clone of the estate and the daemon's memory go to /var/lib/pgvillage/pgvillage unless the settings' `state` says otherwise.
ENV PATH=/opt/pgvillage/bin:$PATH \
    HOME=/var/lib/pgvillage \
    XDG_CACHE_HOME=/var/lib/pgvillage \
    PGVILLAGE_SETTINGS=/etc/pgvillage/pgvillage.yaml \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/pgvillage
VOLUME /var/lib/pgvillage
EXPOSE 8432
STOPSIGNAL SIGTERM
# /healthz is answered while the loops move, whatever their targets do; over HTTPS where `serve.tls` is set, on this
# machine alone and so without a look at the certificate's name. Proxies of the environment are not asked.
COPY --chmod=0555 scripts/healthcheck /usr/local/bin/pgvillage-healthcheck
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 CMD ["python", "/usr/local/bin/pgvillage-healthcheck"]
ENTRYPOINT ["pgvillage"]
CMD ["serve"]
