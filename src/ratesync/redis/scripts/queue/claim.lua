-- Leases what is due, by fair choice among lanes. O(batches * log lanes + items * log mailboxes).
--
-- ARGV[2..8]: worker; most batches; seconds of a lease; most items of a mailbox; most bytes; results remembered; the
--   server's time as the caller expects it, or empty.
-- ARGV[9..11]: who claims, the number of this claim of it, and of the latest one whose answer it has: what was leased
--   to it by a claim since then never reached it, and is given back. A claim of the same number, asked again or late on
--   its way, gets what is still held of what it got, and nothing new; one that another has overtaken gets nothing.
-- ARGV[12..]: for each provider its name, most mailboxes in a batch, most leased of one lane (or empty).
-- Answers the marker, the next instant (or empty), now, then batches: provider, connection, first token, numbers of
-- items of each lease, separated by commas; for each item its id and record.

local worker, calls, lease_seconds = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local mailbox_max, budget, results, expected = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local caller, turn, received = ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11])
local MOST_MOVED = 1000 -- lanes that one claim moves out of its way
local MOST_ASKED = 32 -- workers of which one claim asks where they hold something
local WORKER = worker_key(worker)

local wanted = {}
for at = 12, #ARGV, 3 do
  wanted[#wanted + 1] = { name = ARGV[at], size = tonumber(ARGV[at + 1]), bound = tonumber(ARGV[at + 2]) or INF }
end

-- A jump of the server's clock must not end all leases: they get the time to be confirmed.
local function look_at_clock()
  if expected and now - expected > math.max(1, lease_seconds / 4) then
    root.doubt = now + lease_seconds
  elseif root.doubt > now + lease_seconds then
    root.doubt = 0
  end
  for _, name in ipairs(call('ZREVRANGEBYSCORE', WORKERS, '+inf', '(' .. text(now + 1), 'LIMIT', 0, 100)) do
    call('ZADD', WORKERS, 'XX', now, name)
  end
end

-- The latest claim of this caller whose answer it may not have: its number, and the first and last token of its leases.
local function unheard_claim()
  local latest = call('HGET', WORKER, 'c')
  if latest then
    local number, first, last, at = unpack_from('<ddd', latest)
    if sub(latest, at) == caller and number > received then
      return number, first, last
    end
  end
  return 0, 1, 0
end

-- Calls `act(token, hold)` for each of these leases that the worker still holds. O(leases).
local function for_each_held(first, last, act)
  local tokens = {}
  for token = first, last do
    tokens[#tokens + 1] = string.format('%d', token)
  end
  for place, hold in ipairs(get_many('HMGET', WORKER, tokens)) do
    if hold then
      act(first + place - 1, hold)
    end
  end
end

-- O(items).
local function take_back(first, last)
  local returned = {}
  for_each_held(first, last, function(token, hold)
    local lane, key, amount = read_hold(hold)
    call('HDEL', WORKER, string.format('%d', token))
    give_back(lane, key, amount, -INF, function(_, record)
      return record.state
    end)
    local provider = provider_of(lane.provider).number
    returned[provider] = (returned[provider] or 0) + 1
  end)
  if next(returned) then
    return_holdings(worker, returned)
  end
end

-- Tells of leases again, in batches as they were or smaller: tokens of a batch follow one another. O(items).
local function tell_again(answer, first, last)
  local sizes, batch, counts, follows = {}, nil, {}, nil
  for _, want in ipairs(wanted) do
    sizes[want.name] = want.size
  end
  for_each_held(first, last, function(token, hold)
    local lane, key, amount = read_hold(hold)
    if token ~= follows or batch[1] ~= lane.provider or batch[2] ~= lane.connection
      or #counts == sizes[lane.provider] then
      batch, counts = { lane.provider, lane.connection, text(token), '' }, {}
      answer[#answer + 1] = batch
    end
    local ids = held_ids(lane, key, amount)
    for place, record in ipairs(get_many('HMGET', ITEMS, ids)) do
      batch[#batch + 1] = ids[place]
      batch[#batch + 1] = record
    end
    counts[#counts + 1] = amount
    batch[4], follows = table.concat(counts, ','), token + 1
  end)
end

-- Plans the lanes whose instant has come, and lists those again that are below the bound of this claim. `is_cut`:
-- there may be more lanes to claim from than this claim can look at, so that another one is to follow at once.
local function prepare(want)
  local provider = provider_of(want.name)
  want.provider = provider
  if not provider then
    return
  end
  if want.bound < provider.least then
    provider.least = want.bound
    change_provider(provider)
  end
  for _, number in ipairs(call('ZRANGEBYSCORE', provider_key('wakes', provider), '-inf', now, 'LIMIT', 0, MOST_MOVED)) do
    plan_lane(lane_of(tonumber(number)))
  end
  local below = want.bound == INF and '+inf' or '(' .. text(want.bound)
  local bounded = call('ZRANGEBYSCORE', provider_key('bounded', provider), '-inf', below, 'LIMIT', 0, MOST_MOVED)
  want.is_cut = #bounded == MOST_MOVED
  for _, number in ipairs(bounded) do
    local lane = lane_of(tonumber(number))
    lane.virtual = math.max(lane.virtual, provider.current)
    list_lane(lane, provider, 1)
  end
end

-- The open lane of a provider that has had least, below its bound. Lanes that do not know yet that they are paused are
-- told.
local function head(want)
  local provider = want.provider
  for _ = 1, provider and MOST_MOVED or 0 do
    local number = call('ZRANGE', provider_key('open', provider), 0, 0)[1]
    if not number then
      return nil
    end
    local lane = lane_of(tonumber(number))
    if root.review > 0 then
      lane.paused = is_paused(lane.provider, lane.connection)
    end
    if lane.paused == 1 then
      plan_lane(lane)
    elseif lane.held < want.bound then
      return lane
    else
      list_lane(lane, provider, 2)
    end
  end
  want.is_cut = provider ~= nil
end

local function next_turn()
  local first, lowest
  for _, want in ipairs(wanted) do
    local lane = want.size > 0 and head(want)
    if lane then
      local provider = want.provider
      local own = math.max(lane.virtual, provider.current)
      if own + provider.ahead < root.virtual then
        provider.ahead = root.virtual - own
        change_provider(provider)
      end
      if not first or own + provider.ahead < lowest then
        first, lowest = want, own + provider.ahead
        first.lane, first.own = lane, own
      end
    end
  end
  if first then
    root.virtual = lowest
    first.provider.current = first.own
    change_provider(first.provider)
    first.lane.virtual = first.own
  end
  return first
end

local is_full, has_batches = false, false

-- The ready mailboxes of a lane are read ahead, twice as many each time. What is taken of them leaves the lane's list
-- when there are no more, or at the end.
local function settle_ready(lane)
  if lane.taken > 0 then
    call('ZREMRANGEBYRANK', lane_key('ready', lane), 0, lane.taken - 1)
    lane.taken = 0
  end
end

-- O(mailboxes).
local function read_ahead(lane, most)
  settle_ready(lane)
  lane.chunk = math.min(MOST, math.max(most, 2 * lane.chunk))
  local keys = {}
  for place, lead in ipairs(call('ZRANGE', lane_key('ready', lane), 0, lane.chunk - 1)) do
    keys[place] = sub(lead, 7)
  end
  lane.keys, lane.boxes, lane.next = keys, get_many('HMGET', lane_key('box', lane), keys), 1
  lane.firsts, lane.ids, lane.records, lane.passed = { 1 }, {}, {}, 0
end

local FEW_ITEMS, TIMES_MORE = 16, 8 -- items read at first, and how many times more of them each time
local whole_budget, items_taken = budget, 0

-- Reads items of the mailboxes read ahead, when those read before are taken (`passed`: their number), but no more than
-- fit into what is left of the budget if they are like those taken so far. `firsts` has the places of the first items
-- of the mailboxes looked into, and of the next one. O(items).
local function read_items(lane)
  local keys, boxes, firsts, ids, spent = lane.keys, lane.boxes, lane.firsts, lane.ids, whole_budget - budget
  local fitting = spent > 0 and math.floor(budget * items_taken / spent) or MOST
  lane.piece = math.max(1, math.min(lane.piece and TIMES_MORE * lane.piece or FEW_ITEMS, fitting, MOST))
  lane.passed = lane.passed + #lane.records
  local place, amount, last = #firsts, #ids, lane.passed + lane.piece
  while amount < last and keys[place] do
    if is_single(boxes[place]) then
      amount = amount + 1
      ids[amount] = sub(boxes[place], 2)
    else
      for _, id in ipairs(call('ZRANGE', box_key('b', lane, keys[place]), 0, mailbox_max - 1)) do
        amount = amount + 1
        ids[amount] = id
      end
    end
    place = place + 1
    firsts[place] = amount + 1
  end
  lane.records = call('HMGET', ITEMS, unpack(ids, lane.passed + 1, math.min(amount, last)))
end

local taken_lanes, holds = {}, {}

-- Takes one mailbox into a batch that has `filled` values; the number of its items, 0 if its first one is too large.
-- O(items).
local function take_box(lane, batch, filled, is_first)
  local own, place = 0, lane.next
  if not lane.firsts[place + 1] then
    read_items(lane)
  end
  for index = lane.firsts[place], lane.firsts[place + 1] - 1 do
    local raw = lane.records[index - lane.passed]
    if not raw then
      read_items(lane)
      raw = lane.records[index - lane.passed]
    end
    local flags = byte(raw)
    local tail = flags % 16 >= HAS_PAST and 52 or 28
    local key_length, dedupe_length = unpack_from('<HH', raw, tail + 2)
    local size = #raw - tail - 5 - key_length - (dedupe_length > 0 and dedupe_length - 1 or 0)
    if size > budget and (own > 0 or not is_first) then
      is_full = true
      break
    end
    budget, own, items_taken = budget - size, own + 1, items_taken + 1
    local state = COUNTED[flags % 8]
    lane[state] = lane[state] - 1
    batch[filled + 1], batch[filled + 2] = lane.ids[index], raw
    filled = filled + 2
  end
  return own
end

-- Leases a batch of a lane. Places in lists are counted: to ask for the length of one takes a search. O(items * log
-- mailboxes).
local function take(want, lane, most)
  local batch = { lane.provider, lane.connection, text(root.token + 1), '' }
  local counts, boxes, amount, token = {}, 0, 0, root.token
  if not lane.taken then
    lane.taken, lane.held_fields, lane.next, lane.keys = 0, {}, 1, {}
    taken_lanes[#taken_lanes + 1] = lane
  end
  local fields, noted, held, known = lane.held_fields, #lane.held_fields, #holds, #lane.keys
  while boxes < most and lane.ready > 0 and not is_full do
    if lane.next > known then
      read_ahead(lane, most - boxes)
      known = #lane.keys
    end
    local own = take_box(lane, batch, 4 + 2 * amount, boxes == 0 and not has_batches)
    if own > 0 then
      local key = lane.keys[lane.next]
      token, boxes, amount = token + 1, boxes + 1, amount + own
      counts[boxes] = own
      holds[held + 1], holds[held + 2] = token, pack(HOLD, lane.number, own) .. key
      fields[noted + 1], fields[noted + 2] = key, pack('<I4', own)
      held, noted = held + 2, noted + 2
      lane.taken, lane.next, lane.ready, lane.held = lane.taken + 1, lane.next + 1, lane.ready - 1, lane.held + 1
    end
  end
  root.token = token
  lane.leased = lane.leased + amount
  if amount > 0 then
    want.taken = (want.taken or 0) + boxes
    batch[4] = table.concat(counts, ',')
    has_batches = true
  end
  return batch, amount
end

-- Stores what was taken. O(leases).
local function store_leases()
  for _, lane in ipairs(taken_lanes) do
    settle_ready(lane)
    many('HSET', lane_key('held', lane), lane.held_fields)
  end
  many('HSET', WORKER, holds)
  for _, want in ipairs(wanted) do
    if want.taken then
      call('HINCRBY', WORKER, 'p' .. want.provider.number, want.taken)
    end
  end
  call('ZADD', WORKERS, now, worker)
end

-- Notes which claim was the latest, so that an older one that arrives late takes nothing. O(1).
local function note_claim(first)
  call('HSET', WORKER, 'c', pack('<ddd', turn, first, root.token) .. caller)
  if root.token >= first then
    call('PERSIST', WORKER)
  elseif call('ZSCORE', WORKERS, worker) == false then
    call('PEXPIRE', WORKER, 600000)
  end
end

local function claim_batches(answer)
  local first = root.token + 1
  while #answer - 3 < calls and not is_full do
    local want = next_turn()
    if not want then
      break
    end
    local lane, provider = want.lane, want.provider
    local batch, amount = take(want, lane, math.min(want.size, want.bound - lane.held, MOST))
    lane.virtual = lane.virtual + amount / lane.weight
    provider.latest = math.max(provider.latest, lane.virtual)
    plan_lane(lane)
    if amount > 0 then
      answer[#answer + 1] = batch
    end
  end
  if root.token >= first then
    store_leases()
  end
  note_claim(first)
  for _, want in ipairs(wanted) do -- where no lane is open any more, none owes the others anything
    local provider = want.provider
    if provider and provider.current < provider.latest and call('EXISTS', provider_key('open', provider)) == 0
      and call('EXISTS', provider_key('bounded', provider)) == 0 then
      provider.current = provider.latest
      change_provider(provider)
    end
  end
end

-- When another worker loses leases at one of the providers, if it stays silent. Where none of those that were silent
-- for longest holds any there, others may: it is to be looked again when those would have lost theirs, as by then they
-- are gone or have given signs of life. O(workers looked at).
local function next_lapse()
  local others = call('ZRANGE', WORKERS, 0, MOST_ASKED - 1, 'WITHSCORES')
  for place = 1, #others, 2 do
    if others[place] ~= worker then
      for _, want in ipairs(wanted) do
        if want.provider and call('HEXISTS', worker_key(others[place]), 'p' .. want.provider.number) == 1 then
          return tonumber(others[place + 1]) + lease_seconds
        end
      end
    end
  end
  return #others < 2 * MOST_ASKED and INF or tonumber(others[#others]) + lease_seconds
end

local function next_instant(is_behind)
  local next_at = is_behind and now or INF
  for _, want in ipairs(wanted) do
    if want.provider then
      if head(want) or want.is_cut then
        return now
      end
      local wake = call('ZRANGE', provider_key('wakes', want.provider), 0, 0, 'WITHSCORES')[2]
      if wake then
        next_at = math.min(next_at, math.max(now, tonumber(wake)))
      end
    end
  end
  return math.min(next_at, math.max(next_lapse(), root.doubt))
end

write_when_full()
look_at_clock()
root.token = math.max(root.token, math.floor(now * 1000))
local answer = { '', '', text(now) }
local unheard, first, last = unheard_claim()
if unheard >= turn then -- there may be more by now, so the caller is to claim at once
  answer[1], answer[2] = text(root.bell), text(now)
  if unheard == turn then
    tell_again(answer, first, last)
  end
  return answer
end
take_back(first, last)
fence(lease_seconds)
local is_behind = sweep()
is_behind = review() or is_behind
advance_all()
flush_ends(results)
sign(worker)
write_lanes()
for _, want in ipairs(wanted) do
  prepare(want)
end
claim_batches(answer)
local next_at = next_instant(is_behind)
close_shard()
root.asleep = 1
call('HSET', KEYS[1], 'asleep', 1)
answer[1], answer[2] = text(root.bell), next_at < INF and text(next_at) or ''
return answer
