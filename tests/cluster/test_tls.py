"""A scheduler with certificates: whoever has one of its CA computes, others are turned away."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import distributed
import numpy as np
import pytest
from formula_pass import SMALL, allowed, formula_recipe
from tls_cluster import Authority, tls_cluster

import rsscale as rs
from rsscale.cluster.connection import connect
from rsscale.errors import RecipeError

pytestmark = pytest.mark.extended  # a cluster of its own


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[str]:
    with tls_cluster(tmp_path_factory.mktemp("cluster"), authority) as found:
        yield found


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsscale.cluster.connection._ANSWER_WITHIN", "2s")


def configured(authority: Authority) -> Any:
    assert distributed  # its settings are there before they are changed
    tls = "distributed.comm.tls"
    return dask.config.set(
        {
            f"{tls}.ca-file": str(authority.folder / "ca.crt"),
            f"{tls}.client.cert": str(authority.folder / "own.crt"),
            f"{tls}.client.key": str(authority.folder / "own.key"),
        }
    )


def test_a_run_with_the_right_certificate(
    address: str, authority: Authority, tmp_path: Path
) -> None:
    with allowed():
        recipe = formula_recipe(tmp_path, tile=256, shape=SMALL)
        here = rs.run(recipe, tmp_path / "here", device="cpu", threads=1)
        with configured(authority):
            there = rs.run(recipe, tmp_path / "there", address, device="cpu", threads=1)
    for name, layer in here.open().data_vars.items():
        np.testing.assert_array_equal(layer.values, there.open()[name].values)


def test_a_certificate_of_another_authority_is_turned_away(address: str, tmp_path: Path) -> None:
    other = Authority(tmp_path / "theirs")
    with (
        configured(other),
        pytest.raises(RecipeError, match="do not accept each other's certificates") as caught,
        connect(address),
    ):
        pass
    assert "DASK_DISTRIBUTED__COMM__TLS__CA_FILE" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_any_certificate_it_is_told_which_settings_are_missing(address: str) -> None:
    with (
        pytest.raises(RecipeError, match="needs certificates, and none are set here"),
        connect(address),
    ):
        pass


def test_an_address_without_tls_is_told(address: str) -> None:
    with (
        pytest.raises(RecipeError, match=r"no Dask scheduler answers at tcp://.* say tls://"),
        connect(address.replace("tls", "tcp")),
    ):
        pass
