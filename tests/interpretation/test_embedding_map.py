"""Principal components against a twin, the same map at every call, and UMAP named where it is missing."""

from __future__ import annotations

from importlib import metadata

import numpy as np
import pytest

from ecgcmr.errors import UserError
from ecgcmr.interpretation.embedding_map import pca_map, umap_is_missing, umap_map


def cloud(n: int = 40, d: int = 6) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, d)) * np.arange(d, 0, -1)


def test_components_equal_a_twin_by_singular_values():
    x = cloud()
    left, singular, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    found = pca_map(x, components=4)
    assert np.allclose(found.explained, (singular**2 / (singular**2).sum())[:4])
    for axis in range(2):
        expected = left[:, axis] * singular[axis]
        assert np.allclose(np.abs(found.points[:, axis]), np.abs(expected))
    assert found.axes[0] == f"PCA 1 ({100 * found.explained[0]:.0f} % of variance)"


def test_signs_do_not_depend_on_the_order_of_rows():
    x, order = cloud(), np.random.default_rng(1).permutation(40)
    assert np.allclose(pca_map(x).points[order], pca_map(x[order]).points)


def test_a_constant_embedding_explains_nothing_and_what_is_not_finite_is_refused():
    assert set(pca_map(np.ones((5, 3))).explained) == {0.0}
    broken = cloud()
    broken[4, 1] = np.nan
    with pytest.raises(UserError, match="the map of the embedding: features of 1 of 40"):
        pca_map(broken)
    with pytest.raises(UserError, match="2 recordings of 6 features make no map"):
        pca_map(cloud(2))


def test_umap_names_the_extra_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert umap_is_missing() == "UMAP is not installed; add it with: pip install 'ecgcmr[explain]'"
    with pytest.raises(UserError, match=r"ecgcmr\[explain\]"):
        umap_map(cloud(), 0)


@pytest.mark.slow
def test_umap_keeps_two_groups_apart_and_is_the_same_for_the_same_seed():
    pytest.importorskip("umap")
    x = np.concatenate([cloud(), cloud() + 60.0])
    first, second = umap_map(x, 3), umap_map(x, 3)
    assert np.array_equal(first.points, second.points)
    middles = first.points[:40].mean(axis=0), first.points[40:].mean(axis=0)
    assert np.linalg.norm(middles[0] - middles[1]) > 2 * first.points[:40].std(axis=0).max()
