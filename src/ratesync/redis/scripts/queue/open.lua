-- Finds out whether this shard can be used, and records how many shards the queue has. ARGV[2]: shards. O(1).
-- Answers the recorded number of shards, and the id of the newest entry of the bell.

local shards = call('HGET', KEYS[1], 'shards')
if not shards then
  shards = ARGV[2]
  call('HSET', KEYS[1], 'shards', shards)
end
local newest = call('XREVRANGE', PREFIX .. 'bell', '+', '-', 'COUNT', 1)[1]
close_shard()
return { shards, newest and newest[1] or '0-0' }
