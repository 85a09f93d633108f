# An image with this program, for Kubernetes and for `ray up` at Amazon: docs/cluster.md.
#
#   docker build --tag registry.example/nezha-pipe:0.1.0 .
#
# Arguments:
#   PYTHON       version of Python
#   TORCH_INDEX  index with another build of torch, for CPUs or for other GPUs; empty: the usual one, with CUDA
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ARG TORCH_INDEX=
WORKDIR /source
# torch first and on its own: it is most of the image, and changes least. TORCH_INDEX is searched beside the usual index: it
# need not have the pinned versions of what torch needs; of equal versions pip prefers the one with a label, such as +cpu.
COPY constraints.txt ./
RUN PIP_EXTRA_INDEX_URL="$TORCH_INDEX" pip install --no-cache-dir --prefix /install --constraint constraints.txt torch
COPY pyproject.toml README.md LICENSE ./
COPY pipeline pipeline
COPY model model
COPY cluster cluster
COPY workflows workflows
# The packages that were just installed are seen, so that torch stays as it is.
RUN PYTHONPATH="$(echo /install/lib/python3.*/site-packages)" \
    pip install --no-cache-dir --prefix /install --constraint constraints.txt '.[s3,cluster]'

FROM python:${PYTHON}-slim
# wget: KubeRay asks by it whether Ray is well. gcc: torch.compile on GPUs. rsync: Ray's launcher.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev rsync wget \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /install /usr/local
RUN useradd --uid 1000 --create-home --shell /bin/bash nezha
USER 1000
WORKDIR /home/nezha
ENV RAY_USAGE_STATS_ENABLED=0
CMD ["nezha-pipe", "--help"]
