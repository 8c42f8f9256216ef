-- Settles leases. O(items * log mailboxes). Works on a full server too: see write_when_full.
--
-- ARGV[2..4]: worker; results remembered; a name of this call, by which a repetition gets the same answer.
-- ARGV[5..]: runs of settlements: provider, connection, number of them; for each its token, key and kind. Kind `4` or
--   `6`: its one item has ended in that state; then id and result. Other kinds: until when the mailbox rests (or empty),
--   flags (`c`: the attempt counts, `s`: it may have been sent) and how many were finished, attempted, unsent; then for
--   each finished one its id, state and result, and the ids of the others.
-- Answers with a text that has for each settlement `1`, or `0` where it was refused.

local worker, results, name = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local ANSWER = PREFIX .. 'answer:' .. name
local WORKER = worker_key(worker)

write_when_full()
local earlier = call('GET', ANSWER)
if earlier then
  return earlier
end

-- How many were finished, attempted and unsent in a settlement of which that is the kind.
local function amounts(kind)
  local finished, attempted, unsent = string.match(kind, '(%d+),(%d+),(%d+)')
  return tonumber(finished), tonumber(attempted), tonumber(unsent)
end

local function is_plain(kind)
  return kind == '4' or kind == '6'
end

-- Settlements by their place: where in ARGV their run begins, tokens, keys, and where in ARGV the kind is.
local run_at, tokens, keys, kind_at = {}, {}, {}, {}

local function read_settlements()
  local at, place, last = 5, 0, #ARGV
  while at < last do
    local run, left = at, tonumber(ARGV[at + 2])
    at = at + 3
    for _ = 1, left do
      place = place + 1
      run_at[place], tokens[place], keys[place], kind_at[place] = run, ARGV[at], ARGV[at + 1], at + 2
      if is_plain(ARGV[at + 2]) then
        at = at + 5
      else
        local finished, attempted, unsent = amounts(ARGV[at + 2])
        at = at + 4 + 3 * finished + attempted + unsent
      end
    end
  end
end

local function read_settlement(place)
  local at = kind_at[place]
  local kind = ARGV[at]
  local settlement = { token = tokens[place], finished = {}, attempted = {}, unsent = {}, resume_at = -INF }
  if is_plain(kind) then
    settlement.finished[ARGV[at + 1]] = { tonumber(kind), ARGV[at + 2] }
    return settlement
  end
  settlement.resume_at = tonumber(ARGV[at + 1]) or -INF
  settlement.counts = string.find(kind, 'c', 1, true) ~= nil
  settlement.sent = string.find(kind, 's', 1, true) ~= nil
  local finished, attempted, unsent = amounts(kind)
  at = at + 2
  for _ = 1, finished do
    settlement.finished[ARGV[at]] = { tonumber(ARGV[at + 1]), ARGV[at + 2] }
    at = at + 3
  end
  for place_of_id = at, at + attempted - 1 do
    settlement.attempted[ARGV[place_of_id]] = true
  end
  for place_of_id = at + attempted, at + attempted + unsent - 1 do
    settlement.unsent[ARGV[place_of_id]] = true
  end
  return settlement
end

-- What becomes of one item.
local function change(settlement, id, record)
  local finished = settlement.finished[id]
  if finished then
    return finished[1], finished[2]
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

local returned, closed, is_closed = {}, {}, {}
local has_wishes = call('EXISTS', WISHES) == 1

-- What most leases are: one item that has ended, alone in its mailbox. The mailboxes vanish together at the end.
local vanished, past = {}, pack(PAST, 0, 0, 0, now)
local ENDED = { [COMPLETED] = string.char(COMPLETED + HAS_PAST + HAS_RESULT),
  [CANCELLED] = string.char(CANCELLED + HAS_PAST + HAS_RESULT) }

local function vanish(lane, key)
  local own = vanished[lane]
  if not own then
    own = { amount = 0 }
    vanished[lane] = own
  end
  local amount = own.amount + 1
  own.amount, own[amount] = amount, key
  if not is_news and lane.ready > 0 and lane.held >= provider_of(lane.provider).least then
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

local function end_single(lane, key, id, raw, state, result)
  vanish(lane, key)
  local key_length, dedupe_length = unpack_from('<HH', raw, 30)
  local body = 34 + key_length + (dedupe_length > 0 and dedupe_length - 1 or 0)
  lane.leased, root.pending = lane.leased - 1, root.pending - 1
  note_end(lane, id, state, ENDED[state] .. sub(raw, 2, 27) .. past .. sub(raw, 28, body - 1) .. result)
end

-- The leases that are in force: by place the number of their items, and of each lane the places.
local answer, lane_at, amount_at, by_lane = {}, {}, {}, {}

local function look_up_leases()
  local amount = 0
  for place, hold in ipairs(get_many('HMGET', WORKER, tokens)) do
    answer[place] = 0
    local token = tokens[place]
    if hold and not is_closed[token] then
      local number, items = unpack_from(HOLD, hold)
      local lane, run = lane_of(number), run_at[place]
      if lane.provider == ARGV[run] and lane.connection == ARGV[run + 1] and sub(hold, 9) == keys[place] then
        amount = amount + 1
        lane_at[place], answer[place], amount_at[place] = lane, 1, items
        is_closed[token], closed[amount] = true, token
        local own = by_lane[lane] or { amount = 0 }
        by_lane[lane] = own
        own.amount = own.amount + 1
        own[own.amount] = place
      end
    end
  end
end

-- What is due by now comes into its mailbox before that one is settled: one that is empty has no rest. As far as one
-- script may. O(timers * log items).
local function advance_settled()
  local budget = MOST_DUE
  for lane in pairs(by_lane) do
    budget = budget - advance(lane, budget)
  end
end

-- By place, the items of those leases that are plain and alone in their mailboxes.
local single_at = {}

local function look_up_singles()
  local ids, places, amount = {}, {}, 0
  for lane, own in pairs(by_lane) do
    local own_keys = {}
    for index, place in ipairs(own) do
      own_keys[index] = keys[place]
    end
    for index, box in ipairs(get_many('HMGET', lane_key('box', lane), own_keys)) do
      local at = kind_at[own[index]]
      if is_plain(ARGV[at]) and box == 'i' .. ARGV[at + 1] then
        amount = amount + 1
        ids[amount], places[amount] = ARGV[at + 1], own[index]
      end
    end
  end
  for index, raw in ipairs(get_many('HMGET', ITEMS, ids)) do
    if byte(raw) < HAS_PAST then
      single_at[places[index]] = raw
    end
  end
end

local function settle(place, lane)
  local raw, at = single_at[place], kind_at[place]
  if raw and not has_wishes then
    end_single(lane, keys[place], ARGV[at + 1], raw, tonumber(ARGV[at]), ARGV[at + 2])
  else
    local settlement = read_settlement(place)
    give_back(lane, keys[place], amount_at[place], settlement.resume_at, function(id, record)
      return change(settlement, id, record)
    end)
  end
  returned[lane.provider] = (returned[lane.provider] or 0) + 1
end

read_settlements()
look_up_leases()
advance_settled()
look_up_singles()
for place = 1, #tokens do
  if answer[place] == 1 then
    settle(place, lane_at[place])
  end
end
flush_vanished()
local by_number = {}
for provider, amount in pairs(returned) do
  by_number[provider_of(provider).number] = amount
end
many('HDEL', WORKER, closed)
flush_ends(results)
sign(worker)
return_holdings(worker, by_number)
local told = table.concat(answer)
if #closed > 0 then
  call('SET', ANSWER, told, 'PX', 60000)
end
close_shard()
return told
