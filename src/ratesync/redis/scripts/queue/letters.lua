-- A page of the dead letters, in the order in which they died. O(letters looked at).
--
-- ARGV[2..4]: selector; place behind which to begin, `0` for the first letter; most letters.
-- Answers the place to go on from, empty at the end; then for each letter its id, provider, connection, record.

local MOST_LOOKED_AT = 1000
local place, most = ARGV[3], tonumber(ARGV[4])
local found = call('ZRANGEBYSCORE', DEAD_SET, '(' .. place, '+inf', 'WITHSCORES', 'LIMIT', 0, MOST_LOOKED_AT)
local answer, taken = { '' }, 0
for at = 1, #found, 2 do
  if taken >= most then
    break
  end
  local raw = call('HGET', ITEMS, found[at])
  local lane = lane_of(parse(raw).lane)
  place = found[at + 1]
  if selects(ARGV[2], lane.provider, lane.connection) then
    taken = taken + 1
    for _, value in ipairs({ found[at], lane.provider, lane.connection, raw }) do
      answer[#answer + 1] = value
    end
  end
end
if taken < most and #found == 2 * MOST_LOOKED_AT then
  answer[1] = place
end
return answer
