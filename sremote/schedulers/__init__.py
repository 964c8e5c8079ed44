"""Batch schedulers: what they are told and what they answer, as pure functions; one file each.

An ``Adapter`` makes a script and commands, and reads what the commands print.  It
runs nothing.  ``CommandBatchSystem`` carries its commands through whatever
connector a host has.  Others add theirs by an entry point of the group
``sremote.schedulers``; its name is what users give as ``scheduler=``.
"""
