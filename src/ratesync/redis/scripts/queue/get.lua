-- Looks operations up. O(operations * log mailboxes).
--
-- ARGV[2..3]: seconds for which results are remembered; `1` to be told when the operations end.
-- ARGV[4..]: ids. Answers the number of the bell's latest ring, then for each id provider, connection, `1` if it is
-- leased, and its record; or four times nothing. Ends that are rung later have that number behind them.

local answer, awaited = { root.rings }, {}

local function is_leased(lane, id, record)
  if record.state > RETRYABLE or record.state == SCHEDULED then
    return false
  end
  local _, key = parts(record)
  return under_lease(lane, key, id)
end

write_when_full()
forget_old(tonumber(ARGV[2]))
advance_all()
local ids = {}
for at = 4, #ARGV do
  ids[#ids + 1] = ARGV[at]
end
for place, raw in ipairs(get_many('HMGET', ITEMS, ids)) do
  local record = raw and parse(raw)
  if record then
    local lane = lane_of(record.lane)
    answer[#answer + 1] = lane.provider
    answer[#answer + 1] = lane.connection
    answer[#answer + 1] = is_leased(lane, ids[place], record) and '1' or '0'
    answer[#answer + 1] = raw
    if ARGV[3] == '1' and record.state < COMPLETED then
      awaited[#awaited + 1] = ids[place]
      awaited[#awaited + 1] = 1
    end
  else
    for _ = 1, 4 do
      answer[#answer + 1] = ''
    end
  end
end
many('HSET', PREFIX .. 'awaited', awaited)
close_shard()
return answer
