-- Counts operations by state, of some lanes at a time: call it again with the cursor that it answers, until that is 0.
--
-- ARGV[2..3]: selector; `0` or the cursor. Answers the cursor, then how many are scheduled, available, leased,
-- retryable, dead. O(lanes looked at).

if ARGV[3] == '0' then
  write_when_full()
  advance_all()
  write_lanes()
end
local names = { 'scheduled', 'available', 'leased', 'retryable', 'dead' }
local sums = { 0, 0, 0, 0, 0 }
local found = call('HSCAN', PREFIX .. 'lanes', ARGV[3], 'COUNT', 500)
for place = 1, #found[2], 2 do
  local lane = lane_of(tonumber(found[2][place]))
  if selects(ARGV[2], lane.provider, lane.connection) then
    for index, name in ipairs(names) do
      sums[index] = sums[index] + lane[name]
    end
  end
end
if ARGV[3] == '0' then
  close_shard()
end
return { found[1], unpack(sums) }
