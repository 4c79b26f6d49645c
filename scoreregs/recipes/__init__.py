r"""Published variants, each a combination of plug-ins.

A recipe returns a `ScoreRegularizedObjective`; g below is the gradient that x receives, for each
sample. Every option of the objective may be given and replaces the recipe's own, but for those that
make it what it is: its Jacobian or none of it (`through_prior`), the second prediction that is
subtracted (`baseline`), and the weights of `sjc`, `rfds` and `dtql`. Guidance belongs to the prior:
wrap it in `GuidedPrior`.

| recipe | g |
|---|---|
| `srpo` | $\tfrac1\beta \sigma^2 (\hat\epsilon - \epsilon) - \nabla_x \mathrm{value}$ |
| `sds` | $\sigma^2 (\hat\epsilon - \epsilon)$ |
| `sjc` | $\hat\epsilon - \epsilon$ |
| `csd` | $\sigma^2 (\hat\epsilon_c - \hat\epsilon_\varnothing)$ |
| `nfsd` | $\sigma^2 (s (\hat\epsilon_c - \hat\epsilon_\varnothing) + \hat\epsilon_\varnothing - [t \ge .2]\, \hat\epsilon_-)$ |
| `dds` | $\hat\epsilon_c(x_t) - \hat\epsilon_{c_r}(x_{r,t})$ |
| `vsd` | $\sigma^2 (\hat\epsilon - \hat\epsilon_\phi)$ |
| `red_diff` | $\tfrac1\beta \tfrac\sigma\alpha (\hat\epsilon - \epsilon) - \nabla_x \mathrm{value}$ |
| `diff_instruct` | $(\hat x_\phi - \hat x) / \operatorname{mean} \lvert x - \hat x \rvert$ |
| `rfds` | $\hat u - u$ |
| `dtql` | $\tfrac1\beta \nabla_x \| (\hat x - x) / c_\mathrm{out} \|^2 - \nabla_x \mathrm{value}$ |
| `sid` | $\nabla_x \big[ (1 - a) \|\Delta\|^2 + \langle \Delta, \hat x_\phi - x \rangle \big] / \operatorname{mean} \lvert x - \hat x \rvert$ |
| `di_star` | $\tfrac1\beta \nabla_x \tfrac\alpha\sigma \langle \Delta, \hat x_\phi - x \rangle / \sqrt{\|\Delta\|^2 + c^2} - \nabla_x \mathrm{value}$ |

The last three differentiate through their priors, with $\Delta = \hat x - \hat x_\phi$.
"""  # noqa: E501

from scoreregs.recipes.csd import csd
from scoreregs.recipes.dds import dds
from scoreregs.recipes.diff_instruct import diff_instruct
from scoreregs.recipes.dtql import dtql
from scoreregs.recipes.nfsd import nfsd
from scoreregs.recipes.red_diff import red_diff
from scoreregs.recipes.rfds import rfds
from scoreregs.recipes.sds import sds
from scoreregs.recipes.sid import di_star, sid
from scoreregs.recipes.sjc import sjc
from scoreregs.recipes.srpo import srpo
from scoreregs.recipes.vsd import vsd

__all__ = [
    "csd",
    "dds",
    "di_star",
    "diff_instruct",
    "dtql",
    "nfsd",
    "red_diff",
    "rfds",
    "sds",
    "sid",
    "sjc",
    "srpo",
    "vsd",
]
