-- Records of operations, their mailboxes, and what waits for an instant. A part of the scripts of the queue.
--
-- Record: state and flags, lane, number, score, instant of acceptance; if flagged, attempts, lapses, `sent_as` and an
-- instant; priority, lengths of key and dedupe; key, dedupe, then body or result. Of a dead letter: length of the body,
-- body, result. A number is the place in the mailbox.

local HEAD, PAST, TAIL = '<BI4I6dd', '<I4I4dd', '<hHH'
local HAS_PAST, HAS_RESULT = 8, 16
local ITEMS, DEDUPES = PREFIX .. 'items', PREFIX .. 'dedupe'
local MOST_DUE = 500 -- timers that one script carries out; what is left is done by the next one

local function parse(raw)
  local flags, lane, number, score, accepted, at = unpack_from(HEAD, raw)
  local record = { lane = lane, number = number, score = score, accepted = accepted, state = flags % 8 }
  record.attempts, record.lapses, record.sent_as, record.at = 0, 0, 0, INF
  if flags % 16 >= HAS_PAST then
    record.attempts, record.lapses, record.sent_as, record.at, at = unpack_from(PAST, raw, at)
  end
  record.has_result = flags >= HAS_RESULT
  record.tail = at
  record.raw = raw
  return record
end

-- Priority, key and dedupe of a parsed record, and where its body begins.
local function parts(record)
  local priority, key_length, dedupe_length, at = unpack_from(TAIL, record.raw, record.tail)
  local body = at + key_length
  local key, dedupe = string.sub(record.raw, at, body - 1), nil
  if dedupe_length > 0 then
    dedupe = string.sub(record.raw, body, body + dedupe_length - 2)
    body = body + dedupe_length - 1
  end
  return priority, key, dedupe, body
end

local function head_of(record, flags)
  local past = ''
  if record.attempts > 0 or record.lapses > 0 or record.sent_as > 0 or record.at < INF then
    flags = flags + HAS_PAST
    past = pack(PAST, record.attempts, record.lapses, record.sent_as, record.at)
  end
  return pack(HEAD, record.state + flags, record.lane, record.number, record.score, record.accepted) .. past
end

-- The record as it is stored, with all that comes behind the numbers unchanged.
local function write_record(record)
  return head_of(record, 0) .. string.sub(record.raw, record.tail)
end

local function member(number, key)
  return pack('>I6', number) .. key
end

local function box_key(kind, lane, key)
  return PREFIX .. kind .. ':' .. lane.text .. ':' .. key
end

-- A mailbox is stored as the id of its one item, or as a sorted set; then score and mark of its last item are kept.
-- An item is marked that is more urgent than one before it, or comes behind a marked one.
local function is_single(box)
  return byte(box) == 105 -- i
end

local function is_held(lane, key)
  return lane.held > 0 and call('HEXISTS', lane_key('held', lane), key) == 1
end

local function is_resting(lane, key)
  return lane.rests > 0 and call('ZSCORE', lane_key('due', lane), 'r' .. key)
end

-- Score and number of the most urgent item of a mailbox. O(log items).
local function leader(lane, key, box)
  if is_single(box) then
    local record = parse(call('HGET', ITEMS, string.sub(box, 2)))
    return record.score, record.number
  end
  local head = call('ZRANGE', box_key('b', lane, key), 0, 0)
  local record = parse(call('HGET', ITEMS, head[1]))
  local score, number = record.score, record.number
  local _, mark = unpack_from('<dB', box, 2)
  if mark == 1 then
    local urgent = call('ZRANGE', box_key('u', lane, key), 0, 0, 'WITHSCORES')
    if urgent[1] then
      local urgent_score, urgent_number = tonumber(urgent[2]), unpack_from('>I6', urgent[1])
      if urgent_score < score or (urgent_score == score and urgent_number < number) then
        score, number = urgent_score, urgent_number
      end
    end
  end
  return score, number
end

local function make_ready(lane, key, score, number)
  call('ZADD', lane_key('ready', lane), score, member(number, key))
  lane.ready = lane.ready + 1
end

-- Makes a mailbox ready that is not, if it can be; whether it is.
local function offer(lane, key)
  local box = call('HGET', lane_key('box', lane), key)
  if not box or is_held(lane, key) or is_resting(lane, key) then
    return false
  end
  make_ready(lane, key, leader(lane, key, box))
  return true
