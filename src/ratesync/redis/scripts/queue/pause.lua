-- Pauses lanes or resumes them. The order is in force at once: no claim leases from a lane that is paused. Where it may
-- be about many lanes, `review` is to follow until there is no more to do; claims do their part of it, too.
--
-- ARGV[2]: `pause` or `resume`, then ARGV[3]: the selector (see shard.lua); or `review`.
-- Answers 1 if there is more to do, or 0. O(pauses * lanes looked at).

write_when_full()
local PAUSES = PREFIX .. 'pauses'

local function order(what, selector)
  local first, second = selector_parts(selector)
  if what == 'pause' then
    call('ZADD', PAUSES, 'NX', next_number(), selector)
  else
    for _, pause in ipairs(call('ZRANGE', PAUSES, 0, -1)) do
      local own_first, own_second = selector_parts(pause)
      if (first == '-' or first == own_first) and (second == '-' or second == own_second) then
        call('ZREM', PAUSES, pause)
      end
    end
    is_news = true
  end
  if first == '-' or second == '-' then
    root.review = 1
    return
  end
  local lane = find_lane(sub(first, 2), sub(second, 2))
  if lane then
    lane.paused = is_paused(lane.provider, lane.connection)
  end
end

if ARGV[2] ~= 'review' then
  order(ARGV[2], ARGV[3])
end
local has_more = review()
close_shard()
return has_more and 1 or 0
