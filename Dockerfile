# syntax=docker/dockerfile:1
# ecgcmr from its wheel, for CPUs or NVIDIA GPUs, with the tested versions:
#   docker build -t ecgcmr:cpu .
#   docker build -t ecgcmr:cuda --build-arg DEVICE=cuda .
#   docker run --rm --user "$UID" -v "$PWD:/work" ecgcmr:cpu demo
#   docker run --rm --gpus all --shm-size 8g --user "$UID" -v "$PWD:/work" ecgcmr:cuda doctor
ARG PYTHON=3.12
ARG DEVICE=cpu

FROM python:${PYTHON}-slim-bookworm AS wheel
WORKDIR /source
RUN --mount=type=bind,source=constraints.txt,target=/constraints.txt \
    pip install --no-cache-dir --constraint /constraints.txt build hatchling
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY configs configs
COPY data_modules data_modules
COPY ecgcmr ecgcmr
RUN SOURCE_DATE_EPOCH=1700000000 python -m build --wheel --no-isolation --outdir /dist

# Where torch comes from: its builds for CPUs have an index of their own, those for CUDA bring its libraries along.
FROM python:${PYTHON}-slim-bookworm AS torch-cpu
ENV PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
ENV TORCH_BUILD=+cpu

FROM python:${PYTHON}-slim-bookworm AS torch-cuda
ENV PIP_EXTRA_INDEX_URL=
ENV TORCH_BUILD=

# hadolint ignore=DL3006
FROM torch-${DEVICE} AS run
LABEL org.opencontainers.image.title="ecgcmr" \
      org.opencontainers.image.description="Cardiac MRI phenotypes from a 12-lead ECG; research use, not a medical device" \
      org.opencontainers.image.licenses="MIT"
ARG EXTRAS=compression,dask,explain,hub,onnx,serve,sweep
# A C++ compiler, for --compile true; versions follow the release of Debian.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist \
    --mount=type=bind,source=constraints.txt,target=/constraints.txt \
    sed "s/^\(torch==[0-9.]*\)$/\1${TORCH_BUILD}/" /constraints.txt > /tmp/constraints.txt \
    && wheel=$(ls /dist/*.whl) \
    && pip install --no-cache-dir --constraint /tmp/constraints.txt "${wheel}[${EXTRAS}]" \
    && rm /tmp/constraints.txt \
    && ecgcmr doctor --without-speed
# Any user may run it: what is cached goes to a folder that every one may write to.
ENV HOME=/tmp/home \
    MPLCONFIGDIR=/tmp/home/matplotlib \
    NUMBA_CACHE_DIR=/tmp/home/numba \
    PYTHONUNBUFFERED=1
RUN useradd --create-home --home-dir /tmp/home --uid 1000 ecgcmr && chmod 1777 /tmp/home
USER 1000
WORKDIR /work
ENTRYPOINT ["ecgcmr"]
CMD ["--help"]
