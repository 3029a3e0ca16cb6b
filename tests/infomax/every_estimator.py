"""The estimators that tests go through; a test holds the list against the module."""

from dim_lightning.infomax.estimators import (
    donsker_varadhan,
    info_nce,
    jensen_shannon,
    log_ratio_nwj,
    n_way_nce,
    nwj,
    pearson_chi2,
    reverse_kl,
    smile,
    squared_hellinger,
)

ALL = [
    jensen_shannon,
    donsker_varadhan,
    nwj,
    reverse_kl,
    pearson_chi2,
    squared_hellinger,
    info_nce,
    n_way_nce,
    log_ratio_nwj,
    smile,
]
