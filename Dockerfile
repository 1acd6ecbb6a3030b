# On a CPU:      docker build -t maskrcnn .
# With Ascend:   docker build -t maskrcnn --build-arg FROM_IMAGE_NAME=<image with MindSpore 2.10 for Ascend> .
ARG FROM_IMAGE_NAME=python:3.11-slim
FROM ${FROM_IMAGE_NAME}

# MindSpore's CPU kernels need the OpenMP runtime, which slim images leave out.
RUN if ! ldconfig -p | grep -q libgomp.so.1; then \
        apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*; \
    fi

# What ascend310_infer is built from, and its tests.
RUN if command -v apt-get > /dev/null; then \
        apt-get update && apt-get install --yes --no-install-recommends cmake make g++ libopencv-imgcodecs-dev \
            libopencv-imgproc-dev nlohmann-json3-dev libcli11-dev libgtest-dev && rm -rf /var/lib/apt/lists/*; \
    fi

WORKDIR /workspace/maskrcnn

# Only what pip needs, so that a change of the code does not install everything again.
COPY pyproject.toml README.md ./
COPY src/maskrcnn/__init__.py src/maskrcnn/
# A MindSpore that the image brings is kept: another version is a conflict that pip reports.
RUN python3 -c 'import importlib.metadata as m; print("mindspore==" + m.version("mindspore"))' \
        > /tmp/constraints.txt 2>/dev/null || true; \
    python3 -m pip install --no-cache-dir --constraint /tmp/constraints.txt --editable '.[test]'

COPY . .
ENV MASKRCNN_PYTHON=python3
CMD ["/bin/bash"]
