"""Where modules were before they had packages: pickles name a class by its module, and users import families.

All of them are loaded with `fastloss`, which enters the old names beside the new ones.
"""

MOVED = {
    "_history": "linear._history",
    "binary": "families.binary",
    "config": "runtime.config",
    "count": "families.count",
    "linear_softmax": "blocks.linear_cross_entropy",
    "multiclass": "families.multiclass",
    "parallel": "runtime.threads",
    "regression": "families.regression",
}
