import pytest
from support.stores import STORES


@pytest.fixture(params=STORES)
def stores(request, tmp_path):
    """Opens stores on the same data, one after the other, of each engine in turn."""
    return STORES[request.param](tmp_path / "data")
