# The program with what it needs; models, pictures and settings lie in the volume /data. compose.yaml builds it.
FROM python:3.12-slim-bookworm

# Empty: PyTorch for NVIDIA GPUs. Else where to take it from, such as PyTorch's address for the CPU.
ARG TORCH_INDEX_URL=""

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN useradd --create-home --uid 1000 atelier \
    && mkdir -p /atelier /data \
    && chown atelier:atelier /atelier /data
USER 1000
WORKDIR /atelier

# Before the program itself, so that another version of it does not install everything anew.
COPY --chown=atelier:atelier launch.sh constraints.txt requirements.txt requirements-torch.txt ./
RUN TORCH_INDEX_URL="$TORCH_INDEX_URL" ./launch.sh --exit \
    && rm -rf /home/atelier/.cache
COPY --chown=atelier:atelier . .

VOLUME /data
EXPOSE 7860
HEALTHCHECK --start-period=3m --interval=30s --timeout=10s \
    CMD ["venv/bin/python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/healthz', timeout=8)"]
# Other machines, the one that runs the container among them, have to log in: the password is in the log.
ENTRYPOINT ["./launch.sh", "--skip-install", "--listen", "--data-dir", "/data"]
