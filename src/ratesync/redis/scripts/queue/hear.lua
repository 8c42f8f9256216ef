-- What the bell told since, and what is waited for: a server that lost the latter learns of it again. O(entries + ids).
--
-- ARGV[2]: id of the newest entry heard. ARGV[3..]: ids of operations whose ends are waited for.
-- Answers the number of the bell; 1 if it would have told of lanes that run empty; those of the ids that have ended or
-- are not known, as an array; then the entries: each its id and its fields and values.

write_when_full()
local was_draining, ended, awaited = root.draining, {}, {}
for at = 3, #ARGV do
  local raw = call('HGET', ITEMS, ARGV[at])
  if raw and parse(raw).state < COMPLETED then
    awaited[#awaited + 1] = ARGV[at]
    awaited[#awaited + 1] = 1
  else
    ended[#ended + 1] = ARGV[at]
  end
end
many('HSET', PREFIX .. 'awaited', awaited)
root.asleep, root.draining = 1, 1
local entries = call('XRANGE', PREFIX .. 'bell', '(' .. ARGV[2], '+', 'COUNT', 500)
close_shard()
return { text(root.bell), was_draining, ended, unpack(entries) }
