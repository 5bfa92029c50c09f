"""The processors that a container may use. Maintained by the template."""

from pathlib import Path

import pytest

from common.cpu import available_cpus


def test_without_a_quota_the_processors_of_the_process_count(tmp_path: Path) -> None:
    assert available_cpus(tmp_path) >= 1


@pytest.mark.parametrize(("quota", "cpus"), [("50000 100000", 1), ("100000 100000", 1)])
def test_a_quota_of_one_processor_counts(tmp_path: Path, quota: str, cpus: int) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota}\n")

    assert available_cpus(tmp_path) == cpus


def test_a_quota_above_the_machine_does_not(tmp_path: Path) -> None:
    unlimited = available_cpus(tmp_path)
    (tmp_path / "cpu.max").write_text("9900000 100000\n")

    assert available_cpus(tmp_path) == unlimited


def test_no_quota_is_no_limit(tmp_path: Path) -> None:
    unlimited = available_cpus(tmp_path)
    (tmp_path / "cpu.max").write_text("max 100000\n")

    assert available_cpus(tmp_path) == unlimited


def test_the_quota_of_cgroups_version_1_counts(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("100000\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")

    assert available_cpus(tmp_path) == 1
