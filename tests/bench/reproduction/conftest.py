"""The made-up portraits of the model's tests."""

from tests.model.conftest import faces_dir, one_thread  # noqa: F401
