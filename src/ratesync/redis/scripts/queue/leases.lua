-- Who holds what. A part of the scripts of the queue.
--
-- A worker's hash has a field for each token: lane, number of items, key; `p` and a provider's number: its mailboxes
-- there; `c`: its latest claim. Leases name no items: those of a mailbox that is held are the first ones of it.

local WORKERS, LOST, WISHES = PREFIX .. 'workers', PREFIX .. 'lost', PREFIX .. 'wishes'
local HOLD = '<I4I4'
local MOST_LAPSED = 500 -- mailboxes that one script takes back from silent workers
local MOST_SILENT = 16 -- workers that one script takes for dead

local function worker_key(worker)
  return PREFIX .. 'w:' .. worker
end

-- Takes note of a sign of life of a worker that holds leases. O(log workers).
local function sign(worker)
  call('ZADD', WORKERS, 'XX', now, worker)
end

-- The items under a lease: ids, in order. O(items).
local function held_ids(lane, key, amount)
  local box = call('HGET', lane_key('box', lane), key)
  if is_single(box) then
    return { string.sub(box, 2) }
  end
  return call('ZRANGE', box_key('b', lane, key), 0, amount - 1)
end

-- Whether an item is among those that are leased of its mailbox. O(log items).
local function under_lease(lane, key, id)
  local amount = lane.held > 0 and call('HGET', lane_key('held', lane), key)
  if not amount then
    return false
  end
  local box = call('HGET', lane_key('box', lane), key)
  return is_single(box) or call('ZRANK', box_key('b', lane, key), id) < unpack_from('<I4', amount)
end

-- Ends a lease whose items that have ended are out of the mailbox already. O(log mailboxes).
local function reopen(lane, key, resume_at)
  if lane.ready > 0 and lane.held >= provider_of(lane.provider).least then
    is_news = true
  end
  call('HDEL', lane_key('held', lane), key)
  lane.held = lane.held - 1
  if call('HEXISTS', lane_key('box', lane), key) == 0 then
    return
  end
  is_news = true
  if resume_at > now then
    rest(lane, key, resume_at)
  else
    offer(lane, key)
  end
end

-- Gives one lease back. `change(record)` says what becomes of each item. O(items).
local function give_back(lane, key, amount, resume_at, change)
  local ids = held_ids(lane, key, amount)
  local changed = {}
  local has_wishes = call('EXISTS', WISHES) == 1
  for place, raw in ipairs(get_many('HMGET', ITEMS, ids)) do
    local id = ids[place]
    local record = parse(raw)
    record.before = LEASED
    local state, result = change(id, record)
    local is_wished = has_wishes and call('HDEL', WISHES, id) == 1
    if state < COMPLETED and is_wished then
      state, result = CANCELLED, nil
    end
    if state >= COMPLETED then
      leave_box(lane, key, id, record.number)
      finish(lane, id, record, state, result)
    else
      count(lane, LEASED, -1)
      count(lane, state, 1)
      record.state = state
      local stored = write_record(record)
      if stored ~= raw then
        changed[#changed + 1] = id
        changed[#changed + 1] = stored
      end
    end
  end
  many('HSET', ITEMS, changed)
  reopen(lane, key, resume_at)
end

-- Takes one worker's field for a token out of its books; lane, key and number of items. O(1).
local function read_hold(hold)
  local number, amount, at = unpack_from(HOLD, hold)
  return lane_of(number), string.sub(hold, at), amount
end

-- Notes that a worker holds so many mailboxes less, by provider number. O(1).
local function return_holdings(worker, returned)
  local key = worker_key(worker)
  for number, amount in pairs(returned) do
    if call('HINCRBY', key, 'p' .. number, -amount) <= 0 then
      call('HDEL', key, 'p' .. number)
    end
  end
  local left = call('HLEN', key)
  if left == 0 or (left == 1 and call('HEXISTS', key, 'c') == 1) then
    call('ZREM', WORKERS, worker)
    call('PEXPIRE', key, 600000)
  end
end

-- Fences the workers that were silent for too long: from here on they cannot settle. O(workers fenced).
local function fence(lease_seconds)
  if root.doubt > now then
    return
  end
  local silent = call('ZRANGE', WORKERS, 0, MOST_SILENT - 1, 'WITHSCORES')
  for place = 1, #silent, 2 do
    if tonumber(silent[place + 1]) + lease_seconds > now then
      return
    end
    local name = string.format('%d', next_number())
    call('ZREM', WORKERS, silent[place])
    call('HDEL', worker_key(silent[place]), 'c')
    if call('EXISTS', worker_key(silent[place])) == 1 then
      call('RENAME', worker_key(silent[place]), PREFIX .. 'lost:' .. name)
      call('PERSIST', PREFIX .. 'lost:' .. name)
      call('RPUSH', LOST, name)
    end
  end
end

-- Some of the leases in a worker's hash: by token, and their tokens. None only if there are none, as a scan may find
-- nothing for a while. O(leases found, and the size of the hash for all of them together).
local function some_holds(key)
  local holds, tokens, cursor = {}, {}, '0'
  repeat
    local found = call('HSCAN', key, cursor, 'COUNT', 200)
    cursor = found[1]
    for place = 1, #found[2], 2 do
      local token = tonumber(found[2][place])
      if token and not holds[token] then
        tokens[#tokens + 1] = token
        holds[token] = found[2][place + 1]
      end
    end
  until #tokens > 0 or cursor == '0'
  return holds, tokens
end

-- Takes back what fenced workers held, as much as one script may; whether there is more. O(mailboxes * log).
local function sweep()
  local budget = MOST_LAPSED
  while budget > 0 do
    local name = call('LINDEX', LOST, 0)
    if not name then
      return false
    end
    local key = PREFIX .. 'lost:' .. name
    local holds, tokens = some_holds(key)
    table.sort(tokens)
    for _, token in ipairs(tokens) do
      local lane, box, amount = read_hold(holds[token])
      give_back(lane, box, amount, -INF, function(_, record)
        record.lapses, record.at = record.lapses + 1, INF
        if record.sent_as == 0 then
          record.sent_as = token
        end
        return RETRYABLE
      end)
      call('HDEL', key, string.format('%d', token))
    end
    budget = budget - #tokens
    if #tokens == 0 then
      call('DEL', key)
      call('LPOP', LOST)
    end
  end
  return call('EXISTS', LOST) == 1
end
