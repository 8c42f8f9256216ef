-- The pauses in force, the oldest first. O(pauses).

return call('ZRANGE', PREFIX .. 'pauses', 0, -1)
