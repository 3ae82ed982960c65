"""`python -m deltarule.kernels`: compile the kernels for this machine, and say in one line what came of it."""

from deltarule.kernels.building import kernels

print(f"deltarule: {kernels().sentence}")
