# docker build -t tagger .                            PyTorch for CPUs
# docker build -t tagger --build-arg TORCH=cu130 .    PyTorch for NVIDIA GPUs, several GB more
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG TORCH=cpu
ARG EXTRAS=modelscope,parquet,review,serve
WORKDIR /src
COPY constraints.txt ./
RUN python -m venv /opt/tagger && python -m pip install --no-cache-dir --constraint constraints.txt uv
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN uv pip install --no-cache --python /opt/tagger/bin/python --torch-backend "$TORCH" \
    --constraint constraints.txt ".[$EXTRAS]"

FROM python:${PYTHON}-slim
ARG USER_ID=10001
RUN useradd --uid "$USER_ID" --create-home tagger && install --directory --owner tagger /models /work
COPY --from=build /opt/tagger /opt/tagger
ENV PATH=/opt/tagger/bin:$PATH \
    TAGGER_HOME=/models \
    HF_HOME=/models/huggingface \
    MODELSCOPE_CACHE=/models/modelscope \
    MODELSCOPE_HOME=/models/modelscope/home
USER $USER_ID
WORKDIR /work
VOLUME /models
EXPOSE 8000
# Whether the server runs. The model, which the first start downloads, is loaded once /readyz says so.
HEALTHCHECK --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=5)"]
ENTRYPOINT ["tagger"]
CMD ["serve", "--host", "0.0.0.0", "--tags", "tags.json"]
