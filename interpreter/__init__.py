"""What runs on the far side: the standard library only, Python 3.6 and newer.

The client installs this folder as ``sremote.interpreter`` and pushes the same
files to a host, where they stand under ``interpreter/<digest>/`` and run as the
package ``sremote_interpreter``.  Nothing here imports from the other rooms.
"""
