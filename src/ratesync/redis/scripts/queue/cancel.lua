-- Takes operations back. ARGV[2..3]: number of results and seconds for which they are remembered. ARGV[4..]: ids.
-- Answers for each `c`(ancelled), `r`(equested), `f`(inished) or `u`(nknown). O(operations * log mailboxes).

local results = tonumber(ARGV[2])

local function withdraw(lane, id, record)
  local _, key = parts(record)
  if record.state == SCHEDULED then
    call('ZREM', lane_key('due', lane), 's' .. member(record.number, id))
    look_at_timer(lane)
    return
  end
  local is_ready = not is_held(lane, key) and not is_resting(lane, key)
  if is_ready then
    local _, number = leader(lane, key, call('HGET', lane_key('box', lane), key))
    call('ZREM', lane_key('ready', lane), member(number, key))
    lane.ready = lane.ready - 1
  end
  local is_empty = leave_box(lane, key, id, record.number)
  if is_empty then
    end_rest(lane, key)
  elseif is_ready then
    offer(lane, key)
  end
end

local function cancel(id)
  local raw = call('HGET', ITEMS, id)
  if not raw then
    return 'u'
  end
  local record = parse(raw)
  if record.state >= COMPLETED then
    return 'f'
  end
  local lane = lane_of(record.lane)
  local _, key = parts(record)
  if record.state ~= SCHEDULED and under_lease(lane, key, id) then
    call('HSET', WISHES, id, 1)
    return 'r'
  end
  record.before = record.state
  withdraw(lane, id, record)
  finish(lane, id, record, CANCELLED, nil)
  flush_ends(results)
  return 'c'
end

write_when_full()
forget_old(tonumber(ARGV[3]))
advance_all()
local answer = {}
for at = 4, #ARGV do
  answer[#answer + 1] = cancel(ARGV[at])
end
close_shard()
return answer
