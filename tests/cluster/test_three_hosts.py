import pytest
from dying_host import check


@pytest.mark.slow
def test_one_of_three_hosts_dies_and_the_job_ends_as_if_none_had(tmp_path):
    check(3, tmp_path)
