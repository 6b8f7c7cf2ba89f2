# nnexp in one image: the worker, the other commands, and MLflow's server (the same package).
#
#   docker build -t nnexp .
#   podman build --format docker -t nnexp .        (its default format has no HEALTHCHECK)
#
# Behind a proxy with a certificate of its own: --secret id=ca_bundle,src=/path/to/bundle.pem
ARG PYTHON_VERSION=3.11

# The tools that install: pip of its own environment, so that the one copied into the image has none.
FROM python:${PYTHON_VERSION}-slim AS tools
RUN python -m venv /opt/tools && python -m venv --without-pip /opt/venv
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# What nnexp depends on, alone: so that the next stage is built again when that changes, and not for a linter's setting.
FROM tools AS requirements
COPY pyproject.toml .
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*project['dependencies'], *project['optional-dependencies']['postgresql'], sep='\n')" > requirements.txt

# Left out: the wheels' own tests, C headers, stubs and source maps, and Arrow's RPC, which Parquet files don't need.
# Everything is compiled: on a read-only root filesystem Python could not keep its bytecode. unchecked-hash: it is valid
# whatever the files' times become.
FROM tools AS dependencies
COPY constraints.txt .
COPY --from=requirements /src/requirements.txt .
RUN --mount=type=secret,id=ca_bundle \
    if [ -s /run/secrets/ca_bundle ]; then export PIP_CERT=/run/secrets/ca_bundle; fi \
    && /opt/tools/bin/pip --python /opt/venv/bin/python install --no-compile --only-binary :all: \
        --constraint constraints.txt --requirement requirements.txt
WORKDIR /opt/venv
RUN find . -type d \( -name tests -o -name test \) -not -path '*/mlflow/*' -prune -exec rm -r {} + \
    && find . \( -name '*.a' -o -name '*.h' -o -name '*.hpp' -o -name '*.pxd' -o -name '*.pyx' -o -name '*.pyi' -o -name '*.js.map' -o -name '*.css.map' \) -type f -delete \
    && rm lib/python3*/site-packages/pyarrow/*_flight* \
    && bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash lib

# nnexp itself, as files beside the dependencies'.
FROM tools AS package
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY nnexp nnexp
RUN --mount=type=secret,id=ca_bundle \
    if [ -s /run/secrets/ca_bundle ]; then export PIP_CERT=/run/secrets/ca_bundle; fi \
    && PIP_CONSTRAINT=/src/constraints.txt /opt/tools/bin/pip --python /opt/venv/bin/python install --no-compile --no-deps --prefix /install . \
    && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /install

FROM python:${PYTHON_VERSION}-slim
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="nnexp" \
      org.opencontainers.image.description="Which training settings make gradient descent rediscover a network that a person designed by hand?" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# 10001: a number, so that Kubernetes' runAsNonRoot can tell; it has no shell, and owns nothing but /data.
RUN groupadd --gid 10001 nnexp \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin nnexp \
    && install --directory --owner=10001 --group=10001 --mode=0750 /data
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=package /install /opt/venv

# Bytecode is in the image. One thread for each process's BLAS: nnexp's own processes are its parallelism, and a
# network's bits must not depend on how many cores a node has. Nothing is sent anywhere; there is no git to ask.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OPENBLAS_NUM_THREADS=1 \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp \
    MLFLOW_DISABLE_TELEMETRY=true \
    GIT_PYTHON_REFRESH=quiet

USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s --retries=3 CMD ["nnexp", "worker", "--healthy"]
ENTRYPOINT ["nnexp"]
CMD ["--help"]
