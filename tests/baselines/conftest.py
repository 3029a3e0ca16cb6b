import pytest


@pytest.fixture(scope="session")
def data_root(tmp_path_factory):
    """One folder for the decoded digits of all tests."""
    return tmp_path_factory.mktemp("baselines")
