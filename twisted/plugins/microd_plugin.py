"""Teaches twistd the word C{micro}."""

from twisted.application.service import ServiceMaker

micro = ServiceMaker(
    "microd",
    "microd.tap",
    "Micro for Python: discovery, auth, store, runtime and gateways in one daemon.",
    "micro",
)