end

-- Puts an item into its mailbox, which has others. O(log items).
local function join_box(lane, key, id, number, score)
  local boxes = lane_key('box', lane)
  local box = call('HGET', boxes, key)
  local set, last, mark = box_key('b', lane, key), nil, 0
  if is_single(box) then
    local first = string.sub(box, 2)
    local record = parse(call('HGET', ITEMS, first))
    call('ZADD', set, record.number, first)
    last = record.score
  else
    last, mark = unpack_from('<dB', box, 2)
  end
  if score < last then
    mark = 1
  end
  if mark == 1 and not is_held(lane, key) and not is_resting(lane, key) then
    local led_score, led_number = leader(lane, key, box)
    if score < led_score then
      call('ZREM', lane_key('ready', lane), member(led_number, key))
      call('ZADD', lane_key('ready', lane), score, member(number, key))
    end
  end
  call('ZADD', set, number, id)
  if mark == 1 then
    call('ZADD', box_key('u', lane, key), score, member(number, id))
  end
  call('HSET', boxes, key, 'm' .. pack('<dB', score, mark))
end

local function enter(lane, key, id, number, score)
  if call('HSETNX', lane_key('box', lane), key, 'i' .. id) == 1 then
    make_ready(lane, key, score, number)
  else
    join_box(lane, key, id, number, score)
  end
end

-- Takes an item out of its mailbox, which is not ready; whether the mailbox is empty now.
local function leave_box(lane, key, id, number)
  local boxes = lane_key('box', lane)
  local box = call('HGET', boxes, key)
  if is_single(box) then
    call('HDEL', boxes, key)
    return true
  end
  local set, marked = box_key('b', lane, key), box_key('u', lane, key)
  call('ZREM', set, id)
  local _, mark = unpack_from('<dB', box, 2)
  if mark == 1 then
    call('ZREM', marked, member(number, id))
  end
  if call('EXISTS', set) == 0 then
    call('HDEL', boxes, key)
    return true
  end
  return false
end

-- What waits in a lane: `s` and an item that is scheduled, `r` and a mailbox that rests.
local function look_at_timer(lane)
  local first = call('ZRANGE', lane_key('due', lane), 0, 0, 'WITHSCORES')
  lane.timer = first[2] and tonumber(first[2]) or INF
end

local function set_timer(lane, entry, at)
  call('ZADD', lane_key('due', lane), at, entry)
  lane.timer = math.min(lane.timer, at)
end

local function rest(lane, key, at)
  set_timer(lane, 'r' .. key, at)
  lane.rests = lane.rests + 1
end

local function end_rest(lane, key)
  if lane.rests > 0 and call('ZREM', lane_key('due', lane), 'r' .. key) == 1 then
    lane.rests = lane.rests - 1
    look_at_timer(lane)
  end
end

-- Carries out at most `most` timers of the lane that are due; how many there were. O(timers * log items).
local function advance(lane, most)
  if lane.timer > now then
    return 0
  end
  local key = lane_key('due', lane)
  local due = call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, most)
  for _, entry in ipairs(due) do
    local rested = string.byte(entry) == 114 and string.sub(entry, 2) -- r
    call('ZREM', key, entry)
    if rested then
      lane.rests = lane.rests - 1
      offer(lane, rested)
    else
      local id = string.sub(entry, 8)
      local record = parse(call('HGET', ITEMS, id))
      local _, box = parts(record)
      record.state, record.at, record.number = AVAILABLE, INF, next_number()
      call('HSET', ITEMS, id, write_record(record))
      lane.scheduled, lane.available = lane.scheduled - 1, lane.available + 1
      enter(lane, box, id, record.number, record.score)
    end
  end
  look_at_timer(lane)
  return #due
end

-- Brings all lanes up to date, as far as one script may.
local function advance_all()
  local budget = MOST_DUE
  for _, number in ipairs(call('ZRANGEBYSCORE', PREFIX .. 'timers', '-inf', now, 'LIMIT', 0, MOST_DUE)) do
    if budget <= 0 then
      return
    end
    budget = budget - 1 - advance(lane_of(tonumber(number)), budget)
  end
end
