-- What the bell told since. ARGV[2]: id of the newest entry heard. O(entries).
-- Answers the number of the bell, whether it will ring for news, then the entries: each its id and its fields and values.

return { text(root.bell), text(root.asleep), unpack(call('XRANGE', PREFIX .. 'bell', '(' .. ARGV[2], '+', 'COUNT', 500)) }
