"""AdaCode: image-adaptive codebooks for everyone's photos."""

__version__ = "0.1.0"
