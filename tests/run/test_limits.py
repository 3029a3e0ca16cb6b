"""What this process may use of the machine."""

import os

from dim_lightning.run.limits import quotas, usable_cores


def test_quotas_of_both_versions(tmp_path):
    assert list(quotas([tmp_path], [tmp_path])) == []
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert list(quotas([tmp_path], [])) == []
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "cpu.cfs_quota_us").write_text("150000\n")
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    assert list(quotas([tmp_path], [tmp_path])) == [0.5, 1.5]
    assert 0 < usable_cores() <= (os.cpu_count() or 1)
