"""The distance to the reference, against brute force over all permutations, signs and folded units."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnexp.network.model import Network
from nnexp.network.reference import reference
from nnexp.recovery import distance as distances
from nnexp.recovery.distance import reference_distance
from tests.helpers.symmetries import flip, permute, random_networks, with_silent_units, with_units

SEEDS = st.integers(0, 2**32 - 1)


def brute_force(p: Network, r: int, mean: np.ndarray, target: Network) -> tuple[float, float]:
    """The least distance over every assignment and every sign, and the cosine there, of one network."""
    H, K = p.hidden_size, target.hidden_size
    theirs = [np.array([*target.W1[0, k], target.b1[0, k], target.W2[0, k]]) for k in range(K)]
    wanted = np.concatenate([*theirs, target.b2])
    best = (math.inf, math.nan)
    for units in itertools.permutations(range(H), K):
        spare = set(range(H)) - set(units)
        bias = p.b2[r] + sum(p.W2[r, k] * mean[r, k] for k in spare)
        for signs in itertools.product((-1, 1), repeat=K):
            mine = [s * np.array([*p.W1[r, k], p.b1[r, k], p.W2[r, k]]) for s, k in zip(signs, units, strict=True)]
            vector = np.concatenate([*mine, [bias]])
            distance = np.linalg.norm(vector - wanted) / np.linalg.norm(wanted)
            if distance < best[0]:
                best = distance, vector @ wanted / np.linalg.norm(vector) / np.linalg.norm(wanted)
    return best


@given(SEEDS, st.integers(1, 3), st.integers(0, 3), st.integers(1, 3), st.floats(0.1, 10))
def test_it_is_the_least_over_all_permutations_and_signs(seed, K, spare, N, scale):
    rng = np.random.default_rng(seed)
    target, p = random_networks(rng, 1, K, N, 3), random_networks(rng, 4, K + spare, N, scale)
    mean = rng.uniform(-1, 1, (4, K + spare))
    distance, cosine = reference_distance(p, mean, target)
    for r in range(4):
        expected = brute_force(p, r, mean, target)
        assert (distance[r], cosine[r]) == (pytest.approx(expected[0], rel=1e-9), pytest.approx(expected[1], abs=1e-9))


@given(SEEDS, st.integers(2, 4), st.integers(0, 3))
def test_copies_are_at_distance_0_by_enumeration_and_by_linear_assignment(seed, K, spare):
    rng = np.random.default_rng(seed)
    target = random_networks(rng, 1, K, 2, 5)
    copy = with_silent_units(target, rng, spare)
    H = K + spare
    copy = permute(flip(copy, rng.choice([-1.0, 1.0], H)), rng.permutation(H))
    with pytest.MonkeyPatch.context() as patch:
        for limit in (10**9, 1):
            patch.setattr(distances, "MAX_ASSIGNMENTS", limit)
            distance, cosine = reference_distance(copy, np.zeros((1, H)), target)
            assert distance[0] == pytest.approx(0, abs=1e-12)
            assert cosine[0] == pytest.approx(1)


@given(SEEDS, st.integers(2, 4))
def test_linear_assignment_agrees_with_enumeration_without_spare_units(seed, K):
    rng = np.random.default_rng(seed)
    target, p = random_networks(rng, 1, K, 2, 3), random_networks(rng, 5, K, 2, 3)
    mean = rng.uniform(-1, 1, (5, K))
    enumerated = reference_distance(p, mean, target)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distances, "MAX_ASSIGNMENTS", 1)
        assigned = reference_distance(p, mean, target)
    np.testing.assert_allclose(assigned, enumerated, rtol=1e-12)


def test_100_hidden_units_are_matched_without_trying_all_assignments():
    rng = np.random.default_rng(0)
    p = with_silent_units(reference("xnor", "tanh"), rng, 98, 10)
    p = permute(p, rng.permutation(100))
    assert reference_distance(p, np.zeros((1, 100)), reference("xnor", "tanh"))[0][0] == 0


def test_a_spare_units_mean_is_added_to_the_output_bias():
    """A constant spare unit that takes 3 from the bias and gives it back is no distance."""
    target = reference("xnor", "tanh")
    constant = Network(np.zeros((1, 1, 2)), [[50.0]], [[3.0]], [0.0], activation="tanh")
    p = with_units(target, constant)
    p = p.with_weights(p.W1, p.b1, p.W2, p.b2 - 3)
    mean = np.array([[-0.5, -0.5, 1.0]])
    assert reference_distance(p, mean, target)[0][0] == 0


def test_networks_that_are_too_small_or_not_finite_have_no_distance():
    rng = np.random.default_rng(0)
    target = reference("xnor", "tanh")
    small = reference_distance(random_networks(rng, 3, 1, 2), np.zeros((3, 1)), target)
    assert np.isnan(small).all()
    p = random_networks(rng, 3, 2, 2)
    p.W1[1, 0, 0] = np.inf
    distance, cosine = reference_distance(p, np.zeros((3, 2)), target)
    assert np.isnan(distance).tolist() == np.isnan(cosine).tolist() == [False, True, False]


def test_many_networks_are_compared_in_chunks(monkeypatch):
    rng = np.random.default_rng(0)
    p, mean = random_networks(rng, 50, 4, 2), rng.uniform(-1, 1, (50, 4))
    whole = reference_distance(p, mean, reference("xnor", "tanh"))
    monkeypatch.setattr(distances, "_CHUNK", 30)
    np.testing.assert_array_equal(reference_distance(p, mean, reference("xnor", "tanh")), whole)
