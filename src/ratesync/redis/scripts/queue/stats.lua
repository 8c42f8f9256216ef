-- Counts operations by state, of some lanes at a time: call it again with the cursor that it answers, until that is 0.
--
-- ARGV[2..3]: selector; `0` or the cursor. Answers the cursor, then for each lane its number and how many are scheduled,
-- available, leased, retryable, dead, four bytes each. A lane may be told twice. O(lanes looked at).

if ARGV[3] == '0' then
  write_when_full()
  advance_all()
  write_lanes()
end
local found = call('HSCAN', PREFIX .. 'lanes', ARGV[3], 'COUNT', 500)
local answer = { found[1] }
for place = 1, #found[2], 2 do
  local lane = lane_of(tonumber(found[2][place]))
  if selects(ARGV[2], lane.provider, lane.connection) then
    answer[#answer + 1] = pack('<I4I4I4I4I4I4', lane.number, lane.scheduled, lane.available, lane.leased,
      lane.retryable, lane.dead)
  end
end
if ARGV[3] == '0' then
  close_shard()
end
return answer
