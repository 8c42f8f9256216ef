-- Whether the selected lanes have nothing pending. O(1).
--
-- ARGV[2..4]: provider and connection, marked as in a selector; `1` to be told when a lane runs empty.
-- Answers 1 or 0.

local provider, connection = ARGV[2], ARGV[3]
local busy = 0
if provider == '-' and connection == '-' then
  busy = root.pending
elseif connection == '-' then
  busy = tonumber(call('HGET', PREFIX .. 'busy', 'p' .. string.sub(provider, 2)) or 0)
elseif provider == '-' then
  busy = tonumber(call('HGET', PREFIX .. 'busy', 'c' .. string.sub(connection, 2)) or 0)
else
  local lane = find_lane(string.sub(provider, 2), string.sub(connection, 2))
  busy = lane and lane.busy or 0
end
if busy > 0 and ARGV[4] == '1' then
  write_when_full()
  root.draining = 1
end
close_shard()
return busy > 0 and 0 or 1
