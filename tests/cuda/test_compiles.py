"""Every kernel compiles for the devices of data centres, without one, and keeps its numbers in registers."""

import re

import gpu_cases
import nvrtc
import pytest
from emulator import KERNELS

from bcnmf_dask.kernels.cuda.specialise import NAMES, Special, source, team_for

needs_nvrtc = pytest.mark.skipif(nvrtc.library() is None, reason="the wheel nvidia-cuda-nvrtc is not installed")
COMMON = [Special("float32", "float32", "int32", "int32", k, team) for k in (5, 20, 50) for team in (1, 4, 16)]
RARE = [
    Special("float64", "float64", "int64", "int64", 20, 4),
    Special("float32", "uint8", "int32", "int64", 100, 1),
    Special("float32", "bool", "uint16", "uint64", 1, 2),
]


@needs_nvrtc
@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("special", COMMON + RARE, ids=str)
def test_kernels_compile_without_a_device(special, architecture):
    size, log = nvrtc.compile_for(architecture, source(), special.options)
    assert size > 0
    assert set(re.findall(r"Compiling entry function '(\w+)'", log)) == set(KERNELS)
    assert "warning" not in log
    if special in COMMON:
        assert set(re.findall(r"(\d+) bytes spill", log)) == {"0"}
        assert max(map(int, re.findall(r"Used (\d+) registers", log))) <= 64, "half of a device's threads at once"


@needs_nvrtc
def test_the_kernel_that_measures_the_cache_compiles():
    size, log = nvrtc.compile_for(90, gpu_cases.FETCH, ())
    assert size > 0
    assert "warning" not in log


@needs_nvrtc
def test_a_kernel_that_does_not_compile_is_noticed():
    with pytest.raises(RuntimeError, match="nonsense"):
        nvrtc.compile_for(90, source() + "\nnonsense;", COMMON[0].options)


@pytest.mark.parametrize("team", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("n_lines", [1, 3, 4, 5, 1000, 10**8])
def test_there_is_a_team_for_every_line_and_no_idle_block(n_lines, team):
    special = Special("float32", "float32", "int32", "int32", 20, team)
    teams_of_block = special.threads // (32 * team)
    assert n_lines <= special.grid(n_lines) * teams_of_block < n_lines + teams_of_block


@pytest.mark.parametrize("components", range(1, 130))
def test_lanes_are_whole_parts_of_a_warp(components):
    lanes = Special("float32", "float32", "int32", "int32", components, 1).lanes
    assert 32 % lanes == 0
    assert -(-components // lanes) <= max(4, -(-components // 32))


def test_long_lines_are_shared_and_few_by_more():
    assert [team_for(5000, 5000 * length) for length in (0, 511, 512, 1024, 10**5)] == [1, 1, 2, 4, 4]
    assert [team_for(312, 312 * length) for length in (511, 1024, 6600, 10**5)] == [1, 4, 16, 16]


def test_all_types_of_real_numbers_have_a_name():
    assert {"float32", "float64", "bool", "uint8", "int64", "uint64"} <= NAMES.keys()
