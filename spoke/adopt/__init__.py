"""Taking a cluster over from Flux, without a restart and without a deleted object, and giving it back.

Flux and Felloe read the same repository, so that both would apply the same objects. Who may is decided by Flux's own
Kustomizations in the cluster: as long as one is there that was not taken over, the spoke leaves its workload alone
(`FluxGate`). `Adoption` shows what taking over would do, does it, and undoes it. All that it has to remember is written
on the Kustomizations, so that whoever kills it half way can run it again.
"""

from spoke.adopt.adoption import Adoption
from spoke.adopt.gate import FluxGate

__all__ = ["Adoption", "FluxGate"]
