"""How to reach a host: one file a way.

``base`` holds the contract that every connector fulfils, ``address`` the URLs
that name hosts, ``registry`` finds the connector for a URL's scheme.
"""
