-- Puts dead letters back at the end of their mailboxes. ARGV[2]: seconds of a step of priority. ARGV[3..]: ids.
-- Answers for each 1, or 0 where there is none. O(letters * log mailboxes).
--
-- What is due by now comes first. Where there was no time for all of it, a letter becomes due behind it.

write_when_full()
local step = tonumber(ARGV[2])

local function replay(id)
  local raw = call('HGET', ITEMS, id)
  local record = raw and parse(raw)
  if not record or record.state ~= DEAD then
    return 0
  end
  local lane = lane_of(record.lane)
  local priority, key, _, at = parts(record)
  local length, body = unpack_from('<I4', raw, at)
  bury_no_more(id)
  local is_behind = lane.timer <= now
  record.state, record.at = is_behind and SCHEDULED or AVAILABLE, is_behind and now or INF
  record.attempts, record.lapses, record.sent_as = 0, 0, 0
  record.number, record.score = next_number(), now - priority * step
  call('HSET', ITEMS, id,
    head_of(record, 0) .. string.sub(raw, record.tail, at - 1) .. string.sub(raw, body, body + length - 1))
  lane.dead, root.pending = lane.dead - 1, root.pending + 1
  count(lane, record.state, 1)
  is_news = true
  if is_behind then
    set_timer(lane, 's' .. member(record.number, id), now)
  else
    enter(lane, key, id, record.number, record.score)
  end
  return 1
end

advance_all()
local answer = {}
for at = 3, #ARGV do
  answer[#answer + 1] = replay(ARGV[at])
end
close_shard()
return answer
