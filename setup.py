"""Package metadata; tool settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "edge_agent/__init__.py").read_text())
assert VERSION is not None

CORE = [
    "annotated-types>=0.6",
    "awsiotsdk>=1.22",
    "boto3>=1.36",
    "pydantic>=2.7,<3",
    "pyyaml>=6",
    "rich>=13",
    "structlog>=24",
    "typer>=0.12",
]
EDGE = ["av>=14.2", "segno>=1.6", "starlette>=0.40,<2", "uvicorn>=0.30,<1", "watchdog>=4"]
CLOUD = [
    "av>=14.2",
    "aws-lambda-powertools>=3",
    "numpy>=1.26",
    "opencv-python-headless>=4.10,<5",
    "simplejpeg>=1.8.2",
    "watchdog>=4",
]
# For people at a desk: review, label, export. A function in the cloud needs none of it.
CURATE = [
    "defusedxml>=0.7",
    "markdown-it-py>=3",
    "matplotlib>=3.8",
    "starlette>=0.40,<2",
    "uvicorn>=0.30,<1",
]
DEV = [
    "boto3-stubs[s3,sqs]",
    "cryptography>=42",
    "hypothesis>=6.100",
    "import-linter>=2",
    "moto[server]>=5.0.20",
    "prometheus-client>=0.20",
    "schemathesis>=4,<5",
    "selenium>=4.20",
    "mypy>=1.10",
    "pandas>=2",
    "psutil>=5.9",
    "pytest>=8",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "python-liquid>=2",
    "ruff>=0.5",
    "types-PyYAML",
    "types-defusedxml",
]

setup(
    name="edge-capture",
    version=VERSION[1],
    description="From a camera's view to training-ready, class-tagged frames in a labelling manifest",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["edge_agent*", "cloud*"]),
    package_data={
        "edge_agent": ["py.typed", "demo/*", "shipped/*", "control/web/static/*"],
        "cloud": ["py.typed", "labeling/*.css", "review/web/static/*"],
    },
    install_requires=CORE,
    extras_require={
        "edge": [*EDGE, "numpy>=1.26", "opencv-python-headless>=4.10,<5", "simplejpeg>=1.8.2"],
        "cloud": CLOUD,
        "curate": [*CLOUD, *CURATE],
        "dev": [*EDGE, *CLOUD, *CURATE, *DEV],
    },
    entry_points={"console_scripts": ["edge-agent = edge_agent.cli:main", "edge-cloud = cloud.cli:main"]},
)
