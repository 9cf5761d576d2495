"""A few flipped bits of a campaign that may be as long as one likes (bit_flips.py)."""

import pytest
from faults.bit_flips import flip_bits


@pytest.mark.parametrize("seed", [1, 2])
def test_no_flipped_bit_is_silent(tmp_path, seed):
    for target, found in flip_bits(tmp_path, seed, 12).items():
        assert found.silent == 0, (target, found.complaints)
