"""Remote hosts over SSH, through Fabric."""

from iris_adapters.ssh.keys import KeyPair
from iris_adapters.ssh.shell import FabricShell

__all__ = ["FabricShell", "KeyPair"]
