-- Pauses lanes or resumes them, some at a time: call it again with the cursor that it answers, until that is `0`.
--
-- ARGV[2..4]: `pause` or `resume`; the selector (see shard.lua); `0` or the cursor.
-- O(pauses * lanes looked at).

write_when_full()
local PAUSES = PREFIX .. 'pauses'

if ARGV[4] == '0' and ARGV[2] == 'pause' then
  call('ZADD', PAUSES, 'NX', next_number(), ARGV[3])
elseif ARGV[4] == '0' then
  local first, second = selector_parts(ARGV[3])
  for _, pause in ipairs(call('ZRANGE', PAUSES, 0, -1)) do
    local own_first, own_second = selector_parts(pause)
    if (first == '-' or first == own_first) and (second == '-' or second == own_second) then
      call('ZREM', PAUSES, pause)
    end
  end
end
local found = call('HSCAN', PREFIX .. 'lanes', ARGV[4], 'COUNT', 500)
for place = 1, #found[2], 2 do
  local lane = lane_of(tonumber(found[2][place]))
  if selects(ARGV[3], lane.provider, lane.connection) then
    lane.paused = is_paused(lane.provider, lane.connection)
  end
end
is_news = ARGV[2] == 'resume'
close_shard()
return found[1]
