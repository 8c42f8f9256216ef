-- Forgets dead letters. ARGV[2..]: ids. Answers for each 1, or 0 where there is none. O(letters * log letters).

local answer = {}
write_when_full()
for at = 2, #ARGV do
  local raw = call('HGET', ITEMS, ARGV[at])
  local record = raw and parse(raw)
  local is_dead = record and record.state == DEAD
  if is_dead then
    local lane = lane_of(record.lane)
    lane.dead = lane.dead - 1
    bury_no_more(ARGV[at])
    forget({ ARGV[at] })
  end
  answer[#answer + 1] = is_dead and 1 or 0
end
close_shard()
return answer
