-- Settles leases. O(items * log mailboxes). Works on a full server too: see write_when_full.
--
-- ARGV[2..5]: worker; results remembered; a name of this call, by which a repetition gets the same answer; number of
--   settlements.
-- ARGV[6..]: for each settlement: provider, connection, key, token, until when the mailbox rests (or empty), flags
--   (`c`: the attempt counts, `s`: it may have been sent), and how many were finished, attempted, unsent; then for each
--   finished one its id, state and result, and the ids of the others.
-- Answers for each settlement 1, or 0 where it was refused.

local worker, results, name, amount = ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local ANSWER = PREFIX .. 'answer:' .. name
local WORKER = worker_key(worker)

write_when_full()
local earlier = call('GET', ANSWER)
if earlier then
  local answer = {}
  for place = 1, #earlier do
    answer[place] = string.byte(earlier, place) - 48
  end
  return answer
end

local function read_settlement(at)
  local settlement = { provider = ARGV[at], connection = ARGV[at + 1], key = ARGV[at + 2], token = ARGV[at + 3] }
  settlement.resume_at = tonumber(ARGV[at + 4]) or -INF
  settlement.counts = string.find(ARGV[at + 5], 'c', 1, true) ~= nil
  settlement.sent = string.find(ARGV[at + 5], 's', 1, true) ~= nil
  local finished, attempted, unsent = string.match(ARGV[at + 5], '(%d+),(%d+),(%d+)')
  settlement.finished, settlement.attempted, settlement.unsent = {}, {}, {}
  at = at + 6
  for _ = 1, tonumber(finished) do
    settlement.finished[ARGV[at]] = at
    at = at + 3
  end
  for _, list in ipairs({ { 'attempted', attempted }, { 'unsent', unsent } }) do
    for _ = 1, tonumber(list[2]) do
      settlement[list[1]][ARGV[at]] = true
      at = at + 1
    end
  end
  return settlement, at
end

-- What becomes of one item.
local function change(settlement, id, record)
  local finished = settlement.finished[id]
  if finished then
    return tonumber(ARGV[finished + 1]), ARGV[finished + 2]
  end
  record.at = INF
  if settlement.attempted[id] then
    record.attempts = record.attempts + (settlement.counts and 1 or 0)
    if settlement.sent and record.sent_as == 0 then
      record.sent_as = tonumber(settlement.token)
    end
    if settlement.resume_at > -INF then
      record.at = settlement.resume_at
    end
    return RETRYABLE
  end
  if settlement.unsent[id] then
    record.sent_as = 0
  end
  return AVAILABLE
end

local returned, closed = {}, {}
local has_wishes = call('EXISTS', WISHES) == 1

-- What most leases are: one item that has ended, alone in its mailbox. The mailboxes vanish together at the end.
local vanished, past = {}, pack(PAST, 0, 0, 0, now)

local function vanish(lane, key)
  local own = vanished[lane]
  if not own then
    own = {}
    vanished[lane] = own
  end
  own[#own + 1] = key
  if lane.ready > 0 and lane.held >= provider_of(lane.provider).least then
    is_news = true
  end
  lane.held = lane.held - 1
end

local function flush_vanished()
  for lane, keys in pairs(vanished) do
    many('HDEL', lane_key('held', lane), keys)
    many('HDEL', lane_key('box', lane), keys)
  end
end

local function end_single(lane, key, id, raw, finished)
  local state = tonumber(ARGV[finished + 1])
  vanish(lane, key)
  local tail = 28
  local _, key_length, dedupe_length = unpack_from(TAIL, raw, tail)
  local body = tail + 16 + key_length + math.max(0, dedupe_length - 1)
  lane.leased, root.pending = lane.leased - 1, root.pending - 1
  note_end(lane, id, state, string.char(state + HAS_PAST + HAS_RESULT) .. string.sub(raw, 2, tail - 1) .. past
    .. string.sub(raw, tail, body - 1) .. ARGV[finished + 2])
end

local function settle(settlement, lane, key, items, raw)
  local id = settlement.single
  local finished = id and settlement.finished[id]
  if finished and ARGV[finished + 1] ~= '5' and string.byte(raw) < HAS_PAST and not has_wishes then
    end_single(lane, key, id, raw, finished)
  else
    give_back(lane, key, items, settlement.resume_at, function(item, record)
      return change(settlement, item, record)
    end)
  end
  local provider = provider_of(lane.provider).number
  returned[provider] = (returned[provider] or 0) + 1
end

local settlements, tokens, at = {}, {}, 6
for place = 1, amount do
  settlements[place], at = read_settlement(at)
  tokens[place] = settlements[place].token
end
-- The leases that are in force, then of each lane the mailboxes, then the items of those that have one.
local answer, by_lane, ids, singles = {}, {}, {}, {}
for place, hold in ipairs(get_many('HMGET', WORKER, tokens)) do
  local settlement = settlements[place]
  answer[place] = 0
  if hold and not closed[settlement.token] then
    local lane, key, items = read_hold(hold)
    if lane.provider == settlement.provider and lane.connection == settlement.connection and key == settlement.key then
      answer[place] = 1
      closed[settlement.token] = true
      closed[#closed + 1] = settlement.token
      settlement.lane, settlement.items = lane, items
      local own = by_lane[lane] or { keys = {}, settlements = {} }
      by_lane[lane] = own
      own.keys[#own.keys + 1] = key
      own.settlements[#own.keys] = settlement
    end
  end
end
for lane, own in pairs(by_lane) do
  for place, box in ipairs(get_many('HMGET', lane_key('box', lane), own.keys)) do
    if is_single(box) then
      own.settlements[place].single = string.sub(box, 2)
      ids[#ids + 1] = own.settlements[place].single
      singles[#ids] = own.settlements[place]
    end
  end
end
for place, raw in ipairs(get_many('HMGET', ITEMS, ids)) do
  singles[place].raw = raw
end
for place, settlement in ipairs(settlements) do
  if answer[place] == 1 then
    settle(settlement, settlement.lane, settlement.key, settlement.items, settlement.raw)
  end
end
flush_vanished()
many('HDEL', WORKER, closed)
flush_ends(results)
sign(worker)
return_holdings(worker, returned)
if #closed > 0 then
  call('SET', ANSWER, table.concat(answer), 'PX', 60000)
end
close_shard()
return answer
