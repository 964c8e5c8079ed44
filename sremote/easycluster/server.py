"""What programs for EasyCluster import of its server: ``spawn_local``.  The server is ``sremote serve``."""

from sremote.easycluster.client import spawn_local

__all__ = ["spawn_local"]
