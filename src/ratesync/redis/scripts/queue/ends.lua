-- How operations end, and how long that is remembered. A part of the scripts of the queue.

local FINISHED, DEAD_SET, GONE = PREFIX .. 'finished', PREFIX .. 'dead', PREFIX .. 'gone'
local MOST_FORGOTTEN = 1000 -- finished operations that one script forgets because of their age
local MOST_GONE = 1000 -- letters that are gone and whose place is remembered

local ends_stored, ends_finished, ends_dead, ended = {}, {}, {}, 0
local has_awaited

-- Notes the record of an operation that has ended. O(1).
local function note_end(lane, id, state, stored)
  if state == DEAD then
    ends_dead[#ends_dead + 1] = next_number()
    ends_dead[#ends_dead + 1] = id
  else
    ends_finished[#ends_finished + 1] = id
  end
  ended = ended + 1
  ends_stored[2 * ended - 1], ends_stored[2 * ended] = id, stored
  if has_awaited == nil then
    has_awaited = call('EXISTS', PREFIX .. 'awaited') == 1
  end
  if has_awaited and call('HDEL', PREFIX .. 'awaited', id) == 1 then
    ring('e', 'i', id, 'v', stored, 'p', lane.provider, 'c', lane.connection)
  end
end

-- Lets an operation end that is out of its mailbox; flush_ends must follow. `result` may be nil. O(1).
local function finish(lane, id, record, state, result)
  count(lane, record.before, -1)
  count(lane, state, 1)
  root.pending = root.pending - 1
  local _, _, _, body = parts(record)
  local stored = string.sub(record.raw, record.tail, body - 1)
  record.state, record.at = state, now
  if state == DEAD then
    local whole = string.sub(record.raw, body)
    stored = stored .. pack('<I4', #whole) .. whole
  end
  note_end(lane, id, state, head_of(record, result and HAS_RESULT or 0) .. stored .. (result or ''))
end

local function forget(ids)
  local dedupes = {}
  for _, raw in ipairs(get_many('HMGET', ITEMS, ids)) do
    local number = unpack_from('<I4', raw, 2)
    local lane = lane_of(number)
    lane.known = lane.known - 1
    local tail = byte(raw) % 16 >= HAS_PAST and 52 or 28
    local key_length, dedupe_length = unpack_from('<HH', raw, tail + 2)
    if dedupe_length > 0 then
      local at = tail + 6 + key_length
      dedupes[#dedupes + 1] = pack('>I4', number) .. string.sub(raw, at, at + dedupe_length - 2)
    end
  end
  many('HDEL', ITEMS, ids)
  many('HDEL', DEDUPES, dedupes)
end

-- Stores the ends that were noted, and forgets the oldest results beyond `capacity`. O(ends).
local function flush_ends(capacity)
  if ended > 0 then
    many('HSET', ITEMS, ends_stored)
    many('ZADD', DEAD_SET, ends_dead)
    many('RPUSH', FINISHED, ends_finished)
    ends_stored, ends_finished, ends_dead, ended = {}, {}, {}, 0
    if call('ZCARD', PREFIX .. 'line') > 0 then
      ring('r')
    end
  end
  local surplus = math.min(call('LLEN', FINISHED) - capacity, 5 * MOST_FORGOTTEN)
  if surplus > 0 then
    local ids = {}
    for from = 1, surplus, MOST do
      for _, id in ipairs(call('LPOP', FINISHED, math.min(MOST, surplus - from + 1))) do
        ids[#ids + 1] = id
      end
    end
    forget(ids)
  end
end

-- Forgets operations that finished too long ago. O(forgotten).
local function forget_old(seconds)
  local first = call('LINDEX', FINISHED, 0)
  if not first or parse(call('HGET', ITEMS, first)).at + seconds > now then
    return
  end
  local ids = call('LRANGE', FINISHED, 0, MOST_FORGOTTEN - 1)
  local old = {}
  for place, raw in ipairs(get_many('HMGET', ITEMS, ids)) do
    if parse(raw).at + seconds > now then
      break
    end
    old[place] = ids[place]
  end
  call('LPOP', FINISHED, #old)
  forget(old)
end

-- Notes that a dead letter is one no more, so that its place is still known. O(log letters).
local function bury_no_more(id)
  call('ZADD', GONE, call('ZSCORE', DEAD_SET, id), id)
  call('ZREM', DEAD_SET, id)
  call('ZREMRANGEBYRANK', GONE, 0, -MOST_GONE - 1)
end
