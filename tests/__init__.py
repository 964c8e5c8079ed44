"""The tests, in folders that mirror the rooms, and the kit of servers that they use."""
