"""NAB's scoring as published; the series themselves only where they are."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.nab import HINT, Labelled, best, point_scores, read_series, scaled_sigmoid, score

SERIES = Labelled("a", np.arange(1_000) * 300.0, np.zeros(1_000), ((500, 599),))


def scores_at(*places: int) -> np.ndarray:
    found = np.zeros(1_000)
    found[list(places)] = 9.0
    return found


def test_nothing_is_0_perfect_is_100() -> None:
    assert score([SERIES], [scores_at()], 5).score == 0
    assert score([SERIES], [scores_at(500)], 5).score == pytest.approx(100)


def test_the_earliest_detection_of_a_window_counts_once() -> None:
    early, late = score([SERIES], [scores_at(510)], 5), score([SERIES], [scores_at(590)], 5)
    assert score([SERIES], [scores_at(510, 550, 590)], 5) == early
    assert 50 < late.score < early.score < 100


def test_false_positives_cost_a_ninth_and_less_just_behind_a_window() -> None:
    alone, far, near = (score([SERIES], [scores_at(500, *more)], 5).score for more in ((), (300,), (601,)))
    assert alone - far == pytest.approx(100 * 0.11 / 2)
    assert 0 < alone - near < 0.2 * (alone - far)


def test_the_first_15_percent_are_not_scored() -> None:
    assert score([SERIES], [scores_at(149, 500)], 5).false == 0
    assert score([SERIES], [scores_at(150, 500)], 5).false == 1


def test_the_sigmoid_is_nabs() -> None:
    # nab/sweeper.py: scaledSigmoid(-1.0), the score of a detection at the left edge of a window
    assert scaled_sigmoid(-1.0) == pytest.approx(0.98661, abs=1e-5)
    assert scaled_sigmoid(0.0) == 0
    assert scaled_sigmoid(3.1) == -1


def test_a_folder_without_series_says_where_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="numenta/NAB"):
        read_series(tmp_path)
    assert "NAB_DATA" in HINT


def test_the_real_series_score_above_nothing(shared_data: Path) -> None:
    series = read_series(shared_data / "nab")
    found = best(series, [point_scores(each) for each in series])
    assert found.windows >= 15
    assert found.score > 25
